//! What happened, counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use p2p::core::Role;
use p2p::swarm::{DialError, UpgradeError};
use p2p::{Event, identify, ping};

/// Kinds of failure that are told apart; the rest is counted together.
const MAX_CAUSES: usize = 64;

/// Everything that is counted in one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Connections that a host dialed.
    pub(crate) dialed: u64,
    /// Connections that came in.
    pub(crate) accepted: u64,
    /// Peers that said who they are, once for each end of a connection.
    pub(crate) identified: u64,
    pub(crate) pings: Pings,
    /// What did not work, by cause.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Ends of connections, by reason.
    pub(crate) ended: BTreeMap<String, u64>,
    /// Hosts that left in order, and those that crashed.
    pub(crate) left: u64,
    pub(crate) crashed: u64,
    /// Events that nobody could count, because they came too fast.
    pub(crate) missed: u64,
    /// Bytes that the memory budgets of closed hosts still count. Must be zero.
    pub(crate) leaked: u64,
}

/// Round trips.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pings {
    pub(crate) answered: u64,
    pub(crate) min: Option<Duration>,
    pub(crate) max: Duration,
    sum: Duration,
}

impl Pings {
    fn add(&mut self, rtt: Duration) {
        self.answered += 1;
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
        self.max = self.max.max(rtt);
        self.sum = self.sum.saturating_add(rtt);
    }

    pub(crate) fn average(&self) -> Option<Duration> {
        let count = u32::try_from(self.answered).ok()?;
        self.sum.checked_div(count)
    }
}

/// One tally for all hosts.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Tally>);

impl Shared {
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Tally) -> R) -> R {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn take(&self) -> Tally {
        self.read(Tally::clone)
    }
}

impl Tally {
    pub(crate) fn failed(&mut self, what: &str, cause: impl std::fmt::Display) {
        count(&mut self.failures, format!("{what}: {cause}"));
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "counts what a report shows, whatever else a swarm may tell"
    )]
    pub(crate) fn swarm(&mut self, event: &Event) {
        match event {
            Event::Connected { info } => match info.role {
                Role::Dialer => self.dialed += 1,
                Role::Listener => self.accepted += 1,
            },
            Event::DialFailed { error, .. } => self.failed("dial", dial_cause(error)),
            Event::Disconnected { end, .. } => count(&mut self.ended, end.to_string()),
            Event::IncomingFailed { error, .. } => self.failed("incoming", cause(error)),
            Event::Lagged(lost) => self.missed += lost,
            _ => {}
        }
    }

    pub(crate) fn identify(&mut self, event: &identify::Event) {
        match event {
            identify::Event::Identified { .. } => self.identified += 1,
            identify::Event::Failed { error, .. } => self.failed("identify", innermost(error)),
            identify::Event::Lagged(lost) => self.missed += lost,
            identify::Event::Updated { .. } | _ => {}
        }
    }

    pub(crate) fn ping(&mut self, event: &ping::Event) {
        match event {
            ping::Event::Echoed { rtt, .. } => self.pings.add(*rtt),
            ping::Event::Missed { .. } => self.failed("ping", "no echo in time"),
            ping::Event::Dead { .. } => self.failed("ping", "connection given up"),
            ping::Event::Lagged(lost) => self.missed += lost,
            _ => {}
        }
    }
}

fn count(causes: &mut BTreeMap<String, u64>, cause: String) {
    let known = causes.len() < MAX_CAUSES || causes.contains_key(&cause);
    let cause = if known { cause } else { "others".to_owned() };
    *causes.entry(cause).or_default() += 1;
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other kind has a text without addresses"
)]
fn dial_cause(error: &DialError) -> String {
    match error {
        DialError::AllFailed { attempts, .. } => match attempts.first() {
            Some(attempt) => cause(&attempt.error),
            None => "no address".to_owned(),
        },
        other => other.to_string(),
    }
}

/// The step and the innermost reason: what comes between names addresses.
fn cause(error: &UpgradeError) -> String {
    format!("{}: {}", error.step(), innermost(error))
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_failure_beyond_the_limit_are_counted_together() {
        let mut tally = Tally::default();
        for number in 0..100 {
            tally.failed("dial", number);
            tally.failed("dial", 0);
        }
        assert_eq!(tally.failures.len(), MAX_CAUSES + 1);
        assert_eq!(tally.failures["dial: 0"], 101);
        assert_eq!(tally.failures.values().sum::<u64>(), 200);
    }

    #[test]
    fn round_trips_have_a_minimum_an_average_and_a_maximum() {
        let mut pings = Pings::default();
        assert_eq!((pings.min, pings.average()), (None, None));
        for millis in [40, 20, 30] {
            pings.add(Duration::from_millis(millis));
        }
        let [min, average, max] = [20, 30, 40].map(Duration::from_millis);
        assert_eq!((pings.min, pings.average()), (Some(min), Some(average)));
        assert_eq!(pings.max, max);
    }
}
