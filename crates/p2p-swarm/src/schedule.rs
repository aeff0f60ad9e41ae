//! Which address of a dial starts when. Pure.
//!
//! ```text
//!   ranked addresses ── first at once, the next after the stagger or when one fails ──> under way
//!   addresses that come later (somebody joins the dial) are ranked among those still waiting, and
//!   take the place of such that nobody named
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use p2p_core::{Instant, Multiaddr};

use crate::rank::rank_addrs;

#[derive(Debug)]
pub(crate) struct Schedule {
    config: ScheduleConfig,
    waiting: VecDeque<Multiaddr>,
    /// Every address that has a place, also when it has failed, so that none is tried twice. At
    /// most `max_addrs`.
    taken: BTreeSet<Multiaddr>,
    /// Those of them that somebody named: they keep their place.
    named: BTreeSet<Multiaddr>,
    /// Those that found no place, or lost it.
    left_out: BTreeSet<Multiaddr>,
    next_at: Instant,
    under_way: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ScheduleConfig {
    pub(crate) stagger: Duration,
    pub(crate) max_addrs: usize,
    pub(crate) max_under_way: usize,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Every address has failed.
    Exhausted,
    /// Start this address now.
    Start(Multiaddr),
    /// Wait for an attempt to end.
    Wait,
    /// Wait for an attempt to end, at most until then.
    WaitUntil(Instant),
}

impl Schedule {
    pub(crate) fn new(config: ScheduleConfig, now: Instant) -> Self {
        Self {
            config,
            waiting: VecDeque::new(),
            taken: BTreeSet::new(),
            named: BTreeSet::new(),
            left_out: BTreeSet::new(),
            next_at: now,
            under_way: 0,
        }
    }

    /// Takes further addresses as far as there is place; those taken before are ignored.
    pub(crate) fn add(&mut self, addrs: impl IntoIterator<Item = Multiaddr>) {
        for addr in addrs {
            if self.taken.contains(&addr) {
                continue;
            }
            if self.taken.len() < self.config.max_addrs {
                self.left_out.remove(&addr);
                self.taken.insert(addr.clone());
                self.waiting.push_back(addr);
            } else {
                self.left_out.insert(addr);
            }
        }
        self.waiting = rank_addrs(std::mem::take(&mut self.waiting)).into();
    }

    /// Takes addresses that somebody named, each instead of one that nobody did and that has not
    /// started, if there is no other place. False, and nothing changed, if there are not places
    /// enough for those that a dial of their own would try.
    pub(crate) fn offer(&mut self, addrs: &[Multiaddr]) -> bool {
        let tried: BTreeSet<&Multiaddr> = addrs.iter().take(self.config.max_addrs).collect();
        let wanted = tried.iter().filter(|addr| !self.taken.contains(**addr));
        let free = self.config.max_addrs.saturating_sub(self.taken.len());
        let lacking = wanted.count().saturating_sub(free);
        let yields = |addr: &Multiaddr| !self.named.contains(addr) && !tried.contains(addr);
        let worst_first = self.waiting.iter().rev();
        let yielding: BTreeSet<Multiaddr> = worst_first
            .filter(|addr| yields(addr))
            .take(lacking)
            .cloned()
            .collect();
        if yielding.len() < lacking {
            return false;
        }
        self.waiting.retain(|addr| !yielding.contains(addr));
        self.taken.retain(|addr| !yielding.contains(addr));
        self.left_out.extend(yielding);
        self.named.extend(tried.into_iter().cloned());
        self.add(addrs.iter().cloned());
        true
    }

    /// Gives up the addresses that have not started.
    pub(crate) fn give_up(&mut self) -> Vec<Multiaddr> {
        std::mem::take(&mut self.waiting).into()
    }

    /// How many addresses found no place.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out.len()
    }

    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.waiting.is_empty() {
            return if self.under_way == 0 {
                Next::Exhausted
            } else {
                Next::Wait
            };
        }
        if self.under_way >= self.config.max_under_way.max(1) {
            return Next::Wait;
        }
        if now < self.next_at {
            return Next::WaitUntil(self.next_at);
        }
        match self.waiting.pop_front() {
            Some(addr) => {
                self.under_way += 1;
                self.next_at = now + self.config.stagger;
                Next::Start(addr)
            }
            None => Next::Wait,
        }
    }

    /// An attempt failed at `now`: the next one need not wait.
    pub(crate) fn handle_failure(&mut self, now: Instant) {
        self.under_way -= 1;
        self.next_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAGGER: Duration = Duration::from_millis(250);

    fn addr(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    fn schedule(ports: impl IntoIterator<Item = u16>, max_addrs: usize, max: usize) -> Schedule {
        let config = ScheduleConfig {
            stagger: STAGGER,
            max_addrs,
            max_under_way: max,
        };
        let mut schedule = Schedule::new(config, Instant::ZERO);
        schedule.add(ports.into_iter().map(addr));
        schedule
    }

    #[test]
    fn addresses_start_one_stagger_apart_until_one_answers() {
        let mut schedule = schedule(1..=3, 9, 9);
        assert_eq!(schedule.next(Instant::ZERO), Next::Start(addr(1)));
        let due = Instant::ZERO + STAGGER;
        assert_eq!(schedule.next(Instant::ZERO), Next::WaitUntil(due));
        assert_eq!(schedule.next(due), Next::Start(addr(2)));
        assert_eq!(schedule.next(due), Next::WaitUntil(due + STAGGER));
        assert_eq!(schedule.next(due + STAGGER), Next::Start(addr(3)));
        assert_eq!(schedule.next(due + STAGGER), Next::Wait);
    }

    #[test]
    fn a_failure_starts_the_next_address_at_once() {
        let mut schedule = schedule(1..=2, 9, 9);
        assert_eq!(schedule.next(Instant::ZERO), Next::Start(addr(1)));
        let failed = Instant::ZERO + Duration::from_millis(3);
        schedule.handle_failure(failed);
        assert_eq!(schedule.next(failed), Next::Start(addr(2)));
        schedule.handle_failure(failed);
        assert_eq!(schedule.next(failed), Next::Exhausted);
    }

    #[test]
    fn only_so_many_are_under_way_at_a_time() {
        let mut schedule = schedule(1..=3, 9, 2);
        let mut now = Instant::ZERO;
        for port in 1..=2 {
            assert_eq!(schedule.next(now), Next::Start(addr(port)));
            now += STAGGER;
        }
        assert_eq!(schedule.next(now), Next::Wait);
        schedule.handle_failure(now);
        assert_eq!(schedule.next(now), Next::Start(addr(3)));
    }

    #[test]
    fn what_comes_later_is_ranked_among_those_that_wait_and_never_tried_twice() {
        let mut schedule = schedule([1, 2], 4, 9);
        assert_eq!(schedule.next(Instant::ZERO), Next::Start(addr(1)));
        let quic: Multiaddr = "/ip4/127.0.0.1/udp/1/quic-v1".parse().unwrap();
        schedule.add([addr(1), quic.clone(), addr(3), addr(4)]);
        let mut order = Vec::new();
        let mut now = Instant::ZERO;
        loop {
            now += STAGGER;
            let Next::Start(addr) = schedule.next(now) else {
                break;
            };
            order.push(addr);
        }
        assert_eq!(
            order,
            [quic, addr(2), addr(3)],
            "the fifth is beyond the limit"
        );
        assert_eq!(schedule.left_out(), 1);
    }

    #[test]
    fn what_somebody_names_takes_the_place_of_the_last_that_nobody_did() {
        let mut schedule = schedule([1, 2, 3], 3, 9);
        assert_eq!(schedule.next(Instant::ZERO), Next::Start(addr(1)));
        assert!(schedule.offer(&[addr(2), addr(4)]), "3 gives way");
        assert_eq!(schedule.left_out(), 1);
        assert!(!schedule.offer(&[addr(5)]), "1 runs, 2 and 4 are named");
        assert!(
            schedule.offer(&[addr(1), addr(4)]),
            "they are there already"
        );
        let mut order = Vec::new();
        for n in 1..=3 {
            if let Next::Start(addr) = schedule.next(Instant::ZERO + STAGGER * n) {
                order.push(addr);
            }
        }
        assert_eq!(order, [addr(2), addr(4)]);
    }

    #[test]
    fn a_list_that_is_too_long_is_cut_and_joins_its_equal() {
        let mut schedule = schedule([], 3, 9);
        let long: Vec<Multiaddr> = (1..=5).map(addr).collect();
        assert!(schedule.offer(&long));
        assert_eq!(schedule.left_out(), 2);
        assert!(schedule.offer(&long));
        assert_eq!(schedule.left_out(), 2);
    }

    proptest! {
        #[test]
        fn every_address_starts_once_and_the_dial_ends(
            ports in proptest::collection::vec(0u16..20, 0..30),
            fails in proptest::collection::vec(any::<bool>(), 200),
            max in 1usize..5,
        ) {
            let mut schedule = schedule(ports.clone(), 12, max);
            let mut now = Instant::ZERO;
            let (mut started, mut under_way) = (Vec::new(), 0usize);
            let mut fails = fails.into_iter();
            loop {
                match schedule.next(now) {
                    Next::Start(addr) => {
                        started.push(addr);
                        under_way += 1;
                        prop_assert!(under_way <= max);
                    }
                    Next::Exhausted => break,
                    Next::WaitUntil(at) if !fails.next().unwrap_or(true) => now = at,
                    Next::Wait | Next::WaitUntil(_) => {
                        under_way -= 1;
                        schedule.handle_failure(now);
                    }
                }
            }
            let distinct: BTreeSet<u16> = ports.into_iter().collect();
            prop_assert_eq!(started.len(), distinct.len().min(12));
        }

        #[test]
        fn whoever_is_taken_in_is_tried_and_nobody_is_forgotten(
            offers in proptest::collection::vec(
                (proptest::collection::vec(0u16..30, 0..8), any::<bool>()), 1..12),
        ) {
            let mut schedule = schedule([], 6, 9);
            let mut now = Instant::ZERO;
            let (mut promised, mut seen) = (BTreeSet::new(), BTreeSet::new());
            let mut started = BTreeSet::new();
            for (ports, named) in offers {
                let addrs: Vec<Multiaddr> = ports.into_iter().map(addr).collect();
                if !named {
                    schedule.add(addrs.iter().cloned());
                    seen.extend(addrs);
                } else if schedule.offer(&addrs) {
                    promised.extend(addrs.iter().take(6).cloned());
                    seen.extend(addrs);
                }
                now += STAGGER;
                if let Next::Start(addr) = schedule.next(now) {
                    prop_assert!(started.insert(addr));
                }
            }
            loop {
                now += STAGGER;
                match schedule.next(now) {
                    Next::Start(addr) => prop_assert!(started.insert(addr)),
                    Next::Exhausted => break,
                    Next::Wait | Next::WaitUntil(_) => schedule.handle_failure(now),
                }
            }
            prop_assert!(started.len() <= 6);
            prop_assert!(started.is_superset(&promised), "{promised:?}");
            prop_assert_eq!(started.len() + schedule.left_out(), seen.len());
        }
    }
}
