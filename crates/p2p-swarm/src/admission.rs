//! Who may come in, fairly among sources. Pure.
//!
//! ```text
//!   arrive ── rate of its prefix, share of its prefix ──> pending ── connect ──> connected
//!                     no room at all: the oldest of the prefix that has most gives way
//! ```
//!
//! So one source can neither keep others out by stalling handshakes, nor take every connection.

use std::collections::BTreeMap;
use std::time::Duration;

use p2p_core::{Exceeded, Instant, Multiaddr};

use crate::limits::Limits;
use crate::prefix::{Grain, IpPrefix};

/// Identifies a pending connection.
pub(crate) type PendingId = u64;

/// `None` is this machine itself, which has no share and no rate.
type Source = Option<IpPrefix>;

/// The books of incoming connections.
pub(crate) struct Admission {
    grain: Grain,
    max_pending: usize,
    max_pending_per_prefix: usize,
    max_connected_per_prefix: usize,
    rate: Option<Rate>,
    next: PendingId,
    pending: BTreeMap<PendingId, Source>,
    /// Pending ones of each source, oldest first. Invariant: no empty list, the same as `pending`.
    waiting: BTreeMap<Source, Vec<PendingId>>,
    /// Invariant: no zero.
    connected: BTreeMap<IpPrefix, usize>,
    /// When the allowance of each source will be full again. At most [`MAX_RATES`].
    spent: BTreeMap<IpPrefix, Instant>,
}

#[derive(Clone, Copy)]
struct Rate {
    interval: Duration,
    burst: u32,
}

/// A connection was let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) id: PendingId,
    /// Which one had to go.
    pub(crate) evicted: Option<PendingId>,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        let rate = limits.incoming_rate_per_prefix;
        Self {
            grain: limits.grain(),
            max_pending: limits.max_pending_incoming,
            max_pending_per_prefix: limits.max_pending_per_prefix,
            max_connected_per_prefix: limits.max_connections_per_prefix,
            rate: (rate > 0).then(|| Rate {
                interval: Duration::from_secs(1) / rate,
                burst: limits.incoming_burst_per_prefix,
            }),
            next: 0,
            pending: BTreeMap::new(),
            waiting: BTreeMap::new(),
            connected: BTreeMap::new(),
            spent: BTreeMap::new(),
        }
    }

    /// A connection came in from `remote`.
    ///
    /// # Errors
    /// The limit of its source that has no room for it.
    pub(crate) fn arrive(&mut self, remote: &Multiaddr, now: Instant) -> Result<Arrived, Exceeded> {
        let source = self.grain.source(remote);
        if let Some(prefix) = source {
            self.check_connected(prefix)?;
            let used = self.waiting.get(&source).map_or(0, Vec::len);
            let name = "incoming connections being upgraded from one prefix";
            let limit = self.max_pending_per_prefix;
            Exceeded::check_one_more(name, "max_pending_per_prefix", limit, used)?;
            self.spend(prefix, now)?;
        }
        let evicted = if self.pending.len() >= self.max_pending {
            self.evict()
        } else {
            None
        };
        self.next += 1;
        self.pending.insert(self.next, source);
        self.waiting.entry(source).or_default().push(self.next);
        Ok(Arrived {
            id: self.next,
            evicted,
        })
    }

    /// A pending connection is finished, failed or gone.
    pub(crate) fn leave(&mut self, id: PendingId) {
        let Some(source) = self.pending.remove(&id) else {
            return;
        };
        if let Some(list) = self.waiting.get_mut(&source) {
            list.retain(|other| *other != id);
            if list.is_empty() {
                self.waiting.remove(&source);
            }
        }
    }

    /// Takes a place for an established connection from `remote`; give it back with
    /// [`Admission::disconnect`].
    ///
    /// # Errors
    /// If its prefix has all it may have.
    pub(crate) fn connect(&mut self, remote: &Multiaddr) -> Result<Option<IpPrefix>, Exceeded> {
        let Some(prefix) = self.grain.source(remote) else {
            return Ok(None);
        };
        self.check_connected(prefix)?;
        *self.connected.entry(prefix).or_default() += 1;
        Ok(Some(prefix))
    }

    pub(crate) fn disconnect(&mut self, prefix: IpPrefix) {
        if let Some(count) = self.connected.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.connected.remove(&prefix);
            }
        }
    }

    /// The prefix with the most established connections, if those are more than `remote`'s own
    /// would be with one more.
    pub(crate) fn greediest(&self, remote: &Multiaddr) -> Option<IpPrefix> {
        let own = self.grain.source(remote);
        let own = own
            .and_then(|prefix| self.connected.get(&prefix))
            .copied()
            .unwrap_or(0);
        let (prefix, most) = self.connected.iter().max_by_key(|(_, count)| **count)?;
        (*most > own).then_some(*prefix)
    }

    /// How many are pending.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What an evicted connection is told.
    pub(crate) fn evicted(&self) -> Exceeded {
        Exceeded {
            name: "incoming connections being upgraded",
            setting: "max_pending_incoming",
            limit: self.max_pending,
            used: self.max_pending,
            wanted: 1,
        }
    }

    fn check_connected(&self, prefix: IpPrefix) -> Result<(), Exceeded> {
        let used = self.connected.get(&prefix).copied().unwrap_or(0);
        let name = "incoming connections from one prefix";
        let limit = self.max_connected_per_prefix;
        Exceeded::check_one_more(name, "max_connections_per_prefix", limit, used)
    }

    /// Makes the oldest of the source that has most give way; between equals the one that has
    /// waited longest.
    fn evict(&mut self) -> Option<PendingId> {
        let rank = |list: &Vec<PendingId>| {
            let oldest = list.first().copied().unwrap_or(PendingId::MAX);
            (list.len(), std::cmp::Reverse(oldest))
        };
        let most = self.waiting.values().max_by_key(|list| rank(list))?;
        let oldest = most.first().copied()?;
        self.leave(oldest);
        Some(oldest)
    }

    fn spend(&mut self, prefix: IpPrefix, now: Instant) -> Result<(), Exceeded> {
        let Some(Rate { interval, burst }) = self.rate else {
            return Ok(());
        };
        let full = self.spent.get(&prefix).copied().unwrap_or(now).max(now);
        let owed = full - now;
        if owed + interval > interval.saturating_mul(burst) {
            return Err(Exceeded {
                name: "incoming connections in a row from one prefix",
                setting: "incoming_rate_per_prefix, incoming_burst_per_prefix",
                limit: usize::try_from(burst).unwrap_or(usize::MAX),
                used: usize::try_from(burst).unwrap_or(usize::MAX),
                wanted: 1,
            });
        }
        if self.spent.len() >= MAX_RATES && !self.spent.contains_key(&prefix) {
            self.forget_rates(now);
        }
        self.spent.insert(prefix, full + interval);
        Ok(())
    }

    /// Forgets who owes nothing, or else the eighth that owes least: a part at a time, so that a
    /// flood from everywhere does not cost a look at all of them for each connection.
    fn forget_rates(&mut self, now: Instant) {
        self.spent.retain(|_, full| *full > now);
        if self.spent.len() >= MAX_RATES {
            let mut debts: Vec<Instant> = self.spent.values().copied().collect();
            debts.sort_unstable();
            let least = debts.get(debts.len() / 8).copied().unwrap_or(now);
            let mut most = debts.len() / 8;
            self.spent.retain(|_, full| {
                let forget = *full <= least && most > 0;
                most -= usize::from(forget);
                !forget
            });
        }
    }
}

/// Sources whose rate is remembered; those that owe least are forgotten first. About 64 bytes
/// each.
const MAX_RATES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from(a: u8, b: u8) -> Multiaddr {
        format!("/ip4/10.0.{a}.{b}/tcp/1").parse().unwrap()
    }

    fn limits() -> Limits {
        Limits {
            max_pending_incoming: 6,
            max_pending_per_prefix: 4,
            max_connections_per_prefix: 2,
            incoming_rate_per_prefix: 10,
            incoming_burst_per_prefix: 20,
            ..Limits::default()
        }
    }

    #[test]
    fn one_prefix_has_its_share_of_pending_connections_and_no_more() {
        let mut admission = Admission::new(&limits());
        for n in 0..4 {
            admission.arrive(&from(1, n), Instant::ZERO).unwrap();
        }
        let refused = admission.arrive(&from(1, 9), Instant::ZERO).unwrap_err();
        assert_eq!(refused.setting, "max_pending_per_prefix");
        admission.arrive(&from(2, 1), Instant::ZERO).unwrap();
        admission.leave(1);
        admission.arrive(&from(1, 9), Instant::ZERO).unwrap();
    }

    #[test]
    fn when_all_places_are_taken_the_greediest_gives_way() {
        let mut admission = Admission::new(&limits());
        let mut arrive = |a, b| admission.arrive(&from(a, b), Instant::ZERO).unwrap();
        for n in 0..4 {
            arrive(1, n);
        }
        let (five, six) = (arrive(2, 1).id, arrive(3, 1).id);
        assert_eq!(arrive(4, 1).evicted, Some(1), "prefix 1 has four");
        assert_eq!(arrive(5, 1).evicted, Some(2), "and still most");
        assert_eq!(arrive(6, 1).evicted, Some(3));
        assert_eq!(arrive(7, 1).evicted, Some(4), "all have one: the oldest");
        assert_eq!(arrive(8, 1).evicted, Some(five));
        assert_eq!(arrive(9, 1).evicted, Some(six));
    }

    #[test]
    fn established_connections_of_a_prefix_have_a_limit_too() {
        let mut admission = Admission::new(&limits());
        let place = admission.connect(&from(1, 1)).unwrap().unwrap();
        admission.connect(&from(1, 2)).unwrap();
        let refused = admission.connect(&from(1, 3)).unwrap_err();
        assert_eq!(refused.setting, "max_connections_per_prefix");
        let early = admission.arrive(&from(1, 3), Instant::ZERO).unwrap_err();
        assert_eq!(early, refused, "no handshake for nothing");
        assert_eq!(admission.greediest(&from(2, 1)), Some(place));
        assert_eq!(
            admission.greediest(&from(1, 1)),
            None,
            "it is the greediest itself"
        );
        admission.disconnect(place);
        admission.connect(&from(1, 3)).unwrap();
    }

    #[test]
    fn a_prefix_has_a_burst_and_then_a_rate() {
        let mut admission = Admission::new(&limits());
        let mut let_in = |now| match admission.arrive(&from(1, 1), now) {
            Ok(Arrived { id, .. }) => {
                admission.leave(id);
                true
            }
            Err(refused) => {
                let both = "incoming_rate_per_prefix, incoming_burst_per_prefix";
                assert_eq!(refused.setting, both);
                false
            }
        };
        assert_eq!((0..100).filter(|_| let_in(Instant::ZERO)).count(), 20);
        let later = Instant::ZERO + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| let_in(later)).count(), 10);
    }

    #[test]
    fn the_machine_itself_has_no_rate_and_no_share() {
        let mut admission = Admission::new(&limits());
        let local: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        for _ in 0..100 {
            admission.arrive(&local, Instant::ZERO).unwrap();
            assert_eq!(admission.connect(&local), Ok(None));
        }
        assert_eq!(admission.pending(), 6);
    }

    #[test]
    fn sources_remembered_for_their_rate_are_capped() {
        let mut admission = Admission::new(&limits());
        for n in 0..10_000u32 {
            let [_, a, b, c] = n.to_be_bytes();
            let remote = format!("/ip4/{}.{b}.{c}.1/tcp/1", 11 + a).parse().unwrap();
            let arrived = admission.arrive(&remote, Instant::ZERO).unwrap();
            admission.leave(arrived.id);
        }
        assert!((MAX_RATES / 2..=MAX_RATES).contains(&admission.spent.len()));
    }

    proptest! {
        #[test]
        fn the_books_agree_with_each_other(
            ops in proptest::collection::vec((0u8..4, 0u8..4, 0u64..40, 0u64..2_000), 0..200)
        ) {
            let mut admission = Admission::new(&limits());
            let mut held = Vec::new();
            let mut now = Instant::ZERO;
            for (op, a, id, wait) in ops {
                now += Duration::from_millis(wait);
                match op {
                    0 => { let _ = admission.arrive(&from(a, 1), now); }
                    1 => admission.leave(id),
                    2 => held.extend(admission.connect(&from(a, 1)).ok().flatten()),
                    _ => if let Some(prefix) = held.pop() { admission.disconnect(prefix) },
                }
                prop_assert!(admission.pending.len() <= 6);
                let listed: usize = admission.waiting.values().map(Vec::len).sum();
                prop_assert_eq!(listed, admission.pending.len());
                prop_assert!(admission.waiting.values().all(|list| (1..=4).contains(&list.len())));
                prop_assert!(admission.connected.values().all(|count| (1..=2).contains(count)));
                prop_assert_eq!(admission.connected.values().sum::<usize>(), held.len());
            }
        }
    }
}
