//! Choices, from the randomness of a host: the seed decides them.

use std::time::Duration;

use p2p_core::Rt;

/// Draws from a runtime.
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) Rt);

impl Dice {
    /// A number below `end`, which is not zero.
    pub(crate) fn below(&self, end: usize) -> usize {
        let drawn = u64::from_le_bytes(self.0.random());
        usize::try_from(drawn % end as u64).expect("below a usize")
    }

    /// A number from `from` to `to`, both included.
    pub(crate) fn between(&self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// True `percent` times in a hundred.
    pub(crate) fn percent(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `all`.
    pub(crate) fn pick<T: Copy>(&self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A number up to `max`, small ones as likely as large ones.
    pub(crate) fn size(&self, max: usize) -> usize {
        let bits = usize::BITS - max.leading_zeros();
        self.below((max >> self.below(bits as usize + 1)) + 1)
    }

    /// A time up to `max`.
    pub(crate) fn time(&self, max: Duration) -> Duration {
        max.mul_f64(self.below(1 << 20) as f64 / f64::from(1 << 20))
    }
}
