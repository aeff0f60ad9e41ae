//! Thousands of pubsub routers in one thread: what the papers measured, measured again.
//!
//! ```text
//!   scenario ──> World: routers, Sybils, links ──> Row: delivered, latencies, copies, recovery
//!                  │ events in order of simulated time          └──> tables and plots
//! ```
//!
//! The routers are those of `p2p-pubsub`, whole and unchanged; around them there is no swarm, no
//! socket and no signature check, only links with a latency and, where it matters, a bandwidth.
//! The same seed gives the same rows.
//!
//! ```
//! use p2p_gossip_sim::{RouterKind, Scale, paper};
//!
//! let mut scale = Scale::small();
//! scale.honest = 8;
//! let row = paper::baseline(RouterKind::Ours, scale);
//! assert_eq!(row.delivered, 1.0);
//! ```

mod calendar;
mod fast;
mod frames;
pub mod frontier;
mod measure;
pub mod paper;
mod plot;
mod report;
mod rng;
mod sybil;
mod world;

pub use report::{RouterKind, Row, Scale};

/// The sets of scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// The experiments of the GossipSub paper, and partition and churn.
    Paper,
    /// Copies and latency with the techniques against duplicates.
    Frontier,
}

/// Runs all scenarios of `suite`, on two threads, and hands each row to `done` as it comes.
pub fn run(suite: Suite, scale: Scale, done: &mut dyn FnMut(&Row)) -> Vec<Row> {
    run_some(suite, scale, "", done)
}

/// The same as far as `scenario/router` contains `only`.
pub fn run_some(suite: Suite, scale: Scale, only: &str, done: &mut dyn FnMut(&Row)) -> Vec<Row> {
    let jobs = match suite {
        Suite::Paper => paper::jobs(scale, only),
        Suite::Frontier => frontier::jobs(scale, only),
    };
    fast::run_all(jobs, done)
}

/// A page with tables and the name of its plot, and the plot as SVG.
pub fn page(suite: Suite, rows: &[Row]) -> (String, String) {
    match suite {
        Suite::Paper => (report::table(rows), plot::latencies(rows)),
        Suite::Frontier => (report::table(rows), plot::copies(rows)),
    }
}
