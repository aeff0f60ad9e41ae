//! Maps by message id: quick, and still no target for a peer that chooses ids.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use crate::MessageId;

/// Something for each message id. In the order of nothing: never walk through it.
pub(crate) type IdMap<V> = HashMap<MessageId, V, Keyed>;

/// Multiplies and folds, with a secret key: whoever does not know it cannot make ids collide.
///
/// Five times as quick for an id as the hash of the standard library, which was the largest single
/// cost of a message without a signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    key: u64,
}

impl Keyed {
    /// The secret of a router comes from its seed; each map has another one.
    pub(crate) fn new(seed: u64, map: u64) -> Self {
        let key = fold(seed ^ FIRST, map.wrapping_mul(2).wrapping_add(1) ^ SECOND);
        Self { key }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding {
            state: self.key,
            key: self.key | 1,
        }
    }
}

/// The state of one hash.
pub(crate) struct Folding {
    state: u64,
    key: u64,
}

impl Folding {
    fn mix(&mut self, word: u64) {
        self.state = fold(self.state ^ word, self.key ^ FIRST);
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(word.try_into().map_or(0, u64::from_le_bytes));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(rest) {
                *to = *from;
            }
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        fold(self.state ^ SECOND, self.key)
    }
}

/// The halves of the product, one over the other.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let [low, high] = [product, product >> 64].map(|half| half & u128::from(u64::MAX));
    u64::try_from(low ^ high).unwrap_or(0)
}

/// Digits of the fraction of pi.
const FIRST: u64 = 0x243f_6a88_85a3_08d3;
const SECOND: u64 = 0x1319_8a2e_0370_7344;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn hash(seed: u64, bytes: &[u8]) -> u64 {
        Keyed::new(seed, 0).hash_one(MessageId::new(bytes))
    }

    #[test]
    fn ids_that_count_up_spread_over_all_buckets_in_both_halves_of_the_hash() {
        for shift in [0, 32, 54] {
            let mut buckets = [0u32; 1024];
            for n in 0..65_536u64 {
                let mut id = [7; 46];
                id[38..].copy_from_slice(&n.to_be_bytes());
                buckets[usize::try_from((hash(1, &id) >> shift) & 1023).unwrap()] += 1;
            }
            // 64 on average; a fair one stays within six times the deviation of 8.
            let range = (
                *buckets.iter().min().unwrap(),
                *buckets.iter().max().unwrap(),
            );
            assert!(range.0 > 16 && range.1 < 112, "{range:?}");
        }
    }

    #[test]
    fn ids_that_collide_under_one_key_do_not_under_another() {
        let low = |seed: u64, n: u64| hash(seed, &n.to_le_bytes()) & 0xffff;
        let of = |seed| {
            let all = (0..100_000u64).filter(move |n| low(seed, *n) == 0);
            all.collect::<BTreeSet<_>>()
        };
        let (first, second) = (of(1), of(2));
        assert!(!first.is_empty());
        assert!(first.intersection(&second).count() <= 1);
    }

    #[test]
    fn zeros_and_lengths_count() {
        let zeros: BTreeSet<u64> = (0..64).map(|len| hash(3, &vec![0; len])).collect();
        assert_eq!(zeros.len(), 64);
    }
}
