//! Which address of a dial starts when. Pure.
//!
//! ```text
//!   ranked addresses ── first at once, the next after the stagger or when one fails ──> under way
//!   addresses that come later (somebody joins the dial) are ranked among those still waiting
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use p2p_core::{Instant, Multiaddr};

use crate::rank::rank_addrs;

#[derive(Debug)]
pub(crate) struct Schedule {
    config: ScheduleConfig,
    waiting: VecDeque<Multiaddr>,
    /// Every address that was ever taken, so that none is tried twice.
    taken: BTreeSet<Multiaddr>,
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
            next_at: now,
            under_way: 0,
        }
    }

    /// Takes further addresses, up to the limit; those taken before are ignored.
    pub(crate) fn add(&mut self, addrs: impl IntoIterator<Item = Multiaddr>) {
        let mut all = Vec::from(std::mem::take(&mut self.waiting));
        for addr in addrs {
            if self.taken.len() < self.config.max_addrs && self.taken.insert(addr.clone()) {
                all.push(addr);
            }
        }
        self.waiting = rank_addrs(all).into();
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
    }
}
