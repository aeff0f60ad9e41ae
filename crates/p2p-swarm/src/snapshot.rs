//! The state of a swarm at one moment, for whoever missed events.

use std::collections::BTreeMap;

use p2p_core::{Multiaddr, PeerId, Protocol};

use crate::events::Events;
use crate::info::ConnectionInfo;
use crate::stats::Stats;
use crate::swarm::Swarm;
use crate::tasks::lock;

/// The state of a swarm at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Connections that are ready, by peer, oldest first.
    pub connections: Vec<ConnectionState>,
    /// Where we listen, each address with our `/p2p/<id>`.
    pub listen_addrs: Vec<Multiaddr>,
    /// Where we can be reached from elsewhere, each address with our `/p2p/<id>`.
    pub external_addrs: Vec<Multiaddr>,
    /// The protocols that we answer.
    pub protocols: Vec<Protocol>,
    /// What we hold of each limit.
    pub usage: Usage,
}

/// A connection at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionState {
    /// What is known of it.
    pub info: ConnectionInfo,
    /// Streams that are open, in both directions together.
    pub streams: usize,
    /// Streams of the remote: of
    /// [`Limits::max_streams_per_connection`](crate::Limits::max_streams_per_connection). Those
    /// that no handler serves are being negotiated.
    pub incoming: usize,
    /// Streams of the remote that our handlers serve, by protocol.
    pub serving: BTreeMap<Protocol, usize>,
    /// Whether a handle, or a stream that keeps it alive, exists.
    pub in_use: bool,
    /// Bytes that it makes us hold.
    pub memory: usize,
    /// Bytes read and written, if they are counted.
    pub traffic: Option<(u64, u64)>,
}

/// How much of its limits a swarm uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Of [`Limits::memory_budget`](crate::Limits::memory_budget).
    pub memory: usize,
    /// Of [`Limits::max_connections`](crate::Limits::max_connections).
    pub connections: usize,
    /// Of [`Limits::max_pending_incoming`](crate::Limits::max_pending_incoming).
    pub pending_incoming: usize,
    /// Of [`Limits::max_pending_dials`](crate::Limits::max_pending_dials).
    pub pending_dials: usize,
    /// Of [`Limits::max_streams`](crate::Limits::max_streams).
    pub streams: usize,
    /// Of [`Limits::max_known_peers`](crate::Limits::max_known_peers).
    pub known_peers: usize,
    /// Peers that we are connected with.
    pub peers: usize,
    /// Tasks that are alive.
    pub tasks: usize,
}

impl Swarm {
    /// The state now.
    ///
    /// After [`Event::Lagged`](crate::Event::Lagged): whatever happens later is in the events,
    /// whatever happened before is in here; an event that is still unread may be in both.
    pub fn snapshot(&self) -> Snapshot {
        let connections = {
            let state = lock(&self.shared().state);
            let all = state.all().map(|inner| ConnectionState {
                info: inner.info.clone(),
                streams: inner.streams(),
                incoming: inner.incoming(),
                serving: inner.serving(),
                in_use: inner.is_used(),
                memory: inner.budget.used(),
                traffic: inner.traffic(),
            });
            all.collect()
        };
        Snapshot {
            connections,
            listen_addrs: self.listen_addrs(),
            external_addrs: self.external_addrs(),
            protocols: self.protocols(),
            usage: self.usage(),
        }
    }

    /// The state now, and everything that happens after. What happens meanwhile may be in both,
    /// and is never in neither.
    pub fn watch(&self) -> (Snapshot, Events) {
        let events = self.events();
        (self.snapshot(), events)
    }

    /// How much of its limits the swarm uses.
    pub fn usage(&self) -> Usage {
        let shared = self.shared();
        let pending_incoming = lock(&shared.admission).pending();
        let state = lock(&shared.state);
        Usage {
            memory: shared.memory.used(),
            connections: shared.connections.used(),
            pending_incoming,
            pending_dials: state.dials(),
            streams: shared.streams.used(),
            known_peers: state.book.peers().count(),
            peers: state.connections.len(),
            tasks: shared.tasks.names().len(),
        }
    }

    /// What the swarm has done since it was built.
    pub fn stats(&self) -> Stats {
        self.shared().counters.stats()
    }

    /// Whether we are connected with `peer`.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.shared().connection(peer).is_some()
    }
}
