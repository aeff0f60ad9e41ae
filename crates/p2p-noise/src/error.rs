//! What can go wrong, and whose fault it is.

use std::io;

use p2p_core::Blame;
use p2p_keys::{DecodeKeyError, SignError};

/// Why no [`Noise`](crate::Noise) could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The operating system gives no randomness.
    #[error("cannot generate a key: the system gives no randomness")]
    Entropy,
    /// The identity could not sign the static key.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl SetupError {
    /// Who to hold responsible: always us.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// Why a handshake failed. The source of [`SecurityError::Protocol`](p2p_core::SecurityError).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A Diffie-Hellman result would not depend on our key: the remote's key is one of the few
    /// points of small order.
    #[error("the remote's Diffie-Hellman key is worthless")]
    BadPublicKey,
    /// The signature does not tie the static key to the identity key.
    #[error("the remote's identity did not sign its static key")]
    BadSignature,
    /// A message was not sealed with the key that we have in common, or was changed on the way.
    #[error(
        "a handshake message could not be opened: it was changed on the way, or is of another handshake"
    )]
    Decrypt,
    /// The system gives no randomness for our ephemeral key.
    #[error("cannot generate a key: the system gives no randomness")]
    Entropy,
    /// The identity key is not a usable key.
    #[error("the remote's identity key is unusable")]
    Key(#[from] DecodeKeyError),
    /// The payload of a message is not the protobuf of the spec.
    #[error("the payload of a handshake message is malformed")]
    Payload,
    /// A message is longer than allowed. Nothing was allocated for it.
    #[error(
        "handshake message of {len} bytes, at most {max} allowed (setting: max_handshake_message)"
    )]
    TooLong {
        /// The announced length, in bytes.
        len: u16,
        /// The limit, in bytes.
        max: u16,
    },
    /// A message is too short for what it must hold.
    #[error("handshake message of {len} bytes, at least {min} needed")]
    TooShort {
        /// Its length, in bytes.
        len: usize,
        /// What it needs, in bytes.
        min: usize,
    },
}

impl HandshakeError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Entropy => Blame::Us,
            Self::BadPublicKey
            | Self::BadSignature
            | Self::Decrypt
            | Self::Key(_)
            | Self::Payload
            | Self::TooLong { .. }
            | Self::TooShort { .. } => Blame::Remote,
        }
    }
}

/// Why an established channel failed. Found inside an [`io::Error`]; the channel stays failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// 2^64 - 1 records were sent or received: the key must not be used for another.
    #[error("the channel's key is used up")]
    Exhausted,
    /// A record was forged, changed, replayed or lost on the way.
    #[error("a record could not be opened: it was forged or changed on the way")]
    Forged,
    /// The link ended inside a record.
    #[error("the link ended inside a record")]
    Truncated,
}

impl ChannelError {
    /// The failure inside `error`, if it is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// Who to hold responsible.
    pub fn blame(self) -> Blame {
        match self {
            Self::Exhausted => Blame::Us,
            Self::Forged => Blame::Remote,
            Self::Truncated => Blame::Network,
        }
    }
}

impl From<ChannelError> for io::Error {
    fn from(error: ChannelError) -> Self {
        let kind = match error {
            ChannelError::Exhausted => io::ErrorKind::Other,
            ChannelError::Forged => io::ErrorKind::InvalidData,
            ChannelError::Truncated => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}
