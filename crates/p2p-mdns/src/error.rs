//! Why discovery cannot start.

use std::time::Duration;

use p2p_core::Blame;

/// Why [`Mdns::new`](crate::Mdns::new) cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// It is no fingerprint. What it is instead is not told: it may be the key itself.
    #[error("private_network is not a fingerprint: 1 to {most} digits of 0 to 9 and a to f")]
    Fingerprint {
        /// The most digits.
        most: usize,
    },
    /// What we answer would be forgotten before we are asked again.
    #[error("ttl ({ttl:?} in whole seconds) is not above query_interval ({query_interval:?})")]
    Ttl {
        /// [`Config::ttl`](crate::Config::ttl).
        ttl: Duration,
        /// [`Config::query_interval`](crate::Config::query_interval).
        query_interval: Duration,
    },
    /// The setting must be above zero.
    #[error("{setting} must be above zero")]
    Zero {
        /// The field of [`Config`](crate::Config).
        setting: &'static str,
    },
}

impl SetupError {
    /// Ours: nobody else has set it.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}
