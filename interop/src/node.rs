//! Our own stack as a peer, behind the command line of all the others (`interop/README.md`).
//!
//! Not wired yet: it needs the facade crate `p2p`. Until then every cell with us is `missing`.

use serde_json::{Value, json};

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
        /// Ends in `/p2p/<peer id>`.
        addr: String,
        #[command(flatten)]
        stack: Stack,
        /// What to do once connected.
        #[arg(long, default_value = "ping")]
        test: String,
    },
    /// Serve until standard input closes.
    Listen {
        #[command(flatten)]
        stack: Stack,
        /// Where to listen.
        #[arg(long, default_value = "/ip4/127.0.0.1/tcp/0")]
        addr: String,
    },
}

/// What to offer, most wanted first.
#[derive(clap::Args, Debug)]
struct Stack {
    #[arg(long, default_value = "tcp")]
    transport: String,
    #[arg(long, value_delimiter = ',', default_value = "noise")]
    security: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "yamux")]
    muxer: Vec<String>,
}

/// Why our node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NodeError {
    /// The facade is not there yet.
    #[error("our own node is not wired yet")]
    NotWired,
}

/// Does what a peer does; its last event says what went wrong.
///
/// # Errors
/// [`NodeError::NotWired`], until it is.
pub(crate) fn run(args: &Args) -> Result<(), NodeError> {
    let error = match &args.command {
        Command::Dial { .. } | Command::Listen { .. } => NodeError::NotWired,
    };
    event(
        "error",
        json!({ "message": error.to_string(), "missing": true }),
    );
    Err(error)
}

/// Prints one line for the runner.
fn event(name: &str, mut fields: Value) {
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("event".into(), name.into());
    }
    println!("{fields}");
}
