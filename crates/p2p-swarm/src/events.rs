//! What happens in a swarm.

use std::sync::Arc;

use p2p_core::{ConnectionEnd, Exceeded, Multiaddr, PeerId};

use crate::broadcast::{Lag, Subscription};
use crate::{ConnectionId, ConnectionInfo, DialError, StreamError, UpgradeError};

/// Something that happened in a swarm.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection is ready for streams.
    Connected {
        /// What is known of it.
        info: Box<ConnectionInfo>,
    },
    /// A dial failed at every address.
    DialFailed {
        /// Who was dialed, if known.
        peer: Option<PeerId>,
        /// Why, address by address.
        error: DialError,
    },
    /// A connection ended.
    Disconnected {
        /// With whom.
        peer: PeerId,
        /// Which one.
        connection: ConnectionId,
        /// Why.
        end: ConnectionEnd,
        /// Connections with this peer that are left.
        remaining: usize,
    },
    /// Enough others see us at an address, or the application added it.
    ExternalAddr(Multiaddr),
    /// Too few others still see us at an address, or the application removed it.
    ExternalAddrGone(Multiaddr),
    /// An incoming connection was refused or failed before it was ready.
    IncomingFailed {
        /// Where it came from.
        remote: Multiaddr,
        /// Who it was, if it had proved that.
        peer: Option<PeerId>,
        /// Why.
        error: Arc<UpgradeError>,
    },
    /// This subscriber did not read fast enough; so many of the oldest events are lost. Ask the
    /// swarm for its current state.
    Lagged(u64),
    /// A limit refused something. At most once a second for each setting.
    LimitHit {
        /// Which limit, and the setting that raises it.
        exceeded: Exceeded,
        /// Who ran into it last, if known.
        peer: Option<PeerId>,
        /// How often since it was last reported.
        times: u64,
    },
    /// We can be reached at a new address.
    ListenAddr(Multiaddr),
    /// We can no longer be reached at an address.
    ListenAddrGone(Multiaddr),
    /// The set of protocols that we answer changed.
    ProtocolsChanged,
    /// An incoming stream ended before it had a protocol. At most once a second for each kind of
    /// error.
    StreamFailed {
        /// Who opened the last of them.
        peer: PeerId,
        /// On which connection.
        connection: ConnectionId,
        /// Why.
        error: StreamError,
        /// How many since this was last reported.
        times: u64,
    },
}

/// A subscription to the events of a swarm: a stream that ends with the swarm.
pub type Events = Subscription<Event>;

impl Lag for Event {
    fn lagged(lost: u64) -> Self {
        Self::Lagged(lost)
    }
}
