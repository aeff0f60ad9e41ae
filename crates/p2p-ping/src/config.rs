//! Settings of the ping service.

use std::num::NonZeroU8;
use std::time::Duration;

/// When to ping, and when to give up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Whether every connection is watched: pinged every [`interval`](Self::interval).
    /// Default: true.
    ///
    /// Without it the service answers pings and pings on request, and knows the round trip of
    /// no peer that nobody asked for.
    pub watch: bool,
    /// From the start of a connection, or from one echo, to the next ping. Default: 15 s.
    ///
    /// A connection that ends sooner costs no ping at all.
    pub interval: Duration,
    /// How long an echo may take. Must be above zero. Default: 20 s.
    ///
    /// An echo waits behind whatever fills the link. A link on which that takes longer, every
    /// time, is taken for dead: raise this there.
    pub patience: Duration,
    /// Silent pings in a row after which a connection is dead. Default: 3.
    ///
    /// Lower finds dead peers sooner and drops more peers on bad links. A dead connection is
    /// noticed after at most `interval + max_missed × patience`: 75 s.
    pub max_missed: NonZeroU8,
    /// Whether a dead connection is closed. Default: true.
    ///
    /// A multiplexer without keep-alive of its own (mplex) never notices that its peer is gone,
    /// and one with keep-alive does not notice a peer whose network stack lives on without the
    /// program above it. Only silence counts: a peer that refuses pings, or does not speak the
    /// protocol, is alive.
    pub close_dead: bool,
    /// Streams that are answered at the same time on one connection; more are reset.
    /// Default: 2, as the specification asks for.
    pub max_inbound: usize,
    /// Events kept for a subscriber that does not read them; older ones are dropped and counted.
    /// Default: 256.
    pub event_backlog: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            watch: true,
            interval: Duration::from_secs(15),
            patience: Duration::from_secs(20),
            max_missed: NonZeroU8::new(3).unwrap_or(NonZeroU8::MIN),
            close_dead: true,
            max_inbound: 2,
            event_backlog: 256,
        }
    }
}
