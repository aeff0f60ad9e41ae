//! What the service knows, per peer and connection. Freed when a peer's last connection ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::channel::oneshot;
use futures::future::Shared;
use p2p_core::{Budget, Instant, Multiaddr, PeerId, Permit};
use p2p_swarm::{ConnectionId, Reach, WeakConnection};

use crate::announcement::Announcement;
use crate::config::Config;
use crate::error::IdentifyError;
use crate::info::IdentifyInfo;
use crate::proto::Told;
use crate::rate::Rate;

/// The result of asking on one connection.
pub(crate) type Outcome = Result<Arc<IdentifyInfo>, IdentifyError>;

#[derive(Default)]
pub(crate) struct State {
    /// Invariant: every peer has a connection.
    peers: BTreeMap<PeerId, PeerState>,
    /// Who waits for connections that are to be added; nobody else sends.
    expected: Vec<(ConnectionId, oneshot::Sender<()>)>,
}

#[derive(Default)]
struct PeerState {
    /// In the order in which they came; one or two, so a list is the smallest.
    connections: Vec<ConnectionState>,
    known: Option<Known>,
    pushes: Rate,
}

/// What a peer told, paid for.
struct Known {
    info: Arc<IdentifyInfo>,
    _permit: Permit,
}

struct ConnectionState {
    handle: WeakConnection,
    outcome: Shared<oneshot::Receiver<Outcome>>,
    /// Where the peer sees us.
    observed: Option<Multiaddr>,
    /// Which of our announcements the peer was told on it; 0 if none.
    told: u64,
}

impl State {
    pub(crate) fn add(&mut self, handle: WeakConnection, outcome: oneshot::Receiver<Outcome>) {
        let peer = self.peers.entry(handle.peer()).or_default();
        let connection = ConnectionState {
            outcome: futures::FutureExt::shared(outcome),
            observed: None,
            told: 0,
            handle,
        };
        let id = connection.handle.id();
        peer.connections.reserve_exact(1);
        peer.connections.push(connection);
        // Dropping is the signal. Those who gave up go, too.
        let waits = |(other, one): &(_, oneshot::Sender<()>)| *other != id && !one.is_canceled();
        self.expected.retain(waits);
    }

    /// Is done when connection `id` is added.
    pub(crate) fn when_added(&mut self, id: ConnectionId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.expected.retain(|(_, one)| !one.is_canceled());
        self.expected.push((id, sender));
        receiver
    }

    pub(crate) fn remove(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.connections.retain(|one| one.handle.id() != id);
            if state.connections.is_empty() {
                self.peers.remove(&peer);
            }
        }
    }

    pub(crate) fn info(&self, peer: &PeerId) -> Option<Arc<IdentifyInfo>> {
        let known = self.peers.get(peer)?.known.as_ref()?;
        Some(Arc::clone(&known.info))
    }

    pub(crate) fn outcome(
        &self,
        peer: &PeerId,
        id: ConnectionId,
    ) -> Option<Shared<oneshot::Receiver<Outcome>>> {
        let mut connections = self.peers.get(peer)?.connections.iter();
        let connection = connections.find(|one| one.handle.id() == id)?;
        Some(connection.outcome.clone())
    }

    /// Where our peers see us, each with the connection on which it said so.
    pub(crate) fn observed(&self) -> Vec<(ConnectionId, Multiaddr)> {
        let connections = self.peers.values().flat_map(|peer| &peer.connections);
        connections
            .filter_map(|one| Some((one.handle.id(), one.observed.clone()?)))
            .collect()
    }

    /// Takes what `peer` answered on a connection, instead of what was known of it.
    pub(crate) fn answered(&mut self, connection: &WeakConnection, info: IdentifyInfo) -> Outcome {
        let mut info = info;
        let observed = info.observed_addr.clone();
        if let Some(last) = self.info(&connection.peer()) {
            info.keep_newer(&last);
        }
        self.learn(connection, info, observed)
    }

    /// Takes what `peer` pushed on a connection, on top of what was known of it.
    pub(crate) fn pushed(
        &mut self,
        connection: &WeakConnection,
        told: Told,
        config: &Config,
    ) -> Outcome {
        let info = self.info(&connection.peer());
        let mut info = match info {
            Some(info) => IdentifyInfo::clone(&info),
            None => IdentifyInfo::new(connection.peer(), connection.info().public_key.clone()),
        };
        let observed = told.observed_addr.clone();
        info.update(told, &config.limits)?;
        self.learn(connection, info, observed)
    }

    /// `observed` is what was said on this very connection.
    fn learn(
        &mut self,
        connection: &WeakConnection,
        info: IdentifyInfo,
        observed: Option<Multiaddr>,
    ) -> Outcome {
        let peer = self.peers.get_mut(&info.peer);
        let peer = peer.ok_or(IdentifyError::Ended)?;
        let state = peer.connection(connection.id());
        let state = state.ok_or(IdentifyError::Ended)?;
        let permit = pay(connection.budget(), &info)?;
        if observed.is_some() {
            state.observed = observed;
        }
        let info = Arc::new(info);
        peer.known = Some(Known {
            info: Arc::clone(&info),
            _permit: permit,
        });
        Ok(info)
    }

    /// Whether `peer` may push at `now`.
    pub(crate) fn may_push(&mut self, peer: &PeerId, now: Instant, config: &Config) -> bool {
        self.peers.get_mut(peer).is_some_and(|state| {
            let pushes = &mut state.pushes;
            pushes.take(now, config.push_burst, config.push_interval)
        })
    }

    /// Notes that a peer was told announcement `version` on a connection.
    pub(crate) fn told(&mut self, peer: &PeerId, id: ConnectionId, version: u64) {
        let peer = self.peers.get_mut(peer);
        if let Some(connection) = peer.and_then(|peer| peer.connection(id)) {
            connection.told = connection.told.max(version);
        }
    }

    /// One connection of each peer that was told something older than `version` and takes pushes.
    /// They count as told from now on.
    pub(crate) fn outdated(&mut self, version: u64) -> Vec<WeakConnection> {
        let mut outdated = Vec::new();
        for peer in self.peers.values_mut() {
            // Who has not asked yet will be told when it does.
            let newest = peer.connections.iter().map(|one| one.told).max();
            if newest.is_none_or(|told| told == 0 || told >= version) || !peer.takes_pushes() {
                continue;
            }
            for connection in &mut peer.connections {
                connection.told = version;
            }
            outdated.extend(peer.newest());
        }
        outdated
    }

    /// The newest connection with `peer`.
    pub(crate) fn newest(&self, peer: &PeerId) -> Option<WeakConnection> {
        self.peers.get(peer)?.newest()
    }
}

impl PeerState {
    fn connection(&mut self, id: ConnectionId) -> Option<&mut ConnectionState> {
        let mut connections = self.connections.iter_mut();
        connections.find(|one| one.handle.id() == id)
    }

    fn newest(&self) -> Option<WeakConnection> {
        let newest = self.connections.last();
        newest.map(|connection| connection.handle.clone())
    }

    /// Also if we cannot tell: a refusal costs nothing.
    fn takes_pushes(&self) -> bool {
        let known = self.known.as_ref();
        known.is_none_or(|known| known.info.protocols.contains(&crate::PUSH_PROTOCOL))
    }
}

fn pay(budget: &Budget, info: &IdentifyInfo) -> Result<Permit, IdentifyError> {
    Ok(budget.reserve(info.weight())?)
}

/// A message of ours, made once for every change.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) announcements: Announcements,
    pub(crate) addrs: Vec<Multiaddr>,
    pub(crate) protocols: Vec<p2p_core::Protocol>,
    /// Above 0, and higher with each change.
    pub(crate) version: u64,
}

/// What is told to whom, by from how far away the peer is seen.
#[derive(Clone)]
pub(crate) struct Announcements {
    pub(crate) host: Announcement,
    pub(crate) network: Announcement,
    pub(crate) world: Announcement,
}

impl Current {
    /// The message for a peer that we see at `remote`.
    pub(crate) fn message(&self, remote: &Multiaddr) -> Vec<u8> {
        let announcement = match Reach::of(remote) {
            Reach::Host => &self.announcements.host,
            Reach::Network => &self.announcements.network,
            Reach::Nowhere | Reach::World => &self.announcements.world,
        };
        announcement.encode(Some(remote))
    }
}
