//! What identify learns, for whoever wants to know.

use std::sync::Arc;

use p2p_core::PeerId;
use p2p_swarm::{ConnectionId, Lag, Subscription};

use crate::error::IdentifyError;
use crate::info::IdentifyInfo;

/// Something that identify learned.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Nothing could be learned on a connection.
    Failed {
        /// Who was asked.
        peer: PeerId,
        /// On which connection.
        connection: ConnectionId,
        /// Why.
        error: IdentifyError,
    },
    /// A peer answered on a new connection.
    Identified {
        /// On which connection.
        connection: ConnectionId,
        /// What is known of it now.
        info: Arc<IdentifyInfo>,
    },
    /// This subscriber did not read fast enough; so many of the oldest events are lost. Ask
    /// [`Identify::info`](crate::Identify::info) for what is known.
    Lagged(u64),
    /// A peer pushed a change.
    Updated {
        /// On which connection.
        connection: ConnectionId,
        /// What is known of it now.
        info: Arc<IdentifyInfo>,
    },
}

impl Lag for Event {
    fn lagged(lost: u64) -> Self {
        Self::Lagged(lost)
    }
}

/// A subscription to what identify learns: a stream that ends with the service.
pub type Events = Subscription<Event>;
