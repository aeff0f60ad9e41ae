//! The vectors of the specs, go-libp2p and js-libp2p for keys, signatures and peer ids.
#![cfg(feature = "secp256k1")]
#![expect(clippy::unwrap_used, reason = "a broken vector file is a failed test")]

mod common;

use common::{hex, list};
use p2p_keys::{
    CidBase, DecodeKeyError, KeyType, Keypair, PeerId, PeerIdError, PeerIdExt as _, PublicKey,
};
use serde_json::Value;

fn keys_and_signatures() -> Value {
    serde_json::from_str(include_str!("vectors/keys_and_signatures.json")).unwrap()
}

fn peer_ids() -> Value {
    serde_json::from_str(include_str!("vectors/peer_ids.json")).unwrap()
}

fn message(case: &Value) -> Vec<u8> {
    match case["message_utf8"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => hex(&case["message_hex"]),
    }
}

fn public_key(case: &Value) -> PublicKey {
    let protobuf = hex(&case["public_key_protobuf_hex"]);
    let key = PublicKey::from_protobuf(&protobuf).unwrap();
    assert_eq!(key.to_protobuf(), protobuf, "{case}");
    key
}

/// The pair of a case that has one, after checking both halves and both protobuf forms.
fn key_pair(case: &Value) -> Option<Keypair> {
    case.get("private_key_protobuf_hex")?;
    let protobuf = hex(&case["private_key_protobuf_hex"]);
    let pair = Keypair::from_protobuf(&protobuf).unwrap();
    assert_eq!(pair.public(), &public_key(case), "{case}");
    let legacy = case["note"]
        .as_str()
        .is_some_and(|note| note.contains("legacy"));
    if legacy {
        assert_eq!(pair.to_protobuf().len(), 4 + 64);
        let again = Keypair::from_protobuf(&pair.to_protobuf()).unwrap();
        assert_eq!(again.public(), pair.public());
    } else {
        assert_eq!(*pair.to_protobuf(), protobuf, "{case}");
    }
    Some(pair)
}

#[test]
fn signatures_of_other_implementations_verify_and_are_reproduced() {
    let vectors = keys_and_signatures();
    let mut reproduced = 0;
    for case in list(&vectors["signatures"]) {
        let (public, message) = (public_key(case), message(case));
        let signature = hex(&case["signature_hex"]);
        assert!(public.verify(&message, &signature), "{case}");
        assert_eq!(public.to_peer_id().to_string(), case["peer_id_base58"]);
        let Some(pair) = key_pair(case) else { continue };
        let ours = pair.sign(&message).unwrap();
        assert!(public.verify(&message, &ours), "{case}");
        if case["deterministic"] == true {
            assert_eq!(ours, signature, "{case}");
            reproduced += 1;
        }
    }
    assert_eq!(reproduced, 4);
}

#[test]
fn no_vector_verifies_after_a_flipped_bit() {
    let vectors = keys_and_signatures();
    for case in list(&vectors["signatures"]) {
        let (public, message) = (public_key(case), message(case));
        let signature = hex(&case["signature_hex"]);
        for bit in 0..signature.len() * 8 {
            let mut wrong = signature.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!public.verify(&message, &wrong), "bit {bit} of {case}");
        }
        let mut other = message.clone();
        other[0] ^= 1;
        assert!(!public.verify(&other, &signature), "{case}");
    }
}

#[test]
fn key_fixtures_are_read_or_refused_for_their_size() {
    let vectors = keys_and_signatures();
    for case in list(&vectors["key_fixtures"]) {
        match case["name"].as_str().unwrap() {
            "private" => assert_eq!(
                Keypair::from_protobuf(&hex(&case["key_protobuf_hex"])).unwrap_err(),
                DecodeKeyError::RsaSize { bits: 512 }
            ),
            "public" => assert_eq!(
                PublicKey::from_protobuf(&hex(&case["key_protobuf_hex"])).unwrap_err(),
                DecodeKeyError::RsaSize { bits: 512 }
            ),
            _ => assert!(key_pair(case).is_some()),
        }
    }
}

#[test]
fn keys_have_the_peer_ids_of_the_spec_in_every_form() {
    let vectors = peer_ids();
    for case in list(&vectors["keys"]) {
        let pair = key_pair(case).unwrap();
        let id = pair.to_peer_id();
        assert_eq!(id.to_bytes(), hex(&case["peer_id_multihash_hex"]));
        assert_eq!(id.to_string(), case["peer_id_base58"]);
        assert_eq!(id.to_cid(CidBase::Base32), case["peer_id_cid_base32"]);
        assert_eq!(id.to_cid(CidBase::Base36), case["peer_id_cid_base36"]);
        for field in ["peer_id_base58", "peer_id_cid_base32", "peer_id_cid_base36"] {
            let text = case[field].as_str().unwrap();
            assert_eq!(PeerId::parse_any(text), Ok(id), "{text}");
        }
        let inlined = matches!(pair.key_type(), KeyType::Ed25519 | KeyType::Secp256k1);
        assert_eq!(id.inlined_key().as_ref() == Some(pair.public()), inlined);
        let signature = pair.sign(b"anything").unwrap();
        assert!(pair.public().verify(b"anything", &signature));
    }
}

#[test]
fn old_rsa_keys_have_their_peer_ids() {
    let vectors = peer_ids();
    for case in list(&vectors["rsa_fixtures"]) {
        let pair = key_pair(case).unwrap();
        assert_eq!(pair.to_peer_id().to_string(), case["peer_id_base58"]);
    }
}

#[test]
fn every_text_form_names_the_same_peer() {
    let vectors = peer_ids();
    for case in list(&vectors["text_forms"]) {
        let id = PeerId::parse_bytes(&hex(&case["multihash_hex"])).unwrap();
        assert_eq!(id.to_string(), case["base58"]);
        for field in ["text", "base58", "cid"] {
            if let Some(text) = case[field].as_str() {
                assert_eq!(PeerId::parse_any(text), Ok(id), "{text}");
            }
        }
        for base in [CidBase::Base32, CidBase::Base36, CidBase::Base58] {
            assert_eq!(PeerId::parse_any(&id.to_cid(base)), Ok(id));
        }
    }
}

#[test]
fn invalid_text_is_refused_for_the_stated_reason() {
    let vectors = peer_ids();
    for case in list(&vectors["invalid_text"]) {
        let expected = match case["why"].as_str().unwrap() {
            why if why.contains("digest length") => PeerIdError::Multihash,
            why if why.contains("codec") => PeerIdError::NotALibp2pKey,
            _ => PeerIdError::Encoding,
        };
        let text = case["text"].as_str().unwrap();
        assert_eq!(PeerId::parse_any(text), Err(expected), "{case}");
    }
}

#[test]
fn only_full_sha_256_digests_and_short_identities_are_peer_ids() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/multihash.json")).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for case in list(&vectors["cases"]) {
        let bytes = hex(&case["multihash_hex"]);
        let valid = case["algorithm"] == "sha2-256" && case["bits"] == 256
            || case["algorithm"] == "identity" && bytes.len() <= 2 + 42;
        match PeerId::parse_bytes(&bytes) {
            Ok(id) => {
                assert!(valid, "{case}");
                assert_eq!(id.to_bytes(), bytes);
                accepted += 1;
            }
            Err(error) => {
                assert!(!valid, "{case}");
                assert_eq!(error, PeerIdError::Multihash);
                refused += 1;
            }
        }
    }
    assert!(accepted > 3 && refused > 200, "{accepted} {refused}");
}

#[test]
fn seeds_give_the_peer_ids_of_the_gossipsub_interop_nodes() {
    let vectors: Value =
        serde_json::from_str(include_str!("vectors/gossipsub_interop_nodes.json")).unwrap();
    for case in list(&vectors["nodes"]) {
        let seed = hex(&case["seed_hex"]).try_into().unwrap();
        let pair = Keypair::ed25519_from_seed(seed);
        assert_eq!(pair.to_peer_id().to_string(), case["peer_id"]);
    }
}
