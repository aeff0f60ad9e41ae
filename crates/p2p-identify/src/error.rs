//! What can go wrong with an identify exchange.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use p2p_core::{Blame, Exceeded, frame};
use p2p_swarm::{HandleError, OpenError};

use crate::proto::DecodeError;

/// Why nothing was learned of a peer. What was known of it stays, and so does the connection.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifyError {
    /// A part of the message is not the protobuf of identify.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The remote ended the stream without a message.
    #[error("the remote said nothing")]
    Empty,
    /// The connection is over.
    #[error("connection ended")]
    Ended,
    /// The stream failed, or ended inside a message.
    #[error("stream failed")]
    Io(#[source] Arc<io::Error>),
    /// A limit of ours.
    #[error(transparent)]
    Limit(#[from] Exceeded),
    /// No stream could be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The message was not complete in time.
    #[error("no complete answer within {after:?}")]
    TimedOut {
        /// How long was waited: [`Config::timeout`](crate::Config::timeout).
        after: Duration,
    },
    /// A part is longer than allowed.
    #[error("part of {len} bytes, at most {max} allowed (setting: max_part)")]
    TooLong {
        /// The announced length, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: usize,
    },
    /// The message has more parts than allowed.
    #[error("more than {max} parts (setting: max_parts)")]
    TooManyParts {
        /// The limit.
        max: usize,
    },
    /// The remote does not speak identify.
    #[error("the remote does not speak {protocol}", protocol = crate::PROTOCOL)]
    Unsupported,
    /// The message names a public key that is not the one of the connection.
    #[error("the remote claims a public key that is not its own")]
    WrongKey,
}

/// Why [`Identify`](crate::Identify) cannot start. The swarm is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The swarm has a handler for one of the protocols already.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The setting must be above zero.
    #[error("{setting} must be above zero")]
    Zero {
        /// The field of [`Config`](crate::Config).
        setting: &'static str,
    },
}

impl IdentifyError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Decode(_)
            | Self::Empty
            | Self::TooLong { .. }
            | Self::TooManyParts { .. }
            | Self::Unsupported
            | Self::WrongKey => Blame::Remote,
            // A length that is no varint.
            Self::Io(error) if error.kind() == io::ErrorKind::InvalidData => Blame::Remote,
            Self::Ended | Self::Io(_) | Self::TimedOut { .. } => Blame::Network,
            Self::Limit(_) => Blame::Us,
            Self::Open(error) => error.blame(),
        }
    }
}

impl From<io::Error> for IdentifyError {
    fn from(error: io::Error) -> Self {
        // What a stream says whose proposed protocol was refused.
        if error.kind() == io::ErrorKind::Unsupported {
            Self::Unsupported
        } else {
            Self::Io(Arc::new(error))
        }
    }
}

impl From<frame::Error> for IdentifyError {
    fn from(error: frame::Error) -> Self {
        match error {
            frame::Error::Ended => Self::Empty,
            frame::Error::Io(error) => error.into(),
            frame::Error::TooLong { len, max } => Self::TooLong { len, max },
            other @ (frame::Error::Length(_) | _) => Self::Io(Arc::new(other.into())),
        }
    }
}
