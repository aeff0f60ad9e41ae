//! Settings of a simulation.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::Link;

/// How a [`Sim`](crate::Sim) behaves where it is not told otherwise.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The link between two hosts that were not given one of their own. Default:
    /// [`Link::default`], 10 ms one way and nothing goes wrong.
    pub link: Link,
    /// The link of a host to itself. Default: 20 µs one way and nothing goes wrong.
    pub loopback: Link,
    /// How TCP behaves. Default: [`Tcp::default`].
    pub tcp: Tcp,
    /// How long a name takes to resolve, found or not. Default: 20 ms.
    pub resolve: Duration,
    /// Bytes that wait in a datagram socket; what arrives beyond is dropped. Default: 256 KiB.
    pub udp_buffer: usize,
    /// Bytes that the datagrams from one socket to another may have waiting at a rate limit; what
    /// comes beyond is dropped. Default: 256 KiB.
    pub datagram_queue: usize,
    /// Virtual time that one `block_on` or `run_until_idle` may take. Default: 1 hour.
    ///
    /// A periodic timer keeps a simulation going for ever although what the test waits for
    /// cannot happen any more: this turns the hang into an error.
    pub patience: Duration,
    /// Polls of one task, without time passing, that are taken for an endless loop.
    /// Default: 1,000,000. All tasks together may have fifty times as many.
    pub polls_per_instant: NonZeroU32,
    /// Whether the event hash covers the bytes that are sent, not only how many they are.
    /// Default: false.
    ///
    /// Most cryptographic libraries draw their own randomness: with them the bytes of two runs
    /// differ although everything that happens is the same.
    pub hash_contents: bool,
    /// Events kept to be printed when a test fails. Default: 100.
    pub kept_events: NonZeroUsize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            link: Link::default(),
            loopback: Link::new(Duration::from_micros(20)),
            tcp: Tcp::default(),
            resolve: Duration::from_millis(20),
            udp_buffer: 256 << 10,
            datagram_queue: 256 << 10,
            patience: Duration::from_secs(3600),
            polls_per_instant: NonZeroU32::new(1_000_000).unwrap_or(NonZeroU32::MAX),
            hash_contents: false,
            kept_events: NonZeroUsize::new(100).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// How TCP behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tcp {
    /// Bytes of one direction of a connection that may be queued at the sender, on the way and
    /// unread at the receiver, together. Default: 1 MiB.
    ///
    /// A writer waits when they are used up. Low values also limit the rate to this much per
    /// round trip.
    pub buffer: NonZeroUsize,
    /// How long a connect waits for a host that does not answer. Default: 127 s, as on Linux.
    pub connect_timeout: Duration,
    /// How long sent data is repeated into the void before the connection fails.
    /// Default: 924 s, as on Linux.
    pub give_up: Duration,
    /// The same for a connection that its application has closed. Default: 60 s.
    pub orphan_give_up: Duration,
    /// Whether a reset discards what arrived before it and was not read. Default: false.
    ///
    /// Linux lets the reader have it first; other systems do not.
    pub reset_discards: bool,
    /// Whether connections over an address that their host loses fail there at once.
    /// Default: false.
    ///
    /// Linux keeps them, since the address may come back; other systems, such as Android, end
    /// them. See [`Host::set_addrs`](crate::Host::set_addrs).
    pub abort_on_lost_addr: bool,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            buffer: NonZeroUsize::new(1 << 20).unwrap_or(NonZeroUsize::MAX),
            connect_timeout: Duration::from_secs(127),
            give_up: Duration::from_secs(924),
            orphan_give_up: Duration::from_secs(60),
            reset_discards: false,
            abort_on_lost_addr: false,
        }
    }
}
