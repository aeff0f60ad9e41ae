//! Our use of libsecp256k1 held against k256: the same keys, the same signatures, the same
//! verdicts.
#![cfg(feature = "secp256k1")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

use k256::ecdsa::signature::{Signer as _, Verifier as _};
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p2p_keys::{Keypair, PublicKey};
use proptest::prelude::*;

/// The order of the group.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

fn ours(scalar: &[u8; 32]) -> Option<Keypair> {
    Keypair::from_protobuf(&[&[8, 2, 0x12, 32], &scalar[..]].concat()).ok()
}

fn our_public(compressed: &[u8]) -> Option<PublicKey> {
    let len = u8::try_from(compressed.len()).unwrap();
    PublicKey::from_protobuf(&[&[8, 2, 0x12, len], compressed].concat()).ok()
}

fn k256_verifies(public: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let key = VerifyingKey::from_sec1_bytes(&public.to_protobuf()[4..]).unwrap();
    Signature::from_der(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

/// `a - b`, big endian.
fn minus(a: [u8; 32], b: &[u8]) -> [u8; 32] {
    let mut difference = [0; 32];
    let mut borrow = 0;
    for at in (0..32).rev() {
        let digit = i16::from(a[at]) - i16::from(b[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = digit.to_le_bytes()[0];
    }
    difference
}

/// A signature in DER, with numbers of any size.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[zeros.min(number.len() - 1)..];
        let sign = vec![0; usize::from(number[0] >= 0x80)];
        let len = (number.len() + sign.len()) as u8;
        [&[2, len][..], &sign, number].concat()
    };
    let numbers = [integer(r), integer(s)].concat();
    [&[0x30, numbers.len() as u8][..], &numbers].concat()
}

/// `r` and `s` of a signature of ours.
fn split(signature: &[u8]) -> ([u8; 32], [u8; 32]) {
    let (r, s) = Signature::from_der(signature).unwrap().split_bytes();
    (r.into(), s.into())
}

#[test]
fn the_high_s_of_a_valid_signature_is_refused() {
    let pair = ours(&[9; 32]).unwrap();
    for message in [&b"one"[..], b"two", b"three"] {
        let signature = pair.sign(message).unwrap();
        let (r, s) = split(&signature);
        assert_eq!(der(&r, &s), signature);
        let high = der(&r, &minus(ORDER, &s));
        assert!(pair.public().verify(message, &signature));
        assert!(!pair.public().verify(message, &high));
    }
}

#[test]
fn numbers_at_or_above_the_order_or_zero_are_refused() {
    let pair = ours(&[9; 32]).unwrap();
    let (r, s) = split(&pair.sign(b"message").unwrap());
    let above = [0xff; 32];
    let longer = [&[1][..], &r].concat();
    for (r, s) in [
        (&ORDER[..], &s[..]),
        (&above, &s),
        (&longer, &s),
        (&[0], &s),
        (&r, &ORDER),
        (&r, &above),
        (&r, &longer),
        (&r, &[0]),
        (&[0], &[0]),
    ] {
        let signature = der(r, s);
        assert!(!pair.public().verify(b"message", &signature));
        assert!(!k256_verifies(pair.public(), b"message", &signature));
    }
}

#[test]
fn loose_der_is_refused() {
    let pair = ours(&[9; 32]).unwrap();
    let good = pair.sign(b"message").unwrap();
    let (r, s) = split(&good);
    let mut padded = vec![0x30, 0, 2, 34, 0, 0];
    padded.extend(r);
    padded.extend([2, 33, 0]);
    padded.extend(s);
    padded[1] = (padded.len() - 2) as u8;
    let mut long_length = vec![0x30, 0x81];
    long_length.extend(&good[1..]);
    let mut negative = vec![0x30, 68, 2, 32, 0x80];
    negative.extend(&r[1..]);
    negative.extend([2, 32]);
    negative.extend(s);
    for wrong in [
        padded,
        long_length,
        negative,
        [&good[..], &[0]].concat(),
        [&r[..], &s[..]].concat(),
    ] {
        assert!(!pair.public().verify(b"message", &wrong), "{wrong:02x?}");
    }
}

#[test]
fn scalars_outside_one_to_the_order_are_not_keys() {
    let one = minus(ORDER, &minus(ORDER, &[&[0; 31][..], &[1]].concat()));
    assert!(ours(&one).is_some());
    assert!(ours(&minus(ORDER, &one)).is_some());
    assert!(ours(&[0; 32]).is_none());
    assert!(ours(&ORDER).is_none());
    assert!(ours(&[0xff; 32]).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keys_and_signatures_are_those_of_k256(
        scalar in any::<[u8; 32]>(), message in proptest::collection::vec(any::<u8>(), 0..100)
    ) {
        let theirs = SigningKey::from_slice(&scalar).ok();
        let ours = ours(&scalar);
        prop_assert_eq!(ours.is_some(), theirs.is_some());
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
        let point = theirs.verifying_key().to_sec1_point(true);
        prop_assert_eq!(&ours.public().to_protobuf()[4..], point.as_bytes());

        let signature = ours.sign(&message).unwrap();
        let their_signature: Signature = theirs.sign(&message);
        let their_signature = their_signature.to_der();
        prop_assert_eq!(&signature[..], their_signature.as_bytes());
        prop_assert!(ours.public().verify(&message, &signature));
        prop_assert!(k256_verifies(ours.public(), &message, &signature));
    }

    #[test]
    fn a_changed_signature_gets_the_verdict_of_k256(
        scalar in 1u8.., message in any::<[u8; 8]>(),
        changes in proptest::collection::vec((0usize..80, any::<u8>()), 0..3)
    ) {
        let pair = ours(&[scalar; 32]).unwrap_or_else(|| ours(&[1; 32]).unwrap());
        let mut signature = pair.sign(&message).unwrap();
        for (at, byte) in changes {
            let at = at % signature.len();
            signature[at] = byte;
        }
        let verdict = pair.public().verify(&message, &signature);
        prop_assert_eq!(verdict, k256_verifies(pair.public(), &message, &signature));
    }

    #[test]
    fn compressed_points_get_the_verdict_of_k256(first in 0u8..6, x in any::<[u8; 32]>(), big in any::<bool>()) {
        let mut point = [&[first][..], &x].concat();
        if big {
            // Around the prime of the field, where x stops being one.
            point[1..29].fill(0xff);
        }
        // k256 knows a form of its own, 05.
        let theirs = first != 5 && VerifyingKey::from_sec1_bytes(&point).is_ok();
        prop_assert_eq!(our_public(&point).is_some(), theirs, "{:02x?}", point);
    }
}
