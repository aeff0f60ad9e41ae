//! What can go wrong, and whose fault it is.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::{KeyType, PeerId};

/// Who to hold responsible for an error. Two of the three answers of `p2p_core::Blame`: no
/// network is involved here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// A wrong call, a wrong file, or a bug of ours.
    Us,
    /// Whoever made the bytes.
    Remote,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "us",
            Self::Remote => "remote",
        })
    }
}

/// Why bytes are not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeKeyError {
    /// Keys of this type were left out of this build.
    #[error("{0} keys are left out of this build: enable the feature secp256k1 of p2p-keys")]
    Disabled(KeyType),
    /// The key data is not a valid key of its type.
    #[error("not a valid {key_type} key: {reason}")]
    Invalid {
        /// The type that the bytes claim.
        key_type: KeyType,
        /// What is wrong.
        reason: &'static str,
    },
    /// Not the one encoding that a key has: other fields, other order, other lengths.
    #[error("not a key in the protobuf form of libp2p")]
    NotAKey,
    /// An RSA key outside 2048 to 8192 bits. Nothing was computed with it.
    #[error("RSA key has {bits} bits, outside 2048 to 8192")]
    RsaSize {
        /// The size of its modulus.
        bits: usize,
    },
    /// Longer than any key.
    #[error("{len} bytes are too many for a key (at most {max})")]
    TooLong {
        /// The length found.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// A key type that libp2p does not define.
    #[error("unknown key type {0}")]
    UnknownType(u8),
}

impl DecodeKeyError {
    /// Who to hold responsible: whoever made the bytes.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Disabled(_) => Blame::Us,
            Self::Invalid { .. }
            | Self::NotAKey
            | Self::RsaSize { .. }
            | Self::TooLong { .. }
            | Self::UnknownType(_) => Blame::Remote,
        }
    }
}

/// Why no key could be made. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The cryptography library failed: no entropy or no memory.
    #[error("cannot generate a key of type {0}: the system gives no randomness or no memory")]
    Backend(KeyType),
    /// Keys of this type were left out of this build.
    #[error("{0} keys are left out of this build: enable the feature secp256k1 of p2p-keys")]
    Disabled(KeyType),
    /// Only 2048, 3072, 4096 and 8192 bits can be generated.
    #[error("cannot generate an RSA key of {bits} bits: choose 2048, 3072, 4096 or 8192")]
    RsaSize {
        /// The size asked for.
        bits: usize,
    },
}

impl GenerateError {
    /// Who to hold responsible: always us.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// The cryptography library could not sign: no entropy or no memory. Ed25519 never fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot sign with a key of type {key_type}: the system gives no randomness or no memory")]
pub struct SignError {
    /// The type of the key.
    pub key_type: KeyType,
}

impl SignError {
    /// Who to hold responsible: always us.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// Why text or bytes are not a peer id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerIdError {
    /// Text that is neither base58 nor multibase.
    #[error("not a peer id: neither base58 nor a multibase CID")]
    Encoding,
    /// Neither an inlined key of at most 42 bytes nor a SHA-256 digest of 32.
    #[error("not a peer id: the multihash is neither an inlined key nor a SHA-256 digest")]
    Multihash,
    /// A CID, but not a version 1 CID of a libp2p key.
    #[error("not a peer id: the CID does not name a libp2p key")]
    NotALibp2pKey,
    /// More text than any peer id.
    #[error("not a peer id: {len} characters (at most {max})")]
    TooLong {
        /// The length found.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
}

impl PeerIdError {
    /// Who to hold responsible: whoever wrote the id.
    pub fn blame(&self) -> Blame {
        Blame::Remote
    }
}

/// Why a key file could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is not a key file", path.display())]
    NotAKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeKeyError,
    },
    /// The file holds a public key: nothing can be signed with it.
    #[error("{} holds a public key, a private key is needed", path.display())]
    PublicKey {
        /// The file.
        path: PathBuf,
    },
    /// The file holds a private key of a type that cannot be used.
    #[error("{} holds a key of another type", path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The type found.
        source: DecodeKeyError,
    },
}

impl LoadError {
    /// Who to hold responsible: always us, the file is ours.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// Why a key file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The file exists already. It is unchanged.
    #[error("{} exists, and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be written. What was there before is unchanged.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl SaveError {
    /// Who to hold responsible: always us.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// Why a signed envelope was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The key does not verify the signature in this domain.
    #[error("signature of the envelope is wrong")]
    BadSignature,
    /// The envelope's key is not one.
    #[error("envelope without a usable public key")]
    Key(#[from] DecodeKeyError),
    /// Not the protobuf of an envelope, or a field is missing or there twice.
    #[error("malformed envelope: {0}")]
    Malformed(&'static str),
    /// The payload is of another type than the one asked for.
    #[error("envelope holds another type of payload")]
    PayloadType,
}

impl EnvelopeError {
    /// Who to hold responsible: whoever made the envelope.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Key(error) => error.blame(),
            Self::BadSignature | Self::Malformed(_) | Self::PayloadType => Blame::Remote,
        }
    }
}

/// Why a peer record was refused. Nothing of it may be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The envelope around it is wrong.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Not the protobuf of a record, or a field is missing or there twice.
    #[error("malformed peer record: {0}")]
    Malformed(&'static str),
    /// Somebody signed a record about somebody else.
    #[error("the peer record of {peer} is signed by {signer}")]
    NotTheSigner {
        /// Who the record is about.
        peer: Box<PeerId>,
        /// Who signed it.
        signer: Box<PeerId>,
    },
    /// The envelope is longer than the limit.
    #[error("peer record of {len} bytes (at most {max}; setting: max_bytes)")]
    TooLong {
        /// The length found.
        len: usize,
        /// The limit.
        max: usize,
    },
}

impl RecordError {
    /// Who to hold responsible: whoever made the record.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Envelope(error) => error.blame(),
            Self::Malformed(_) | Self::NotTheSigner { .. } | Self::TooLong { .. } => Blame::Remote,
        }
    }
}
