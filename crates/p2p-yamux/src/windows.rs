//! The windows of a stream: what each end may still send.
//!
//! ```text
//!   in bytes, always:
//!     target = recv (the remote may still send) + announced or unread + consumed
//!     credit of `consumed` is sent when it is a quarter of `target`, or 2 MiB: what stays below
//!     that is lost to the link until more arrives
//! ```
//!
//! A window that would be used up within four round trips is too small for the link, or soon will
//! be: its target doubles, or becomes bandwidth × round trip at once where another stream of the
//! connection has earned as much; as far as the settings and the budget allow. It comes to rest
//! between four and eight times bandwidth × round trip. A larger one would gain nothing and cost:
//! what is queued in it leaves the processor's cache before it is read.
//!
//! Only what was read counts. A remote that sends fast to somebody who does not read earns nothing.

use std::time::Duration;

use p2p_core::Instant;

use crate::config::INITIAL_WINDOW;

/// The most that is consumed before the remote gets credit for it, in bytes.
const MAX_CREDIT: u32 = 2 * 1024 * 1024;
/// Round trips that a window should last.
const ROUND_TRIPS: u128 = 4;

/// What yamux keeps of a stream.
#[derive(Debug)]
pub(crate) struct Windows {
    /// What we may send.
    pub(crate) send: u64,
    /// Ours: the remote has acknowledged it. The remote's: we have.
    pub(crate) acknowledged: bool,
    pub(crate) owes_ack: bool,
    /// What the remote may send.
    recv: u32,
    /// What `recv` is refilled to.
    target: u32,
    /// Read by the application and not credited.
    consumed: u32,
    /// Read by the application since `since`: how fast it is.
    read: u32,
    since: Instant,
}

impl Windows {
    pub(crate) fn new() -> Self {
        Self {
            send: u64::from(INITIAL_WINDOW),
            acknowledged: false,
            owes_ack: false,
            recv: INITIAL_WINDOW,
            target: INITIAL_WINDOW,
            consumed: 0,
            read: 0,
            since: Instant::ZERO,
        }
    }

    /// What the remote may have sent without our credit.
    pub(crate) fn target(&self) -> u32 {
        self.target
    }

    /// The remote sends `length` bytes; false if the window does not allow them.
    #[must_use]
    pub(crate) fn receive(&mut self, length: u32, now: Instant) -> bool {
        let Some(left) = self.recv.checked_sub(length) else {
            return false;
        };
        if self.recv == INITIAL_WINDOW && self.read == 0 {
            // The silence before the first bytes says nothing of the link.
            self.measure_from(now);
        }
        self.recv = left;
        true
    }

    /// `count` received bytes are out of the way.
    pub(crate) fn consume(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.consumed = self.consumed.saturating_add(count);
        self.read = self.read.saturating_add(count);
    }

    /// Whether it is time to let the remote send more.
    pub(crate) fn credit_is_due(&self) -> bool {
        self.consumed >= (self.target / 4).min(MAX_CREDIT)
    }

    /// What the target should grow by: up to `earned` at once, up to `max` in time. To be asked
    /// with every credit; the answer comes from each quarter of the target that was read.
    pub(crate) fn growth(&mut self, rtt: Duration, earned: u32, max: u32, now: Instant) -> u32 {
        if self.read < self.target / 4 {
            return 0;
        }
        let took = now.since(self.since).as_nanos().max(1);
        let carries = rtt.as_nanos() * u128::from(self.read) / took;
        self.measure_from(now);
        if ROUND_TRIPS * carries <= self.target.into() {
            return 0;
        }
        let carries = u32::try_from(carries).unwrap_or(u32::MAX);
        let next = self.target.saturating_mul(2).max(carries.min(earned));
        next.min(max).saturating_sub(self.target)
    }

    fn measure_from(&mut self, now: Instant) {
        self.read = 0;
        self.since = now;
    }

    /// The credit to send to the remote, with the `growth` that was paid for.
    pub(crate) fn take_credit(&mut self, growth: u32) -> u32 {
        let credit = self.consumed.saturating_add(growth);
        self.recv = self.recv.saturating_add(credit);
        self.target = self.target.saturating_add(growth);
        self.consumed = 0;
        credit
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    /// What the link carries at a time.
    const PIECE: u32 = 16 * 1024;
    const NO_LIMIT: u32 = 1 << 30;

    /// A link with a sender that always has something to say and a reader that reads at once.
    struct Link {
        rtt: Duration,
        /// Bytes a second.
        rate: u64,
        /// Largest window.
        max: u32,
        /// What other streams needed.
        earned: u32,
        /// When the link was last in use, at the sender.
        now: Instant,
    }

    impl Link {
        fn new(rtt: u64, rate: u64) -> Self {
            Self {
                rtt: Duration::from_millis(rtt),
                rate,
                max: NO_LIMIT,
                earned: 0,
                now: Instant::ZERO + Duration::from_secs(1),
            }
        }

        fn carries(&self) -> u64 {
            self.rate * u64::try_from(self.rtt.as_micros()).unwrap() / 1_000_000
        }

        /// Moves `bytes`; returns how long that took the sender.
        fn carry(&mut self, windows: &mut Windows, bytes: u64) -> Duration {
            let (half, started) = (self.rtt / 2, self.now);
            let (mut sent, mut allowed) = (0, u64::from(windows.recv));
            let mut credits: VecDeque<(Instant, u32)> = VecDeque::new();
            while sent < bytes {
                while allowed < u64::from(PIECE) {
                    let (at, credit) = credits.pop_front().expect("the remote gets credit");
                    self.now = self.now.max(at);
                    allowed += u64::from(credit);
                }
                self.now += Duration::from_nanos(u64::from(PIECE) * 1_000_000_000 / self.rate);
                sent += u64::from(PIECE);
                allowed -= u64::from(PIECE);
                let there = self.now + half;
                assert!(windows.receive(PIECE, there));
                windows.consume(PIECE as usize);
                if windows.credit_is_due() {
                    let growth = windows.growth(self.rtt, self.earned, self.max, there);
                    credits.push_back((there + half, windows.take_credit(growth)));
                }
            }
            self.now.since(started)
        }

        fn rests(&mut self, windows: &mut Windows) {
            self.carry(windows, 16 * (self.carries() + u64::from(INITIAL_WINDOW)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 24,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_window_rests_between_four_and_eight_times_what_the_link_carries_and_fills_it(
            rtt in 1u64..100,
            rate in MIB / 2..1200 * MIB,
        ) {
            let mut link = Link::new(rtt, rate);
            let mut windows = Windows::new();
            link.rests(&mut windows);

            let (carries, target) = (link.carries(), u64::from(windows.target()));
            let (low, high) = (carries * 39 / 10, carries * 8 + 512 * KIB);
            prop_assert!((low..=high).contains(&target), "{target} for {carries}");
            let bytes = 20 * (carries + MIB);
            let took = link.carry(&mut windows, bytes).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let at_best = bytes as f64 / rate as f64;
            prop_assert!(at_best >= 0.99 * took, "{at_best} s of work took {took} s");
        }

        #[test]
        fn a_window_at_its_limit_fills_a_link_that_carries_little_less(rtt in 20u64..300) {
            let mut link = Link::new(rtt, 44 * MIB * 1000 / rtt);
            link.max = u32::try_from(48 * MIB).unwrap();
            let mut windows = Windows::new();
            link.rests(&mut windows);
            prop_assert_eq!(windows.target(), link.max);

            let took = link.carry(&mut windows, 1024 * MIB).as_secs_f64();
            let at_best = 1024.0 / 44.0 * link.rtt.as_secs_f64();
            prop_assert!(at_best >= 0.95 * took, "{at_best} s of work took {took} s");
        }
    }

    #[test]
    fn the_second_stream_of_a_connection_has_the_window_of_the_first_within_a_round_trip() {
        let mut link = Link::new(63, 512 * MIB);
        let mut first = Windows::new();
        link.rests(&mut first);
        link.earned = first.target();

        let mut second = Windows::new();
        link.carry(&mut second, u64::from(INITIAL_WINDOW) / 2);

        let needed = u32::try_from(link.carries()).unwrap() / 10 * 9;
        assert!(second.target() >= needed, "{} of {needed}", second.target());
    }

    #[test]
    fn a_slow_stream_beside_a_fast_one_keeps_its_window() {
        let mut link = Link::new(63, MIB / 2);
        link.earned = u32::try_from(48 * MIB).unwrap();
        let mut windows = Windows::new();

        link.carry(&mut windows, 20 * MIB);

        assert_eq!(windows.target(), INITIAL_WINDOW);
    }

    #[test]
    fn silence_before_a_burst_does_not_count() {
        let mut link = Link::new(63, 512 * MIB);
        let mut windows = Windows::new();
        link.now += Duration::from_secs(3600);

        link.carry(&mut windows, u64::from(INITIAL_WINDOW) / 4);

        assert_eq!(windows.target(), 2 * INITIAL_WINDOW);
    }

    #[test]
    fn what_nobody_reads_earns_nothing() {
        let mut windows = Windows::new();
        let start = Instant::ZERO;

        assert!(windows.receive(INITIAL_WINDOW, start));

        assert!(!windows.credit_is_due());
        assert_eq!(
            windows.growth(Duration::from_secs(1), NO_LIMIT, NO_LIMIT, start),
            0
        );
        assert!(!windows.receive(1, start), "more than the window");
    }
}
