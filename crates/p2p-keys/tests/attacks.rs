//! What a hostile peer tries with keys and signatures.
#![cfg(feature = "secp256k1")]
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use common::{hex, list};
use p2p_keys::{
    Blame, DecodeKeyError, GenerateError, KeyType, Keypair, PeerId, PeerIdError, PeerIdExt as _,
    PublicKey,
};
use proptest::prelude::*;
use serde_json::Value;

#[test]
fn signatures_of_every_wrong_length_are_refused() {
    for key_type in KeyType::ALL {
        let pair = Keypair::generate(key_type).unwrap();
        let signature = pair.sign(b"message").unwrap();
        assert!(pair.public().verify(b"message", &signature));
        for len in 0..signature.len() {
            assert!(!pair.public().verify(b"message", &signature[..len]));
        }
        for extra in 1..80 {
            let longer = [&signature[..], &vec![0; extra]].concat();
            assert!(!pair.public().verify(b"message", &longer));
        }
    }
}

#[test]
fn ed25519_signatures_whose_s_is_not_below_the_order_are_refused() {
    /// The order of the group, little endian.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let pair = Keypair::ed25519_from_seed([7; 32]);
    let mut signature = pair.sign(b"message").unwrap();
    for _multiple in 1..8 {
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert_eq!(carry, 0, "the same number modulo the order");
        assert!(!pair.public().verify(b"message", &signature));
    }
}

#[test]
fn an_all_zero_signature_is_refused_by_every_type() {
    for key_type in KeyType::ALL {
        let public = Keypair::generate(key_type).unwrap().public().clone();
        for len in [0, 1, 64, 70, 256] {
            assert!(!public.verify(b"message", &vec![0; len]));
        }
        // r = s = 0, in DER.
        assert!(!public.verify(b"message", &[0x30, 6, 2, 1, 0, 2, 1, 0]));
    }
}

#[test]
fn a_peer_id_that_inlines_another_key_is_not_the_one_of_the_key() {
    let (ours, theirs) = (
        Keypair::ed25519_from_seed([1; 32]),
        Keypair::ed25519_from_seed([2; 32]),
    );
    let id = theirs.to_peer_id();
    assert_ne!(id, ours.to_peer_id());
    assert_eq!(id.inlined_key().as_ref(), Some(theirs.public()));
    let signature = ours.sign(b"message").unwrap();
    assert!(!id.inlined_key().unwrap().verify(b"message", &signature));
}

#[test]
fn an_inlined_key_that_is_not_one_is_no_key() {
    for inlined in [
        &b""[..],
        b"not a key",
        &[8, 1, 0x12, 31],
        &[8, 9, 0x12, 1, 0],
        &[0; 42],
    ] {
        let bytes = [&[0, inlined.len() as u8], inlined].concat();
        let id = PeerId::parse_bytes(&bytes).unwrap();
        assert_eq!(id.inlined_key(), None);
    }
    let hashed = Keypair::generate(KeyType::Ecdsa).unwrap().to_peer_id();
    assert_eq!(hashed.inlined_key(), None);
}

#[test]
fn peer_ids_with_other_lengths_codes_or_tails_are_refused() {
    let id = Keypair::ed25519_from_seed([1; 32]).to_peer_id().to_bytes();
    let hashed = [&[0x12, 32][..], &[7; 32]].concat();
    for wrong in [
        [&[0, 43][..], &[8; 43]].concat(),
        [&[0x12, 31][..], &[7; 31]].concat(),
        [&[0x12, 33][..], &[7; 33]].concat(),
        [&[0x13, 64][..], &[7; 64]].concat(),
        [&[0x92, 0x00, 32][..], &[7; 32]].concat(),
        [&[0x12, 0xa0, 0x00][..], &[7; 32]].concat(),
        [&id[..], &[0]].concat(),
        [&hashed[..], &[0]].concat(),
        id[..37].to_vec(),
        vec![0],
        vec![],
    ] {
        assert_eq!(PeerId::parse_bytes(&wrong), Err(PeerIdError::Multihash));
    }
}

#[test]
fn text_longer_than_any_peer_id_is_refused_before_it_is_decoded() {
    // Base58 is quadratic in its length: a megabyte would take minutes.
    for start in ["1", "Qm", "z", "b", "k"] {
        let len = 1_000_000 + start.len();
        let text = format!("{start}{}", "2".repeat(1_000_000));
        assert_eq!(
            PeerId::parse_any(&text),
            Err(PeerIdError::TooLong { len, max: 369 })
        );
    }
}

#[test]
fn cids_of_other_versions_or_without_one_are_refused() {
    let id = Keypair::ed25519_from_seed([1; 32]).to_peer_id().to_bytes();
    for prefix in [
        &[][..],
        &[0, 0x72],
        &[2, 0x72],
        &[1, 0x55],
        &[0x81, 0, 0x72],
    ] {
        let text = multibase::encode(multibase::Base::Base32Lower, [prefix, &id].concat());
        assert_eq!(PeerId::parse_any(&text), Err(PeerIdError::NotALibp2pKey));
    }
    for text in ["", "1", "Qm", "b", "é", "\0", "🚀", "Q", "12D3KooW0"] {
        assert!(PeerId::parse_any(text).is_err(), "{text}");
    }
}

/// CVE-2023-39533: an RSA key of unusual size makes every check of a signature slow.
#[test]
fn rsa_keys_outside_2048_to_8192_bits_are_refused_by_their_size() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/rsa_sizes.json")).unwrap();
    let message = vectors["message_utf8"].as_str().unwrap().as_bytes();
    for case in list(&vectors["keys"]) {
        let bits = usize::try_from(case["bits"].as_u64().unwrap()).unwrap();
        let public = PublicKey::from_protobuf(&hex(&case["public_key_protobuf_hex"]));
        let private = Keypair::from_protobuf(&hex(&case["private_key_protobuf_hex"]));
        if (2048..=8192).contains(&bits) {
            let (public, private) = (public.unwrap(), private.unwrap());
            let signature = hex(&case["signature_hex"]);
            assert_eq!(private.public(), &public, "{bits}");
            assert!(public.verify(message, &signature), "{bits}");
            assert_eq!(private.sign(message).unwrap(), signature, "{bits}");
            assert_eq!(
                *private.to_protobuf(),
                hex(&case["private_key_protobuf_hex"])
            );
        } else {
            assert_eq!(public.unwrap_err(), DecodeKeyError::RsaSize { bits });
            assert_eq!(private.unwrap_err(), DecodeKeyError::RsaSize { bits });
        }
    }
}

#[test]
fn rsa_keys_of_other_sizes_are_not_generated() {
    for bits in [0, 1024, 2047, 2056, 16384] {
        let refused = Keypair::generate_rsa(bits).unwrap_err();
        assert_eq!(refused, GenerateError::RsaSize { bits });
        assert_eq!(refused.blame(), Blame::Us);
    }
    let pair = Keypair::generate_rsa(3072).unwrap();
    assert_eq!(pair.sign(b"message").unwrap().len(), 3072 / 8);
}

/// CVE-2023-39533, the extreme: refused by length, before any of it is looked at.
#[test]
fn rsa_keys_of_65536_bits_are_refused_unread() {
    let modulus = [&[0][..], &[0xff; 8192]].concat();
    let key = rsa_public(&modulus, &[1, 0, 1]);
    let len = key.len();
    assert_eq!(
        PublicKey::from_protobuf(&key).unwrap_err(),
        DecodeKeyError::TooLong { len, max: 1100 }
    );
    assert_eq!(
        Keypair::from_protobuf(&key).unwrap_err(),
        DecodeKeyError::TooLong { len, max: 5000 }
    );
}

/// The other way to make RSA slow: an exponent as long as the modulus.
#[test]
fn rsa_exponents_that_are_long_even_or_one_are_refused() {
    let modulus = [&[0][..], &[0xff; 256]].concat();
    assert!(PublicKey::from_protobuf(&rsa_public(&modulus, &[1, 0, 1])).is_ok());
    for exponent in [
        &[1][..],
        &[2],
        &[0],
        &[1, 0, 0],
        &[1, 0, 0, 0, 1],
        &[0x7f; 256],
    ] {
        let refused = PublicKey::from_protobuf(&rsa_public(&modulus, exponent)).unwrap_err();
        assert!(matches!(
            refused,
            DecodeKeyError::Invalid {
                key_type: KeyType::Rsa,
                ..
            }
        ));
        assert_eq!(refused.blame(), Blame::Remote);
    }
}

/// CVE-2026-110789: lengths inside the DER of a key that make a parser loop or reserve.
#[test]
fn hostile_der_lengths_in_a_key_cost_no_more_than_its_bytes() {
    let honest = rsa_public(&[&[0][..], &[0xff; 256]].concat(), &[1, 0, 1]);
    assert!(PublicKey::from_protobuf(&honest).is_ok());
    let modulus_at = honest.len() - 256 - 5;
    for at in 5..modulus_at {
        for lengths in [
            &[0x80][..],
            &[0x81, 0x00],
            &[0x82, 0xff, 0xff],
            &[0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xff; 16],
        ] {
            let mut hostile = honest.clone();
            hostile[at..at + lengths.len()].copy_from_slice(lengths);
            assert!(PublicKey::from_protobuf(&hostile).is_err(), "at {at}");
        }
    }
}

#[test]
fn keys_in_a_second_encoding_are_refused() {
    let key = Keypair::ed25519_from_seed([1; 32]).public().to_protobuf();
    let (head, data) = key.split_at(4);
    for wrong in [
        [&[0x12, 0x20], data, &[8, 1]].concat(),
        [&[8, 1, 0x12, 0xa0, 0x00], data].concat(),
        [&[8, 0x81, 0, 0x12, 0x20], data].concat(),
        [head, data, &[0x18, 1]].concat(),
        [&[0x12, 0x20], data].concat(),
        [head, data, head, data].concat(),
    ] {
        let refused = PublicKey::from_protobuf(&wrong).unwrap_err();
        assert_eq!(refused, DecodeKeyError::NotAKey);
    }
    assert_eq!(
        PublicKey::from_protobuf(&[&[8, 4, 0x12, 0x20], data].concat()).unwrap_err(),
        DecodeKeyError::UnknownType(4)
    );
}

#[test]
fn p256_keys_off_the_curve_compressed_or_on_another_curve_are_refused() {
    let key = Keypair::generate(KeyType::Ecdsa).unwrap();
    let key = key.public().to_protobuf().to_vec();
    let mut off = key.clone();
    *off.last_mut().unwrap() ^= 1;
    let mut other_curve = key.clone();
    other_curve[4 + 22] = 0x22;
    let mut compressed = key[..key.len() - 32].to_vec();
    (compressed[3], compressed[5], compressed[4 + 24]) = (0x3b, 0x39, 0x22);
    compressed[4 + 26] = 0x02;
    for wrong in [off, other_curve, compressed] {
        let refused = PublicKey::from_protobuf(&wrong).unwrap_err();
        assert!(matches!(
            refused,
            DecodeKeyError::Invalid {
                key_type: KeyType::Ecdsa,
                ..
            }
        ));
    }
}

#[test]
fn private_keys_whose_halves_do_not_belong_together_are_refused() {
    let (one, two) = (
        Keypair::ed25519_from_seed([1; 32]).to_protobuf(),
        Keypair::ed25519_from_seed([2; 32]).to_protobuf(),
    );
    let mixed = [&one[..36], &two[36..]].concat();
    let legacy =
        |first: &[u8], second: &[u8]| [&[8, 1, 0x12, 96], &one[4..36], first, second].concat();
    assert!(Keypair::from_protobuf(&legacy(&one[36..], &one[36..])).is_ok());
    let p256 = Keypair::generate(KeyType::Ecdsa).unwrap().to_protobuf();
    let other = Keypair::generate(KeyType::Ecdsa).unwrap().to_protobuf();
    let point = p256.len() - 65;
    let mut rsa = Keypair::generate(KeyType::Rsa).unwrap().to_protobuf();
    let last = rsa.len() - 1;
    rsa[last] ^= 1;
    for wrong in [
        mixed,
        legacy(&one[36..], &two[36..]),
        legacy(&two[36..], &one[36..]),
        legacy(&two[36..], &two[36..]),
        [&p256[..point], &other[point..]].concat(),
        rsa.to_vec(),
    ] {
        let refused = Keypair::from_protobuf(&wrong).unwrap_err();
        assert!(
            matches!(refused, DecodeKeyError::Invalid { .. }),
            "{refused}"
        );
    }
}

#[test]
fn nothing_that_is_printed_contains_a_secret() {
    for key_type in KeyType::ALL {
        let pair = Keypair::generate(key_type).unwrap();
        let id = pair.to_peer_id();
        assert_eq!(format!("{pair:?}"), format!("Keypair({id})"));
        assert_eq!(format!("{pair:#?}"), format!("Keypair({id})"));
        let public = format!("{:?}", pair.public());
        assert_eq!(public, format!("PublicKey({key_type}, {id})"));
    }
}

#[test]
fn a_key_pair_signs_in_many_threads_at_once() {
    for key_type in KeyType::ALL {
        let pair = Keypair::generate(key_type).unwrap();
        let signatures: Vec<_> = std::thread::scope(|scope| {
            let sign = |message: u8| {
                let pair = pair.clone();
                scope.spawn(move || pair.sign(&[message]).unwrap())
            };
            let threads: Vec<_> = (0..8).map(sign).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        for (message, signature) in signatures.iter().enumerate() {
            assert!(pair.public().verify(&[message as u8], signature));
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_never_a_key_with_another_encoding(
        key_type in 0u8..6, data in proptest::collection::vec(any::<u8>(), 0..120), cut in 0usize..4
    ) {
        let mut bytes = vec![8, key_type, 0x12, data.len() as u8];
        bytes.extend(&data);
        bytes.truncate(bytes.len() - cut.min(data.len()));
        if let Ok(key) = PublicKey::from_protobuf(&bytes) {
            prop_assert_eq!(&key.to_protobuf(), &bytes);
            prop_assert!(!key.verify(b"message", &data));
        }
        if let Ok(pair) = Keypair::from_protobuf(&bytes) {
            prop_assert_eq!(&*pair.to_protobuf(), &bytes);
        }
    }

    #[test]
    fn a_changed_rsa_or_p256_key_never_panics(
        rsa in any::<bool>(), changes in proptest::collection::vec((0usize..300, any::<u8>()), 1..6)
    ) {
        let mut key = if rsa {
            rsa_public(&[&[0][..], &[0xff; 256]].concat(), &[1, 0, 1])
        } else {
            let mut point = P256_SPKI.to_vec();
            point.extend([7; 64]);
            [&[8, 3, 0x12, point.len() as u8][..], &point].concat()
        };
        for (at, byte) in changes {
            let at = at % key.len();
            key[at] = byte;
        }
        if let Ok(public) = PublicKey::from_protobuf(&key) {
            prop_assert_eq!(public.to_protobuf(), key);
            prop_assert!(!public.verify(b"message", &[1; 256]));
        }
    }

    #[test]
    fn every_prefix_of_a_key_is_refused(seed in any::<[u8; 32]>()) {
        let pair = Keypair::ed25519_from_seed(seed);
        let (public, private) = (pair.public().to_protobuf(), pair.to_protobuf());
        for cut in 0..public.len() {
            prop_assert!(PublicKey::from_protobuf(&public[..cut]).is_err());
        }
        for cut in 0..private.len() {
            prop_assert!(Keypair::from_protobuf(&private[..cut]).is_err());
        }
    }

    #[test]
    fn arbitrary_text_is_a_peer_id_in_all_its_forms_or_none(text in "[1Qmbkz]?[a-zA-Z0-9]{0,80}") {
        if let Ok(id) = PeerId::parse_any(&text) {
            prop_assert_eq!(PeerId::parse_any(&id.to_string()), Ok(id));
            prop_assert_eq!(PeerId::parse_bytes(&id.to_bytes()), Ok(id));
        }
    }

    #[test]
    fn every_peer_id_survives_all_text_forms(inlined in proptest::collection::vec(any::<u8>(), 0..=42)) {
        let bytes = [&[0, inlined.len() as u8][..], &inlined].concat();
        let id = PeerId::parse_bytes(&bytes).unwrap();
        for base in [
            multibase::Base::Base2, multibase::Base::Base10, multibase::Base::Base16Upper,
            multibase::Base::Base32Lower, multibase::Base::Base36Lower, multibase::Base::Base58Btc,
            multibase::Base::Base64Url, multibase::Base::Base256Emoji,
        ] {
            let text = multibase::encode(base, [&[1, 0x72][..], &bytes].concat());
            // An emoji is four bytes.
            prop_assert_eq!(PeerId::parse_any(&text), Ok(id), "{}", text);
        }
    }
}

const P256_SPKI: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// The protobuf of an RSA key; the numbers as they stand in their INTEGER.
fn rsa_public(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let algorithm = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let numbers = element(0x30, &[element(2, modulus), element(2, exponent)].concat());
    let key = element(3, &[&[0], &numbers[..]].concat());
    let data = element(0x30, &[element(0x30, &algorithm), key].concat());
    let mut protobuf = vec![8, 0, 0x12];
    protobuf.extend([data.len() as u8 | 0x80, (data.len() >> 7) as u8]);
    protobuf.extend(data);
    protobuf
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap();
    let header = match len {
        0..=0x7f => vec![tag, len as u8],
        0x80..=0xff => vec![tag, 0x81, len as u8],
        _ => [&[tag, 0x82][..], &len.to_be_bytes()].concat(),
    };
    [&header, content].concat()
}
