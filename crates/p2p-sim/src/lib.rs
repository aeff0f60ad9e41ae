//! Whole networks in one thread, in virtual time, from a seed.

mod census;
mod config;
mod error;
mod executor;
mod host;
mod net;
mod rng;
mod runtime;
mod seeds;
mod sim;
mod slab;
mod timers;
mod trace;
mod world;

pub use census::{Census, HostCensus};
pub use config::{Config, Tcp};
pub use error::{Report, SetupError, Stuck};
pub use host::Host;
pub use net::link::Link;
pub use net::tap::Flights;
pub use seeds::{for_each_seed, seeds};
pub use sim::{Partition, Sim, Stats};
pub use trace::EventHash;
