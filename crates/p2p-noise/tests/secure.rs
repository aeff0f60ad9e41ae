//! The handshake of libp2p over a link: the vectors byte for byte, who ends up talking to whom
//! over which multiplexer, how many writes it takes, and what a hostile remote achieves.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod common;

use std::io;
use std::pin::pin;

use common::{End, link, narrow_link};
use futures::future::{join, poll_immediate};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Blame, BoxIo, PeerId, Protocol, Role, Security, SecurityError};
use p2p_keys::{DecodeKeyError, Keypair};
use p2p_multistream as multistream;
use p2p_noise::handshake::{DhKey, initiate, respond};
use p2p_noise::{Authenticated, Config, HandshakeError, Noise, PROTOCOL};
use proptest::prelude::*;
use serde_json::Value;

/// Runs in the simulator, where to wait for what can never come is an error and not a hang.
fn block_on<F: Future>(future: F) -> F::Output {
    p2p_sim::Sim::new(1).block_on(future)
}

const YAMUX: Protocol = Protocol::from_static("/yamux/1.0.0");
const MPLEX: Protocol = Protocol::from_static("/mplex/6.7.0");

type Outcome<Io> = Result<Authenticated<Io>, SecurityError>;

#[test]
fn the_handshakes_of_the_vectors_come_out_byte_for_byte() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/noise.json")).unwrap();
    let cases = vectors["libp2p_handshakes"].as_array().unwrap();
    let muxers = [(vec![], vec![]), (vec![YAMUX, MPLEX], vec![MPLEX, YAMUX])];
    assert_eq!(cases.len(), muxers.len());
    for (case, (initiators, responders)) in cases.iter().zip(muxers) {
        let noise = |side: &Value| {
            let bytes = |name: &str| <[u8; 32]>::try_from(unhex(&side[name])).unwrap();
            let identity = Keypair::ed25519_from_seed(bytes("identity_seed_hex"));
            assert_eq!(
                identity.to_peer_id().to_string(),
                side["peer_id"].as_str().unwrap()
            );
            let (key, ephemeral) = (bytes("static_private_hex"), bytes("ephemeral_private_hex"));
            Noise::with_fixed_keys(&identity, Config::default(), key, ephemeral).unwrap()
        };
        let (near, far) = link();
        let (sent, answered) = (near.writes(), far.writes());
        let (initiator, responder) = (noise(&case["initiator"]), noise(&case["responder"]));
        let (dialed, listened) = block_on(join(
            async {
                let mut remote = initiator
                    .secure(near, Role::Dialer, None, &initiators)
                    .await
                    .unwrap();
                remote
                    .channel
                    .write_all(b"hello from initiator")
                    .await
                    .unwrap();
                remote.channel.flush().await.unwrap();
                remote
            },
            async {
                let mut remote = responder
                    .secure(far, Role::Listener, None, &responders)
                    .await
                    .unwrap();
                let mut hello = [0; 20];
                remote.channel.read_exact(&mut hello).await.unwrap();
                assert_eq!(&hello, b"hello from initiator");
                remote
                    .channel
                    .write_all(b"hello from responder")
                    .await
                    .unwrap();
                remote.channel.flush().await.unwrap();
                remote
            },
        ));
        let wire = |sender: &str| -> Vec<u8> {
            let messages = case["wire"].as_array().unwrap().iter();
            messages
                .filter(|message| message["sender"] == sender)
                .flat_map(|message| unhex(&message["hex"]))
                .collect()
        };
        assert_eq!(sent.all().concat(), wire("initiator"));
        assert_eq!(answered.all().concat(), wire("responder"));
        let hash = unhex(&case["handshake_hash_hex"]);
        assert_eq!(
            [dialed.handshake_hash, listened.handshake_hash].map(|hash| hash.to_vec()),
            [hash.clone(), hash]
        );
        let agreed = (!initiators.is_empty()).then_some(YAMUX);
        assert_eq!((&dialed.muxer, &listened.muxer), (&agreed, &agreed));
    }
}

#[test]
fn each_end_learns_who_the_other_is() {
    for listener in [
        Keypair::generate_ed25519(),
        Keypair::generate(p2p_keys::KeyType::Secp256k1).unwrap(),
        Keypair::generate(p2p_keys::KeyType::Ecdsa).unwrap(),
        Keypair::generate_rsa(2048).unwrap(),
    ] {
        let dialer = Keypair::generate_ed25519();
        let (dialed, listened) = meet(&dialer, Some(listener.to_peer_id()), &[], &listener, &[]);
        assert_eq!(dialed.unwrap().public_key, *listener.public());
        assert_eq!(listened.unwrap().public_key, *dialer.public());
    }
}

#[test]
fn the_first_muxer_of_the_dialer_that_both_have_is_used() {
    let other = || Protocol::from_static("/other/1");
    for (dialer, listener, agreed) in [
        (vec![YAMUX, MPLEX], vec![MPLEX, YAMUX], Some(YAMUX)),
        (vec![MPLEX, YAMUX], vec![YAMUX, MPLEX], Some(MPLEX)),
        (vec![other(), MPLEX], vec![YAMUX, MPLEX], Some(MPLEX)),
        (vec![YAMUX], vec![], None),
        (vec![], vec![YAMUX], None),
        (vec![], vec![], None),
    ] {
        let (dialed, listened) = strangers(&dialer, &listener);
        assert_eq!(dialed.unwrap().muxer, agreed);
        assert_eq!(listened.unwrap().muxer, agreed);
    }
}

#[test]
fn ends_without_a_common_muxer_do_not_connect() {
    let (dialed, listened) = strangers(&[YAMUX], &[MPLEX]);
    let error = dialed.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no multiplexer in common: we offer [/yamux/1.0.0], the remote [\"/mplex/6.7.0\"]"
    );
    assert!(matches!(listened, Err(SecurityError::Io(_))));
}

/// Dialing costs one round trip, and three writes in all: header, `/noise` and message 1; header,
/// `/noise` and message 2; message 3 with the first bytes of what follows.
#[test]
fn a_lazily_negotiated_handshake_takes_three_writes_in_all() {
    let (alice, bob) = (
        noise(&Keypair::generate_ed25519()),
        noise(&Keypair::generate_ed25519()),
    );
    let (near, far) = link();
    let (sent, answered) = (near.writes(), far.writes());
    block_on(join(
        async {
            let stream = multistream::dial_lazy(near, PROTOCOL);
            let mut remote = alice
                .secure(stream, Role::Dialer, None, &[YAMUX])
                .await
                .unwrap();
            assert_eq!((sent.count(), answered.count()), (1, 1));
            remote.channel.write_all(b"muxer").await.unwrap();
            remote.channel.flush().await.unwrap();
        },
        async {
            let config = multistream::Config::default();
            let (_, stream) = multistream::listen(far, &[PROTOCOL], &config)
                .await
                .unwrap();
            let mut remote = bob
                .secure(stream, Role::Listener, None, &[YAMUX])
                .await
                .unwrap();
            let mut bytes = [0; 5];
            remote.channel.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, b"muxer");
        },
    ));
    assert_eq!((sent.count(), answered.count()), (2, 1));
    let first = b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20";
    assert_eq!(sent.all()[0][..first.len()], first[..]);
}

#[test]
fn it_works_as_a_trait_object() {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (near, far) = link();
    let [dialer, listener]: [Box<dyn Security>; 2] =
        [Box::new(noise(&alice)), Box::new(noise(&bob))];
    assert_eq!(dialer.protocol(), PROTOCOL);
    let (near, far): (BoxIo, BoxIo) = (Box::new(near), Box::new(far));
    let (dialed, listened) = block_on(join(
        async {
            let dial = dialer.secure(near, Role::Dialer, None, vec![YAMUX]);
            let mut secured = dial.await.unwrap();
            secured.io.flush().await.unwrap();
            secured
        },
        listener.secure(far, Role::Listener, None, vec![YAMUX]),
    ));
    let listened = listened.unwrap();
    assert_eq!(
        (dialed.peer, listened.peer),
        (bob.to_peer_id(), alice.to_peer_id())
    );
    assert_eq!(dialed.public_key, bob.public().to_protobuf());
    assert_eq!(listened.muxer, Some(YAMUX));
}

#[test]
fn a_dialer_that_finds_the_wrong_peer_does_not_show_who_it_is() {
    let (alice, bob) = (
        noise(&Keypair::generate_ed25519()),
        Keypair::generate_ed25519(),
    );
    let expected = Keypair::generate_ed25519().to_peer_id();
    let (near, far) = link();
    let sent = near.writes();
    let (dialed, listened) = block_on(join(
        alice.secure(near, Role::Dialer, Some(expected), &[]),
        noise(&bob).secure(far, Role::Listener, None, &[]),
    ));
    let error = dialed.unwrap_err();
    assert!(matches!(
        &error,
        SecurityError::WrongPeer { expected: e, found } if *e == expected && *found == bob.to_peer_id()
    ));
    assert_eq!(error.blame(), Blame::Remote);
    assert_eq!(sent.count(), 1, "message 1 and nothing more");
    assert!(matches!(listened, Err(SecurityError::Io(_))));
}

#[test]
fn a_listener_can_expect_somebody_too() {
    let (alice, bob) = (
        Keypair::generate_ed25519(),
        noise(&Keypair::generate_ed25519()),
    );
    let expected = Keypair::generate_ed25519().to_peer_id();
    let (near, far) = link();
    let (_, listened) = block_on(join(
        dial(&alice, near, None, &[]),
        bob.secure(far, Role::Listener, Some(expected), &[]),
    ));
    assert!(
        matches!(listened, Err(SecurityError::WrongPeer { found, .. }) if found == alice.to_peer_id())
    );
}

#[test]
fn two_dialers_do_not_understand_each_other() {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (near, far) = link();
    let (one, two) = block_on(join(
        dial(&alice, near, None, &[]),
        dial(&bob, far, None, &[]),
    ));
    let too_short = HandshakeError::TooShort { len: 32, min: 96 };
    assert_eq!(protocol_error(one), too_short);
    assert_eq!(protocol_error(two), too_short);
}

/// Attack: identities that are not what they claim. The remote's static key is fine; what its
/// payload says of it is not.
#[test]
fn an_identity_that_is_not_proven_is_refused_in_both_roles() {
    let identity = Keypair::generate_ed25519();
    let key = identity.public().as_protobuf();
    let sign = |identity: &Keypair, prefix: &str, static_key: &[u8]| {
        identity
            .sign(&[prefix.as_bytes(), static_key].concat())
            .unwrap()
    };
    const PREFIX: &str = "noise-libp2p-static-key:";
    let too_many_bits = field(2, &[0x30; 3000]);
    let rsa_16384 = [&[0x08, 0x00][..], &too_many_bits].concat();
    type Forge<'a> = Box<dyn Fn(&[u8]) -> Vec<u8> + 'a>;
    let cases: [(&str, Forge<'_>, HandshakeError); 9] = [
        (
            "signed by another key",
            Box::new(|s| {
                [
                    field(1, key),
                    field(2, &sign(&Keypair::generate_ed25519(), PREFIX, s)),
                ]
                .concat()
            }),
            HandshakeError::BadSignature,
        ),
        (
            "another static key signed",
            Box::new(|_| [field(1, key), field(2, &sign(&identity, PREFIX, &[7; 32]))].concat()),
            HandshakeError::BadSignature,
        ),
        (
            "without the prefix",
            Box::new(|s| [field(1, key), field(2, &sign(&identity, "", s))].concat()),
            HandshakeError::BadSignature,
        ),
        (
            "with the prefix of another protocol",
            Box::new(|s| {
                [
                    field(1, key),
                    field(2, &sign(&identity, "libp2p-tls-handshake:", s)),
                ]
                .concat()
            }),
            HandshakeError::BadSignature,
        ),
        (
            "nothing at all",
            Box::new(|_| Vec::new()),
            HandshakeError::Payload,
        ),
        (
            "no signature",
            Box::new(|_| field(1, key)),
            HandshakeError::Payload,
        ),
        (
            "no key",
            Box::new(|s| field(2, &sign(&identity, PREFIX, s))),
            HandshakeError::Payload,
        ),
        (
            "no protobuf",
            Box::new(|_| vec![0xff; 40]),
            HandshakeError::Payload,
        ),
        (
            "an RSA key of 16384 bits",
            Box::new(|s| [field(1, &rsa_16384), field(2, &sign(&identity, PREFIX, s))].concat()),
            HandshakeError::Key(DecodeKeyError::TooLong {
                len: 3005,
                max: 1100,
            }),
        ),
    ];
    for (name, forge, expected) in cases {
        let error = protocol_error(dialed_by_us(&*forge));
        assert_eq!(error, expected, "{name}, from a listener");
        let error = protocol_error(listened_by_us(&*forge));
        assert_eq!(error, expected, "{name}, from a dialer");
    }
}

#[test]
fn unknown_fields_and_a_payload_in_message_1_are_ignored() {
    let identity = Keypair::generate_ed25519();
    let extensions = [
        field(1, b"certhash"),
        field(2, b"/yamux/1.0.0"),
        field(9, b"news"),
    ]
    .concat();
    let forge = |static_key: &[u8]| {
        let signed = [&b"noise-libp2p-static-key:"[..], static_key].concat();
        [
            field(3, b"early data of old"),
            field(1, identity.public().as_protobuf()),
            field(4, &extensions),
            field(2, &identity.sign(&signed).unwrap()),
            field(100, b"more news"),
        ]
        .concat()
    };
    let remote = dialed_by_us(&forge).unwrap();
    assert_eq!(
        (remote.public_key, remote.muxer),
        (identity.public().clone(), Some(YAMUX))
    );
    // This dialer also puts a payload into message 1.
    let remote = listened_by_us(&forge).unwrap();
    assert_eq!(
        (remote.public_key, remote.muxer),
        (identity.public().clone(), Some(YAMUX))
    );
}

#[test]
fn a_long_list_of_strange_muxers_is_shown_in_part() {
    let identity = Keypair::generate_ed25519();
    let forge = |static_key: &[u8]| {
        let signed = [&b"noise-libp2p-static-key:"[..], static_key].concat();
        let muxers: Vec<u8> = (0..500).flat_map(|_| field(2, &[0xff; 4])).collect();
        [
            field(1, identity.public().as_protobuf()),
            field(2, &identity.sign(&signed).unwrap()),
            field(4, &muxers),
        ]
        .concat()
    };
    let Err(SecurityError::NoCommonMuxer { theirs, .. }) = dialed_by_us(&forge) else {
        panic!("nothing in common")
    };
    assert_eq!(theirs.len(), 8);
}

/// Attack: a message that is too long, too short, or never comes.
#[test]
fn a_long_message_is_refused_by_its_prefix() {
    let alice = noise(&Keypair::generate_ed25519());
    for role in [Role::Dialer, Role::Listener] {
        let (near, mut far) = link();
        let outcome = block_on(async {
            far.write_all(&4097u16.to_be_bytes()).await.unwrap();
            alice.secure(near, role, None, &[]).await
        });
        assert_eq!(
            protocol_error(outcome),
            HandshakeError::TooLong {
                len: 4097,
                max: 4096
            }
        );
        let (near, mut far) = link();
        let outcome = block_on(async {
            far.write_all(&[0, 0]).await.unwrap();
            alice.secure(near, role, None, &[]).await
        });
        assert!(matches!(
            protocol_error(outcome),
            HandshakeError::TooShort { len: 0, .. }
        ));
    }
}

/// Attack: the remote falls silent at each byte of its handshake. Nothing but the caller's
/// deadline ends the wait, and dropping the future closes the link.
#[test]
fn a_remote_that_falls_silent_keeps_us_waiting_and_no_longer_than_we_like() {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (to_listener, to_dialer) = transcript(&alice, &bob);
    for (role, identity, bytes) in [
        (Role::Listener, &bob, to_listener),
        (Role::Dialer, &alice, to_dialer),
    ] {
        for silence in [0, 1, 2, 17, 33, 34, 100, bytes.len() - 1] {
            let (near, mut far) = link();
            let ours = near.writes();
            let noise = noise_with_known_keys(identity);
            block_on(async {
                far.write_all(&bytes[..silence.min(bytes.len() - 1)])
                    .await
                    .unwrap();
                let mut handshake = Box::pin(noise.secure(near, role, None, &[]));
                assert!(
                    poll_immediate(&mut handshake).await.is_none(),
                    "{role} after {silence}"
                );
                drop(handshake);
            });
            assert!(ours.closed());
        }
    }
}

#[test]
fn a_remote_that_hangs_up_during_the_handshake_is_an_error() {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (to_listener, _) = transcript(&alice, &bob);
    for cut in 0..to_listener.len() {
        let (near, mut far) = link();
        let outcome = block_on(async {
            far.write_all(&to_listener[..cut]).await.unwrap();
            far.close().await.unwrap();
            noise_with_known_keys(&bob)
                .secure(near, Role::Listener, None, &[])
                .await
        });
        let Err(SecurityError::Io(error)) = outcome else {
            panic!("{cut}")
        };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_handshake_survives_every_split(step in 1usize..40, capacity in 1usize..80) {
        let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let (near, far) = narrow_link(step, capacity);
        let listener = noise(&bob);
        let (dialed, listened) = block_on(join(
            dial(&alice, near, Some(bob.to_peer_id()), &[YAMUX]),
            listener.secure(far, Role::Listener, None, &[MPLEX, YAMUX]),
        ));
        prop_assert_eq!(dialed.unwrap().muxer, Some(YAMUX));
        prop_assert_eq!(listened.unwrap().muxer, Some(YAMUX));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), dialer: bool) {
        let role = if dialer { Role::Dialer } else { Role::Listener };
        let (near, mut far) = link();
        let noise = noise(&Keypair::ed25519_from_seed([1; 32]));
        let outcome = block_on(async {
            far.write_all(&bytes).await.unwrap();
            far.close().await.unwrap();
            noise.secure(near, role, None, &[YAMUX]).await
        });
        prop_assert!(outcome.is_err());
    }
}

fn noise(identity: &Keypair) -> Noise {
    Noise::new(identity).unwrap()
}

fn noise_with_known_keys(identity: &Keypair) -> Noise {
    Noise::with_fixed_keys(identity, Config::default(), [3; 32], [5; 32]).unwrap()
}

/// Dials and flushes, so that the listener gets message 3.
async fn dial(
    identity: &Keypair,
    io: End,
    expect: Option<PeerId>,
    muxers: &[Protocol],
) -> Outcome<End> {
    let mut remote = noise(identity)
        .secure(io, Role::Dialer, expect, muxers)
        .await?;
    remote.channel.flush().await?;
    Ok(remote)
}

fn meet(
    dialer: &Keypair,
    expect: Option<PeerId>,
    dialers: &[Protocol],
    listener: &Keypair,
    listeners: &[Protocol],
) -> (Outcome<End>, Outcome<End>) {
    let (near, far) = link();
    let listener = noise(listener);
    let listening = listener.secure(far, Role::Listener, None, listeners);
    block_on(join(dial(dialer, near, expect, dialers), listening))
}

fn strangers(dialers: &[Protocol], listeners: &[Protocol]) -> (Outcome<End>, Outcome<End>) {
    let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    meet(&alice, None, dialers, &bob, listeners)
}

/// We dial a listener whose payload is what `forge` makes of its static key.
fn dialed_by_us(forge: &dyn Fn(&[u8]) -> Vec<u8>) -> Outcome<End> {
    let (near, mut far) = link();
    let (ours, muxers) = (noise(&Keypair::generate_ed25519()), [YAMUX]);
    block_on(async {
        let mut dialing = pin!(ours.secure(near, Role::Dialer, None, &muxers));
        assert!(poll_immediate(&mut dialing).await.is_none());
        let (_, responding) = respond(&[], &receive(&mut far).await).unwrap();
        let key = DhKey::generate().unwrap();
        let payload = forge(key.public());
        let (second, _) = responding
            .write(DhKey::generate().unwrap(), &key, &payload)
            .unwrap();
        send(&mut far, &second).await;
        dialing.await
    })
}

/// We listen to a dialer whose payload is what `forge` makes of its static key.
fn listened_by_us(forge: &dyn Fn(&[u8]) -> Vec<u8>) -> Outcome<End> {
    let (near, mut far) = link();
    let (ours, muxers) = (noise(&Keypair::generate_ed25519()), [YAMUX]);
    block_on(async {
        let (first, initiated) = initiate(&[], DhKey::generate().unwrap(), b"not for you");
        send(&mut far, &first).await;
        let mut listening = pin!(ours.secure(near, Role::Listener, None, &muxers));
        assert!(poll_immediate(&mut listening).await.is_none());
        let (_, proven) = initiated.read(&receive(&mut far).await).unwrap();
        let key = DhKey::generate().unwrap();
        let (third, _) = proven.write(&key, &forge(key.public())).unwrap();
        send(&mut far, &third).await;
        listening.await
    })
}

/// What a listener and a dialer with known keys hear in a good handshake.
fn transcript(dialer: &Keypair, listener: &Keypair) -> (Vec<u8>, Vec<u8>) {
    let (near, far) = link();
    let (sent, answered) = (near.writes(), far.writes());
    let (dialer, listener) = (
        noise_with_known_keys(dialer),
        noise_with_known_keys(listener),
    );
    let (dialed, listened) = block_on(join(
        async {
            let mut remote = dialer.secure(near, Role::Dialer, None, &[]).await?;
            remote.channel.flush().await?;
            Ok::<_, SecurityError>(remote)
        },
        listener.secure(far, Role::Listener, None, &[]),
    ));
    assert!(dialed.is_ok() && listened.is_ok());
    (sent.all().concat(), answered.all().concat())
}

fn protocol_error(outcome: Outcome<End>) -> HandshakeError {
    let error = outcome.unwrap_err();
    let SecurityError::Protocol(source) = error else {
        panic!("{error:?}")
    };
    *source.into_inner().downcast().unwrap()
}

async fn send(io: &mut End, message: &[u8]) {
    let len = u16::try_from(message.len()).unwrap().to_be_bytes();
    io.write_all(&[&len, message].concat()).await.unwrap();
}

async fn receive(io: &mut End) -> Vec<u8> {
    let mut len = [0; 2];
    io.read_exact(&mut len).await.unwrap();
    let mut message = vec![0; u16::from_be_bytes(len).into()];
    io.read_exact(&mut message).await.unwrap();
    message
}

/// A protobuf field of bytes.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let varint = |value: u64| p2p_core::uvarint::encode(value).as_slice().to_vec();
    [
        varint(u64::from(number << 3 | 2)),
        varint(bytes.len() as u64),
        bytes.to_vec(),
    ]
    .concat()
}

fn unhex(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}
