//! Benchmarks of the stack: a node program, and a runner that sets it beside others.

mod check;
mod compare;
mod floor;
mod gossip;
mod muxers;
mod node;
mod ours;
mod proxy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use node::args::{Command, Dial};
use node::gossip::{chain, mesh};
use node::{Node as _, Result, jobs};
use ours::Ours;

/// Measures the stack, alone and side by side with other libp2p implementations.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(flatten)]
    Node(Command),
    /// Delay what passes, as a long path does.
    Delayproxy(proxy::Args),
    /// Fail if ours has become slower, judged by ratios within this run.
    Check,
    /// Build the peers, run every job of theirs and ours in turn, print medians and ratios.
    Compare(compare::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().action {
        Action::Node(command) => run_node(command),
        Action::Delayproxy(args) => proxy::run(&args).map_err(Into::into),
        Action::Check => check::check(),
        Action::Compare(args) => compare::compare(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", p2p::Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run_node(command: Command) -> Result<()> {
    match command {
        Command::Listen(options) if floor::is_floor(&options.stack) => floor::listen(&options),
        Command::Dial(dial) if floor::is_floor(&dial.options.stack) => {
            println!("{}", floor::dial(&dial)?);
            Ok(())
        }
        Command::Listen(options) => {
            let (runtime, threads) = (options.runtime.clone(), options.threads);
            let listen = async move { jobs::listen::<Ours>(&options).await };
            match ours::run(&runtime, threads, listen)? {}
        }
        Command::Dial(dial) => {
            println!("{}", run_dial(dial)?);
            Ok(())
        }
        Command::Both(mut dial) => {
            let (say, heard) = std::sync::mpsc::channel();
            let options = dial.options.clone();
            std::thread::spawn(move || {
                let (runtime, threads) = (options.runtime.clone(), options.threads);
                let served = ours::run(&runtime, threads, async move {
                    let node = Ours::start(&options).await?;
                    let chunk = usize::try_from(options.chunk)?;
                    say.send(node.listen(&options.addr, chunk).await?)?;
                    futures::future::pending::<Result<()>>().await
                });
                eprintln!("listener: {served:?}");
            });
            dial.options.addr = heard.recv()?;
            println!("{}", run_dial(dial)?);
            Ok(())
        }
        Command::GossipChain(args) => {
            println!("{}", chain::<gossip::Ours>(&args)?);
            Ok(())
        }
        Command::GossipMesh(args) => {
            println!("{}", mesh::<gossip::Ours>(&args)?);
            Ok(())
        }
    }
}

fn run_dial(dial: Dial) -> Result<serde_json::Value> {
    let (runtime, threads) = (dial.options.runtime.clone(), dial.options.threads);
    ours::run(
        &runtime,
        threads,
        async move { jobs::dial::<Ours>(&dial).await },
    )
}
