//! The build without the unmaintained library: secp256k1 keys are refused by name, and the rest
//! works. The other tests want all key types.
#![cfg(not(feature = "secp256k1"))]

use p2p_keys::{Blame, DecodeKeyError, GenerateError, KeyType, Keypair, PublicKey};

#[test]
fn secp256k1_keys_are_refused_by_name() {
    let disabled = DecodeKeyError::Disabled(KeyType::Secp256k1);
    let key = [&[8, 2, 0x12, 32][..], &[1; 32]].concat();
    assert_eq!(PublicKey::from_protobuf(&key).unwrap_err(), disabled);
    assert_eq!(Keypair::from_protobuf(&key).unwrap_err(), disabled);
    assert_eq!(disabled.blame(), Blame::Us);
    assert_eq!(
        Keypair::generate(KeyType::Secp256k1).unwrap_err(),
        GenerateError::Disabled(KeyType::Secp256k1)
    );
}

#[test]
fn the_other_key_types_sign() {
    for key_type in [KeyType::Rsa, KeyType::Ed25519, KeyType::Ecdsa] {
        let keypair = Keypair::generate(key_type).unwrap();
        let signature = keypair.sign(b"message").unwrap();
        assert!(keypair.public().verify(b"message", &signature));
    }
}
