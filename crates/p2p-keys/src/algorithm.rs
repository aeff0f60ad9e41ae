//! What the four key types have in common: the only place that lists them all.

use zeroize::Zeroizing;

#[cfg(feature = "secp256k1")]
use crate::secp256k1;
use crate::{DecodeKeyError, GenerateError, KeyType, ecdsa, ed25519, rsa};

/// Checks signatures of one public key.
pub(crate) trait Verify: Send + Sync {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool;
}

/// Signs with one private key; `None` if the cryptography library failed.
pub(crate) trait Sign: Send + Sync {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;
}

/// A private key that was made or read.
pub(crate) struct Private {
    pub(crate) signer: Box<dyn Sign>,
    /// Field 2 of the private key protobuf, in the form that we write.
    pub(crate) data: Zeroizing<Vec<u8>>,
    /// Field 2 of the public key protobuf.
    pub(crate) public: Vec<u8>,
}

pub(crate) fn public(key_type: KeyType, data: &[u8]) -> Result<Box<dyn Verify>, DecodeKeyError> {
    let key = match key_type {
        KeyType::Rsa => return rsa::public(data),
        KeyType::Ed25519 => ed25519::public(data),
        #[cfg(feature = "secp256k1")]
        KeyType::Secp256k1 => secp256k1::public(data),
        #[cfg(not(feature = "secp256k1"))]
        KeyType::Secp256k1 => return Err(DecodeKeyError::Disabled(key_type)),
        KeyType::Ecdsa => ecdsa::public(data),
    };
    key.map_err(|reason| DecodeKeyError::Invalid { key_type, reason })
}

pub(crate) fn private(key_type: KeyType, data: &[u8]) -> Result<Private, DecodeKeyError> {
    let key = match key_type {
        KeyType::Rsa => return rsa::private(data),
        KeyType::Ed25519 => ed25519::private(data),
        #[cfg(feature = "secp256k1")]
        KeyType::Secp256k1 => secp256k1::private(data),
        #[cfg(not(feature = "secp256k1"))]
        KeyType::Secp256k1 => return Err(DecodeKeyError::Disabled(key_type)),
        KeyType::Ecdsa => ecdsa::private(data),
    };
    key.map_err(|reason| DecodeKeyError::Invalid { key_type, reason })
}

pub(crate) fn generate(key_type: KeyType) -> Result<Private, GenerateError> {
    let key = match key_type {
        KeyType::Rsa => rsa::generate(2048)?,
        KeyType::Ed25519 => ed25519::generate(),
        #[cfg(feature = "secp256k1")]
        KeyType::Secp256k1 => secp256k1::generate(),
        #[cfg(not(feature = "secp256k1"))]
        KeyType::Secp256k1 => return Err(GenerateError::Disabled(key_type)),
        KeyType::Ecdsa => ecdsa::generate(),
    };
    key.ok_or(GenerateError::Backend(key_type))
}
