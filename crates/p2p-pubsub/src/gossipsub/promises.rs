//! Who offered a message and still owes it to us.

use std::collections::BTreeMap;

use p2p_core::Instant;

use crate::MessageId;
use crate::ids::{IdMap, Keyed};
use crate::table::PeerIx;

/// One promise for each accepted IHAVE, which limits their number.
#[derive(Debug)]
pub(super) struct Promises {
    due: IdMap<BTreeMap<PeerIx, Instant>>,
    by_peer: BTreeMap<PeerIx, Vec<MessageId>>,
}

impl Promises {
    pub(super) fn new(ids: Keyed) -> Self {
        Self {
            due: IdMap::with_hasher(ids),
            by_peer: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, peer: PeerIx, id: MessageId, due: Instant) {
        let peers = self.due.entry(id.clone()).or_default();
        if peers.insert(peer, due).is_none() {
            self.by_peer.entry(peer).or_default().push(id);
        }
    }

    /// The message has come, from whomever.
    pub(super) fn fulfil(&mut self, id: &MessageId) {
        if self.due.is_empty() {
            return;
        }
        for (peer, _) in self.due.remove(id).unwrap_or_default() {
            self.forget_one(peer, id);
        }
    }

    /// What this peer owes is forgiven.
    pub(super) fn forgive(&mut self, peer: PeerIx) {
        for id in self.by_peer.remove(&peer).unwrap_or_default() {
            if let Some(peers) = self.due.get_mut(&id) {
                peers.remove(&peer);
                if peers.is_empty() {
                    self.due.remove(&id);
                }
            }
        }
    }

    /// Takes out the promises that are broken by now; how many for each peer.
    pub(super) fn broken(&mut self, now: Instant) -> BTreeMap<PeerIx, u32> {
        let mut broken: BTreeMap<PeerIx, u32> = BTreeMap::new();
        let mut late = Vec::new();
        for (peer, ids) in &self.by_peer {
            for id in ids {
                let due = self.due.get(id).and_then(|peers| peers.get(peer));
                if due.is_some_and(|due| *due < now) {
                    late.push((*peer, id.clone()));
                }
            }
        }
        for (peer, id) in late {
            *broken.entry(peer).or_default() += 1;
            self.forget_one(peer, &id);
            if let Some(peers) = self.due.get_mut(&id) {
                peers.remove(&peer);
                if peers.is_empty() {
                    self.due.remove(&id);
                }
            }
        }
        broken
    }

    pub(super) fn len(&self) -> usize {
        self.due.len() + self.by_peer.len()
    }

    fn forget_one(&mut self, peer: PeerIx, id: &MessageId) {
        if let Some(ids) = self.by_peer.get_mut(&peer) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
    }
}
