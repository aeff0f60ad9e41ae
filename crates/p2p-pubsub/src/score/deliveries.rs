//! Who sent a message before and after it was judged, to share praise and blame.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use p2p_core::Instant;

use crate::MessageId;
use crate::ids::{IdMap, Keyed};
use crate::table::PeerIx;

/// Records of messages, the oldest first, at most so many.
#[derive(Debug)]
pub(crate) struct Deliveries {
    records: IdMap<Record>,
    /// Invariant: the ids in `records`, by age.
    by_age: VecDeque<(Instant, MessageId)>,
    keep: Duration,
    max: usize,
}

#[derive(Debug)]
struct Record {
    status: Status,
    /// Peers that sent a copy, other than the first while validating.
    peers: BTreeSet<PeerIx>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Validating,
    Valid {
        since: Instant,
    },
    Invalid,
    /// Neither praise nor blame.
    Dropped,
}

/// What another copy of a message means for its sender.
pub(crate) enum Duplicate {
    /// It counts if it came early enough after the message was accepted.
    InTime { after: Duration },
    /// The message is known to be invalid.
    Invalid,
    /// Nothing yet, or nothing at all.
    Uncounted,
}

impl Deliveries {
    pub(crate) fn new(keep: Duration, max: usize, ids: Keyed) -> Self {
        Self {
            records: IdMap::with_hasher(ids),
            by_age: VecDeque::new(),
            keep,
            max: max.max(1),
        }
    }

    /// Starts a record unless there is one.
    pub(crate) fn open(&mut self, id: &MessageId, now: Instant) {
        self.record(id, now);
    }

    /// The message is valid; returns who else had sent it.
    pub(crate) fn accept(&mut self, id: &MessageId, now: Instant) -> Vec<PeerIx> {
        self.judge(id, Status::Valid { since: now }, now)
            .unwrap_or_default()
    }

    /// The message is invalid; returns who else had sent it. `None`: it was judged before.
    pub(crate) fn reject(&mut self, id: &MessageId, now: Instant) -> Option<Vec<PeerIx>> {
        self.judge(id, Status::Invalid, now)
    }

    /// Nobody gains or loses by this message.
    pub(crate) fn drop_silently(&mut self, id: &MessageId, now: Instant) {
        self.judge(id, Status::Dropped, now);
    }

    fn judge(&mut self, id: &MessageId, status: Status, now: Instant) -> Option<Vec<PeerIx>> {
        let record = self.record(id, now);
        if record.status != Status::Validating {
            return None;
        }
        record.status = status;
        let peers = record.peers.iter().copied().collect();
        if !matches!(status, Status::Valid { .. }) {
            record.peers.clear();
        }
        Some(peers)
    }

    pub(crate) fn duplicate(&mut self, id: &MessageId, from: PeerIx, now: Instant) -> Duplicate {
        let record = self.record(id, now);
        if record.peers.contains(&from) {
            return Duplicate::Uncounted;
        }
        match record.status {
            Status::Validating => {
                record.peers.insert(from);
                Duplicate::Uncounted
            }
            Status::Valid { since } => {
                record.peers.insert(from);
                Duplicate::InTime { after: now - since }
            }
            Status::Invalid => Duplicate::Invalid,
            Status::Dropped => Duplicate::Uncounted,
        }
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((since, _)) = self.by_age.front() {
            if now - *since < self.keep && self.by_age.len() <= self.max {
                return;
            }
            if let Some((_, id)) = self.by_age.pop_front() {
                self.records.remove(&id);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.records.len(), self.by_age.len());
        self.records.len()
    }

    #[cfg(test)]
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.by_age.clear();
    }

    fn record(&mut self, id: &MessageId, now: Instant) -> &mut Record {
        if !self.records.contains_key(id) {
            self.by_age.push_back((now, id.clone()));
            while self.by_age.len() > self.max {
                if let Some((_, id)) = self.by_age.pop_front() {
                    self.records.remove(&id);
                }
            }
        }
        self.records.entry(id.clone()).or_insert_with(|| Record {
            status: Status::Validating,
            peers: BTreeSet::new(),
        })
    }
}
