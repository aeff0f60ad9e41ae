//! Addresses that failed are left alone for a while. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use p2p_core::{AddrExt, Instant, Multiaddr, PeerId};

/// An address that is left alone because dials to it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The address.
    pub addr: Multiaddr,
    /// Failures in a row.
    pub failures: u32,
    /// When it may be tried again.
    pub until: Instant,
}

/// Failures per address, bounded.
pub(crate) struct Backoffs {
    first: Duration,
    longest: Duration,
    max: usize,
    failed: BTreeMap<Multiaddr, Failures>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    until: Instant,
}

impl Backoffs {
    /// `first` after one failure, twice as long after each further one, never more than `longest`.
    pub(crate) fn new(first: Duration, longest: Duration, max: usize) -> Self {
        Self {
            first,
            longest,
            max,
            failed: BTreeMap::new(),
        }
    }

    pub(crate) fn handle_failure(&mut self, addr: &Multiaddr, now: Instant) {
        // Failures of long ago say nothing.
        let last = self.failed.get(addr).filter(|last| !self.is_old(last, now));
        let count = last.map_or(0, |last| last.count).saturating_add(1);
        let doubled = 2u32.saturating_pow(count - 1);
        let wait = self.first.saturating_mul(doubled).min(self.longest);
        let failures = Failures {
            count,
            until: now + wait,
        };
        self.failed.insert(addr.clone(), failures);
        if self.failed.len() > self.max {
            self.make_room(now);
        }
    }

    pub(crate) fn handle_success(&mut self, addr: &Multiaddr) {
        self.failed.remove(addr);
    }

    /// Whether `addr` is to be left alone at `now`.
    pub(crate) fn check(&self, addr: &Multiaddr, now: Instant) -> Option<Backoff> {
        let failures = self.failed.get(addr).filter(|last| last.until > now)?;
        Some(Backoff {
            addr: addr.clone(),
            failures: failures.count,
            until: failures.until,
        })
    }

    /// The addresses of `peer` that are left alone at `now`, in order.
    pub(crate) fn of(&self, peer: &PeerId, now: Instant) -> Vec<Backoff> {
        let addrs = self.failed.keys();
        addrs
            .filter(|addr| addr.peer() == Some(*peer))
            .filter_map(|addr| self.check(addr, now))
            .collect()
    }

    /// Forgets the failures of `peer`; returns how many addresses had one.
    pub(crate) fn reset(&mut self, peer: &PeerId) -> usize {
        let before = self.failed.len();
        self.failed.retain(|addr, _| addr.peer() != Some(*peer));
        before - self.failed.len()
    }

    fn is_old(&self, failures: &Failures, now: Instant) -> bool {
        now >= failures.until + self.longest
    }

    /// Forgets what is over, then what will be over soonest.
    fn make_room(&mut self, now: Instant) {
        self.failed.retain(|_, failures| failures.until > now);
        while self.failed.len() > self.max {
            let soonest = self.failed.iter().min_by_key(|(_, last)| last.until);
            let Some(addr) = soonest.map(|(addr, _)| addr.clone()) else {
                return;
            };
            self.failed.remove(&addr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(10);

    fn addr(port: u16) -> Multiaddr {
        let peer = PeerId::from_bytes(&[0, 1, 1]).unwrap();
        let addr: Multiaddr = format!("/ip4/1.2.3.4/tcp/{port}").parse().unwrap();
        addr.with_peer(peer)
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_the_longest() {
        let mut backoffs = Backoffs::new(FIRST, LONGEST, 10);
        let mut now = Instant::ZERO;
        for seconds in [1, 2, 4, 8, 10, 10] {
            backoffs.handle_failure(&addr(1), now);
            let until = backoffs.check(&addr(1), now).unwrap().until;
            assert_eq!(until - now, Duration::from_secs(seconds));
            now = until;
            assert_eq!(backoffs.check(&addr(1), now), None, "its time has come");
        }
        now += LONGEST;
        backoffs.handle_failure(&addr(1), now);
        assert_eq!(
            backoffs.check(&addr(1), now).unwrap().failures,
            1,
            "long ago"
        );
    }

    #[test]
    fn success_and_a_reset_end_it() {
        let mut backoffs = Backoffs::new(FIRST, LONGEST, 10);
        let peer = addr(1).peer().unwrap();
        backoffs.handle_failure(&addr(1), Instant::ZERO);
        backoffs.handle_failure(&addr(2), Instant::ZERO);
        assert_eq!(backoffs.of(&peer, Instant::ZERO).len(), 2);
        backoffs.handle_success(&addr(1));
        assert_eq!(backoffs.check(&addr(1), Instant::ZERO), None);
        assert_eq!(backoffs.reset(&peer), 1);
        assert_eq!(backoffs.check(&addr(2), Instant::ZERO), None);
    }

    #[test]
    fn remembered_addresses_are_capped() {
        let mut backoffs = Backoffs::new(FIRST, LONGEST, 10);
        for port in 0..100 {
            backoffs.handle_failure(&addr(port), Instant::ZERO + FIRST / 1000 * u32::from(port));
        }
        assert_eq!(backoffs.failed.len(), 10);
        assert!(backoffs.check(&addr(99), Instant::ZERO + FIRST).is_some());
    }

    #[test]
    fn any_number_of_failures_overflows_nothing() {
        let mut backoffs = Backoffs::new(Duration::MAX, Duration::MAX, 1);
        for _ in 0..100 {
            backoffs.handle_failure(&addr(1), Instant::FAR_FUTURE);
        }
        let mut never = Backoffs::new(FIRST, LONGEST, 0);
        never.handle_failure(&addr(1), Instant::ZERO);
        assert_eq!(never.check(&addr(1), Instant::ZERO), None);
    }
}
