//! Where others see us, and when to believe it. Pure.
//!
//! ```text
//!   an observer says "I see you at A" ── A has enough observers, each of another prefix ──> confirmed
//!   words expire ── A has too few left, or others of its transport have more ──> lost
//! ```
//!
//! Addresses that the application adds are confirmed at once and never expire.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use p2p_core::{Instant, Multiaddr};

use crate::prefix::IpPrefix;

/// Who says so, as far as independence goes.
pub(crate) type Observer = IpPrefix;

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Confirmed(Multiaddr),
    Lost(Multiaddr),
}

pub(crate) struct External {
    needed: usize,
    ttl: Duration,
    max: usize,
    /// Of one transport that are confirmed at a time.
    max_confirmed: usize,
    /// What is said, by whom, and when that ends. At most `max` addresses, each with at most
    /// [`MAX_OBSERVERS`].
    said: BTreeMap<Multiaddr, Said>,
    /// What the application says.
    own: Vec<Multiaddr>,
    /// Whether somebody will call [`External::expire`] in time.
    forgetting: bool,
}

#[derive(Default)]
struct Said {
    by: BTreeMap<Observer, Instant>,
    /// Whether it was among those to be believed when they were last looked at.
    confirmed: bool,
}

impl External {
    pub(crate) fn new(needed: usize, ttl: Duration, (max, max_confirmed): (usize, usize)) -> Self {
        Self {
            needed,
            ttl,
            max,
            max_confirmed,
            said: BTreeMap::new(),
            own: Vec::new(),
            forgetting: false,
        }
    }

    /// `observer` sees us at `addr`.
    pub(crate) fn observe(
        &mut self,
        observer: Observer,
        addr: Multiaddr,
        now: Instant,
    ) -> Vec<Change> {
        let mut changes = self.expire(now);
        let said = self.said.entry(addr).or_default();
        if said.by.len() < MAX_OBSERVERS || said.by.contains_key(&observer) {
            said.by.insert(observer, now + self.ttl);
        }
        // The newcomer is not confirmed yet: there is always something to take back.
        while self.said.len() > self.max {
            self.take_back();
        }
        changes.extend(self.settle());
        changes
    }

    /// When to call [`External::expire`], if somebody must and nobody has said that he will.
    pub(crate) fn start_forgetting(&mut self) -> Option<Instant> {
        if self.forgetting {
            return None;
        }
        self.go_on_forgetting()
    }

    /// When to call [`External::expire`] again, if ever: otherwise the promise to do so is over.
    pub(crate) fn go_on_forgetting(&mut self) -> Option<Instant> {
        let next = self.next_loss();
        self.forgetting = next.is_some();
        next
    }

    /// When the next confirmed address is lost if nobody says it again.
    fn next_loss(&self) -> Option<Instant> {
        let confirmed = self.said.values().filter(|said| said.confirmed);
        let until = confirmed.filter_map(|said| {
            let mut all: Vec<Instant> = said.by.values().copied().collect();
            all.sort_unstable();
            // As long as this word holds there are enough.
            let last = all.len().checked_sub(self.needed)?;
            all.get(last).copied()
        });
        until.min()
    }

    /// Forgets words that have expired.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Change> {
        for said in self.said.values_mut() {
            said.by.retain(|_, until| *until > now);
        }
        let changes = self.settle();
        self.said.retain(|_, said| !said.by.is_empty());
        changes
    }

    /// Confirms of each transport the addresses that most agree on; between equals those stay that
    /// were first.
    fn settle(&mut self) -> Vec<Change> {
        let mut ranked: Vec<(&Multiaddr, &mut Said)> = self.said.iter_mut().collect();
        ranked.sort_by_key(|(_, said)| Reverse((said.by.len(), said.confirmed)));
        let mut confirmed: BTreeMap<Vec<&'static str>, usize> = BTreeMap::new();
        let (mut lost, mut won) = (Vec::new(), Vec::new());
        for (addr, said) in ranked {
            let of_transport = confirmed
                .entry(addr.protocol_stack().collect())
                .or_default();
            let good = said.by.len() >= self.needed && *of_transport < self.max_confirmed;
            *of_transport += usize::from(good);
            let was = std::mem::replace(&mut said.confirmed, good);
            if was == good || self.own.contains(addr) {
                continue;
            }
            if good {
                won.push(Change::Confirmed(addr.clone()));
            } else {
                lost.push(Change::Lost(addr.clone()));
            }
        }
        lost.extend(won);
        lost
    }

    /// The application says that we can be reached at `addr`; false if that is no news.
    pub(crate) fn add(&mut self, addr: Multiaddr) -> bool {
        if self.own.contains(&addr) {
            return false;
        }
        let news = !self.is_confirmed(&addr);
        self.own.push(addr);
        news
    }

    /// The application takes `addr` back, and what others said with it; false if it was not
    /// confirmed.
    pub(crate) fn remove(&mut self, addr: &Multiaddr) -> bool {
        let was = self.own.contains(addr) || self.is_confirmed(addr);
        self.own.retain(|own| own != addr);
        self.said.remove(addr);
        was
    }

    /// What is confirmed: the application's first, then as others say, in order.
    pub(crate) fn confirmed(&self) -> Vec<Multiaddr> {
        let mut all = self.own.clone();
        let said = self.said.iter().filter(|(_, said)| said.confirmed);
        for (addr, _) in said {
            if !all.contains(addr) {
                all.push(addr.clone());
            }
        }
        all
    }

    fn is_confirmed(&self, addr: &Multiaddr) -> bool {
        self.said.get(addr).is_some_and(|said| said.confirmed)
    }

    /// Makes whoever says most of what is not confirmed take back the oldest of it. Fair shares:
    /// who invents addresses crowds out its own.
    fn take_back(&mut self) {
        let mut words: BTreeMap<Observer, usize> = BTreeMap::new();
        let open = || self.said.iter().filter(|(_, said)| !said.confirmed);
        for observer in open().flat_map(|(_, said)| said.by.keys()) {
            *words.entry(*observer).or_default() += 1;
        }
        let most = words.into_iter().max_by_key(|(_, count)| *count);
        let oldest = most.and_then(|(observer, _)| {
            let his = open().filter_map(|(addr, said)| Some((said.by.get(&observer)?, addr)));
            Some((observer, his.min()?.1.clone()))
        });
        let Some((observer, addr)) = oldest else {
            return;
        };
        if let Some(said) = self.said.get_mut(&addr) {
            said.by.remove(&observer);
            if said.by.is_empty() {
                self.said.remove(&addr);
            }
        }
    }
}

/// Observers remembered for one address: more add nothing.
const MAX_OBSERVERS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TTL: Duration = Duration::from_secs(100);

    fn observer(n: u8) -> Observer {
        IpPrefix::new([10, 0, n, 1].into(), 24)
    }

    fn addr(n: u16) -> Multiaddr {
        format!("/ip4/1.2.3.4/tcp/{n}").parse().unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn an_address_needs_several_observers_from_different_places() {
        let mut external = External::new(3, TTL, (10, 3));
        for time in 0..10 {
            assert_eq!(external.observe(observer(1), addr(1), at(time)), []);
        }
        assert_eq!(external.observe(observer(2), addr(1), at(10)), []);
        let change = external.observe(observer(3), addr(1), at(10));
        assert_eq!(change, [Change::Confirmed(addr(1))]);
        assert_eq!(
            external.observe(observer(4), addr(1), at(10)),
            [],
            "said once"
        );
        assert_eq!(external.confirmed(), [addr(1)]);
    }

    #[test]
    fn an_address_that_too_few_still_see_is_lost() {
        let mut external = External::new(2, TTL, (10, 3));
        external.observe(observer(1), addr(1), at(0));
        external.observe(observer(2), addr(1), at(50));
        assert_eq!(external.expire(at(99)), []);
        assert_eq!(external.expire(at(100)), [Change::Lost(addr(1))]);
        let again = external.observe(observer(3), addr(1), at(101));
        assert_eq!(again, [Change::Confirmed(addr(1))]);
        assert_eq!(external.expire(at(1000)), [Change::Lost(addr(1))]);
        assert!(external.said.is_empty());
    }

    #[test]
    fn what_the_application_says_is_believed_at_once_and_stays() {
        let mut external = External::new(2, TTL, (10, 3));
        assert!(external.add(addr(1)) && !external.add(addr(1)));
        external.observe(observer(1), addr(1), at(0));
        assert_eq!(external.observe(observer(2), addr(1), at(0)), [], "no news");
        assert_eq!(external.expire(at(1000)), []);
        assert_eq!(external.confirmed(), [addr(1)]);
        assert!(external.remove(&addr(1)) && !external.remove(&addr(1)));
        assert!(external.confirmed().is_empty());
    }

    #[test]
    fn a_liar_cannot_crowd_out_what_is_not_confirmed_yet() {
        let mut external = External::new(2, TTL, (4, 3));
        external.observe(observer(1), addr(1), at(0));
        for n in 2..200 {
            external.observe(observer(9), addr(n), at(1));
        }
        assert_eq!(external.said.len(), 4);
        let change = external.observe(observer(2), addr(1), at(2));
        assert_eq!(change, [Change::Confirmed(addr(1))]);
    }

    #[test]
    fn the_next_loss_is_when_one_word_too_few_is_left() {
        let mut external = External::new(2, TTL, (4, 3));
        assert_eq!(external.next_loss(), None);
        for (who, time) in [(1, 0), (2, 20), (3, 10)] {
            external.observe(observer(who), addr(1), at(time));
        }
        // The words end at 100, 110 and 120 s: at 110 s one is left.
        assert_eq!(external.next_loss(), Some(at(110)));
        assert_eq!(external.expire(at(109)), []);
        assert_eq!(external.expire(at(110)), [Change::Lost(addr(1))]);
    }

    #[test]
    fn liars_cannot_crowd_out_what_is_confirmed() {
        let mut external = External::new(2, TTL, (4, 3));
        external.observe(observer(1), addr(1), at(0));
        external.observe(observer(2), addr(1), at(0));
        for n in 2..200 {
            external.observe(observer(9), addr(n), at(1));
        }
        assert_eq!(external.said.len(), 4);
        assert_eq!(external.confirmed(), [addr(1)]);
    }

    #[test]
    fn of_one_transport_no_more_than_three_are_believed_and_the_best_of_them() {
        let mut external = External::new(2, TTL, (10, 3));
        for n in 1..=6 {
            external.observe(observer(1), addr(n), at(0));
            external.observe(observer(2), addr(n), at(0));
        }
        assert_eq!(external.confirmed(), [addr(1), addr(2), addr(3)]);
        let quic: Multiaddr = "/ip4/1.2.3.4/udp/1/quic-v1".parse().unwrap();
        external.observe(observer(1), quic.clone(), at(1));
        let change = external.observe(observer(2), quic.clone(), at(1));
        assert_eq!(change, [Change::Confirmed(quic)], "another transport");

        // What more agree on takes the place of one of the three.
        let change = external.observe(observer(3), addr(6), at(1));
        let Ok([Change::Lost(lost), Change::Confirmed(won)]) = <[Change; 2]>::try_from(change)
        else {
            panic!("one for one");
        };
        assert!((1..=3).any(|n| lost == addr(n)));
        assert_eq!(won, addr(6));
    }

    #[test]
    fn liars_who_came_first_do_not_keep_the_truth_out() {
        let mut external = External::new(3, TTL, (64, 3));
        for n in 0..64 {
            for liar in 1..=3 {
                external.observe(observer(liar), addr(1000 + n), at(0));
            }
        }
        for honest in 4..=7 {
            external.observe(observer(honest), addr(1), at(1));
        }
        assert!(external.confirmed().contains(&addr(1)));
        assert_eq!(external.confirmed().len(), 3);
    }

    proptest! {
        #[test]
        fn changes_tell_the_whole_story(
            ops in proptest::collection::vec((0u8..4, 0u8..5, 0u16..6, 0u64..60), 0..100)
        ) {
            let mut external = External::new(2, TTL, (4, 3));
            let mut told = std::collections::BTreeSet::new();
            let mut now = Instant::ZERO;
            for (op, who, port, wait) in ops {
                now += Duration::from_secs(wait);
                let changes = match op {
                    0 | 1 => external.observe(observer(who), addr(port), now),
                    2 if external.add(addr(port)) => vec![Change::Confirmed(addr(port))],
                    3 if external.remove(&addr(port)) => vec![Change::Lost(addr(port))],
                    _ => external.expire(now),
                };
                for change in changes {
                    match change {
                        Change::Confirmed(addr) => prop_assert!(told.insert(addr)),
                        Change::Lost(addr) => prop_assert!(told.remove(&addr)),
                    }
                }
                prop_assert!(external.said.len() <= 4);
                let confirmed: std::collections::BTreeSet<_> = external.confirmed().into_iter().collect();
                prop_assert_eq!(&confirmed, &told);
            }
        }
    }
}
