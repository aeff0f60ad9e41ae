//! The settings of discovery in the local network.

use std::time::Duration;

/// The settings of [`Mdns`](crate::Mdns) and of [`Discovery`](crate::Discovery).
///
/// What the local network can make us hold at most: `max_peers` × `max_addrs` addresses of at
/// most 255 bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// From one question to the next. Default: 5 min.
    ///
    /// Whoever joins asks at once and is answered by all, so this only mends what was lost.
    pub query_interval: Duration,
    /// How long others may remember what we answer. Must be above `query_interval`.
    /// Default: 6 min.
    pub ttl: Duration,
    /// The longest that we remember what others answer, whatever they wish. Default: 1 h.
    pub max_ttl: Duration,
    /// From one answer of ours to the next at the earliest. Default: 1 s.
    ///
    /// RFC 6762, section 6, asks for no less: a flood of questions makes no flood of answers.
    pub answer_interval: Duration,
    /// Peers that are remembered; further ones are ignored until one is forgotten. Default: 512.
    pub max_peers: usize,
    /// Addresses remembered of one peer; further ones are ignored. Default: 16.
    pub max_addrs: usize,
    /// From one look at the interfaces to the next. Default: 10 s.
    pub interface_interval: Duration,
    /// Fingerprint of a private network, in lower-case hexadecimal: only its members are asked
    /// for and answered. Default: none.
    pub private_network: Option<String>,
    /// Dial whom we find. Default: false, their addresses are only made known to the swarm.
    pub dial: bool,
    /// Events kept for a subscriber that does not read them; older ones are dropped and counted.
    /// Default: 256.
    pub event_backlog: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            query_interval: Duration::from_secs(300),
            ttl: Duration::from_secs(360),
            max_ttl: Duration::from_secs(3600),
            answer_interval: Duration::from_secs(1),
            max_peers: 512,
            max_addrs: 16,
            interface_interval: Duration::from_secs(10),
            private_network: None,
            dial: false,
            event_backlog: 256,
        }
    }
}
