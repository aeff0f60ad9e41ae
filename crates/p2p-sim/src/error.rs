//! What a simulation complains about.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use p2p_core::Instant;

/// Why a simulation cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stuck {
    /// The future waits, no task is ready, no timer is armed and nothing is on the way.
    #[error("deadlock: nothing can ever happen any more\n{0}")]
    Deadlock(Box<Report>),
    /// Things go on happening, but the future was not done after so much virtual time.
    #[error("not done after {patience:?} of virtual time (setting: patience)\n{report}")]
    Patience {
        /// The limit.
        patience: Duration,
        /// The state at that time.
        report: Box<Report>,
    },
    /// Tasks wake each other, or themselves, and no time passes.
    #[error("endless loop: {task} runs and runs and no time passes\n{report}")]
    Runaway {
        /// Whose poll was one too many.
        task: String,
        /// The state at that time.
        report: Box<Report>,
    },
}

/// Where a simulation stood when it got stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed that leads here.
    pub seed: u64,
    /// The virtual time.
    pub at: Instant,
    /// How many tasks are alive, by host and name.
    pub tasks: BTreeMap<(String, &'static str), usize>,
}

/// Lines of a [`Report`] that are printed.
const SHOWN: usize = 40;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} at {:?}", self.seed, self.at)?;
        if self.tasks.is_empty() {
            return f.write_str("no task is alive");
        }
        f.write_str("tasks that wait:")?;
        for ((host, name), count) in self.tasks.iter().take(SHOWN) {
            write!(f, "\n  {count:>4} x {name} of host {host}")?;
        }
        let more = self.tasks.len().saturating_sub(SHOWN);
        if more > 0 {
            write!(f, "\n  and {more} more kinds")?;
        }
        Ok(())
    }
}

/// A simulation was set up wrongly. Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Two hosts cannot share an address.
    #[error("address {addr} of host {host} is used already, by {by}")]
    AddressUsed {
        /// The address.
        addr: IpAddr,
        /// The host that wanted it.
        host: String,
        /// Who has it.
        by: String,
    },
    /// Not an address that a host can have.
    #[error("host {host} cannot have the address {addr}: {why}")]
    BadAddress {
        /// The address.
        addr: IpAddr,
        /// The host that wanted it.
        host: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A setting of a link makes no sense.
    #[error("{field} of a link is {value}: it must be between 0 and 1")]
    BadLink {
        /// The field of [`Link`](crate::Link).
        field: &'static str,
        /// What it was set to.
        value: f64,
    },
    /// Two hosts cannot share a name.
    #[error("there is a host {0} already")]
    NameUsed(String),
    /// A handle belongs to another simulation.
    #[error("host {0} belongs to another simulation")]
    OtherSimulation(String),
    /// No host has this name.
    #[error("there is no host {0}")]
    UnknownHost(String),
}
