//! Ping, identify, echo and transfer.

use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt, future, io};
use p2p::{Connection, Host, PeerId, Stream};
use serde_json::json;

use super::error::{NodeError, unsupported};
use super::report::{event, millis};
use super::serve::{ECHO, PERF};
use super::{pattern, stdin_closed};

const PINGS: usize = 5;
const ECHO_ROUNDS: u8 = 2;
const ECHO_BYTES: usize = 100_000;
const TRANSFER_BYTES: u64 = 5_000_000;
/// How long a dialer stays after identify, so that the listener can finish its own.
const STAY: Duration = Duration::from_secs(3);

pub(super) async fn ping(host: &Host, peer: PeerId) -> Result<(), NodeError> {
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

pub(super) async fn identify(host: &Host, connection: &Connection) -> Result<(), NodeError> {
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

pub(super) async fn echo(connection: &Connection) -> Result<(), NodeError> {
    let started = Instant::now();
    for round in 1..=ECHO_ROUNDS {
        let echoed = echo_once(connection, round, ECHO_BYTES).await?;
        echoed.map_err(NodeError::at(&format!("echo: round {round}")))?;
    }
    let ms = millis(started.elapsed());
    event(
        "echo",
        json!({ "rounds": ECHO_ROUNDS, "bytes": ECHO_BYTES, "ms": ms }),
    );
    Ok(())
}

/// `len` bytes there and back on a stream of their own.
pub(super) async fn echo_once(
    connection: &Connection,
    seed: u8,
    len: usize,
) -> Result<io::Result<()>, NodeError> {
    let stream = open(connection, ECHO).await?;
    Ok(echo_on(stream, seed, len).await)
}

/// Reads while it writes: mplex has no flow control to hold the echo back.
pub(super) async fn echo_on(stream: Stream, seed: u8, len: usize) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let sent = pattern::noise(seed, len);
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

pub(super) async fn transfer(connection: &Connection) -> Result<(), NodeError> {
    let stream = open(connection, PERF).await?;
    let moved = exchange(stream, TRANSFER_BYTES, TRANSFER_BYTES).await;
    let (up, down) = moved.map_err(NodeError::at("transfer"))?;
    event(
        "transfer",
        json!({
            "sent": TRANSFER_BYTES, "received": TRANSFER_BYTES,
            "up_ms": millis(up), "down_ms": millis(down),
        }),
    );
    Ok(())
}

/// One run of `/perf/1.0.0`: how long each way took.
pub(super) async fn exchange(
    mut stream: Stream,
    send: u64,
    want: u64,
) -> io::Result<(Duration, Duration)> {
    let started = Instant::now();
    stream.write_all(&want.to_be_bytes()).await?;
    pattern::write(&mut stream, send).await?;
    stream.close().await?;
    let sent = Instant::now();
    let received = pattern::read(&mut stream).await?;
    if received != want {
        let text = format!("asked for {want} bytes, got {received}");
        return Err(io::Error::other(text));
    }
    Ok((sent - started, sent.elapsed()))
}

pub(super) async fn open(
    connection: &Connection,
    protocol: &'static str,
) -> Result<Stream, NodeError> {
    let id = p2p::Protocol::from_static(protocol);
    Ok(connection.open(&id).await?)
}
