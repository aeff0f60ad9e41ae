//! A small, fast, repeatable source of randomness. Not for secrets.
//!
//! xoshiro256++ (Blackman and Vigna, 2019), its state filled by splitmix64. Every use has its own
//! stream, so that a change in one place does not shift the numbers of another.

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rng([u64; 4]);

impl Rng {
    /// The stream called `label` of `seed`.
    pub(crate) fn new(seed: u64, label: &str) -> Self {
        let mut state = seed;
        for byte in label.bytes() {
            state = splitmix(&mut state) ^ u64::from(byte);
        }
        Self(std::array::from_fn(|_| splitmix(&mut state)))
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `end`, or 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// True with probability `p`. Draws nothing if `p` is 0.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        const STEP: f64 = 1.0 / (1u64 << 53) as f64;
        p > 0.0 && ((self.next_u64() >> 11) as f64) * STEP < p
    }

    pub(crate) fn fill(&mut self, dest: &mut [u8]) {
        for part in dest.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            for (to, from) in part.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_seed_and_label() {
        let draw = |seed, label| Rng::new(seed, label).next_u64();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn draws_stay_in_range_and_hit_their_probability() {
        let mut rng = Rng::new(1, "test");
        assert!((0..1000).all(|_| rng.below(7) < 7));
        let hits = (0..10_000).filter(|_| rng.chance(0.25)).count();
        assert!((2300..2700).contains(&hits), "{hits}");
        assert!(rng.chance(1.0) && !rng.chance(0.0));
    }
}
