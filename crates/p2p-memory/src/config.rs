//! The limits of the transport.

use std::num::NonZeroUsize;

/// How much a connection and a listener may hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Connections that wait to be accepted, for each listener. A dial beyond it is refused with
    /// `ConnectionRefused`. Default: 1024.
    pub backlog: NonZeroUsize,
    /// Bytes under way in each direction of a connection that we dial; a writer waits when they
    /// are used up. Default: 64 KiB.
    ///
    /// Small values switch between the tasks more often; large ones cost memory once a reader
    /// is slow.
    pub capacity: NonZeroUsize,
}

impl Default for Config {
    fn default() -> Self {
        const fn at_least_one(number: usize) -> NonZeroUsize {
            NonZeroUsize::MIN.saturating_add(number - 1)
        }
        Self {
            backlog: at_least_one(1024),
            capacity: at_least_one(64 * 1024),
        }
    }
}
