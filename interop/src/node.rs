//! Our own stack as a peer, behind the command line of all the others (`interop/README.md`).
#![expect(
    clippy::disallowed_methods,
    reason = "reports how long things took between real processes"
)]

use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::future;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt, io};
use p2p::{
    Connection, Event, Host, HostBuilder, Multiaddr, Multiplexer, PeerId, SecureChannel, Stream,
};
use serde_json::{Value, json};

use crate::pubsub::{self, Series};

const ECHO: &str = "/p2p-interop/echo/1.0.0";
const PERF: &str = "/perf/1.0.0";

const PINGS: usize = 5;
const ECHO_ROUNDS: u32 = 2;
const ECHO_BYTES: usize = 100_000;
const TRANSFER_BYTES: u64 = 5_000_000;
const BLOCK: usize = 64 * 1024;
/// Byte i of a transfer is i modulo this: a lost, doubled or moved piece shows.
const PATTERN_MODULUS: u64 = 251;
/// How long a dialer takes at most.
const DIAL_DEADLINE: Duration = Duration::from_secs(55);
/// How long a dialer stays after identify, so that the listener can finish its own.
const STAY: Duration = Duration::from_secs(3);

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
        /// What the dialer will do; only pubsub has to be prepared.
        #[arg(long, default_value = "ping")]
        test: String,
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
    /// The address is not one.
    #[error("not an address")]
    Addr(#[source] p2p::core::multiaddr_parts::Error),
    /// The test was not done in time.
    #[error("not done within {0:?}")]
    Deadline(Duration),
    /// The other end could not be reached.
    #[error(transparent)]
    Dial(#[from] p2p::DialError),
    /// Our own host could not be built.
    #[error(transparent)]
    Host(#[from] p2p::HostError),
    /// Our own host does not answer what it should.
    #[error(transparent)]
    Handle(#[from] p2p::HandleError),
    /// Nothing was learned of the other end.
    #[error(transparent)]
    Identify(#[from] p2p::identify::IdentifyError),
    /// A stream failed.
    #[error("{step}: {source}")]
    Io {
        /// What was being done.
        step: String,
        /// What happened.
        source: io::Error,
    },
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] p2p::HostListenError),
    /// No stream could be opened.
    #[error(transparent)]
    Open(#[from] p2p::OpenError),
    /// A message could not be published.
    #[error(transparent)]
    Publish(#[from] p2p::pubsub::PublishFailed),
    /// Pubsub could not be started.
    #[error(transparent)]
    Pubsub(#[from] p2p::pubsub::StartError),
    /// A message is wrong.
    #[error("{0}")]
    Message(String),
    /// A ping failed.
    #[error(transparent)]
    Ping(#[from] p2p::ping::PingError),
    /// We do not have what was asked for.
    #[error("we have no {what} {name:?}")]
    Unsupported {
        /// Transport, security, muxer or test.
        what: &'static str,
        /// The name given.
        name: String,
    },
}

/// Does what a peer does; its last event says what went wrong.
///
/// # Errors
/// See [`NodeError`].
pub(crate) fn run(args: &Args) -> Result<(), NodeError> {
    let result = p2p::block_on(async {
        match &args.command {
            Command::Dial { addr, stack, test } => {
                let rt = p2p::runtime::default_runtime();
                let work = dial(addr, stack, test);
                let done = rt.timeout(DIAL_DEADLINE, work).await;
                done.unwrap_or(Err(NodeError::Deadline(DIAL_DEADLINE)))
            }
            Command::Listen { stack, addr, test } => listen(stack, addr, test).await,
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

async fn listen(stack: &Stack, addr: &str, test: &str) -> Result<(), NodeError> {
    let host = host(stack).await?;
    let series = Series::of(test, &host)?;
    watch(&host);
    let bound = host.listen(addr).await?;
    event("listening", json!({ "addr": bound.to_string() }));
    if let Some(mut series) = series {
        let closed = std::pin::pin!(stdin_closed());
        let work = std::pin::pin!(async move {
            series.listen().await?;
            // What was published is still on its way.
            std::future::pending::<Result<(), NodeError>>().await
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

async fn dial(addr: &str, stack: &Stack, test: &str) -> Result<(), NodeError> {
    let started = Instant::now();
    let host = host(stack).await?;
    // The listener's identify test wants to see an address of ours too.
    host.listen(match stack.transport.as_str() {
        "quic" => "/ip4/127.0.0.1/udp/0/quic-v1",
        _ => "/ip4/127.0.0.1/tcp/0",
    })
    .await?;
    watch(&host);
    let addr: Multiaddr = addr.parse().map_err(NodeError::Addr)?;
    let far_end = match test {
        "gossip-chain" => Some(self::host(stack).await?),
        _ => None,
    };
    let far_end = match &far_end {
        Some(host) => Some(pubsub::far_end(host, &addr, test).await?),
        None => None,
    };
    let series = Series::of(test, &host)?;
    let connection = host.dial(&addr).await?;
    match test {
        "echo" => echo_test(&connection).await?,
        "identify" => identify_test(&host, &connection).await?,
        "ping" => ping_test(&host, connection.peer()).await?,
        "transfer" => transfer_test(&connection).await?,
        _ if series.is_some() => {
            if let Some(mut series) = series {
                series.dial(far_end).await?;
            }
        }
        other => return Err(unsupported("test", other)),
    }
    event("done", json!({ "ms": millis(started.elapsed()) }));
    drop(connection);
    host.close().await;
    Ok(())
}

async fn host(stack: &Stack) -> Result<Host, NodeError> {
    let builder = match stack.transport.as_str() {
        "tcp" => upgrades(Host::builder().quic(None).websocket(None), stack)?,
        "ws" => upgrades(Host::builder().quic(None), stack)?,
        // Secured and multiplexed by itself.
        "quic" => Host::builder().tcp(false),
        other => return Err(unsupported("transport", other)),
    };
    let host = builder.build().await?;
    host.handle(ECHO, serve_echo)?;
    host.handle(PERF, serve_transfer)?;
    Ok(host)
}

fn upgrades(builder: HostBuilder, stack: &Stack) -> Result<HostBuilder, NodeError> {
    let channel = |name: &String| match name.as_str() {
        "noise" => Ok(SecureChannel::Noise),
        "plaintext" => Ok(SecureChannel::Plaintext),
        "tls" => Ok(SecureChannel::Tls),
        _ => Err(unsupported("security", name)),
    };
    let muxer = |name: &String| match name.as_str() {
        "mplex" => Ok(Multiplexer::Mplex),
        "yamux" => Ok(Multiplexer::Yamux),
        _ => Err(unsupported("muxer", name)),
    };
    let channels: Vec<_> = stack
        .security
        .iter()
        .map(channel)
        .collect::<Result<_, _>>()?;
    let muxers: Vec<_> = stack.muxer.iter().map(muxer).collect::<Result<_, _>>()?;
    Ok(builder.secure_channels(&channels).multiplexers(&muxers))
}

fn unsupported(what: &'static str, name: &str) -> NodeError {
    NodeError::Unsupported {
        what,
        name: name.to_owned(),
    }
}

/// Reports connections and what identify learns, as long as the host lives.
fn watch(host: &Host) {
    let mut events = host.events();
    host.swarm().spawn("report connections", async move {
        while let Some(happened) = events.next().await {
            if let Event::Connected { info } = happened {
                let word = |protocol: &Option<p2p::Protocol>| protocol.as_ref().map(short);
                let (security, muxer) = (word(&info.security), word(&info.muxer));
                let peer = info.peer.to_string();
                event(
                    "connected",
                    json!({ "peer": peer, "security": security, "muxer": muxer }),
                );
            }
        }
    });
    let Some(identify) = host.identify() else {
        return;
    };
    let mut learned = identify.events();
    host.swarm().spawn("report identify", async move {
        while let Some(happened) = learned.next().await {
            if let p2p::identify::Event::Identified { info, .. } = happened {
                event(
                    "identify",
                    json!({
                        "peer": info.peer.to_string(),
                        "agent": info.agent_version,
                        "protocols": info.protocols.iter().map(ToString::to_string).collect::<Vec<_>>(),
                        "addrs": info.listen_addrs.iter().map(ToString::to_string).collect::<Vec<_>>(),
                        "observed": info.observed_addr.as_ref().map(ToString::to_string),
                        "signed": info.signed_record.is_some(),
                    }),
                );
            }
        }
    });
}

/// The runner's word for a protocol: the first part of its id.
fn short(protocol: &p2p::Protocol) -> String {
    let mut parts = protocol.as_str().split('/');
    parts.nth(1).unwrap_or_default().to_owned()
}

async fn serve_echo(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    io::copy(reader, &mut writer).await?;
    writer.close().await
}

async fn serve_transfer(mut stream: Stream) -> io::Result<()> {
    let mut size = [0; 8];
    stream.read_exact(&mut size).await?;
    let received = read_pattern(&mut stream).await?;
    event("transfer", json!({ "received": received }));
    write_pattern(&mut stream, u64::from_be_bytes(size)).await?;
    stream.close().await
}

async fn ping_test(host: &Host, peer: PeerId) -> Result<(), NodeError> {
    let Some(ping) = host.ping() else {
        return Err(unsupported("service", "ping"));
    };
    let mut pinger = ping.pinger(peer).await?;
    let mut rtts = Vec::new();
    for _ in 0..PINGS {
        rtts.push(millis(pinger.ping().await?));
    }
    pinger.close().await;
    event("ping", json!({ "rtts_ms": rtts }));
    Ok(())
}

async fn identify_test(host: &Host, connection: &Connection) -> Result<(), NodeError> {
    let Some(identify) = host.identify() else {
        return Err(unsupported("service", "identify"));
    };
    // Reported by the watcher.
    identify.identified(connection).await?;
    let stay = host.swarm().rt().timeout(STAY, stdin_closed());
    // Either is fine: the runner closes our input when it has seen enough.
    let _ = stay.await;
    Ok(())
}

async fn echo_test(connection: &Connection) -> Result<(), NodeError> {
    let started = Instant::now();
    for round in 1..=ECHO_ROUNDS {
        let stream = open(connection, ECHO).await?;
        let echoed = echo_once(stream, u8::try_from(round).unwrap_or(u8::MAX)).await;
        echoed.map_err(|source| NodeError::Io {
            step: format!("echo: round {round}"),
            source,
        })?;
    }
    let ms = millis(started.elapsed());
    event(
        "echo",
        json!({ "rounds": ECHO_ROUNDS, "bytes": ECHO_BYTES, "ms": ms }),
    );
    Ok(())
}

/// Reads while it writes: mplex has no flow control to hold the echo back.
async fn echo_once(stream: Stream, seed: u8) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let sent = noise(seed);
    let mut got = Vec::new();
    let write = async {
        writer.write_all(&sent).await?;
        writer.close().await
    };
    future::try_join(write, reader.read_to_end(&mut got)).await?;
    if got == sent {
        return Ok(());
    }
    let text = format!("sent {} bytes, got {} others back", sent.len(), got.len());
    Err(io::Error::other(text))
}

/// Bytes without a pattern that a wrong copy could keep.
fn noise(seed: u8) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(seed);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(ECHO_BYTES).collect()
}

async fn transfer_test(connection: &Connection) -> Result<(), NodeError> {
    let stream = open(connection, PERF).await?;
    let step = "transfer".to_owned();
    let moved = transfer_once(stream).await;
    let (received, up, down) = moved.map_err(|source| NodeError::Io { step, source })?;
    event(
        "transfer",
        json!({
            "sent": TRANSFER_BYTES, "received": received,
            "up_ms": millis(up), "down_ms": millis(down),
        }),
    );
    Ok(())
}

async fn transfer_once(mut stream: Stream) -> io::Result<(u64, Duration, Duration)> {
    let started = Instant::now();
    stream.write_all(&TRANSFER_BYTES.to_be_bytes()).await?;
    write_pattern(&mut stream, TRANSFER_BYTES).await?;
    stream.close().await?;
    let sent = Instant::now();
    let received = read_pattern(&mut stream).await?;
    if received != TRANSFER_BYTES {
        let text = format!("asked for {TRANSFER_BYTES} bytes, got {received}");
        return Err(io::Error::other(text));
    }
    Ok((received, sent - started, sent.elapsed()))
}

async fn open(connection: &Connection, protocol: &'static str) -> Result<Stream, NodeError> {
    let id = p2p::Protocol::from_static(protocol);
    Ok(connection.open(&id).await?)
}

/// Writes `len` bytes of the pattern.
async fn write_pattern(stream: &mut (impl AsyncWrite + Unpin), len: u64) -> io::Result<()> {
    let mut at = 0;
    while at < len {
        let size = (len - at).min(BLOCK as u64);
        let block: Vec<u8> = (at..at + size).map(pattern).collect();
        stream.write_all(&block).await?;
        at += size;
    }
    Ok(())
}

/// Reads to the end and checks every byte; returns how many there were.
async fn read_pattern(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    loop {
        let got = stream.read(&mut block).await?;
        if got == 0 {
            return Ok(at);
        }
        for byte in block.iter().take(got) {
            if *byte != pattern(at) {
                return Err(io::Error::other(format!("byte {at} is wrong")));
            }
            at += 1;
        }
    }
}

fn pattern(at: u64) -> u8 {
    u8::try_from(at % PATTERN_MODULUS).unwrap_or(u8::MAX)
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

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Prints one line for the runner.
pub(crate) fn event(name: &str, mut fields: Value) {
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("event".into(), name.into());
    }
    println!("{fields}");
}
