//! Our own stack as a [`Node`].

use std::sync::OnceLock;
use std::time::Duration;

use p2p::memory::{self, Hub, Memory};
use p2p::mplex::{self, Mplex};
use p2p::runtime::{AsyncStd, Smol, Tokio};
use p2p::yamux::{self, Yamux};
use p2p::{Connection, Host, HostBuilder, Protocol, Rt, SecureChannel, Stream};

use crate::node::args::{Behaviours, Options};
use crate::node::serve;
use crate::node::{Node, Result};

/// More than any job asks for: a limit that refuses is not what is measured.
const MANY: usize = 1_000_000;

/// Where the memory transports of this process meet.
static HUB: OnceLock<Hub> = OnceLock::new();

/// A node; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Ours {
    host: Host,
}

impl Node for Ours {
    type Connection = Connection;
    type Stream = Stream;
    const CONNECTS_TWICE: bool = false;

    async fn start(options: &Options) -> Result<Self> {
        let rt = runtime(&options.runtime)?;
        let mut builder = builder(&rt, &options.stack, options.max_streams)?;
        if options.behaviours == Behaviours::Min {
            builder = builder.identify(None).ping(None);
        }
        let host = builder.build().await?;
        Ok(Self { host })
    }

    async fn listen(&self, addr: &str, chunk: usize) -> Result<String> {
        self.host
            .handle(serve::PERF, move |stream| serve::perf(stream, chunk))?;
        self.host.handle(serve::ECHO, serve::echo)?;
        self.host.handle(serve::HOLD, serve::hold)?;
        Ok(self.host.listen(addr).await?.to_string())
    }

    async fn connect(&self, addr: &str) -> Result<Connection> {
        Ok(self.host.dial(addr).await?)
    }

    async fn open(&self, connection: &Connection, protocol: &'static str) -> Result<Stream> {
        Ok(connection.open(&Protocol::from_static(protocol)).await?)
    }

    async fn disconnect(&self, connection: Connection) {
        connection.close(p2p::ErrorCode::NONE);
        connection.ended().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.host.swarm().rt().spawn("bench", Box::pin(task));
    }

    async fn sleep(&self, seconds: f64) {
        let rt = self.host.swarm().rt();
        rt.sleep(Duration::from_secs_f64(seconds)).await;
    }
}

/// The stack that its name asks for.
pub(crate) fn builder(rt: &Rt, stack: &str, max_streams: Option<usize>) -> Result<HostBuilder> {
    let builder = Host::builder().runtime(Rt::clone(rt)).config(config());
    match stack {
        "quic" => Ok(builder.tcp(None)),
        stack => over_links(builder.quic(None), stack, max_streams),
    }
}

/// A stack of a transport, a secure channel and a multiplexer.
fn over_links(
    builder: HostBuilder,
    stack: &str,
    max_streams: Option<usize>,
) -> Result<HostBuilder> {
    let mut parts = stack.split('+');
    let builder = match parts.next() {
        Some("tcp") => builder,
        Some("memory") => {
            let hub = HUB.get_or_init(Hub::new).clone();
            let memory = Memory::new(hub, memory::Config::default());
            builder.tcp(None).with_transport(memory)
        }
        _ => return Err(unknown(stack)),
    };
    let channel = match parts.next() {
        Some("noise") => SecureChannel::Noise,
        Some("tls") => SecureChannel::Tls,
        Some("plaintext") => SecureChannel::Plaintext,
        _ => return Err(unknown(stack)),
    };
    let builder = builder.secure_channels(&[channel]).multiplexers(&[]);
    match parts.next() {
        Some("yamux") => Ok(builder.with_muxer(yamux(max_streams))),
        Some("mplex") => Ok(builder.with_muxer(mplex(max_streams))),
        _ => Err(unknown(stack)),
    }
}

fn unknown(stack: &str) -> crate::node::Error {
    format!("no stack {stack}").into()
}

/// The runtime that runs the caller.
pub(crate) fn runtime(name: &str) -> Result<Rt> {
    match name {
        "async-std" => Ok(AsyncStd::new()),
        "smol" => Ok(Smol::new()),
        "tokio" => Ok(Tokio::current()),
        _ => Err(format!("no runtime {name}").into()),
    }
}

/// Runs `work` on `threads` threads of the runtime `name`.
///
/// The work is a task like all others. On the caller's own thread async-std and smol would hand it
/// over and back with every event, and tokio would let other tasks run up to 61 times before it.
pub(crate) fn run<T: Send + 'static>(
    name: &str,
    threads: usize,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    if name == "tokio" {
        let mut builder = match threads {
            0 | 1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        if threads > 1 {
            builder.worker_threads(threads);
        }
        let runtime = builder.enable_io().enable_time().build()?;
        return runtime.block_on(async { tokio::spawn(work).await? });
    }
    let rt = match (name, std::num::NonZeroUsize::new(threads)) {
        ("async-std", Some(threads)) => AsyncStd::with_threads(threads),
        _ => runtime(name)?,
    };
    let (say, heard) = std::sync::mpsc::channel();
    rt.spawn(
        "bench",
        Box::pin(async move {
            // The caller waits for exactly this.
            let _ = say.send(work.await);
        }),
    );
    heard.recv()?
}

fn config() -> p2p::Config {
    let mut config = p2p::Config::default();
    let limits = &mut config.limits;
    limits.max_connections = MANY;
    limits.max_connections_per_peer = MANY;
    limits.max_pending_dials = MANY;
    limits.max_pending_incoming = MANY;
    limits.max_streams = MANY;
    limits.max_streams_per_peer = MANY;
    limits.max_streams_per_connection = MANY;
    limits.max_streams_per_protocol = MANY;
    limits.max_streams_per_protocol_and_peer = MANY;
    config.idle_timeout = Duration::from_secs(600);
    config
}

fn yamux(max_streams: Option<usize>) -> Yamux {
    let mut config = yamux::Config::default();
    if let Some(max) = max_streams {
        config.max_inbound = max;
        config.max_outbound = max;
    }
    Yamux::new(config)
}

fn mplex(max_streams: Option<usize>) -> Mplex {
    let mut config = mplex::Config::default();
    if let Some(max) = max_streams {
        config.max_inbound = max;
        config.max_outbound = max;
    }
    Mplex::new(config)
}
