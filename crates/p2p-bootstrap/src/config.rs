//! Settings of the bootstrap service.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How a [`Bootstrap`](crate::Bootstrap) keeps its peers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Peers of the list to be connected with; the others are tried when these are lost.
    /// Default: 4.
    pub min_connected: NonZeroUsize,
    /// Dials under way at the same time. Default: 4.
    pub max_dials: NonZeroUsize,
    /// How long to wait after a peer could not be dialed; twice as long after each further
    /// failure. Default: 1 s.
    pub first_wait: Duration,
    /// The longest that this can become. Default: 5 min.
    pub longest_wait: Duration,
    /// The part of each wait by which it is shortened or lengthened at random, so that nodes that
    /// lost the same peer do not come back at once. Default: 0.2.
    pub jitter: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            min_connected: NonZeroUsize::new(4).unwrap_or(NonZeroUsize::MIN),
            max_dials: NonZeroUsize::new(4).unwrap_or(NonZeroUsize::MIN),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
            jitter: 0.2,
        }
    }
}
