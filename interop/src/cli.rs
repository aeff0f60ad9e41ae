//! The command line.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    cell::{Muxer, Peer, Security, Transport},
    node,
    pick::Pick,
    testing,
};

/// Runs libp2p peers of go, js, python and rust against ours, and against each other.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Install the peers and nothing more.
    Install {
        /// Only these.
        #[arg(long, value_delimiter = ',', default_value = "go,js,py,rust")]
        peer: Vec<Peer>,
    },
    /// Be a peer ourselves, with the command line of all the others.
    Node(node::Args),
    /// Write who works with whom from the rows of earlier runs (`run --json`), as `run --report` does.
    Page {
        /// Files of rows.
        #[arg(required = true)]
        rows: Vec<PathBuf>,
        /// The page.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Record what each peer and our node send each other, for `tests/replay.rs`.
    Record {
        /// Only these.
        #[arg(long, value_delimiter = ',', default_value = "go,js,py,rust")]
        peer: Vec<Peer>,
        /// The folder that the recordings go to.
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts"))]
        to: PathBuf,
    },
    /// Install what is needed, run the cells, print the table.
    ///
    /// Leaves with 0 if no cell failed. A cell that could not run is `missing`, never passed;
    /// `--require` makes it a failure.
    Run(RunArgs),
    /// Be a test application of the official suites: everything else comes from the environment.
    #[command(subcommand)]
    Testing(testing::Contract),
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Write one JSON object per cell and line.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write who works with whom, as a page of Markdown.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// How often each cell is run.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) repeat: NonZeroUsize,
    /// Pairs at a time. Default: one more than cores, at most four.
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// What a cell may take before it is ended and has failed; large and long tests have more.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub(crate) deadline: Duration,
    /// Fail if cells of these peers are missing.
    #[arg(long, value_delimiter = ',')]
    pub(crate) require: Vec<Peer>,
}

/// Which cells. An empty list means all, except TLS, QUIC and WebSocket, which have to be named.
#[derive(Args, Debug, Default)]
pub(crate) struct Selection {
    /// Who meets us.
    #[arg(long, value_delimiter = ',')]
    pub(crate) peer: Vec<Peer>,
    /// What we do, or the first of a pair.
    #[arg(long, value_delimiter = ',')]
    pub(crate) role: Vec<Role>,
    /// Two who meet instead of us and a peer, in both roles. May be repeated.
    #[arg(long, value_name = "A,B")]
    pub(crate) pair: Vec<Pair>,
    /// What carries the bytes. Default: tcp.
    #[arg(long, value_delimiter = ',')]
    pub(crate) transport: Vec<Transport>,
    /// What makes the connection secure. Default: plaintext,noise.
    #[arg(long, value_delimiter = ',')]
    pub(crate) security: Vec<Security>,
    /// What carries the streams.
    #[arg(long, value_delimiter = ',')]
    pub(crate) muxer: Vec<Muxer>,
    /// What the two do once connected: tests by name, or the groups gate, keys, pubsub, quick,
    /// all and long (see interop/README.md). Default: quick.
    #[arg(long, value_delimiter = ',')]
    pub(crate) test: Vec<Pick>,
}

/// Which end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Role {
    /// Makes the connection.
    Dial,
    /// Takes it.
    Listen,
}

/// Two peers, as in `js,rust`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) first: Peer,
    pub(crate) second: Peer,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, second) = text
            .split_once(',')
            .ok_or("two peers with a comma between")?;
        let peer = |name: &str| Peer::from_str(name, false);
        Ok(Self {
            first: peer(first)?,
            second: peer(second)?,
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(0) | Err(_) => Err("a whole number of seconds, above zero".into()),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cell::Test;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn filters_take_lists() {
        let args = run(&["--peer", "go,js", "--test", "ping,echo", "--role", "dial"]);

        assert_eq!(args.selection.peer, [Peer::Go, Peer::Js]);
        let tests = [Pick::One(Test::Ping), Pick::One(Test::Echo)];
        assert_eq!(args.selection.test, tests);
        assert_eq!(args.selection.role, [Role::Dial]);
        assert_eq!(args.deadline, Duration::from_secs(60));
    }

    #[test]
    fn tests_have_groups_and_perf_is_the_transfer() {
        let args = run(&["--test", "quick,minute,perf", "--repeat", "3"]);

        let picks = [
            Pick::Quick,
            Pick::One(Test::Minute),
            Pick::One(Test::Transfer),
        ];
        assert_eq!(args.selection.test, picks);
        assert_eq!(args.repeat.get(), 3);
    }

    #[test]
    fn pairs_add_up() {
        let args = run(&["--pair", "js,rust", "--pair", "p2p,p2p"]);

        let both = Pair {
            first: Peer::P2p,
            second: Peer::P2p,
        };
        assert_eq!(
            args.selection.pair,
            [
                Pair {
                    first: Peer::Js,
                    second: Peer::Rust
                },
                both
            ]
        );
    }

    #[test]
    fn unknown_names_and_half_pairs_are_refused() {
        for wrong in [["--peer", "kubo"], ["--pair", "js"], ["--pair", "js,nim"]] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
        for wrong in [["--deadline", "0"], ["--jobs", "0"], ["--test", "speed"]] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["p2p-interop", "run"].iter().chain(args))
    }

    fn run(args: &[&str]) -> RunArgs {
        let Command::Run(args) = parse(args).unwrap().command else {
            panic!("not `run`")
        };
        args
    }
}
