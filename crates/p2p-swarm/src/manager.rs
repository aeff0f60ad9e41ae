//! Which connections are worth keeping. Pure.
//!
//! ```text
//!   above high_water ── the least useful go, until low_water is left
//!     never: protected peers, and those with a keep-alive handle
//!     not yet: connections younger than trim_grace
//!     first: unused, then the lower sum of tags, then incoming, then the longest unused
//! ```

use std::collections::{BTreeMap, BTreeSet};

use p2p_core::{Instant, PeerId, Role};

use crate::ConnectionId;

/// What the application said about peers. Filled by it alone, never by a remote.
#[derive(Default)]
pub(crate) struct Manager {
    /// Invariant: no entry that says nothing.
    peers: BTreeMap<PeerId, Notes>,
    /// When connections were last closed.
    pub(crate) trimmed: Option<Instant>,
    /// Whether somebody is at it, or will look again in time.
    pub(crate) trimming: bool,
}

#[derive(Default)]
struct Notes {
    protections: BTreeSet<String>,
    tags: BTreeMap<String, i64>,
    /// Keep-alive handles.
    kept: usize,
}

/// A connection that may have to go.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: ConnectionId,
    pub(crate) peer: PeerId,
    pub(crate) role: Role,
    pub(crate) established: Instant,
    /// Handles and streams.
    pub(crate) in_use: bool,
    pub(crate) last_used: Instant,
}

impl Manager {
    pub(crate) fn protect(&mut self, peer: PeerId, tag: &str) {
        self.change(peer, |notes| notes.protections.insert(tag.to_owned()));
    }

    /// Whether the peer is still protected, by another tag.
    pub(crate) fn unprotect(&mut self, peer: PeerId, tag: &str) -> bool {
        self.change(peer, |notes| {
            notes.protections.remove(tag);
            !notes.protections.is_empty()
        })
    }

    pub(crate) fn set_tag(&mut self, peer: PeerId, tag: &str, value: i64) {
        self.change(peer, |notes| notes.tags.insert(tag.to_owned(), value));
    }

    pub(crate) fn remove_tag(&mut self, peer: PeerId, tag: &str) -> Option<i64> {
        self.change(peer, |notes| notes.tags.remove(tag))
    }

    pub(crate) fn keep(&mut self, peer: PeerId) {
        self.change(peer, |notes| notes.kept += 1);
    }

    pub(crate) fn release(&mut self, peer: PeerId) {
        self.change(peer, |notes| notes.kept = notes.kept.saturating_sub(1));
    }

    /// Whether somebody holds a keep-alive handle for `peer`.
    pub(crate) fn is_kept(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|notes| notes.kept > 0)
    }

    pub(crate) fn is_protected(&self, peer: &PeerId) -> bool {
        let notes = self.peers.get(peer);
        notes.is_some_and(|notes| notes.kept > 0 || !notes.protections.is_empty())
    }

    /// The sum of the tags of `peer`.
    pub(crate) fn score(&self, peer: &PeerId) -> i64 {
        let tags = self
            .peers
            .get(peer)
            .into_iter()
            .flat_map(|notes| notes.tags.values());
        tags.fold(0, |sum, value| sum.saturating_add(*value))
    }

    /// Which of `candidates` must go so that `low` are left, least useful first.
    pub(crate) fn choose(
        &self,
        mut candidates: Vec<Candidate>,
        low: usize,
        old_enough: Instant,
    ) -> Vec<ConnectionId> {
        let excess = candidates.len().saturating_sub(low);
        candidates.retain(|one| one.established <= old_enough && !self.is_protected(&one.peer));
        candidates.sort_by_cached_key(|one| {
            let dialed = one.role == Role::Dialer;
            (
                one.in_use,
                self.score(&one.peer),
                dialed,
                one.last_used,
                one.id,
            )
        });
        candidates.truncate(excess);
        candidates.into_iter().map(|one| one.id).collect()
    }

    fn change<T>(&mut self, peer: PeerId, change: impl FnOnce(&mut Notes) -> T) -> T {
        let notes = self.peers.entry(peer).or_default();
        let result = change(notes);
        if notes.protections.is_empty() && notes.tags.is_empty() && notes.kept == 0 {
            self.peers.remove(&peer);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes(&[0, 1, n]).unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// Connection n with peer n: incoming, unused since second n, established at the start.
    fn candidate(n: u8) -> Candidate {
        Candidate {
            id: ConnectionId(u64::from(n)),
            peer: peer(n),
            role: Role::Listener,
            established: Instant::ZERO,
            in_use: false,
            last_used: at(u64::from(n)),
        }
    }

    fn chosen(manager: &Manager, candidates: Vec<Candidate>, low: usize) -> Vec<u64> {
        let chosen = manager.choose(candidates, low, at(100));
        chosen.into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn the_least_useful_go_first_until_the_low_water_mark() {
        let mut manager = Manager::default();
        manager.set_tag(peer(1), "mesh", 5);
        manager.set_tag(peer(2), "bad", -1);
        let mut all: Vec<Candidate> = (1..=6).map(candidate).collect();
        all[2].in_use = true;
        all[3].role = Role::Dialer;
        assert_eq!(chosen(&manager, all.clone(), 0), [2, 5, 6, 4, 1, 3]);
        assert_eq!(chosen(&manager, all.clone(), 4), [2, 5]);
        assert_eq!(chosen(&manager, all, 9), [0; 0]);
    }

    #[test]
    fn protected_kept_and_young_ones_stay() {
        let mut manager = Manager::default();
        manager.protect(peer(1), "a");
        manager.protect(peer(1), "b");
        manager.keep(peer(2));
        let mut all: Vec<Candidate> = (1..=4).map(candidate).collect();
        all[2].established = at(101);
        assert_eq!(chosen(&manager, all.clone(), 0), [4]);
        assert!(manager.unprotect(peer(1), "a"), "b is left");
        assert!(!manager.unprotect(peer(1), "b"));
        manager.release(peer(2));
        assert_eq!(chosen(&manager, all, 0), [1, 2, 4]);
        assert!(manager.peers.is_empty(), "nothing is left of it");
    }

    #[test]
    fn the_sum_of_tags_saturates_and_a_tag_can_be_taken_back() {
        let mut manager = Manager::default();
        manager.set_tag(peer(1), "a", i64::MAX);
        manager.set_tag(peer(1), "b", 1);
        assert_eq!(manager.score(&peer(1)), i64::MAX);
        assert_eq!(manager.remove_tag(peer(1), "a"), Some(i64::MAX));
        assert_eq!(manager.score(&peer(1)), 1);
    }
}
