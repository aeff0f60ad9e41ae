//! rust-libp2p behind the flags of a benchmark node (`benches/README.md`).
//!
//! Jobs, reads, writes and clock are those of our own node: only the stack differs.

mod gossip;
#[path = "../../../src/node/mod.rs"]
mod node;
mod stack;
mod streams;

use std::process::ExitCode;

use clap::Parser;
use node::args::{Command, Dial};
use node::gossip::{chain, mesh};
use node::{Node as _, Result, jobs};
use stack::Rust;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Listen(options) => {
            let threads = options.threads;
            let listen = async move { jobs::listen::<Rust>(&options).await };
            match on_tokio(threads, listen)? {}
        }
        Command::Dial(dial) => {
            run_dial(dial)
        }
        Command::Both(mut dial) => {
            let (say, heard) = std::sync::mpsc::channel();
            let options = dial.options.clone();
            std::thread::spawn(move || {
                let served = on_tokio(options.threads, async move {
                    let node = Rust::start(&options).await?;
                    say.send(node.listen(&options.addr, 0).await?)?;
                    futures::future::pending::<Result<()>>().await
                });
                eprintln!("listener: {served:?}");
            });
            dial.options.addr = heard.recv()?;
            run_dial(dial)
        }
        Command::GossipChain(args) => {
            println!("{}", chain::<gossip::Rust>(&args)?);
            Ok(())
        }
        Command::GossipMesh(args) => {
            println!("{}", mesh::<gossip::Rust>(&args)?);
            Ok(())
        }
    }
}

fn run_dial(dial: Dial) -> Result<()> {
    let threads = dial.options.threads;
    let result = on_tokio(threads, async move { jobs::dial::<Rust>(&dial).await })?;
    println!("{result}");
    Ok(())
}

/// Runs `work` as a task like all others: the future of `block_on` itself has to wait for up to 61
/// of them.
fn on_tokio<T: Send + 'static>(
    threads: usize,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    let runtime = builder.enable_all().build()?;
    runtime.block_on(async { tokio::spawn(work).await? })
}
