//! What can go wrong with a measurement.

use std::io;
use std::time::Duration;

use p2p_core::Blame;
use p2p_swarm::OpenError;

/// Why a transfer was not completed. Its stream is reset; the connection is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerfError {
    /// The stream failed.
    #[error("stream failed")]
    Io(#[from] io::Error),
    /// The remote sent more or less than it was asked for.
    #[error("{got} bytes came where {wanted} were asked for")]
    Length {
        /// What was asked for.
        wanted: u64,
        /// What came; counting ends soon after it was too much.
        got: u64,
    },
    /// No stream could be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nothing moved for too long.
    #[error("nothing moved for {after:?} (setting: patience)")]
    Stalled {
        /// [`Config::patience`](crate::Config::patience).
        after: Duration,
    },
    /// The remote asks for more than it may.
    #[error("the remote asked for {wanted} bytes, at most {max} allowed (setting: max_bytes)")]
    TooMuch {
        /// What it asked for.
        wanted: u64,
        /// [`Config::max_bytes`](crate::Config::max_bytes).
        max: u64,
    },
}

impl PerfError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Io(_) | Self::Stalled { .. } => Blame::Network,
            Self::Length { .. } | Self::TooMuch { .. } => Blame::Remote,
            Self::Open(error) => error.blame(),
        }
    }
}
