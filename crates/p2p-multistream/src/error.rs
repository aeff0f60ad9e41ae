//! Why a negotiation failed.

use std::io;

use p2p_core::{Blame, Protocol};

use crate::wire;

/// Why [`dial`](crate::dial) or [`listen`](crate::listen) failed. The stream was dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream failed, or ended before a protocol was agreed on (`UnexpectedEof`).
    #[error("stream failed during protocol negotiation")]
    Io(#[from] io::Error),
    /// The two ends found no agreement.
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
}

impl Error {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Io(_) => Blame::Network,
            Self::Negotiation(error) => error.blame(),
        }
    }
}

/// Why two ends found no agreement.
///
/// After [`dial_lazy`](crate::dial_lazy) it comes out of the first read, inside an [`io::Error`]:
/// see [`NegotiationError::of`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// A message is not one of multistream-select.
    #[error("malformed negotiation message")]
    Malformed(#[from] wire::TokenError),
    /// The remote answered with something that was not proposed.
    #[error("proposed {proposed}, but the remote answered {found:?}")]
    Mismatch {
        /// What we proposed.
        proposed: Protocol,
        /// The start of the answer.
        found: String,
    },
    /// The remote does not speak multistream-select 1.0.
    #[error("the remote does not speak multistream-select: it sent {found:?}")]
    NotMultistream {
        /// The start of what it sent.
        found: String,
    },
    /// The remote sent data for a protocol that we had to refuse.
    ///
    /// Reading that data as further proposals could hand it to a protocol that it was never meant
    /// for, so the negotiation ends.
    #[error("the remote sent data for {refused:?} without waiting, and we do not speak it")]
    PayloadForRefused {
        /// The start of its proposal.
        refused: String,
    },
    /// The remote speaks none of the proposed protocols.
    #[error("the remote supports none of {proposed:?}")]
    Refused {
        /// What we proposed.
        proposed: Vec<Protocol>,
    },
    /// The remote proposed too often.
    #[error("no agreement after {max} proposals (setting: max_proposals)")]
    TooManyProposals {
        /// The limit.
        max: usize,
    },
}

impl NegotiationError {
    /// The failed negotiation inside `error`, if it is one.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        Blame::Remote
    }
}

impl From<NegotiationError> for io::Error {
    fn from(error: NegotiationError) -> Self {
        let kind = match &error {
            NegotiationError::Refused { .. } => io::ErrorKind::Unsupported,
            NegotiationError::Malformed(_)
            | NegotiationError::Mismatch { .. }
            | NegotiationError::NotMultistream { .. }
            | NegotiationError::PayloadForRefused { .. }
            | NegotiationError::TooManyProposals { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            Error::Negotiation(error) => error.into(),
        }
    }
}

/// The start of what a remote sent, fit for a log line.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes)).into_owned()
}
