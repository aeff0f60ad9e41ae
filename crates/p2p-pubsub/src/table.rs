//! Peers and their topics, under small numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use p2p_core::PeerId;

use crate::Topic;
use crate::ids::Keyed;
use crate::queue::Queue;
use crate::router::Version;
use crate::wire::PartialMode;

/// A peer inside one router. Never used for another peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerIx(pub(crate) u64);

/// What every router knows of a peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) version: Version,
    /// We dialed.
    pub(crate) outbound: bool,
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) topics: BTreeSet<Topic>,
    /// How it takes part in the partial messages of its topics.
    pub(crate) partial: BTreeMap<Topic, PartialMode>,
    /// It has announced partial messages.
    pub(crate) speaks_partial: bool,
    pub(crate) queue: Queue,
    /// Bytes of its messages that are being checked.
    pub(crate) validating: usize,
    /// The first RPC of its stream has arrived.
    pub(crate) greeted: bool,
}

/// Connected peers by number, by id and by topic; and the numbers of peers that left.
#[derive(Debug)]
pub(crate) struct Table {
    connected: BTreeMap<PeerIx, Peer>,
    /// In the order of nothing: never walk through it.
    numbers: HashMap<PeerId, PeerIx, Keyed>,
    /// Peers that left and are remembered, by number.
    gone: BTreeMap<PeerIx, PeerId>,
    topics: BTreeMap<Topic, BTreeSet<PeerIx>>,
    next: u64,
}

impl Table {
    pub(crate) fn new(ids: Keyed) -> Self {
        Self {
            connected: BTreeMap::new(),
            numbers: HashMap::with_hasher(ids),
            gone: BTreeMap::new(),
            topics: BTreeMap::new(),
            next: 0,
        }
    }

    /// Adds a peer; one that is remembered gets its old number.
    pub(crate) fn connect(&mut self, peer: Peer) -> PeerIx {
        let ix = *self.numbers.entry(peer.id).or_insert_with(|| {
            self.next += 1;
            PeerIx(self.next)
        });
        self.gone.remove(&ix);
        self.connected.insert(ix, peer);
        ix
    }

    /// Takes a peer out and remembers its number.
    pub(crate) fn disconnect(&mut self, ix: PeerIx) -> Option<Peer> {
        let peer = self.connected.remove(&ix)?;
        for topic in &peer.topics {
            self.remove_from_topic(ix, topic);
        }
        self.gone.insert(ix, peer.id);
        Some(peer)
    }

    /// Forgets the number of a peer that left.
    pub(crate) fn forget(&mut self, ix: PeerIx) {
        if let Some(id) = self.gone.remove(&ix) {
            self.numbers.remove(&id);
        }
    }

    /// Peers that left and are remembered, longest known first.
    pub(crate) fn gone(&self) -> impl ExactSizeIterator<Item = PeerIx> + '_ {
        self.gone.keys().copied()
    }

    pub(crate) fn number(&self, id: &PeerId) -> Option<PeerIx> {
        self.numbers.get(id).copied()
    }

    /// The number of a connected peer.
    pub(crate) fn find(&self, id: &PeerId) -> Option<PeerIx> {
        let ix = self.number(id)?;
        self.connected.contains_key(&ix).then_some(ix)
    }

    pub(crate) fn get(&self, ix: PeerIx) -> Option<&Peer> {
        self.connected.get(&ix)
    }

    pub(crate) fn get_mut(&mut self, ix: PeerIx) -> Option<&mut Peer> {
        self.connected.get_mut(&ix)
    }

    /// The id of a peer that is connected or remembered.
    pub(crate) fn id(&self, ix: PeerIx) -> Option<PeerId> {
        let connected = self.connected.get(&ix).map(|peer| peer.id);
        connected.or_else(|| self.gone.get(&ix).copied())
    }

    pub(crate) fn connected(&self) -> usize {
        self.connected.len()
    }

    pub(crate) fn numbers(&self) -> Vec<PeerIx> {
        self.connected.keys().copied().collect()
    }

    /// The connected peers in `topic`.
    pub(crate) fn in_topic(&self, topic: &Topic) -> impl Iterator<Item = PeerIx> + '_ {
        self.topics.get(topic).into_iter().flatten().copied()
    }

    /// False if it was in the topic already.
    pub(crate) fn join(&mut self, ix: PeerIx, topic: &Topic) -> bool {
        let Some(peer) = self.connected.get_mut(&ix) else {
            return false;
        };
        self.topics.entry(topic.clone()).or_default().insert(ix);
        peer.topics.insert(topic.clone())
    }

    /// False if it was not in the topic.
    pub(crate) fn leave(&mut self, ix: PeerIx, topic: &Topic) -> bool {
        let Some(peer) = self.connected.get_mut(&ix) else {
            return false;
        };
        peer.partial.remove(topic);
        let left = peer.topics.remove(topic);
        self.remove_from_topic(ix, topic);
        left
    }

    fn remove_from_topic(&mut self, ix: PeerIx, topic: &Topic) {
        if let Some(peers) = self.topics.get_mut(topic) {
            peers.remove(&ix);
            if peers.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// The name of a topic that some peer is in, shared.
    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get_key_value(name).map(|(topic, _)| topic)
    }

    /// Entries of all maps, to see that nothing is left behind.
    pub(crate) fn entries(&self) -> usize {
        self.connected.len() + self.numbers.len() + self.gone.len() + self.topics.len()
    }
}
