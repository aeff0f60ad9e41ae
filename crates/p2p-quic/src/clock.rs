//! The runtime's clock in the form that quinn-proto wants.

use std::time::{Duration, SystemTime};

use p2p_core::{Instant, Rt};
use quinn_proto::TimeSource;

/// A fixed point of the standard library's clock, which stands for the start of the runtime's:
/// only differences matter, so a virtual clock fits as well as a real one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(std::time::Instant);

/// The furthest that an instant is moved into the future.
const HORIZON: Duration = Duration::from_secs(365 * 24 * 3600);

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "std's instants cannot be made otherwise; it is never asked again"
    )]
    pub(crate) fn new() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn to_std(self, at: Instant) -> std::time::Instant {
        let wanted = self.0.checked_add(at.elapsed_since_start());
        wanted.unwrap_or_else(|| self.0 + HORIZON)
    }

    pub(crate) fn to_runtime(self, at: std::time::Instant) -> Instant {
        Instant::ZERO + at.saturating_duration_since(self.0)
    }
}

/// The runtime's calendar, for tokens that expire.
pub(crate) struct Calendar(pub(crate) Rt);

impl TimeSource for Calendar {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.0.unix_time()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_survive_the_way_there_and_back() {
        let clock = Clock::new();
        for at in [Instant::ZERO, Instant::from_nanos(1_234_567_890)] {
            assert_eq!(clock.to_runtime(clock.to_std(at)), at);
        }
        let last = clock.to_std(Instant::FAR_FUTURE);
        assert!(last > clock.to_std(Instant::from_nanos(u64::MAX >> 16)));
    }
}
