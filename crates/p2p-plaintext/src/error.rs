//! What can be wrong with what a remote says of itself.

use p2p_core::{Blame, PeerId};
use p2p_keys::DecodeKeyError;

/// Why an exchange failed. The source of [`SecurityError::Protocol`](p2p_core::SecurityError).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaintextError {
    /// The remote's key is not a usable key.
    #[error("the remote's public key is unusable")]
    Key(#[from] DecodeKeyError),
    /// The message is not one of plaintext 2.0, or is too long.
    #[error("malformed exchange message: {0}")]
    Malformed(String),
    /// The remote's id is not that of its key.
    #[error("the remote's id is not that of its key, {of_key}")]
    NotItsKey {
        /// The id of its key.
        of_key: PeerId,
    },
}

impl PlaintextError {
    /// Who to hold responsible: always the remote.
    pub fn blame(&self) -> Blame {
        Blame::Remote
    }
}
