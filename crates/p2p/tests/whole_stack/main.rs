//! Random networks of complete hosts, random faults, random traffic: what must hold, holds.
//!
//! ```text
//!   seed ──> Plan: hosts, links, limits, faults; Map: who knows whom, NATs, cards, clocks
//!              │
//!   Driver ────┼── cuts, heals, crashes, restarts, closes, drops, changes links and clocks, moves
//!              v
//!   Node on each host: p2p::Host, talks at random ──> Ledger: who wrote and read what
//!                                                ├──> Club: who published what, and who got it
//!                                                └──> Audit: how each connection ended
//! ```
//!
//! The roads are TCP, WebSocket, QUIC and memory; the channels Noise, TLS and plaintext.
//!
//! Along the way and at the end:
//!
//! - Bytes are read in the order in which they were written, and a clean end of a stream is read
//!   only where the writer closed it, behind its last byte ([`ledger`]). Whoever waits for bytes or
//!   for an end gets it, or an error, in any weather ([`talk`]).
//! - A message of pubsub is what its author published and is delivered once at most. Received are
//!   those that were delivered, rejected or dropped, each for a reason ([`club`]).
//! - No connection ends without a reason, and every one that began ends, also those that a host
//!   gives up on when it closes ([`node`]).
//! - No limit is ever exceeded, and nothing counts once its host is closed ([`checks`]).
//! - No task, timer, socket or entry of a table survives, whether a host was closed, dropped or
//!   unplugged.
//! - In fair weather, when nothing was made to go wrong, everything works. After foul weather,
//!   once it is over, everybody can talk to everybody again.
//!
//! `P2P_SIM_SEEDS=1000 cargo test --release -p p2p --test whole_stack` tries more; a failure names
//! its seed, and `P2P_SIM_SEED=<seed>` with the same command shows the very same events.
#![cfg(all(
    feature = "pubsub",
    feature = "quic",
    feature = "tls",
    feature = "websocket"
))]
#![expect(
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod checks;
mod club;
mod dice;
mod driver;
mod ledger;
mod map;
mod node;
mod plan;
mod talk;

use std::time::Duration;

use p2p::SecureChannel;
use p2p_sim::{Config, EventHash, Sim};

use crate::driver::Driver;
use crate::plan::{Plan, Road};

/// Seeds of one run, unless `P2P_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 12;

/// Plays the network of `seed` to its end and checks what must hold.
fn play(seed: u64, test: &'static str) -> EventHash {
    play_changed(seed, test, |_| {})
}

/// The same after a change to what the seed plans.
fn play_changed(seed: u64, test: &'static str, change: impl Fn(&mut Plan)) -> EventHash {
    let draw = |sim: &Sim| {
        let mut plan = Plan::draw(sim);
        change(&mut plan);
        plan
    };
    let mut config = Config::default();
    // Some systems end the connections of an address that is gone, others keep them.
    config.tcp.abort_on_lost_addr = seed.is_multiple_of(2);
    // Drawn in a world of its own: whether bytes count has to be known before ours begins.
    config.hash_contents = draw(&Sim::new(seed)).every_byte();
    let sim = Sim::with_config(seed, config);
    let plan = draw(&sim);
    let told = Told(seed, test, plan.clone());
    let mut driver = Driver::new(&sim, plan);
    driver.run();
    driver.finish();
    drop(driver);
    std::mem::forget(told);
    sim.hash()
}

/// Tells how to see a failure again: the seed, the test that plays it so, and what was planned.
struct Told(u64, &'static str, Plan);

impl Drop for Told {
    fn drop(&mut self) {
        let Self(seed, test, plan) = self;
        eprintln!(
            "it was {plan:#?}\nagain: P2P_SIM_SEED={seed} cargo test -p p2p --test whole_stack {test}"
        );
    }
}

#[test]
fn whatever_happens_what_must_hold_holds() {
    for seed in p2p_sim::seeds(SEEDS) {
        play(seed, "whatever");
    }
}

#[test]
fn a_seed_plays_the_same_twice_and_another_seed_differs() {
    let seed = p2p_sim::seeds(1).next().expect("one seed at least");
    let play = |seed| play(seed, "plays_the_same_twice_and");
    let first = play(seed);
    let other = play(seed ^ 1);
    // Whatever ran in this process in between.
    assert_eq!(first, play(seed), "seed {seed}");
    assert_ne!(first, other, "seed {seed}");
}

#[test]
fn a_seed_plays_the_same_twice_on_other_roads_and_over_tls() {
    let seed = p2p_sim::seeds(1).next().expect("one seed at least");
    let over = |road, channel| {
        play_changed(seed, "on_other_roads", |plan| {
            (plan.road, plan.channel) = (road, channel);
            plan.length = plan.length.min(Duration::from_secs(40));
        })
    };
    for (road, channel) in [
        (Road::Memory, SecureChannel::Noise),
        (Road::Tcp, SecureChannel::Tls),
        (Road::WebSocket, SecureChannel::Noise),
        (Road::Quic, SecureChannel::Noise),
    ] {
        let first = over(road, channel);
        assert_eq!(
            first,
            over(road, channel),
            "seed {seed}: {road:?} {channel:?}"
        );
    }
}
