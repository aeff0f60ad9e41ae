//! Whole networks in one process: hosts with the full stack, on the simulator.
//!
//! ```text
//!   Plan ──> Town: hosts, neighbours, links ──> Report
//!             │  ^
//!             │  └── script: who leaves, crashes, is cut off, and when
//!             v
//!        node on each host: p2p::Host, keeps its neighbours connected, tells the Tally
//! ```
//!
//! Nothing here knows the command line or prints: [`run`] turns a [`Plan`] into a [`Report`].

mod memory;
mod node;
mod report;
mod rng;
mod script;
mod tally;
mod town;

use std::time::Duration;

use p2p_sim::{Config, Link, Sim};

pub(crate) use report::Report;
pub(crate) use script::Scenario;
pub(crate) use tally::Tally;

use script::Script;
use town::Town;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) hosts: usize,
    pub(crate) length: Duration,
    pub(crate) seed: u64,
}

/// From one look of the script at the network to the next.
const STEP: Duration = Duration::from_secs(5);

/// How long the hosts may take to shut down. Longer than a TCP connection whose other end has
/// crashed stays around.
const FAREWELL: Duration = Duration::from_secs(180);

/// Runs `plan` to its end; `progress` hears of each step.
///
/// The same plan gives the same report, but for the memory.
pub(crate) fn run(plan: Plan, mut progress: impl FnMut(Duration, &Tally)) -> Report {
    let mut config = Config::default();
    // All randomness comes from the seed, keys and nonces included: so do the bytes.
    config.hash_contents = true;
    let sim = Sim::with_config(plan.seed, config);
    sim.default_link(Link::new(Duration::from_millis(20)).jitter(Duration::from_millis(20)));
    let mut town = Town::build(&sim, plan);
    let mut script = Script::new(plan);
    for place in 0..plan.hosts {
        town.start(place);
    }
    let mut done = Duration::ZERO;
    while done < plan.length {
        script.act(&sim, &mut town, done);
        let step = STEP.min(plan.length - done);
        sim.run_for(step);
        done += step;
        town.tally().read(|tally| progress(done, tally));
    }
    script.end(&sim, &mut town);
    let ends_open = town.ends_open();
    town.stop_all();
    sim.run_for(FAREWELL);
    let census = sim.census();
    let left = (!census.is_empty()).then(|| census.to_string());
    let stats = sim.stats();
    Report {
        plan,
        hash: sim.hash(),
        events: stats.events,
        polls: stats.polls,
        ends_open,
        crossing: script.crossing(),
        left,
        peak_memory: memory::peak(),
        tally: town.tally().take(),
    }
}
