//! `p2p limits`: what remotes can make a node hold or do, and what one peer can cost.

use p2p::swarm::{Limits, Scope};

use crate::cli::LimitsArgs;
use crate::failure::Failure;
use crate::output::{Output, Record, Style};
use crate::{state, units};

pub(crate) fn run(output: Output, args: &LimitsArgs) -> Result<(), Failure> {
    let limits = match args.memory {
        None => Limits::default(),
        Some(bytes) => Limits::with_memory_budget(usize::try_from(bytes).unwrap_or(usize::MAX)),
    };
    if limits.connection_memory == 0 {
        let what = "these limits let nothing through";
        let failure = Failure::new(what, "usage", "the memory of a connection would be zero");
        return Err(failure.help("give --memory at least 4 bytes, and better 1MiB"));
    }
    let mut scope = None;
    for row in limits.rows() {
        if scope != Some(row.scope) {
            scope = Some(row.scope);
            output.line(output.styled(Style::Bold, heading(row.scope)));
        }
        output.line(format!("  {:<34} {}", row.setting, state::value_of(&row)));
        let record = Record::new("limit")
            .text("setting", row.setting)
            .with("value", row.value)
            .text("scope", row.scope);
        output.record(&record);
    }
    let cost = limits.one_peer();
    let bytes = |n: usize| units::bytes(u64::try_from(n).unwrap_or(u64::MAX));
    output.line(output.styled(Style::Bold, "What one peer can cost at most"));
    output.line(format!("  {:<34} {}", "connections", cost.connections));
    output.line(format!(
        "  {:<34} {}",
        "streams that it opened", cost.streams
    ));
    output.line(format!(
        "  {:<34} {}",
        "memory on its connections",
        bytes(cost.memory)
    ));
    output.line(format!(
        "  {:<34} {}",
        "memory of what we know of it",
        bytes(cost.remembered)
    ));
    output.line(format!(
        "  {:<34} {}",
        "connections being upgraded", cost.pending
    ));
    let record = Record::new("one_peer")
        .with("connections", cost.connections)
        .with("streams", cost.streams)
        .with("memory", cost.memory)
        .with("remembered", cost.remembered)
        .with("pending", cost.pending);
    output.record(&record);
    Ok(())
}

fn heading(scope: Scope) -> &'static str {
    match scope {
        Scope::Host => "All remotes together",
        Scope::Prefix => "One IP prefix",
        Scope::Peer => "One peer, with all its connections",
        Scope::Connection => "One connection",
        _ => "Others",
    }
}
