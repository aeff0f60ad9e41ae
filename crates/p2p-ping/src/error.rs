//! What can go wrong with a ping.

use std::io;
use std::time::Duration;

use p2p_core::Blame;
use p2p_swarm::OpenError;

/// An echo that belongs to no ping in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the remote sent an echo that was not asked for")]
pub struct EchoError;

/// Why a ping gave no round trip. Its stream is reset; the connection is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// The remote ended the stream instead of echoing.
    #[error("the remote ended the stream without an echo")]
    Closed,
    /// The echo differs from the ping: the remote is broken or lying.
    #[error(transparent)]
    Echo(#[from] EchoError),
    /// The stream failed.
    #[error("stream failed")]
    Io(#[source] io::Error),
    /// No stream could be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No echo came in time.
    #[error("no echo within {after:?}")]
    TimedOut {
        /// How long was waited: [`Config::patience`](crate::Config::patience), or less for a
        /// remote that does not even agree to the protocol.
        after: Duration,
    },
    /// The remote does not speak the ping protocol.
    #[error("the remote does not speak {protocol}", protocol = crate::PROTOCOL)]
    Unsupported,
}

impl PingError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Closed | Self::Echo(_) | Self::Unsupported => Blame::Remote,
            Self::Io(_) | Self::TimedOut { .. } => Blame::Network,
            Self::Open(error) => error.blame(),
        }
    }
}

impl From<io::Error> for PingError {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::UnexpectedEof {
            Self::Closed
        } else if kind == io::ErrorKind::Unsupported {
            // What a stream says whose proposed protocol was refused.
            Self::Unsupported
        } else {
            Self::Io(error)
        }
    }
}
