//! How often somebody may do something.

use std::time::Duration;

use p2p_core::Instant;

/// A burst at once, then one each interval. Pure.
///
/// Kept as the time at which the burst is whole again, so that it has no clock and nothing to
/// round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    whole_at: Instant,
}

impl Rate {
    /// Takes one at `now`; false, and nothing taken, if there is none.
    pub(crate) fn take(&mut self, now: Instant, burst: u32, interval: Duration) -> bool {
        let after = self.whole_at.max(now) + interval;
        let fits = after - now <= interval.saturating_mul(burst);
        if fits {
            self.whole_at = after;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_one_each_interval() {
        let second = Duration::from_secs(1);
        let mut rate = Rate::default();
        let mut taken = 0;
        for tenth in 0..100u32 {
            let now = Instant::ZERO + second * tenth / 10;
            taken += u32::from(rate.take(now, 3, second));
        }
        assert_eq!(taken, 3 + 9);
    }

    #[test]
    fn a_pause_brings_no_more_than_the_burst_back() {
        let second = Duration::from_secs(1);
        let mut rate = Rate::default();
        let late = Instant::ZERO + second * 1000;
        let taken = (0..10).filter(|_| rate.take(late, 3, second)).count();
        assert_eq!(taken, 3);
    }
}
