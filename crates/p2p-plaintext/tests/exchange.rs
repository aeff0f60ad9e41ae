//! Two ends over an in-memory link, and what they refuse to believe.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod common;

use std::io;

use common::{End, link, narrow_link};
use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{BoxIo, PeerId, Role, Security, SecurityError, frame, uvarint};
use p2p_keys::{DecodeKeyError, KeyType, Keypair};
use p2p_plaintext::{Config, Exchanged, PROTOCOL, Plaintext, PlaintextError};
use proptest::prelude::*;

/// Runs in the simulator, where to wait for what can never come is an error and not a hang.
fn block_on<F: Future>(future: F) -> F::Output {
    p2p_sim::Sim::new(1).block_on(future)
}

#[test]
fn each_end_hears_who_the_other_says_it_is() {
    for key_type in KeyType::ALL {
        let (alice, bob) = (
            Keypair::generate(key_type).unwrap(),
            Keypair::generate_ed25519(),
        );
        let (near, far) = narrow_link(7, 20);
        let (at_alice, at_bob) = block_on(join(
            exchange(&alice, near, Some(bob.to_peer_id())),
            exchange(&bob, far, None),
        ));
        assert_eq!(at_alice.unwrap().public_key, *bob.public());
        assert_eq!(at_bob.unwrap().public_key, *alice.public());
    }
}

#[test]
fn the_message_is_the_one_of_the_spec() {
    let alice = Keypair::ed25519_from_seed([1; 32]);
    let (near, _far) = link();
    let sent = near.writes();
    block_on(async {
        let _ = futures::future::poll_immediate(exchange(&alice, near, None)).await;
    });
    // id: an inlined key of 36 bytes; pubkey: a message of the same 36 bytes.
    let key = alice.public().as_protobuf();
    let expected = [&[78, 0x0a, 38, 0x00, 36], key, &[0x12, 36], key].concat();
    assert_eq!(sent.all(), [expected]);
}

#[test]
fn bytes_behind_the_exchange_belong_to_the_next_layer() {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (near, mut far) = link();
    let message = frame::encode(&said(
        &bob.to_peer_id().to_bytes(),
        bob.public().as_protobuf(),
    ));
    block_on(async {
        far.write_all(&[&message, &b"next"[..]].concat())
            .await
            .unwrap();
        far.close().await.unwrap();
        let mut remote = exchange(&alice, near, None).await.unwrap();
        let mut rest = Vec::new();
        remote.io.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"next");
    });
}

#[test]
fn it_works_as_a_trait_object() {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (near, far) = link();
    let secure = |identity: &Keypair, io: End, role| {
        let security: Box<dyn Security> = Box::new(Plaintext::new(identity));
        assert_eq!(security.protocol(), PROTOCOL);
        let io: BoxIo = Box::new(io);
        security.secure(io, role, None, vec![])
    };
    let (at_alice, at_bob) = block_on(join(
        secure(&alice, near, Role::Dialer),
        secure(&bob, far, Role::Listener),
    ));
    let (at_alice, at_bob) = (at_alice.unwrap(), at_bob.unwrap());
    assert_eq!(
        (at_alice.peer, at_bob.peer),
        (bob.to_peer_id(), alice.to_peer_id())
    );
    assert_eq!(
        (at_alice.muxer, at_bob.public_key),
        (None, alice.public().to_protobuf())
    );
}

#[test]
fn another_peer_than_the_expected_one_is_refused() {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let nobody = Keypair::generate_ed25519().to_peer_id();
    let (near, far) = link();
    let (at_alice, _) = block_on(join(
        exchange(&alice, near, Some(nobody)),
        exchange(&bob, far, None),
    ));
    assert!(matches!(
        at_alice,
        Err(SecurityError::WrongPeer { expected, found }) if expected == nobody && found == bob.to_peer_id()
    ));
}

#[test]
fn an_id_that_is_not_that_of_the_key_is_refused() {
    let (bob, carol) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let error = hear(&frame::encode(&said(
        &carol.to_peer_id().to_bytes(),
        bob.public().as_protobuf(),
    )));
    assert_eq!(
        error,
        PlaintextError::NotItsKey {
            of_key: bob.to_peer_id()
        }
    );
}

/// CVE-2023-39533: refused by its length, before any of it is looked at.
#[test]
fn a_huge_rsa_key_is_refused_unread() {
    let key = [&[8, 0][..], &field(2, &[0x30; 3000])].concat();
    let id = Keypair::generate_ed25519().to_peer_id().to_bytes();
    let error = hear(&frame::encode(&said(&id, &key)));
    let too_long = DecodeKeyError::TooLong {
        len: key.len(),
        max: 1100,
    };
    assert_eq!(error, PlaintextError::Key(too_long));
}

#[test]
fn malformed_messages_are_refused() {
    let bob = Keypair::generate_ed25519();
    let (id, key) = (bob.to_peer_id().to_bytes(), bob.public().as_protobuf());
    for message in [vec![], vec![0xff; 20], field(1, &id), field(2, key)] {
        let error = hear(&frame::encode(&message));
        assert!(matches!(error, PlaintextError::Malformed(_)), "{error}");
    }
    let error = hear(&frame::encode(&said(&id, b"no key")));
    assert!(matches!(error, PlaintextError::Key(_)));
    let error = hear(uvarint::encode(8193).as_slice());
    assert_eq!(
        error,
        PlaintextError::Malformed("message of 8193 bytes, at most 8192 allowed".to_owned())
    );
}

#[test]
fn a_remote_that_hangs_up_is_an_error() {
    let bob = Keypair::generate_ed25519();
    let message = frame::encode(&said(
        &bob.to_peer_id().to_bytes(),
        bob.public().as_protobuf(),
    ));
    for cut in 0..message.len() {
        let Err(SecurityError::Io(error)) = heard(&message[..cut]) else {
            panic!("{cut}")
        };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(heard(&bytes).is_err());
        prop_assert!(heard(&frame::encode(&bytes)).is_err());
    }
}

async fn exchange(
    identity: &Keypair,
    io: End,
    expect: Option<PeerId>,
) -> Result<Exchanged<End>, SecurityError> {
    let plaintext = Plaintext::with_config(identity.public(), Config::default());
    plaintext.exchange(io, expect).await
}

/// What we make of a remote that says `bytes` and hangs up.
fn heard(bytes: &[u8]) -> Result<Exchanged<End>, SecurityError> {
    let (near, mut far) = link();
    block_on(async {
        far.write_all(bytes).await.unwrap();
        far.close().await.unwrap();
        exchange(&Keypair::ed25519_from_seed([1; 32]), near, None).await
    })
}

fn hear(bytes: &[u8]) -> PlaintextError {
    let error = heard(bytes).unwrap_err();
    let SecurityError::Protocol(source) = error else {
        panic!("{error:?}")
    };
    *source.into_inner().downcast().unwrap()
}

fn said(id: &[u8], key: &[u8]) -> Vec<u8> {
    [field(1, id), field(2, key)].concat()
}

/// A protobuf field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let len = uvarint::encode(bytes.len() as u64);
    [&[number << 3 | 2], len.as_slice(), bytes].concat()
}
