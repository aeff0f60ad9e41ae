//! Which seeds a test tries.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::Sim;

/// The seeds that a test should try: `count` of them, different in each run.
///
/// `P2P_SIM_SEEDS` changes how many; `P2P_SIM_SEED` names the only one, to see a failure again.
/// The first is printed to standard error, which the test harness shows when the test fails.
///
/// # Panics
/// If one of these variables is set to something that is not a number.
pub fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let (first, count) = match variable("P2P_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (fresh(), variable("P2P_SIM_SEEDS").unwrap_or(count)),
    };
    eprintln!("{count} seeds from {first} on");
    (0..count).map(move |n| first.wrapping_add(n))
}

/// Runs `test` on a new simulation for each of [`seeds`]`(count)`.
///
/// A failure prints the seed and the last events.
pub fn for_each_seed(count: u64, test: impl Fn(&Sim)) {
    for seed in seeds(count) {
        test(&Sim::new(seed));
    }
}

/// A number that nobody has chosen; short, as people will copy it.
fn fresh() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} must be a number, and is {value:?}")))
}
