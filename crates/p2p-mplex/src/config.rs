//! The settings of an mplex connection.

use std::time::Duration;

use p2p_mux::{Limits, SessionConfig};

/// The settings of an mplex connection.
///
/// Mplex has no flow control, so what a remote can make us hold is bounded here: at most
/// `max_inbound` × [`Config::receive_queue`] + [`Config::overflow`] of unread payload, within the
/// budget given to the connection, which resets single streams when it is used up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Streams the remote may have open; more are reset. Default: 1024.
    pub max_inbound: usize,
    /// Streams we may have open; more are refused. Default: 4096.
    pub max_outbound: usize,
    /// Streams of the remote that wait to be accepted; more are reset. Default: 256.
    pub accept_backlog: usize,
    /// What a stream may hold unread, in bytes, before it counts as full. Default: 256 KiB.
    pub receive_queue: usize,
    /// What all full streams together may hold beyond that, in bytes. Default: 1 MiB.
    ///
    /// While there is room, full streams harm nobody. When there is none, nothing is read from the
    /// connection until a full stream is read or reset.
    pub overflow: usize,
    /// How long a stream may be full before it is reset. Default: 5 s.
    ///
    /// It is no longer full when half of its queue is free. Also the longest time that an unread
    /// stream can stop the others.
    pub patience: Duration,
    /// The largest frame sent, in bytes of payload, at most 1 MiB. Default: 16 KiB.
    pub max_frame: usize,
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
    /// How the connection is treated apart from mplex. Default: see `SessionConfig`.
    pub session: SessionConfig,
}

impl Default for Config {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            max_inbound: 1024,
            max_outbound: 4096,
            accept_backlog: 256,
            receive_queue: 256 * 1024,
            overflow: 1024 * 1024,
            patience: Duration::from_secs(5),
            max_frame: 16 * 1024,
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
