//! Settings of the identify service.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::error::SetupError;

/// What we say about ourselves, and how much we accept from others.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Which software we are, for statistics and logs of others. Default: `p2p/<version>`.
    pub agent_version: String,
    /// The family of networks that we belong to. Default: `ipfs/0.1.0`, as most send it.
    ///
    /// Nobody may refuse a peer for it.
    pub protocol_version: String,
    /// Whether our addresses are told at all. Default: true.
    ///
    /// Off, others learn our key and our protocols, and not where we are. Dial through a proxy
    /// then, or the connection itself tells.
    pub announce_addrs: bool,
    /// Whether addresses that only our own network can reach are told to everybody.
    /// Default: false, they are told to those that we see there.
    pub announce_private: bool,
    /// How long one exchange may take. Must be above zero. Default: 10 s.
    pub timeout: Duration,
    /// From the first change of our addresses or protocols to the push that tells of it; further
    /// changes in between travel with it. Default: 1 s.
    pub push_delay: Duration,
    /// Pushes under way at the same time. Default: 32.
    pub max_pushes: NonZeroUsize,
    /// How often a push is repeated that was reset or not taken in time: after `push_interval`, and
    /// twice as long each further time, unless there is something newer to tell. Default: 3.
    pub push_retries: u32,
    /// Pushes that a peer may send in a row. Default: 10.
    pub push_burst: u32,
    /// How long it takes until a peer that used up its burst may push once more; earlier pushes
    /// are reset unread. Must be above zero. Default: 5 s.
    pub push_interval: Duration,
    /// Streams of either protocol that are served at the same time on one connection; more are
    /// reset. Default: 4.
    pub max_inbound: usize,
    /// Events kept for a subscriber that does not read them; older ones are dropped and counted.
    /// Default: 256.
    pub event_backlog: usize,
    /// What is accepted of one remote. Default: see `Limits`.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            agent_version: concat!("p2p/", env!("CARGO_PKG_VERSION")).to_owned(),
            protocol_version: "ipfs/0.1.0".to_owned(),
            announce_addrs: true,
            announce_private: false,
            timeout: Duration::from_secs(10),
            push_delay: Duration::from_secs(1),
            max_pushes: NonZeroUsize::new(32).unwrap_or(NonZeroUsize::MIN),
            push_retries: 3,
            push_burst: 10,
            push_interval: Duration::from_secs(5),
            max_inbound: 4,
            event_backlog: 256,
            limits: Limits::default(),
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), SetupError> {
        let times = [
            ("timeout", self.timeout),
            ("push_interval", self.push_interval),
        ];
        match times.into_iter().find(|(_, time)| time.is_zero()) {
            Some((setting, _)) => Err(SetupError::Zero { setting }),
            None => Ok(()),
        }
    }

    /// Settings that tell as little as possible: no addresses, and no version of the software.
    pub fn private() -> Self {
        Self {
            agent_version: "p2p".to_owned(),
            announce_addrs: false,
            ..Self::default()
        }
    }
}

/// How much of what a remote says is read and kept.
///
/// A message that is too long is an error; of too many addresses or protocols the first are
/// kept and the rest is ignored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Length of one part of a message, in bytes. Default: 8 KiB, which go and js send.
    pub max_part: usize,
    /// Parts of one message. Default: 10, as in go and js.
    pub max_parts: usize,
    /// Addresses kept, after all parts are merged. Default: 64.
    pub max_addrs: usize,
    /// Protocols kept, after all parts are merged. Default: 256.
    pub max_protocols: usize,
    /// Bytes kept of each version string. Default: 256.
    pub max_version: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_part: 8 * 1024,
            max_parts: 10,
            max_addrs: 64,
            max_protocols: 256,
            max_version: 256,
        }
    }
}
