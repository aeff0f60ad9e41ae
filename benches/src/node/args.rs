//! The flags of a node program.

use clap::{Args, Subcommand, ValueEnum};

/// What a node program does.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve until killed.
    Listen(Options),
    /// Run one job against a listener and print one line of JSON.
    Dial(Dial),
    /// Run listener and dialer as two threads of this process.
    Both(Dial),
    /// A publisher, a forwarder and a receiver, a thread each.
    GossipChain(Gossip),
    /// Many nodes in one topic.
    GossipMesh(Gossip),
}

/// The flags of the jobs about publish and subscribe.
#[derive(Args, Clone, Debug)]
pub(crate) struct Gossip {
    /// `tcp+noise+yamux` and so on.
    #[arg(long, default_value = "tcp+noise+yamux")]
    pub(crate) stack: String,
    /// Messages.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) n: u64,
    /// Bytes of each.
    #[arg(long, default_value_t = 1024)]
    pub(crate) size: usize,
    /// Messages on their way at a time.
    #[arg(long, default_value_t = 64)]
    pub(crate) window: u64,
    /// Whether messages are signed.
    #[arg(long, default_value = "strict")]
    pub(crate) validation: Validation,
    /// gossip-mesh: how many nodes.
    #[arg(long, default_value_t = 50)]
    pub(crate) nodes: usize,
    /// gossip-mesh: connections of a node, on average.
    #[arg(long, default_value_t = 10)]
    pub(crate) degree: usize,
    /// gossip-mesh: threads of the runtime.
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Send everything to everybody in the mesh at once, where the stack has a choice.
    #[arg(long)]
    pub(crate) no_stagger: bool,
}

/// Whether messages are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Validation {
    /// All are signed by their authors.
    Strict,
    /// None has an author; its first eight bytes are its id.
    Anonymous,
}

/// What both ends have to agree on, and what each has to itself.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// `tcp+noise+yamux`, `memory+plaintext+mplex` and so on; `raw`, `raw+aead`: the floor.
    #[arg(long, default_value = "tcp+noise+yamux")]
    pub(crate) stack: String,
    /// Where to listen, or whom to dial.
    #[arg(long, default_value = "/ip4/127.0.0.1/tcp/0")]
    pub(crate) addr: String,
    /// What runs beside the streams of the benchmark.
    #[arg(long, default_value = "min")]
    pub(crate) behaviours: Behaviours,
    /// Threads of the runtime; 1 is a current-thread runtime where there is one.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Streams that a connection may have.
    #[arg(long)]
    pub(crate) max_streams: Option<usize>,
    /// How multistream-select begins, where the stack has a choice.
    #[arg(long, default_value = "lazy")]
    pub(crate) mss: String,
    /// The runtime, where the stack has a choice.
    #[arg(long, default_value = "tokio")]
    pub(crate) runtime: String,
    /// Bytes written at a time.
    #[arg(long, default_value = "65536", value_parser = size)]
    pub(crate) chunk: u64,
}

/// What runs beside the streams of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Behaviours {
    /// Nothing.
    Min,
    /// Ping and identify.
    Std,
    /// And gossipsub.
    Full,
    /// `libp2p-stream` in place of the streams of the benchmark (rust-libp2p).
    Libp2pStream,
}

/// The flags of a dialer.
#[derive(Args, Clone, Debug)]
pub(crate) struct Dial {
    /// The node.
    #[command(flatten)]
    pub(crate) options: Options,
    /// Whose CPU time and memory are counted as the listener's.
    #[arg(long)]
    pub(crate) listener_pid: Option<u32>,
    /// What to measure.
    #[arg(long, default_value = "bulk")]
    pub(crate) job: Job,
    /// bulk: streams at a time.
    #[arg(long, default_value_t = 1)]
    pub(crate) streams: usize,
    /// bulk: bytes each way, over all streams.
    #[arg(long, default_value = "1g", value_parser = size)]
    pub(crate) bytes: u64,
    /// bulk: which ways.
    #[arg(long, default_value = "up,down")]
    pub(crate) dir: String,
    /// Connections, requests, rounds or streams. Default: the job's own.
    #[arg(long)]
    pub(crate) n: Option<usize>,
    /// conn, idle-conns: connections at a time. Default: 1; 50.
    #[arg(long)]
    pub(crate) concurrency: Option<usize>,
    /// conn: when a connection counts as ready.
    #[arg(long, default_value = "first-byte")]
    pub(crate) ready: Ready,
    /// rpc: requests at a time.
    #[arg(long, default_value_t = 1)]
    pub(crate) inflight: usize,
    /// rpc, pingpong: bytes of a request. Default: 100; 32.
    #[arg(long)]
    pub(crate) size: Option<usize>,
    /// first-byte: the round trip of the path, to count in.
    #[arg(long, default_value_t = 50.0)]
    pub(crate) rtt_ms: f64,
    /// idle-streams: connections that carry them.
    #[arg(long, default_value_t = 1)]
    pub(crate) conns: usize,
    /// idle-*: seconds before memory is read.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) settle: f64,
    /// idle-*: seconds over which idle CPU time is read.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) idle: f64,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Job {
    /// Bytes per second.
    Bulk,
    /// Connections per second.
    Conn,
    /// Requests per second, each on a stream of its own.
    Rpc,
    /// Rounds per second on one stream.
    Pingpong,
    /// Round trips to the first byte.
    FirstByte,
    /// Memory of an idle connection.
    IdleConns,
    /// Memory of an idle stream.
    IdleStreams,
}

/// When a connection counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ready {
    /// When a byte was echoed on a stream.
    FirstByte,
    /// When the dialer says so.
    Established,
}

/// A number of bytes: `100`, `64k`, `256m`, `1g`.
fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.trim_end_matches(['k', 'm', 'g']) {
        digits if text.ends_with('k') => (digits, 10),
        digits if text.ends_with('m') => (digits, 20),
        digits if text.ends_with('g') => (digits, 30),
        digits => (digits, 0),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of bytes")?;
    number
        .checked_shl(shift)
        .ok_or_else(|| "too many bytes".to_owned())
}
