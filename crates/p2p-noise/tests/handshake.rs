//! The handshake alone: the published vectors, another implementation in both roles, and bytes
//! that are none of its messages.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use p2p_noise::HandshakeError;
use p2p_noise::handshake::{
    DhKey, Initiated, Proven, Responded, Responding, Session, initiate, respond,
};
use proptest::prelude::*;
use serde_json::Value;

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_SHA256";

#[test]
fn the_published_vectors_come_out_byte_for_byte() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/noise.json")).unwrap();
    for case in vectors["noise_vectors"].as_array().unwrap() {
        let key = |name: &str| DhKey::from_bytes(&unhex(&case[name]).try_into().unwrap()).unwrap();
        let prologue = unhex(&case["init_prologue"]);
        let messages: Vec<(Vec<u8>, Vec<u8>)> = case["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| (unhex(&message["payload"]), unhex(&message["ciphertext"])))
            .collect();
        let [one, two, three, transport @ ..] = &messages[..] else {
            panic!("three messages and some records")
        };

        let (sent, initiated) = initiate(&prologue, key("init_ephemeral"), &one.0);
        assert_eq!(sent, one.1);
        let (payload, responding) = respond(&prologue, &sent).unwrap();
        assert_eq!(payload, one.0);
        let (sent, responded) = responding
            .write(key("resp_ephemeral"), &key("resp_static"), &two.0)
            .unwrap();
        assert_eq!(sent, two.1);
        let (payload, proven) = initiated.read(&sent).unwrap();
        assert_eq!(payload, two.0);
        assert_eq!(proven.remote_static(), key("resp_static").public());
        let (sent, mut initiator) = proven.write(&key("init_static"), &three.0).unwrap();
        assert_eq!(sent, three.1);
        let (payload, mut responder) = responded.read(&sent).unwrap();
        assert_eq!(payload, three.0);
        assert_eq!(responder.remote_static, *key("init_static").public());
        assert_eq!(initiator.hash, responder.hash);
        if let Some(hash) = case.get("handshake_hash") {
            assert_eq!(initiator.hash[..], unhex(hash));
        }

        // Records alternate, and the responder has the fourth message of the exchange.
        for (index, (plain, sealed)) in transport.iter().enumerate() {
            let (from, to) = if index % 2 == 0 {
                (&mut responder, &mut initiator)
            } else {
                (&mut initiator, &mut responder)
            };
            assert_eq!(from.seal(plain).unwrap(), *sealed);
            assert_eq!(to.open(sealed).unwrap(), *plain);
        }
    }
}

/// The points of small order, and others that are the same modulo 2^255 - 19: each makes the
/// Diffie-Hellman result zero, whatever our key. The static keys are tested where they can be
/// forged, in `src/handshake.rs`.
#[test]
fn ephemeral_keys_of_small_order_are_refused_in_both_roles() {
    const ORDER_8: [&str; 2] = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let near_p = |low: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (low, 0x7f);
        bytes
    };
    let mut small = vec![[0; 32], near_p(0xec), near_p(0xed), near_p(0xee)];
    let mut one = [0; 32];
    one[0] = 1;
    small.push(one);
    small.extend(ORDER_8.map(|hex| <[u8; 32]>::try_from(unhex(&hex.into())).unwrap()));

    for point in small {
        // As the ephemeral key of message 1.
        let (_, responding) = respond(&[], &point).unwrap();
        let error = responding.write(new_key(), &new_key(), &[]).err();
        assert_eq!(error, Some(HandshakeError::BadPublicKey));
        // As the ephemeral key of message 2.
        let (_, initiated) = initiate(&[], new_key(), &[]);
        let error = initiated.read(&[&point[..], &[0; 64]].concat()).err();
        assert_eq!(error, Some(HandshakeError::BadPublicKey));
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let flips = |len: usize| (0..len * 8).step_by(7);
    let second_len = states().1.0.len();
    for bit in flips(second_len) {
        let ((_, initiated), (mut second, _)) = states();
        second[bit / 8] ^= 1 << (bit % 8);
        assert!(initiated.read(&second).is_err(), "bit {bit} of message 2");
    }
    let third_len = after_second().1.len();
    for bit in flips(third_len) {
        let (responded, mut third) = after_second();
        third[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            responded.read(&third).err(),
            Some(HandshakeError::Decrypt),
            "bit {bit} of message 3"
        );
    }
    // Message 1 has nothing to authenticate it; message 2 is what fails.
    let ((mut first, initiated), _) = states();
    first[3] ^= 1;
    let (second, _) = answer(&first);
    assert!(initiated.read(&second).is_err());
}

#[test]
fn a_message_cut_or_replayed_is_refused() {
    for cut in 0..32 {
        let error = respond(&[], &[7; 32][..cut]).err();
        assert_eq!(error, Some(HandshakeError::TooShort { len: cut, min: 32 }));
    }
    let second_len = states().1.0.len();
    for cut in 0..second_len {
        let ((_, initiated), (second, _)) = states();
        assert!(initiated.read(&second[..cut]).is_err(), "{cut}");
    }
    let third_len = after_second().1.len();
    for cut in 0..third_len {
        let (responded, third) = after_second();
        assert!(responded.read(&third[..cut]).is_err(), "{cut}");
    }
    // Messages of another handshake, with the same keys everywhere else.
    let ((_, initiated), _) = states();
    let (_, (other_second, _)) = states();
    assert_eq!(
        initiated.read(&other_second).err(),
        Some(HandshakeError::Decrypt)
    );
    let (responded, _) = after_second();
    let (_, other_third) = after_second();
    assert_eq!(
        responded.read(&other_third).err(),
        Some(HandshakeError::Decrypt)
    );
}

#[test]
fn another_prologue_is_another_handshake() {
    let (first, initiated) = initiate(b"one", new_key(), &[]);
    let (_, responding) = respond(b"two", &first).unwrap();
    let (second, _) = responding.write(new_key(), &new_key(), &[]).unwrap();
    assert_eq!(initiated.read(&second).err(), Some(HandshakeError::Decrypt));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn snow_as_responder_agrees(payloads in payloads(), prologue in bytes(64), records in records()) {
        let remote_static = new_snow_key();
        let mut remote = builder(&prologue, &remote_static).build_responder().unwrap();
        let own_static = new_key();

        let (first, initiated) = initiate(&prologue, new_key(), &payloads[0]);
        prop_assert_eq!(&snow_read(&mut remote, &first), &payloads[0]);
        let second = snow_write(&mut remote, &payloads[1]);
        let (payload, proven) = initiated.read(&second).unwrap();
        prop_assert_eq!(&payload, &payloads[1]);
        prop_assert_eq!(proven.remote_static()[..].to_vec(), remote_static.public);
        let (third, ours) = proven.write(&own_static, &payloads[2]).unwrap();
        prop_assert_eq!(&snow_read(&mut remote, &third), &payloads[2]);
        prop_assert_eq!(remote.get_remote_static().unwrap(), own_static.public());
        same_session(ours, remote, &records);
    }

    #[test]
    fn snow_as_initiator_agrees(payloads in payloads(), prologue in bytes(64), records in records()) {
        let remote_static = new_snow_key();
        let mut remote = builder(&prologue, &remote_static).build_initiator().unwrap();
        let own_static = new_key();

        let first = snow_write(&mut remote, &payloads[0]);
        let (payload, responding) = respond(&prologue, &first).unwrap();
        prop_assert_eq!(&payload, &payloads[0]);
        let (second, responded) = responding.write(new_key(), &own_static, &payloads[1]).unwrap();
        prop_assert_eq!(&snow_read(&mut remote, &second), &payloads[1]);
        let third = snow_write(&mut remote, &payloads[2]);
        let (payload, ours) = responded.read(&third).unwrap();
        prop_assert_eq!(&payload, &payloads[2]);
        prop_assert_eq!(ours.remote_static[..].to_vec(), remote_static.public);
        same_session(ours, remote, &records);
    }

    #[test]
    fn arbitrary_bytes_are_refused_in_every_state(message in bytes(300)) {
        if let Ok((_, responding)) = respond(&[], &message) {
            let _ = responding.write(new_key(), &new_key(), &[]);
        }
        let ((_, initiated), (_, responded)) = states();
        prop_assert!(initiated.read(&message).is_err());
        prop_assert!(responded.read(&message).is_err());
    }
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..max)
}

fn payloads() -> impl Strategy<Value = [Vec<u8>; 3]> {
    [bytes(400), bytes(400), bytes(400)]
}

fn records() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    proptest::collection::vec((any::<bool>(), bytes(2000)), 0..8)
}

fn new_key() -> DhKey {
    DhKey::generate().unwrap()
}

fn new_snow_key() -> snow::Keypair {
    snow::Builder::new(PATTERN.parse().unwrap())
        .generate_keypair()
        .unwrap()
}

fn builder<'a>(prologue: &'a [u8], key: &'a snow::Keypair) -> snow::Builder<'a> {
    snow::Builder::new(PATTERN.parse().unwrap())
        .prologue(prologue)
        .unwrap()
        .local_private_key(&key.private)
        .unwrap()
}

fn snow_write(state: &mut snow::HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 1024];
    let len = state.write_message(payload, &mut message).unwrap();
    message.truncate(len);
    message
}

fn snow_read(state: &mut snow::HandshakeState, message: &[u8]) -> Vec<u8> {
    let mut payload = vec![0; 1024];
    let len = state.read_message(message, &mut payload).unwrap();
    payload.truncate(len);
    payload
}

/// Both ends hold the same hash and keys: records open at the other end, in order.
fn same_session(mut ours: Session, remote: snow::HandshakeState, records: &[(bool, Vec<u8>)]) {
    assert_eq!(remote.get_handshake_hash(), ours.hash);
    let mut remote = remote.into_transport_mode().unwrap();
    for (from_us, plain) in records {
        let mut buffer = vec![0; plain.len() + 16];
        if *from_us {
            let sealed = ours.seal(plain).unwrap();
            let len = remote.read_message(&sealed, &mut buffer).unwrap();
            assert_eq!(&buffer[..len], &plain[..]);
        } else {
            let len = remote.write_message(plain, &mut buffer).unwrap();
            assert_eq!(ours.open(&buffer[..len]).unwrap(), *plain);
        }
    }
}

type First = (Vec<u8>, Initiated);
type Second = (Vec<u8>, Responded);

/// A handshake after message 2 was sent.
fn states() -> (First, Second) {
    let (first, initiated) = initiate(&[], new_key(), &[]);
    let second = answer(&first);
    ((first, initiated), second)
}

fn answer(first: &[u8]) -> Second {
    let (_, responding): (_, Responding) = respond(&[], first).unwrap();
    responding
        .write(new_key(), &new_key(), b"listener")
        .unwrap()
}

/// A handshake after message 3 was sent.
fn after_second() -> (Responded, Vec<u8>) {
    let ((_, initiated), (second, responded)) = states();
    let (_, proven): (_, Proven) = initiated.read(&second).unwrap();
    let (third, _) = proven.write(&new_key(), b"dialer").unwrap();
    (responded, third)
}

fn unhex(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}
