//! The settings of QUIC.

use std::sync::Arc;
use std::time::Duration;

use quinn_proto::congestion::CubicConfig;
use quinn_proto::{IdleTimeout, TransportConfig, VarInt};

use crate::error::SetupError;

/// The settings of a [`Quic`](crate::Quic).
///
/// What one remote can make us hold at most: [`Config::max_window`] of unread and
/// [`Config::max_send_window`] of unacknowledged payload in each connection. A connection starts
/// with [`Config::initial_window`] of both and grows as it earns it, all of it taken from the
/// budget that the connection is charged to; when that is used up it stays as it is. Before a
/// remote has proven who it is, it is one of [`Config::max_handshakes`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Incoming connections of one socket that wait to be accepted or have not finished their
    /// handshake; more are refused. Default: 1024.
    pub max_handshakes: usize,
    /// Unfinished incoming handshakes from which on dialers must first show that they can be
    /// reached at their address, which costs them a round trip. Default: 32.
    ///
    /// 0 asks everybody, always. Before that is shown, a dialer is sent at most three times the
    /// bytes that came from it.
    pub retry_above: usize,
    /// Streams that the remote may have open in a connection; it waits to open more.
    /// Default: 512.
    pub max_inbound: u32,
    /// Streams that we may have open in a connection; more are refused. Default: 4096.
    pub max_outbound: usize,
    /// Unread payload of one stream, in bytes. Default: 6 MiB.
    ///
    /// Divided by the round trip time it is the highest rate of a stream.
    pub stream_window: u32,
    /// Unread payload, and unacknowledged payload, of a new connection, in bytes.
    /// Default: 128 KiB.
    pub initial_window: u32,
    /// Unread payload of a connection that has earned it, in bytes. Default: 24 MiB.
    ///
    /// Streams that are not read hold parts of it: divided by `stream_window` it is the number
    /// of full ones that slow down the others.
    pub max_window: u32,
    /// Unacknowledged payload of a connection that has earned it, in bytes. Default: 8 MiB.
    pub max_send_window: u32,
    /// Silence after which a sign of life is sent. Must be above zero and below `idle_timeout`.
    /// Default: 15 s.
    pub keep_alive: Duration,
    /// Silence after which a connection is dead. The shorter wish of both ends counts. From 1 ms to
    /// what QUIC can say, 2^62 ms. Default: 30 s.
    pub idle_timeout: Duration,
    /// How long a connection that we close may take to deliver what was written. Default: 5 s.
    pub close_timeout: Duration,
    /// Streams of a connection that we have closed and dropped while the remote may still speak:
    /// of more, the oldest is stopped. Default: 64.
    pub max_lingering: usize,
    /// How much such a stream takes from the remote and throws away before it is stopped, in
    /// bytes. Default: 1 MiB.
    pub discard: usize,
    /// Bytes that the system should hold in each direction of a socket; it may allow less.
    /// Default: 2 MiB.
    ///
    /// What arrives beyond is lost, and has to be sent again.
    pub socket_buffer: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_handshakes: 1024,
            retry_above: 32,
            max_inbound: 512,
            max_outbound: 4096,
            stream_window: 6 << 20,
            initial_window: 128 << 10,
            max_window: 24 << 20,
            max_send_window: 8 << 20,
            keep_alive: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            max_lingering: 64,
            discard: 1 << 20,
            socket_buffer: 2 << 20,
        }
    }
}

impl Config {
    /// The part that the connections see.
    ///
    /// # Errors
    /// A setting is out of range.
    pub(crate) fn transport(&self) -> Result<Arc<TransportConfig>, SetupError> {
        let mut transport = TransportConfig::default();
        let idle = self.check_times()?;
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(self.max_inbound))
            // libp2p has no use for streams in one direction, nor for datagrams.
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .stream_receive_window(VarInt::from_u32(self.stream_window))
            .receive_window(VarInt::from_u32(self.initial_window))
            .send_window(self.initial_window.into())
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(self.keep_alive))
            .congestion_controller_factory(Arc::new(CubicConfig::default()));
        Ok(Arc::new(transport))
    }

    fn check_times(&self) -> Result<IdleTimeout, SetupError> {
        let (keep_alive, idle_timeout) = (self.keep_alive, self.idle_timeout);
        let idle = IdleTimeout::try_from(idle_timeout).ok();
        // To QUIC zero means that a connection lasts for ever.
        let idle = idle.filter(|_| idle_timeout >= Duration::from_millis(1));
        let idle = idle.ok_or(SetupError::IdleTimeout { idle_timeout })?;
        if keep_alive.is_zero() || keep_alive >= idle_timeout {
            return Err(SetupError::KeepAlive {
                keep_alive,
                idle_timeout,
            });
        }
        Ok(idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_quic_cannot_keep_are_refused() {
        let check = |keep_alive, idle_timeout| {
            let config = Config {
                keep_alive,
                idle_timeout,
                ..Config::default()
            };
            config.transport().map(drop)
        };
        let (ms, sec) = (Duration::from_millis(1), Duration::from_secs(1));
        let longest = Duration::from_millis((1 << 62) - 1);
        for (keep_alive, idle) in [(ms / 2, ms), (sec, sec + ms), (sec, longest)] {
            assert!(check(keep_alive, idle).is_ok(), "{keep_alive:?} {idle:?}");
        }
        for idle in [Duration::ZERO, ms / 2, longest + ms, Duration::MAX] {
            let refused = check(sec, idle);
            let of_idle = matches!(refused, Err(SetupError::IdleTimeout { .. }));
            assert!(of_idle, "{idle:?}: {refused:?}");
        }
        for keep_alive in [Duration::ZERO, sec, sec + ms] {
            let refused = check(keep_alive, sec);
            let of_keep_alive = matches!(refused, Err(SetupError::KeepAlive { .. }));
            assert!(of_keep_alive, "{keep_alive:?}: {refused:?}");
        }
    }
}
