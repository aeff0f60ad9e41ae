//! What has happened, counted. Always on: each count is one relaxed addition on a cold path.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2p_core::{Blame, Exceeded, Instant, Role};

use crate::error::{Step, StreamError};
use crate::tasks::lock;

/// What a swarm has done since it was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that we dialed.
    pub connections_dialed: u64,
    /// Connections that others dialed.
    pub connections_accepted: u64,
    /// Connections that ended, by whom to hold responsible: us, the remote, the network.
    pub connections_ended: [u64; 3],
    /// Dials, each with all its addresses, that ended without a connection.
    pub dials_failed: u64,
    /// Addresses that were tried in vain, by the step that failed.
    pub attempts_failed: BTreeMap<Step, u64>,
    /// Incoming connections that failed or were refused, by the step that failed.
    pub incoming_failed: BTreeMap<Step, u64>,
    /// Streams that we opened.
    pub streams_opened: u64,
    /// Streams that others opened and that found a handler.
    pub streams_accepted: u64,
    /// Streams that others opened and that ended before they had a protocol.
    pub streams_failed: u64,
    /// Refusals, by the setting that raises the limit.
    pub limits_hit: BTreeMap<&'static str, u64>,
    /// Connections closed because there were more than the high water mark.
    pub connections_trimmed: u64,
    /// Lesser ones of two connections with the same peer that were closed.
    pub connections_supplanted: u64,
    /// How long dials took that ended with a connection, the transport's part of it.
    pub transport_time: Histogram,
    /// How long secure channels took.
    pub security_time: Histogram,
    /// How long multiplexers took, where they were not agreed on inside the handshake.
    pub muxer_time: Histogram,
    /// How long connections lived.
    pub lifetime: Histogram,
    /// Bytes read from links, if [`Config::count_bytes`](crate::Config::count_bytes) is set.
    pub bytes_read: u64,
    /// Bytes written to links, if [`Config::count_bytes`](crate::Config::count_bytes) is set.
    pub bytes_written: u64,
}

/// How often durations fell below each of [`Histogram::BOUNDS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Histogram {
    /// Durations up to each bound and above the one before; the last entry is above all bounds.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// The sum of all.
    pub sum: Duration,
}

impl Histogram {
    /// Upper bounds of the buckets, in milliseconds.
    pub const BOUNDS: [u64; 12] = [
        1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 60_000, 600_000, 3_600_000,
    ];

    /// How many durations there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn record(&mut self, duration: Duration) {
        let within = |bound: &u64| duration <= Duration::from_millis(*bound);
        let at = Self::BOUNDS.iter().position(within);
        if let Some(count) = self.counts.get_mut(at.unwrap_or(Self::BOUNDS.len())) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(duration);
    }
}

/// The bytes of one or all links.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) read: AtomicU64,
    pub(crate) written: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Counters {
    streams_opened: AtomicU64,
    streams_accepted: AtomicU64,
    pub(crate) traffic: Arc<Traffic>,
    /// Everything that happens at most a few times per connection.
    rare: Mutex<Stats>,
    /// By the setting or the kind of error. Our own names, so there are few.
    reports: Mutex<BTreeMap<&'static str, Report>>,
}

/// Something that remotes can make happen as often as they like.
#[derive(Default)]
struct Report {
    /// How often since it was last told.
    untold: u64,
    told: Option<Instant>,
}

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = lock(&self.rare).clone();
        stats.streams_opened = self.streams_opened.load(Ordering::Relaxed);
        stats.streams_accepted = self.streams_accepted.load(Ordering::Relaxed);
        stats.bytes_read = self.traffic.read.load(Ordering::Relaxed);
        stats.bytes_written = self.traffic.written.load(Ordering::Relaxed);
        stats
    }

    pub(crate) fn stream_opened(&self) {
        self.streams_opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stream_accepted(&self) {
        self.streams_accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connected(&self, role: Role, transport: Duration, timings: (Duration, Duration)) {
        let mut rare = lock(&self.rare);
        match role {
            Role::Dialer => {
                rare.connections_dialed += 1;
                rare.transport_time.record(transport);
            }
            Role::Listener => rare.connections_accepted += 1,
        }
        let (security, muxer) = timings;
        if !security.is_zero() {
            rare.security_time.record(security);
        }
        if !muxer.is_zero() {
            rare.muxer_time.record(muxer);
        }
    }

    pub(crate) fn ended(&self, blame: Blame, lifetime: Duration) {
        let mut rare = lock(&self.rare);
        let [us, remote, network] = &mut rare.connections_ended;
        *match blame {
            Blame::Us => us,
            Blame::Remote => remote,
            Blame::Network => network,
        } += 1;
        rare.lifetime.record(lifetime);
    }

    pub(crate) fn dial_failed(&self) {
        lock(&self.rare).dials_failed += 1;
    }

    pub(crate) fn attempt_failed(&self, step: Step) {
        *lock(&self.rare).attempts_failed.entry(step).or_default() += 1;
    }

    pub(crate) fn incoming_failed(&self, step: Step) {
        *lock(&self.rare).incoming_failed.entry(step).or_default() += 1;
    }

    pub(crate) fn trimmed(&self, count: usize) {
        lock(&self.rare).connections_trimmed += u64::try_from(count).unwrap_or(u64::MAX);
    }

    pub(crate) fn supplanted(&self) {
        lock(&self.rare).connections_supplanted += 1;
    }

    /// Counts so many refusals; returns how many there were if it is time to report them.
    pub(crate) fn limit_hit(&self, exceeded: &Exceeded, times: u64, now: Instant) -> Option<u64> {
        let setting = exceeded.setting;
        *lock(&self.rare).limits_hit.entry(setting).or_default() += times;
        self.report(setting, times, now)
    }

    /// Counts an incoming stream that failed; returns how many did if it is time to report them.
    pub(crate) fn stream_failed(&self, error: &StreamError, now: Instant) -> Option<u64> {
        lock(&self.rare).streams_failed += 1;
        self.report(error.kind(), 1, now)
    }

    fn report(&self, what: &'static str, times: u64, now: Instant) -> Option<u64> {
        let mut reports = lock(&self.reports);
        let report = reports.entry(what).or_default();
        report.untold += times;
        if report.told.is_some_and(|last| now - last < REPORT_PAUSE) {
            return None;
        }
        report.told = Some(now);
        Some(std::mem::take(&mut report.untold))
    }
}

/// Between two reports of the same thing: a flood must not drown what else happens.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_first_bucket_that_holds_them() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 299, 300, 301, 10_000_000] {
            histogram.record(Duration::from_millis(millis));
        }
        assert_eq!(histogram.counts, [2, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(histogram.count(), 7);
    }

    #[test]
    fn a_limit_is_reported_once_a_second_with_how_often_it_was_hit() {
        let counters = Counters::default();
        let exceeded = Exceeded {
            name: "things",
            setting: "max_things",
            limit: 1,
            used: 1,
            wanted: 1,
        };
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        assert_eq!(counters.limit_hit(&exceeded, 1, at(0)), Some(1));
        assert_eq!(counters.limit_hit(&exceeded, 1, at(1)), None);
        assert_eq!(counters.limit_hit(&exceeded, 1, at(999)), None);
        assert_eq!(counters.limit_hit(&exceeded, 1, at(1000)), Some(3));
        assert_eq!(counters.stats().limits_hit["max_things"], 4);
    }
}
