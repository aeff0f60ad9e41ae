//! rust-libp2p behind the flags of a benchmark node (`benches/README.md`).
//!
//! Jobs, reads, writes and clock are those of our own node: only the stack differs.

#[path = "../../../src/node/mod.rs"]
mod node;
mod stack;
mod streams;

use std::process::ExitCode;

use clap::Parser;
use node::args::{Command, Options};
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
            let never = on_tokio(&options, jobs::listen::<Rust>(&options))?;
            match never {}
        }
        Command::Dial(dial) => {
            let result = on_tokio(&dial.options, jobs::dial::<Rust>(&dial))?;
            println!("{result}");
            Ok(())
        }
        Command::Both(mut dial) => {
            let (say, heard) = std::sync::mpsc::channel();
            let options = dial.options.clone();
            std::thread::spawn(move || {
                let served = on_tokio(&options, async {
                    let node = Rust::start(&options).await?;
                    say.send(node.listen(&options.addr, 0).await?)?;
                    futures::future::pending::<Result<()>>().await
                });
                eprintln!("listener: {served:?}");
            });
            dial.options.addr = heard.recv()?;
            let result = on_tokio(&dial.options, jobs::dial::<Rust>(&dial))?;
            println!("{result}");
            Ok(())
        }
    }
}

fn on_tokio<T>(options: &Options, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut builder = match options.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.enable_all().build()?.block_on(work)
}
