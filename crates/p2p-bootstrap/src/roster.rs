//! Who is to be dialed when. Pure.

use std::num::NonZeroUsize;
use std::time::Duration;

use p2p_core::{Instant, PeerId};

use crate::config::Config;

/// The peers of a list and how it stands with each.
pub(crate) struct Roster {
    config: Config,
    entries: Vec<Entry>,
}

struct Entry {
    peer: PeerId,
    state: State,
    /// Failures since it was last connected for long.
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Since then.
    Connected(Instant),
    Dialing,
    /// May be dialed from then on.
    Waiting(Instant),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Dial this peer, and tell how it went.
    Dial(PeerId),
    /// Nothing until something happens.
    Wait,
    /// Nothing until then, or until something happens.
    WaitUntil(Instant),
}

impl Roster {
    pub(crate) fn new(
        peers: impl IntoIterator<Item = PeerId>,
        config: Config,
        now: Instant,
    ) -> Self {
        let entry = |peer| Entry {
            peer,
            state: State::Waiting(now),
            failures: 0,
        };
        Self {
            config,
            entries: peers.into_iter().map(entry).collect(),
        }
    }

    pub(crate) fn next(&mut self, now: Instant) -> Next {
        let count = |wanted: fn(State) -> bool| {
            self.entries
                .iter()
                .filter(|entry| wanted(entry.state))
                .count()
        };
        let connected = count(|state| matches!(state, State::Connected(_)));
        let dialing = count(|state| state == State::Dialing);
        let wanted = self.config.min_connected;
        let wanted = wanted.map_or(usize::MAX, NonZeroUsize::get);
        if connected + dialing >= wanted || dialing >= self.config.max_dials.get() {
            return Next::Wait;
        }
        // The one that has waited longest; in the order of the list between equals.
        let waiting = self
            .entries
            .iter_mut()
            .filter_map(|entry| match entry.state {
                State::Waiting(from) => Some((from, entry)),
                State::Connected(_) | State::Dialing => None,
            });
        match waiting.min_by_key(|(from, _)| *from) {
            None => Next::Wait,
            Some((from, _)) if from > now => Next::WaitUntil(from),
            Some((_, entry)) => {
                entry.state = State::Dialing;
                Next::Dial(entry.peer)
            }
        }
    }

    /// We are connected with `peer`, whoever dialed.
    pub(crate) fn handle_connected(&mut self, peer: &PeerId, now: Instant) {
        self.change(peer, |entry, _| {
            if !matches!(entry.state, State::Connected(_)) {
                entry.state = State::Connected(now);
            }
        });
    }

    /// The last connection with `peer` is over.
    pub(crate) fn handle_disconnected(&mut self, peer: &PeerId, now: Instant, luck: f64) {
        self.change(peer, |entry, config| {
            if !matches!(entry.state, State::Connected(_)) {
                return;
            }
            if entry.is_settled(config, now) {
                entry.failures = 0;
            }
            entry.fail(config, now, luck);
        });
    }

    /// A dial failed. `luck` between 0 and 1 scatters the wait.
    pub(crate) fn handle_failure(&mut self, peer: &PeerId, now: Instant, luck: f64) {
        self.change(peer, |entry, config| {
            if entry.state == State::Dialing {
                entry.fail(config, now, luck);
            }
        });
    }

    /// For each peer: whether it is connected, how often it failed, and when it is tried again.
    pub(crate) fn status(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (PeerId, bool, u32, Option<Instant>)> {
        self.entries.iter().map(move |entry| {
            let failures = if entry.is_settled(&self.config, now) {
                0
            } else {
                entry.failures
            };
            let again = match entry.state {
                State::Waiting(from) => Some(from),
                State::Connected(_) | State::Dialing => None,
            };
            (
                entry.peer,
                matches!(entry.state, State::Connected(_)),
                failures,
                again,
            )
        })
    }

    fn change(&mut self, peer: &PeerId, change: impl FnOnce(&mut Entry, &Config)) {
        let config = &self.config;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.peer == *peer) {
            change(entry, config);
        }
    }
}

impl Entry {
    /// Whether it is connected, and has been for long.
    fn is_settled(&self, config: &Config, now: Instant) -> bool {
        match self.state {
            State::Connected(since) => now - since >= config.settled_after,
            State::Dialing | State::Waiting(_) => false,
        }
    }

    /// Is to be dialed again, the later the more often it failed.
    fn fail(&mut self, config: &Config, now: Instant, luck: f64) {
        let doubled = 2u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let wait = config.first_wait.saturating_mul(doubled);
        let wait = wait.min(config.longest_wait);
        self.state = State::Waiting(now + scattered(wait, config, luck));
    }
}

fn scattered(wait: Duration, config: &Config, luck: f64) -> Duration {
    let jitter = config.jitter.clamp(0.0, 1.0);
    let factor = 1.0 + jitter * (2.0 * luck.clamp(0.0, 1.0) - 1.0);
    // A wait that does not fit is as long as one can be.
    Duration::try_from_secs_f64(wait.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes(&[0, 1, n]).unwrap()
    }

    fn roster(count: u8, wanted: usize, dials: usize) -> Roster {
        let config = Config {
            min_connected: NonZeroUsize::new(wanted),
            max_dials: NonZeroUsize::new(dials).unwrap(),
            jitter: 0.0,
            ..Config::default()
        };
        Roster::new((0..count).map(peer), config, Instant::ZERO)
    }

    #[test]
    fn as_many_as_wanted_are_dialed_and_the_rest_when_one_fails() {
        let mut roster = roster(4, 2, 9);
        let now = Instant::ZERO;
        assert_eq!(roster.next(now), Next::Dial(peer(0)));
        assert_eq!(roster.next(now), Next::Dial(peer(1)));
        assert_eq!(roster.next(now), Next::Wait);
        roster.handle_connected(&peer(0), now);
        assert_eq!(roster.next(now), Next::Wait);
        roster.handle_failure(&peer(1), now, 0.5);
        assert_eq!(roster.next(now), Next::Dial(peer(2)));
    }

    #[test]
    fn without_a_number_all_of_the_list_are_wanted() {
        let mut roster = roster(3, 0, 9);
        for n in 0..3 {
            assert_eq!(roster.next(Instant::ZERO), Next::Dial(peer(n)));
        }
        assert_eq!(roster.next(Instant::ZERO), Next::Wait);
    }

    #[test]
    fn each_failure_doubles_the_wait_and_a_lasting_connection_ends_that() {
        let mut roster = roster(1, 1, 1);
        let mut now = Instant::ZERO;
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(roster.next(now), Next::Dial(peer(0)));
            roster.handle_failure(&peer(0), now, 0.5);
            let until = now + Duration::from_secs(seconds);
            assert_eq!(roster.next(now), Next::WaitUntil(until));
            now = until;
        }
        for (lasts, wait) in [(119, 300), (120, 1), (0, 2), (60, 4), (200, 1)] {
            assert_eq!(roster.next(now), Next::Dial(peer(0)));
            roster.handle_connected(&peer(0), now);
            now += Duration::from_secs(lasts);
            roster.handle_disconnected(&peer(0), now, 0.5);
            let until = now + Duration::from_secs(wait);
            assert_eq!(roster.next(now), Next::WaitUntil(until));
            now = until;
        }
    }

    proptest! {
        #[test]
        fn never_more_than_wanted_are_under_way(
            ops in proptest::collection::vec((0u8..4, 0u8..5, 0.0f64..1.0, 0u64..100), 0..200),
            wanted in 1usize..5, dials in 1usize..4,
        ) {
            let mut roster = roster(5, wanted, dials);
            let mut now = Instant::ZERO;
            for (op, who, luck, wait) in ops {
                now += Duration::from_secs(wait);
                match op {
                    0 => { while let Next::Dial(_) = roster.next(now) {} }
                    1 => roster.handle_connected(&peer(who), now),
                    2 => roster.handle_disconnected(&peer(who), now, luck),
                    _ => roster.handle_failure(&peer(who), now, luck),
                }
                let dialing = roster.entries.iter().filter(|one| one.state == State::Dialing).count();
                prop_assert!(dialing <= dials.min(wanted));
            }
        }
    }
}
