//! Settings of the bootstrap service.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How a [`Bootstrap`](crate::Bootstrap) keeps its peers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Peers of the list to be connected with; the others are tried when these are lost.
    /// Default: none, which means all of them.
    pub min_connected: Option<NonZeroUsize>,
    /// Dials under way at the same time. Default: 4.
    pub max_dials: NonZeroUsize,
    /// How long to wait after a peer was lost or could not be dialed; twice as long after each
    /// further failure. Must be above zero. Default: 1 s.
    pub first_wait: Duration,
    /// The longest that this can become, at least `first_wait`. Default: 5 min.
    pub longest_wait: Duration,
    /// The part of each wait by which it is shortened or lengthened at random, so that nodes that
    /// lost the same peer do not come back at once. Default: 0.2.
    pub jitter: f64,
    /// How long a connection must have lasted not to be one more failure when it ends. Some
    /// implementations hang up on whoever wants nothing of them for ten seconds. Default: 2 min.
    pub settled_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            min_connected: None,
            max_dials: NonZeroUsize::new(4).unwrap_or(NonZeroUsize::MIN),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
            jitter: 0.2,
            settled_after: Duration::from_secs(120),
        }
    }
}
