//! The settings of a yamux connection.

use std::time::Duration;

use p2p_mux::{Limits, SessionConfig};

/// The window that both ends start with, in bytes. Fixed by the spec.
pub const INITIAL_WINDOW: u32 = 256 * 1024;

/// The settings of a yamux connection.
///
/// What one remote can make us hold at most: `max_inbound` × 256 KiB of unread payload, plus what
/// [`Config::max_window`] adds for streams that earn it; all of it within the budget given to the
/// connection, which resets single streams when it is used up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Streams the remote may have open; more are reset. Default: 512.
    pub max_inbound: usize,
    /// Streams we may have open; more are refused. Default: 4096.
    pub max_outbound: usize,
    /// Opened streams that the remote has not acknowledged; `open` waits then. Default: 256.
    ///
    /// Other implementations reset what exceeds 256.
    pub max_unacknowledged: usize,
    /// Streams of the remote that wait to be accepted; more are reset. Default: 256.
    pub accept_backlog: usize,
    /// The largest receive window of a stream, in bytes. Default: 64 MiB.
    ///
    /// A stream's window starts at 256 KiB and doubles each time that what was read shows that it
    /// would be used up within four round trips, as far as the connection's budget allows, which
    /// pays for it until the stream ends. A link needs bandwidth × round trip: 48 MiB for 5 Gbit/s
    /// over 63 ms. More than that needs more memory for a connection too.
    pub max_window: u32,
    /// What windows leave of the budget to the first windows of other streams, in bytes; at most
    /// half of the connection's budget. Default: 16 MiB.
    pub spared: usize,
    /// The largest frame sent, in bytes of payload. Default: 64 KiB less a header.
    pub max_frame: usize,
    /// Silence after which a ping is sent. `None`: never. Default: 30 s.
    pub keep_alive: Option<Duration>,
    /// How long any sign of life may take after a ping. Default: 10 s.
    pub patience: Duration,
    /// How long a stream that we have closed and dropped waits for the remote to close it too,
    /// before it is reset. Default: 60 s.
    pub linger: Duration,
    /// How much such a stream takes from the remote and throws away, in bytes. Default: 1 MiB.
    pub discard: usize,
    /// Streams a second that the remote may open and reset; twice as many at once. More end the
    /// connection. Zero: any number. Default: 1000.
    pub resets_per_second: u32,
    /// Frames gather in a buffer of this size, in bytes. Default: 48 KiB.
    pub send_buffer: usize,
    /// How the connection is treated apart from yamux. Default: see `SessionConfig`.
    pub session: SessionConfig,
}

impl Default for Config {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            max_inbound: 512,
            max_outbound: 4096,
            max_unacknowledged: 256,
            accept_backlog: 256,
            max_window: 64 * 1024 * 1024,
            spared: 16 * 1024 * 1024,
            max_frame: 64 * 1024 - 12,
            keep_alive: Some(Duration::from_secs(30)),
            patience: Duration::from_secs(10),
            linger: limits.linger,
            discard: limits.discard,
            resets_per_second: limits.resets_per_second,
            send_buffer: limits.send_buffer,
            session: SessionConfig::default(),
        }
    }
}

impl Config {
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.max_inbound = self.max_inbound;
        limits.max_outbound = self.max_outbound;
        limits.backlog = self.accept_backlog;
        limits.linger = self.linger;
        limits.discard = self.discard;
        limits.resets_per_second = self.resets_per_second;
        limits.send_buffer = self.send_buffer;
        limits
    }
}
