//! Our own stack as a peer, behind the command line of all the others (`interop/README.md`).
//!
//! ```text
//! mod (command line) -> stack (a host of what was asked for) -> serve (what listeners do)
//!                                                            -> basic, streams, lives, lan, pubsub (the tests)
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "reports how long things took between real processes"
)]

mod basic;
mod error;
mod hour;
mod lan;
mod lives;
mod pattern;
mod pubsub;
mod report;
mod serve;
mod stack;
mod streams;

use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::future;
use p2p::core::AddrExt as _;
use p2p::{Connection, Host, Multiaddr};
use serde_json::json;

pub(crate) use error::NodeError;
use error::unsupported;
use pubsub::Series;
use report::{Reports, event, millis};
pub(crate) use stack::Stack;

/// The command line of a peer.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Connect to a listener and run one test.
    Dial {
        /// Ends in `/p2p/<peer id>`; of `mdns` that is all of it.
        addr: String,
        /// Where to listen beside that. Default: on loopback.
        #[arg(long = "addr", value_name = "ADDR")]
        listen: Option<String>,
        #[command(flatten)]
        stack: Stack,
        #[command(flatten)]
        task: Task,
    },
    /// Serve until standard input closes.
    Listen {
        #[command(flatten)]
        stack: Stack,
        #[command(flatten)]
        task: Task,
        /// Where to listen.
        #[arg(long, default_value = "/ip4/127.0.0.1/tcp/0")]
        addr: String,
    },
}

/// What to do once connected.
#[derive(clap::Args, Debug)]
struct Task {
    /// A listener takes it to prepare pubsub, and to say that it cannot.
    #[arg(long, default_value = "ping")]
    test: String,
    /// The one version of gossipsub to speak, by its protocol. Default: all that we have.
    #[arg(long, value_name = "PROTOCOL")]
    version: Option<String>,
    /// How long a dialer takes at most, in seconds.
    #[arg(long, default_value = "55")]
    deadline: u64,
}

/// What a test works with.
struct Session {
    host: Host,
    reports: Reports,
    addr: Multiaddr,
    connection: Connection,
}

/// Does what a peer does; its last event says what went wrong.
///
/// # Errors
/// See [`NodeError`].
pub(crate) fn run(args: &Args) -> Result<(), NodeError> {
    let result = p2p::block_on(async {
        match &args.command {
            Command::Dial {
                addr,
                listen,
                stack,
                task,
            } => {
                let rt = p2p::runtime::default_runtime();
                let deadline = Duration::from_secs(task.deadline);
                let listen = listen.as_deref().unwrap_or_else(|| stack.listen_addr());
                let work = Box::pin(dial(addr, listen, stack, task));
                let done = rt.timeout(deadline, work).await;
                done.unwrap_or(Err(NodeError::Deadline(deadline)))
            }
            Command::Listen { stack, task, addr } => listen(stack, task, addr).await,
        }
    });
    if let Err(error) = &result {
        let message = p2p::Chain(error).to_string();
        let unsupported = matches!(error, NodeError::Unsupported { .. });
        let fields = if unsupported {
            json!({ "message": message, "unsupported": true })
        } else {
            json!({ "message": message })
        };
        event("error", fields);
    }
    result
}

async fn listen(stack: &Stack, task: &Task, addr: &str) -> Result<(), NodeError> {
    let test = task.test.as_str();
    stack.check(test)?;
    let host = stack.host().await?;
    let series = Series::of(test, task.version.as_deref(), &host)?;
    let reports = Reports::watch(&host);
    serve::serve(&host, &reports)?;
    let bound = host.listen(addr).await?;
    let _discovery = (test == "mdns").then(|| lan::tell(&host)).transpose()?;
    event("listening", json!({ "addr": bound.to_string() }));
    if let Some(mut series) = series {
        let closed = std::pin::pin!(stdin_closed());
        let wants_version = task.version.is_some();
        let work = std::pin::pin!(async move {
            // What the other end says that it speaks is a part of the test, which is over once it
            // has our messages.
            if wants_version {
                reports.identified().await;
            }
            series.listen().await?;
            // What was published is still on its way.
            future::pending::<Result<(), NodeError>>().await
        });
        if let future::Either::Right((Err(error), _)) = future::select(closed, work).await {
            return Err(error);
        }
    } else {
        stdin_closed().await;
    }
    host.close().await;
    Ok(())
}

async fn dial(addr: &str, listen: &str, stack: &Stack, task: &Task) -> Result<(), NodeError> {
    let test = task.test.as_str();
    stack.check(test)?;
    let started = Instant::now();
    let host = stack.host().await?;
    // The listener's identify test wants to see an address of ours too.
    host.listen(listen).await?;
    let reports = Reports::watch(&host);
    serve::serve(&host, &reports)?;
    let addr: Multiaddr = addr.parse().map_err(NodeError::Addr)?;
    let far_host = match test {
        "gossip-chain" => Some(stack.host().await?),
        _ => None,
    };
    let far_end = match &far_host {
        Some(far) => Some(pubsub::far_end(far, &addr, test).await?),
        None => None,
    };
    let series = Series::of(test, task.version.as_deref(), &host)?;
    if let ("mdns", Some(peer)) = (test, addr.peer()) {
        lan::find(&host, peer).await?;
    }
    let connection = host.dial(&addr).await?;
    let session = Session {
        host: host.clone(),
        reports: reports.clone(),
        addr,
        connection,
    };
    match series {
        Some(mut series) => {
            // Of a version that the other end says that it speaks.
            if let (Some(_), Some(identify)) = (&task.version, host.identify()) {
                identify.identified(&session.connection).await?;
            }
            series.dial(far_end).await?;
        }
        None => Box::pin(perform(test, session)).await?,
    }
    // A short test may be over before the connection is told of.
    reports.met().await;
    event("done", json!({ "ms": millis(started.elapsed()) }));
    host.close().await;
    Ok(())
}

async fn perform(test: &str, session: Session) -> Result<(), NodeError> {
    let connection = &session.connection;
    match test {
        "big" => streams::big(connection).await,
        "close" => lives::close(session).await,
        "codes" => streams::reset(connection, "codes", streams::CODE).await,
        "echo" => basic::echo(connection).await,
        "identify" => basic::identify(&session.host, connection).await,
        "hour" => hour::hour(&session.host, connection).await,
        "idle" => lives::idle(connection).await,
        "minute" => lives::minute(&session.host, connection.peer()).await,
        "orders" => streams::orders(connection).await,
        "mdns" | "ping" => basic::ping(&session.host, connection.peer()).await,
        "push" => lives::push(&session).await,
        "reset" => streams::reset(connection, "reset", 0).await,
        "slow" => streams::slow(connection).await,
        "streams" => streams::many(connection).await,
        "transfer" => basic::transfer(connection).await,
        other => Err(unsupported("test", other)),
    }
}

/// Waits until standard input ends.
async fn stdin_closed() {
    let (closed, wait) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        // An error ends the input as well.
        let _ = std::io::Read::read_to_end(&mut std::io::stdin(), &mut rest);
        drop(closed);
    });
    // The sender is dropped, never used: the error is the end.
    let _ = wait.await;
}
