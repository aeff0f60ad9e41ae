//! The command-line tool of the stack: `p2p demo`, `listen`, `ping`, `identify`, `echo`, `perf`,
//! `sim`, `key`.
//!
//! ```text
//!   cli ──> commands ──> node ──> p2p::Host
//!              │  └────> failure (what went wrong, and what to do: explain)
//!              v
//!           output: stdout for results (lines, or records with --json), stderr for the rest
//! ```
//!
//! No protocol logic: what it does with a node, any program can do with the facade.

mod addr;
mod cli;
mod commands;
mod explain;
mod failure;
#[cfg(test)]
mod golden;
mod http;
mod keyfile;
mod node;
mod output;
mod pattern;
mod progress;
mod reach;
mod roads;
mod screen;
mod signals;
mod sim;
mod state;
mod steps;
mod transfer;
mod units;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::{Cli, Command, Explain, Trace};
use crate::failure::Failure;
use crate::output::{Output, Record};

/// The command line is wrong.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let Cli { global, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = Output::new(global.json);
    steps::install(output, global.verbose, p2p::runtime::default_runtime());
    match run(output, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(output);
            ExitCode::FAILURE
        }
    }
}

fn run(output: Output, command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => p2p::runtime::block_on(commands::demo::run(output, args)),
        Command::Listen(args) => p2p::runtime::block_on(commands::listen::run(output, args)),
        Command::Ping(args) => p2p::runtime::block_on(commands::ping::run(output, args)),
        Command::Identify(args) => p2p::runtime::block_on(commands::identify::run(output, args)),
        Command::Echo(args) => p2p::runtime::block_on(commands::echo::run(output, args)),
        Command::Perf(args) => p2p::runtime::block_on(commands::perf::run(output, args)),
        Command::Chat(args) => p2p::runtime::block_on(commands::topic::chat(output, args)),
        Command::Pub(args) => p2p::runtime::block_on(commands::topic::publish(output, args)),
        Command::Sub(args) => p2p::runtime::block_on(commands::topic::sub(output, args)),
        Command::Trace(Trace::View(args)) => commands::trace::view(output, &args),
        Command::Explain(Explain::Scores(args)) => commands::scores::explain(output, &args),
        Command::Key(key) => commands::key::run(output, key),
        Command::Limits(args) => commands::limits::run(output, &args),
        Command::Sim(args) => commands::sim::run(output, &args),
        Command::Top(args) => p2p::runtime::block_on(commands::top::run(output, args)),
    }
}

/// Help, the version, or a wrong command line.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed stdout or stderr leaves nobody to tell.
    let _ = error.print();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return ExitCode::SUCCESS;
    }
    let wants_json = std::env::args_os().any(|arg| arg == "--json");
    let text = error.render().to_string();
    let cause = text.lines().next().unwrap_or_default();
    let record = Record::new("error")
        .text("what", "the command line is wrong")
        .text("step", "usage")
        .texts("tried", std::env::args().skip(1))
        .text("cause", cause.trim_start_matches("error: "))
        .text("help", "p2p --help");
    Output::new(wants_json).record(&record);
    ExitCode::from(BAD_USAGE)
}
