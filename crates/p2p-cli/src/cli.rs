//! The command line.

mod key;
mod pubsub;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use p2p::SecureChannel;
use p2p::core::{Multiaddr, Protocol};

use crate::reach::Reach;
use crate::roads::Roads;
use crate::sim::Scenario;
use crate::{addr, units};
pub(crate) use key::{Form, Key, KeyConvert, KeyMake, KeyShow, KeyTypeArg};
pub(crate) use pubsub::{Explain, ExplainScores, Preset, TopicArgs, Trace, TraceView};

const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  it did not: the error on stderr says which step failed, what was tried and what to do
  2  the command line is wrong; nothing was tried";

/// The heading of the options that every command has.
const EVERYWHERE: &str = "Options of every command";

/// Talks to libp2p nodes: ours and those of other implementations.
///
/// Start with `p2p demo`: two nodes in one process do everything once. Then run `p2p listen` in
/// one terminal, and `p2p ping`, `p2p identify` or `p2p echo` with its address in another.
///
/// Results go to stdout, errors and progress to stderr. With --json every result is one JSON
/// object on a line of its own (docs/cli.md lists the keys). NO_COLOR turns colours off.
#[derive(Debug, Parser)]
#[command(name = "p2p", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Global {
    /// Print results as JSON, one object a line
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,

    /// Show every step of a connection with its time; -vv shows everything else that is logged
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = EVERYWHERE)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(after_help = concat!("\
Examples:
  p2p demo
  p2p -v demo --size 1GiB

", "Exit codes: 0 everything happened and was checked, 1 something did not, 2 wrong command line"))]
    Demo(Demo),

    #[command(after_help = concat!("\
Examples:
  p2p listen
  p2p listen /ip4/0.0.0.0/tcp/4001 /ip6/::/tcp/4001 --key node.key

", "Exit codes: 0 ended in order, 1 an address or the key cannot be used, 2 wrong command line"))]
    Listen(Listen),

    #[command(after_help = concat!("\
Examples:
  p2p ping /ip4/127.0.0.1/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN
  p2p ping -c 100 -i 0.1 --json /ip4/127.0.0.1/tcp/4001

", "Exit codes: 0 every ping was answered, 1 one was not, 2 wrong command line"))]
    Ping(Ping),

    #[command(after_help = concat!("\
Examples:
  p2p identify /ip4/127.0.0.1/tcp/4001
  p2p identify --json /ip4/127.0.0.1/tcp/4001 | jq .protocols

", "Exit codes: 0 it told, 1 it did not, 2 wrong command line"))]
    Identify(Identify),

    #[command(after_help = concat!("\
Examples:
  p2p echo /ip4/127.0.0.1/tcp/4001 'hello there'
  p2p echo /ip4/127.0.0.1/tcp/4001 --bytes 100MiB

", "Exit codes: 0 the same came back, 1 it did not, 2 wrong command line"))]
    Echo(Echo),

    #[command(after_help = concat!("\
Examples:
  p2p perf /ip4/127.0.0.1/tcp/4001
  p2p perf /ip4/127.0.0.1/tcp/4001 --upload 0 --download 4GiB --json

", "Exit codes: 0 everything was moved, 1 something was not, 2 wrong command line"))]
    Perf(Perf),

    #[command(after_help = concat!("\
Examples:
  p2p sim
  p2p sim --hosts 1000 --minutes 10 --seed 7 --scenario churn --json

", "Exit codes: 0 it ran, 1 something was left over at its end, 2 wrong command line"))]
    Sim(Sim),

    /// Talk with everybody in a topic
    ///
    /// Every line that you type is a message; what others write is shown with the end of their
    /// peer id. Works with every implementation of gossipsub. Others need the address of one node
    /// that is in the topic already.
    #[command(after_help = concat!("\
Examples:
  p2p chat fireside
  p2p chat fireside --peer /ip4/127.0.0.1/tcp/4001 --mesh

", "Exit codes: 0 ended in order, 1 a peer or the address cannot be used, 2 wrong command line"))]
    Chat(TopicArgs),

    /// Publish every line of stdin in a topic
    ///
    /// Each line waits until somebody is there to get it. Ends with stdin, after --linger seconds
    /// more for what is still on its way.
    #[command(after_help = concat!("\
Examples:
  echo hello | p2p pub news --peer /ip4/127.0.0.1/tcp/4001
  tail -f log | p2p pub log --peer /ip4/127.0.0.1/tcp/4001

", "Exit codes: 0 all was published, 1 something was not, 2 wrong command line"))]
    Pub(TopicArgs),

    /// Show every message of a topic
    ///
    /// Ends on Ctrl-C and with stdin. With --trace everything that pubsub does and why goes into a
    /// file, which `p2p trace view` makes into a page.
    #[command(after_help = concat!("\
Examples:
  p2p sub news --peer /ip4/127.0.0.1/tcp/4001 --json
  p2p sub news --peer /ip4/127.0.0.1/tcp/4001 --trace news.jsonl

", "Exit codes: 0 ended in order, 1 a peer or the address cannot be used, 2 wrong command line"))]
    Sub(TopicArgs),

    /// Make a page of a trace of pubsub
    ///
    /// The page is one file that needs nothing else: mesh, messages and scores over time, with
    /// everything that was done and why. Traces of several nodes can be shown together.
    #[command(subcommand, after_help = concat!("\
Examples:
  p2p trace view news.jsonl
  p2p trace view alice.jsonl bob.jsonl --out both.html

", "Exit codes: 0 the page was written, 1 a file cannot be used, 2 wrong command line"))]
    Trace(Trace),

    /// Explain settings by what they do
    ///
    /// Score parameters are easy to get wrong: this shows what becomes of peers of different
    /// behaviour, and finds sets that let one stay that never forwards anything.
    #[command(subcommand, after_help = concat!("\
Examples:
  p2p explain scores params.json
  p2p explain scores --preset blockchain --svg scores.svg

", "Exit codes: 0 explained, 1 the settings contradict each other, 2 wrong command line"))]
    Explain(Explain),

    #[command(after_help = concat!("\
Examples:
  p2p limits
  p2p limits --memory 64MiB --json

", "Exit codes: 0 shown, 1 the limits let nothing through, 2 wrong command line"))]
    Limits(LimitsArgs),

    #[command(after_help = concat!("\
Examples:
  p2p listen --metrics 127.0.0.1:9464
  p2p top 127.0.0.1:9464

", "Exit codes: 0 ended by Ctrl-C, 1 the node does not answer, 2 wrong command line"))]
    Top(Top),

    /// Make, show and convert key files
    ///
    /// A node is known by the hash of its public key, its peer id. The file of the private key is
    /// the node: whoever has it can be this peer. All files are readable by their owner only.
    #[command(subcommand, after_help = concat!("\
Examples:
  p2p key make node.key
  p2p key show node.key

", "Exit codes: 0 done, 1 a file cannot be used, 2 wrong command line"))]
    Key(Key),
}

/// Let two nodes in this process do everything once
///
/// One listens on a free loopback TCP port, the other dials it. They agree on Noise and yamux,
/// tell each other who they are, ping, ask and answer one typed request, and send --size bytes
/// through a stream. Every step is checked; the bytes are counted and compared.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How much to send through the stream, such as 1MiB
    #[arg(long, default_value = "64MiB", value_parser = units::parse_bytes)]
    pub(crate) size: u64,

    /// Seconds that one step may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = units::parse_seconds)]
    pub(crate) timeout: Duration,
}

/// Run a node that answers ping, identify and echo
///
/// Prints the addresses to give to others, then who connects and who leaves, and why. Without
/// ADDR it listens on free ports of the loopback interface, for TCP and for QUIC; for other
/// machines choose /ip4/0.0.0.0/tcp/4001, /ip4/0.0.0.0/udp/4001/quic-v1 or the like. Ends in order on Ctrl-C and SIGTERM; a second Ctrl-C ends
/// at once.
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Where to listen; port 0 means any free port
    #[arg(value_name = "ADDR", value_parser = addr::parse)]
    pub(crate) addrs: Vec<Multiaddr>,

    #[command(flatten)]
    pub(crate) node: NodeArgs,

    #[command(flatten)]
    pub(crate) roads: Roads,

    /// Answer perf as well: whoever connects can make this node send as much as it likes
    #[arg(long)]
    pub(crate) perf: bool,

    /// End when stdin ends, so that a program that started this node takes it along
    #[arg(long)]
    pub(crate) until_eof: bool,

    /// Show what the node does over HTTP: /metrics for Prometheus, /top for `p2p top`. To
    /// everybody who can reach this address
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
}

/// Show what remotes can make a node hold or do
///
/// Prints every limit with its default, widest scope first, and what one peer can cost at most.
/// docs/LIMITS.md says what each means; a refusal names the setting that raises it.
#[derive(Debug, Args)]
pub(crate) struct LimitsArgs {
    /// Show them for a node that may hold so much for all remotes together, such as 64MiB
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub(crate) memory: Option<u64>,
}

/// Watch a running node: connections, streams, protocols, rates, limits
///
/// Asks a node that was started with `p2p listen --metrics IP:PORT` once a second and shows the
/// answer, until Ctrl-C. Without a terminal the frames follow each other; --once shows one.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// What was given to --metrics
    #[arg(value_name = "IP:PORT", default_value = "127.0.0.1:9464")]
    pub(crate) addr: SocketAddr,

    /// Seconds from one look to the next
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = units::parse_seconds)]
    pub(crate) interval: Duration,

    /// Look once
    #[arg(long)]
    pub(crate) once: bool,

    /// End after so many looks
    #[arg(long, value_name = "N", hide = true)]
    pub(crate) frames: Option<NonZeroU32>,
}

/// Measure the round trip to a node
///
/// Dials ADDR, sends pings of 32 random bytes on one stream, and prints the time until each came
/// back, with a summary at the end. Ctrl-C ends early, with the summary.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,

    /// How many pings to send; 0: until Ctrl-C
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    pub(crate) count: u64,

    /// Seconds from one ping to the next
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = units::parse_seconds)]
    pub(crate) interval: Duration,
}

/// Show everything that a node tells about itself
///
/// Dials ADDR and asks with the identify protocol: who it is, what software it runs, where it
/// listens, where it sees us, and which protocols it answers.
#[derive(Debug, Args)]
pub(crate) struct Identify {
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// Send something to a node and compare what comes back
///
/// Dials ADDR, opens a stream, sends TEXT or a generated sequence of --bytes, closes its side,
/// and compares everything that comes back until the node closes the other one.
#[derive(Debug, Args)]
pub(crate) struct Echo {
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,

    /// What to send
    #[arg(default_value = "hello", conflicts_with = "bytes")]
    pub(crate) text: String,

    /// Send so many generated bytes instead, such as 100MiB
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub(crate) bytes: Option<u64>,

    /// The protocol id that the node echoes on
    #[arg(long, value_name = "ID", default_value = "/echo/1.0.0", value_parser = protocol)]
    pub(crate) protocol: Protocol,
}

/// Measure how fast bytes move to and from a node
///
/// Dials ADDR and uses the perf protocol: sends --upload bytes, then receives --download bytes.
/// The node has to answer it, as one started with `p2p listen --perf` does.
#[derive(Debug, Args)]
pub(crate) struct Perf {
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,

    /// How much to send, such as 1GiB
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = units::parse_bytes)]
    pub(crate) upload: u64,

    /// How much to receive
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = units::parse_bytes)]
    pub(crate) download: u64,

    /// Put both lengths in front, 16 bytes, as some test suites do; the specification has 8
    #[arg(long)]
    pub(crate) both_lengths: bool,
}

/// Run a whole network in this process, in simulated time
///
/// Every host is a complete node: TCP, Noise, yamux, identify and ping, each dialing 8 others.
/// Nothing leaves this process. The seed decides everything that happens: the same command shows
/// the same events, and the same hash over them, on every machine.
#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// How many hosts; 100 if left out, or 1000 honest nodes for gossip
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(2..=100_000))]
    pub(crate) hosts: Option<u32>,

    /// How long, in minutes of simulated time
    #[arg(long, value_name = "M", default_value_t = 10, value_parser = value_parser!(u32).range(1..=10_080))]
    pub(crate) minutes: u32,

    /// What decides everything that is left to chance
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,

    /// What happens
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Scenario::Mesh)]
    pub(crate) scenario: Scenario,

    /// For gossip: write the table and the plot into this folder, as NAME.md and NAME.svg
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

/// A node to talk to, and how.
#[derive(Debug, Args)]
pub(crate) struct RemoteArgs {
    /// The node's address; with /p2p/ID at its end nobody else is accepted
    #[arg(value_name = "ADDR", value_parser = addr::parse)]
    pub(crate) addr: Multiaddr,

    #[command(flatten)]
    pub(crate) node: NodeArgs,

    /// Seconds that one step may take: the connection, the choice of a protocol, an answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = units::parse_seconds)]
    pub(crate) timeout: Duration,
}

/// What our own node is made of.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The key file of our node; a new key for this run if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Secure channel; several, separated by commas, best first. plaintext protects nothing
    #[arg(
        long,
        value_name = "NAME",
        value_enum,
        value_delimiter = ',',
        default_values_t = SecurityArg::preferred()
    )]
    pub(crate) security: Vec<SecurityArg>,

    /// Multiplexers, separated by commas, best first
    #[arg(
        long,
        value_name = "NAME",
        value_enum,
        value_delimiter = ',',
        default_value = "yamux,mplex"
    )]
    pub(crate) muxer: Vec<MuxerArg>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SecurityArg {
    Noise,
    Plaintext,
    Tls,
}

impl SecurityArg {
    /// What a host offers when it is not told.
    fn preferred() -> Vec<Self> {
        let to_arg = |channel: &SecureChannel| match channel {
            SecureChannel::Plaintext => Self::Plaintext,
            SecureChannel::Tls => Self::Tls,
            SecureChannel::Noise | _ => Self::Noise,
        };
        SecureChannel::preferred().iter().map(to_arg).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MuxerArg {
    Yamux,
    Mplex,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    Protocol::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_paragraph_and_two_examples() {
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands() {
                let name = sub.get_name();
                assert!(sub.get_about().is_some(), "{name}");
                assert!(
                    sub.get_long_about().unwrap().to_string().len() > 80,
                    "{name}"
                );
                let help = sub.get_after_help().unwrap().to_string();
                assert_eq!(help.matches("\n  ").count(), 2, "{name}: {help}");
                check(sub);
            }
        }
        check(&Cli::command());
    }
}
