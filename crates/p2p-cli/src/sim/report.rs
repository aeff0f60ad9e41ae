//! What a run showed.

use p2p_sim::EventHash;

use super::{Plan, Tally};

/// The result of a run. Everything but `peak_memory` depends on the plan alone.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) plan: Plan,
    /// Over every event and every byte sent, the shutdown included.
    pub(crate) hash: EventHash,
    /// Events in the log.
    pub(crate) events: u64,
    /// Polls of tasks.
    pub(crate) polls: u64,
    /// Ends of connections that were open before the shutdown.
    pub(crate) ends_open: usize,
    /// Connections between the halves of a network that was cut.
    pub(crate) crossing: Option<Crossing>,
    /// What was still alive after all hosts had shut down, by host. Must be nothing.
    pub(crate) left: Option<String>,
    /// Resident memory of the process at its peak in bytes, where the system tells.
    pub(crate) peak_memory: Option<u64>,
    pub(crate) tally: Tally,
}

/// Ends of connections that cross a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crossing {
    /// Right before the cut.
    pub(crate) before: usize,
    /// Right before it healed.
    pub(crate) during: usize,
    /// At the end.
    pub(crate) after: usize,
}
