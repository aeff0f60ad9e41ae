//! Topics, traces and scores.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use p2p::core::Multiaddr;

use super::NodeArgs;
use crate::{addr, units};

#[derive(Debug, Subcommand)]
pub(crate) enum Trace {
    /// Write the page
    ///
    /// Traces are written by `p2p sub TOPIC --trace FILE` and by programs with TraceLog::json; the
    /// page goes beside the first one.
    #[command(after_help = "\
Examples:
  p2p trace view news.jsonl
  p2p trace view alice.jsonl bob.jsonl --out both.html")]
    View(TraceView),
}

#[derive(Debug, Args)]
pub(crate) struct TraceView {
    /// Traces of one or more nodes, a JSON object a line
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// The page to write; the first trace's name with .html if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Explain {
    /// Show what score parameters do to peers
    ///
    /// FILE is JSON with the fields of ScoreParams, its topics and thresholds, times in seconds;
    /// what is left out has its default. Contradictions are refused.
    #[command(after_help = "\
Examples:
  p2p explain scores params.json
  p2p explain scores --preset chat --rate 0.1")]
    Scores(ExplainScores),
}

#[derive(Debug, Args)]
pub(crate) struct ExplainScores {
    /// The parameters
    #[arg(
        value_name = "FILE",
        conflicts_with = "preset",
        required_unless_present = "preset"
    )]
    pub(crate) file: Option<PathBuf>,

    /// Parameters that come with the library
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) preset: Option<Preset>,

    /// Messages a second in each topic
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    pub(crate) rate: f64,

    /// Write the scores over time into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    Chat,
    Blockchain,
    Telemetry,
}

/// A topic, and how to get there.
#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    /// The name of the topic
    pub(crate) topic: String,

    /// The address of a node to connect with; may be given again
    #[arg(long = "peer", value_name = "ADDR", value_parser = addr::parse)]
    pub(crate) peers: Vec<Multiaddr>,

    /// Where others can connect with us
    #[arg(long, value_name = "ADDR", default_value = "/ip4/127.0.0.1/tcp/0", value_parser = addr::parse)]
    pub(crate) listen: Multiaddr,

    /// Speak floodsub instead of gossipsub
    #[arg(long)]
    pub(crate) floodsub: bool,

    /// Show who is in our mesh, with scores, whenever that changes
    #[arg(long)]
    pub(crate) mesh: bool,

    /// Write what pubsub does and why into this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// For pub: seconds to wait at the end for what is still on its way
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = units::parse_seconds)]
    pub(crate) linger: Duration,

    #[command(flatten)]
    pub(crate) node: NodeArgs,
}
