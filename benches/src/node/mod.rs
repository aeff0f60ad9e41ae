//! The node program of a benchmark, whatever stack it measures.
//!
//! ```text
//!   BIN listen ──► Node::listen ──► serve: /perf, /bench/echo, /bench/hold
//!   BIN dial   ──► Node::connect, Node::open ──► one job ──► one line of JSON
//! ```
//!
//! [`Node`] is all that a stack has to bring. Every stack written in Rust runs the same jobs, the
//! same reads and writes and the same clock from here: what differs between two programs is the
//! stack alone. `benches/README.md` describes flags and output.

pub(crate) mod args;
pub(crate) mod gossip;
pub(crate) mod idle;
pub(crate) mod jobs;
pub(crate) mod measure;
pub(crate) mod requests;
pub(crate) mod serve;
pub(crate) mod transfer;

use futures::io::{AsyncRead, AsyncWrite};

use args::Options;

/// Whatever went wrong: the program prints it and leaves with 1.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Or whatever went wrong.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A node of the stack that is measured: an identity, its connections and its streams.
pub(crate) trait Node: Clone + Send + Sync + 'static {
    /// A connection to another node.
    type Connection: Clone + Send + Sync + 'static;
    /// A stream of a connection, under a protocol of `serve`.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// A node with an identity of its own.
    ///
    /// # Errors
    /// If the stack does not have what `options` ask for.
    fn start(options: &Options) -> impl Future<Output = Result<Self>> + Send;

    /// Serves at `addr`, writing `chunk` bytes at a time, and returns where that is, with
    /// `/p2p/<id>`.
    ///
    /// # Errors
    /// If it cannot listen there.
    fn listen(&self, addr: &str, chunk: usize) -> impl Future<Output = Result<String>> + Send;

    /// A connection of its own to `addr`.
    ///
    /// # Errors
    /// If it cannot be made.
    fn connect(&self, addr: &str) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// A stream under `protocol`, as soon as it takes bytes.
    ///
    /// # Errors
    /// If it cannot be opened.
    fn open(
        &self,
        connection: &Self::Connection,
        protocol: &'static str,
    ) -> impl Future<Output = Result<Self::Stream>> + Send;

    /// Closes a connection and waits until that is done.
    fn disconnect(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;

    /// Whether one node can have several connections to another; otherwise the jobs take a node for
    /// each.
    const CONNECTS_TWICE: bool;

    /// Runs `task` beside the job.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Waits for some seconds.
    fn sleep(&self, seconds: f64) -> impl Future<Output = ()> + Send;
}
