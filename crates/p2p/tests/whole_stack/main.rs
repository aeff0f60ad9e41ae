//! Random networks of complete hosts, random faults, random traffic: what must hold, holds.
//!
//! ```text
//!   seed ──> Plan: hosts, links, limits, faults
//!              │
//!   Driver ────┼── cuts, heals, crashes, restarts, closes, drops, changes links
//!              v
//!   Node on each host: p2p::Host, talks at random ──> Ledger: who wrote and read what
//!                                                └──> Audit: how each connection ended
//! ```
//!
//! Along the way and at the end:
//!
//! - Bytes are read in the order in which they were written, and a clean end of a stream is read
//!   only where the writer closed it, behind its last byte ([`ledger`]).
//! - No connection ends without a reason, and every one that began ends ([`node`]).
//! - No budget is ever exceeded, and none counts anything once its host is closed.
//! - No task, timer or socket survives, whether a host was closed, dropped or unplugged.
//! - In fair weather, when nothing was made to go wrong, everything works. After foul weather,
//!   once it is over, everybody can talk to everybody again.
//!
//! `P2P_SIM_SEEDS=1000 cargo test --release -p p2p --test whole_stack` tries more; a failure names
//! its seed, and `P2P_SIM_SEED=<seed>` with the same command shows the very same events.
#![expect(
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod dice;
mod driver;
mod ledger;
mod node;
mod plan;
mod talk;

use p2p_sim::{Config, EventHash, Sim};

use crate::driver::Driver;
use crate::plan::Plan;

/// Seeds of one run, unless `P2P_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 12;

/// Plays the network of `seed` to its end and checks what must hold.
fn play(seed: u64) -> EventHash {
    let mut config = Config::default();
    config.hash_contents = true;
    let sim = Sim::with_config(seed, config);
    let plan = Plan::draw(&sim);
    let told = Told(seed, plan.clone());
    let mut driver = Driver::new(&sim, plan);
    driver.run();
    driver.finish();
    drop(driver);
    std::mem::forget(told);
    sim.hash()
}

/// Tells how to see a failure again.
struct Told(u64, Plan);

impl Drop for Told {
    fn drop(&mut self) {
        let Self(seed, plan) = self;
        eprintln!(
            "it was {plan:#?}\nagain: P2P_SIM_SEED={seed} cargo test -p p2p --test whole_stack whatever"
        );
    }
}

#[test]
fn whatever_happens_what_must_hold_holds() {
    for seed in p2p_sim::seeds(SEEDS) {
        play(seed);
    }
}

#[test]
fn a_seed_plays_the_same_twice_and_another_seed_differs() {
    let seed = p2p_sim::seeds(1).next().expect("one seed at least");
    let first = play(seed);
    assert_eq!(first, play(seed), "seed {seed}");
    assert_ne!(first, play(seed ^ 1), "seed {seed}");
}
