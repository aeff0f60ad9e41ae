//! What the watch over connections learns, for whoever wants to know.

use std::time::Duration;

use p2p_core::PeerId;
use p2p_swarm::{ConnectionId, Lag, Subscription};

/// Something that the watch over a connection learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Too many pings in a row were silent. The last event of a connection.
    Dead {
        /// Who is at the other end.
        peer: PeerId,
        /// Which connection.
        connection: ConnectionId,
    },
    /// A ping came back.
    Echoed {
        /// Who is at the other end.
        peer: PeerId,
        /// Which connection.
        connection: ConnectionId,
        /// After this time.
        rtt: Duration,
    },
    /// This subscriber did not read fast enough; so many of the oldest events are lost. Ask
    /// [`Ping::rtt`](crate::Ping::rtt) for what is known.
    Lagged(u64),
    /// A ping did not come back within [`Config::patience`](crate::Config::patience).
    Missed {
        /// Who is at the other end.
        peer: PeerId,
        /// Which connection.
        connection: ConnectionId,
    },
}

impl Lag for Event {
    fn lagged(lost: u64) -> Self {
        Self::Lagged(lost)
    }
}

/// A subscription to what the watch learns: a stream that ends with the service.
pub type Events = Subscription<Event>;
