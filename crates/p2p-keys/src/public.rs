//! Public keys.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use crate::algorithm::{self, Verify};
use crate::{DecodeKeyError, PeerId, peer_id, proto};

/// The algorithm of a key. The numbers are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum KeyType {
    /// RSA with PKCS#1 v1.5 and SHA-256, 2048 to 8192 bits. Of old nodes.
    Rsa = 0,
    /// Ed25519: the default.
    Ed25519 = 1,
    /// ECDSA on secp256k1 with SHA-256.
    Secp256k1 = 2,
    /// ECDSA on P-256 with SHA-256.
    Ecdsa = 3,
}

impl KeyType {
    /// All types, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Rsa, Self::Ed25519, Self::Secp256k1, Self::Ecdsa];

    pub(crate) fn from_number(number: u8) -> Result<Self, DecodeKeyError> {
        Self::ALL
            .into_iter()
            .find(|key_type| *key_type as u8 == number)
            .ok_or(DecodeKeyError::UnknownType(number))
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "RSA",
            Self::Ed25519 => "Ed25519",
            Self::Secp256k1 => "secp256k1",
            Self::Ecdsa => "ECDSA P-256",
        })
    }
}

/// The public half of a key pair. Cheap to clone; parsed and checked once.
///
/// Equality, order and hash are those of its protobuf form.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    key_type: KeyType,
    protobuf: Bytes,
    peer_id: PeerId,
    verifier: Box<dyn Verify>,
}

impl PublicKey {
    /// The longest protobuf form, in bytes: that of an RSA key of 8192 bits.
    pub const MAX_PROTOBUF_LEN: usize = 1100;

    /// Reads the protobuf form (peer-ids spec, "Keys").
    ///
    /// # Errors
    /// [`DecodeKeyError`] for anything but the one valid encoding of a usable key.
    pub fn from_protobuf(protobuf: &[u8]) -> Result<Self, DecodeKeyError> {
        let (key_type, data) = split(protobuf, Self::MAX_PROTOBUF_LEN)?;
        Self::new(key_type, data, Bytes::copy_from_slice(protobuf))
    }

    /// A key from the data of its protobuf form, which was made here.
    pub(crate) fn from_data(key_type: KeyType, data: &[u8]) -> Result<Self, DecodeKeyError> {
        Self::new(
            key_type,
            data,
            proto::encode_key(key_type as u8, data).into(),
        )
    }

    fn new(key_type: KeyType, data: &[u8], protobuf: Bytes) -> Result<Self, DecodeKeyError> {
        Ok(Self(Arc::new(Inner {
            verifier: algorithm::public(key_type, data)?,
            peer_id: peer_id::of_key(&protobuf),
            key_type,
            protobuf,
        })))
    }

    /// The protobuf form. A clone of shared bytes: nothing is copied.
    pub fn to_protobuf(&self) -> Bytes {
        self.0.protobuf.clone()
    }

    /// The protobuf form.
    pub fn as_protobuf(&self) -> &[u8] {
        &self.0.protobuf
    }

    /// The id of the peer that has this key.
    pub fn to_peer_id(&self) -> PeerId {
        self.0.peer_id
    }

    /// The algorithm.
    pub fn key_type(&self) -> KeyType {
        self.0.key_type
    }

    /// Whether `signature` is one of `message` by this key.
    ///
    /// A second form of the same signature (a high `s` on secp256k1, `s` not reduced on Ed25519,
    /// loose DER) is a wrong one. Only on P-256 both values of `s` are right, as everywhere.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verifier.verify(message, signature)
    }
}

/// Type and data of a key protobuf of at most `max` bytes.
pub(crate) fn split(protobuf: &[u8], max: usize) -> Result<(KeyType, &[u8]), DecodeKeyError> {
    if protobuf.len() > max {
        return Err(DecodeKeyError::TooLong {
            len: protobuf.len(),
            max,
        });
    }
    let (number, data) = proto::decode_key(protobuf).map_err(|_| DecodeKeyError::NotAKey)?;
    Ok((KeyType::from_number(number)?, data))
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.0.key_type, self.0.peer_id)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.protobuf == other.0.protobuf
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.protobuf.cmp(&other.0.protobuf)
    }
}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.protobuf.hash(state);
    }
}
