//! One file for each command.

pub(crate) mod demo;
pub(crate) mod echo;
pub(crate) mod identify;
pub(crate) mod key;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod perf;
pub(crate) mod ping;
pub(crate) mod scores;
pub(crate) mod sim;
pub(crate) mod top;
pub(crate) mod topic;
pub(crate) mod trace;
