//! Echo and transfer, both sides. Ping and identify are behaviours of the swarm.

use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _, io};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::Control;
use rand::RngCore as _;
use serde_json::json;

use crate::{Result, event, node::millis};

pub(crate) const ECHO: StreamProtocol = StreamProtocol::new("/p2p-interop/echo/1.0.0");
pub(crate) const PERF: StreamProtocol = StreamProtocol::new("/perf/1.0.0");

const ECHO_ROUNDS: usize = 2;
pub(crate) const ECHO_BYTES: usize = 100_000;
const TRANSFER_BYTES: u64 = 5_000_000;
const BLOCK: usize = 64 * 1024;
/// Byte i of a transfer is i modulo this: a lost, doubled or moved piece shows.
const PATTERN_MODULUS: u64 = 251;

/// Answers what the tests ask for.
pub(crate) fn serve(control: &mut Control) -> Result<()> {
    let mut echoes = control.accept(ECHO)?;
    tokio::spawn(async move {
        while let Some((_, stream)) = echoes.next().await {
            tokio::spawn(async move { log("echo", serve_echo(stream).await) });
        }
    });
    let mut transfers = control.accept(PERF)?;
    tokio::spawn(async move {
        while let Some((_, stream)) = transfers.next().await {
            tokio::spawn(async move { log("transfer", serve_transfer(stream).await) });
        }
    });
    Ok(())
}

pub(crate) fn log(name: &str, served: io::Result<()>) {
    if let Err(error) = served {
        tracing::error!(%error, "serving {name}");
    }
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

pub(crate) async fn echo_test(control: &mut Control, remote: PeerId) -> Result<()> {
    let started = Instant::now();
    for round in 1..=ECHO_ROUNDS {
        echo_once(control, remote, ECHO_BYTES)
            .await
            .map_err(|error| format!("echo: round {round}: {error}"))?;
    }
    event(
        "echo",
        json!({
            "rounds": ECHO_ROUNDS, "bytes": ECHO_BYTES, "ms": millis(started.elapsed()),
        }),
    );
    Ok(())
}

pub(crate) async fn echo_once(control: &mut Control, remote: PeerId, size: usize) -> Result<()> {
    echo_on(control.open_stream(remote, ECHO).await?, size).await
}

/// Reads while it writes: mplex has no flow control to hold the echo back.
pub(crate) async fn echo_on(stream: Stream, size: usize) -> Result<()> {
    let (mut reader, mut writer) = stream.split();
    let mut sent = vec![0; size];
    rand::rng().fill_bytes(&mut sent);
    let mut got = Vec::new();
    futures::try_join!(
        async {
            writer.write_all(&sent).await?;
            writer.close().await
        },
        reader.read_to_end(&mut got),
    )?;
    if got != sent {
        return Err(format!("sent {} bytes, got {} others back", sent.len(), got.len()).into());
    }
    Ok(())
}

pub(crate) async fn transfer_test(control: &mut Control, remote: PeerId) -> Result<()> {
    let (up, down) = exchange(control, remote, TRANSFER_BYTES, TRANSFER_BYTES).await?;
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
pub(crate) async fn exchange(
    control: &mut Control,
    remote: PeerId,
    send: u64,
    want: u64,
) -> Result<(Duration, Duration)> {
    let mut stream = control.open_stream(remote, PERF).await?;
    let started = Instant::now();
    stream.write_all(&want.to_be_bytes()).await?;
    write_pattern(&mut stream, send)
        .await
        .map_err(|error| format!("transfer: upload: {error}"))?;
    stream
        .close()
        .await
        .map_err(|error| format!("transfer: half-close: {error}"))?;
    let uploaded = Instant::now();
    let received = read_pattern(&mut stream)
        .await
        .map_err(|error| format!("transfer: download: {error}"))?;
    if received != want {
        return Err(format!("transfer: asked for {want} bytes, got {received}").into());
    }
    Ok((uploaded - started, uploaded.elapsed()))
}

pub(crate) async fn write_pattern(
    writer: &mut (impl AsyncWrite + Unpin),
    total: u64,
) -> io::Result<()> {
    let mut sent = 0;
    while sent < total {
        let end = total.min(sent + BLOCK as u64);
        let piece: Vec<u8> = (sent..end).map(pattern).collect();
        writer.write_all(&piece).await?;
        sent = end;
    }
    Ok(())
}

/// Reads to the end and returns how many bytes came.
pub(crate) async fn read_pattern(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<u64> {
    let mut buffer = vec![0; BLOCK];
    let mut received = 0;
    loop {
        let n = reader.read(&mut buffer).await.map_err(|error| {
            io::Error::new(error.kind(), format!("after {received} bytes: {error}"))
        })?;
        if n == 0 {
            return Ok(received);
        }
        for &got in &buffer[..n] {
            if got != pattern(received) {
                let text = format!("byte {received} is {got}, not {}", pattern(received));
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            received += 1;
        }
    }
}

fn pattern(offset: u64) -> u8 {
    (offset % PATTERN_MODULUS) as u8
}
