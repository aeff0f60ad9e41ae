//! How often a remote may do something.

use p2p_core::Instant;

/// A token bucket: `rate` a second, and twice as many at once.
#[derive(Debug)]
pub struct Meter {
    rate: u32,
    /// When the bucket would be full, had nothing been taken since: the later, the emptier.
    full_at: Instant,
}

impl Meter {
    /// A full bucket. A `rate` of zero allows everything.
    pub fn new(rate: u32) -> Self {
        Self {
            rate,
            full_at: Instant::ZERO,
        }
    }

    /// Takes one token; false if there is none.
    pub fn allow(&mut self, now: Instant) -> bool {
        let Some(price) = 1_000_000_000u64.checked_div(u64::from(self.rate)) else {
            return true;
        };
        let price = std::time::Duration::from_nanos(price);
        let full_at = self.full_at.max(now) + price;
        if full_at.since(now) > price.saturating_mul(self.rate.saturating_mul(2)) {
            return false;
        }
        self.full_at = full_at;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_meter_allows_two_seconds_worth_at_once_and_then_its_rate() {
        let mut meter = Meter::new(10);
        let start = Instant::from_nanos(7);
        assert_eq!((0..100).filter(|_| meter.allow(start)).count(), 20);

        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| meter.allow(later)).count(), 10);
        let much_later = later + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| meter.allow(much_later)).count(), 20);
    }
}
