//! The job `bulk`: bytes one way, then the other.

use futures::future::try_join_all;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use serde_json::{Map, Value, json};

use super::args::Dial;
use super::measure::{Meter, Reading, round};
use super::serve::{PERF, READ, drain, write};
use super::{Node, Result};

/// Moved before anything is measured: windows open, buffers and keys are made once.
const WARM_UP: u64 = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// Runs the job.
///
/// # Errors
/// If a connection or a stream fails, or bytes are missing.
pub(crate) async fn bulk<N: Node>(node: &N, dial: &Dial) -> Result<Value> {
    let connection = node.connect(&dial.options.addr).await?;
    let chunk = usize::try_from(dial.options.chunk)?;
    let mut results = Map::new();
    for (name, way) in [("up", Way::Up), ("down", Way::Down)] {
        if !dial.dir.split(',').any(|dir| dir == name) {
            continue;
        }
        let warm_up = WARM_UP.min(dial.bytes / 8);
        move_all(node, &connection, way, dial.streams, warm_up, chunk).await?;
        let meter = Meter::start(dial.listener_pid);
        move_all(node, &connection, way, dial.streams, dial.bytes, chunk).await?;
        results.insert(name.into(), report(meter.read(), dial.bytes));
    }
    node.disconnect(connection).await;
    Ok(Value::Object(results))
}

async fn move_all<N: Node>(
    node: &N,
    connection: &N::Connection,
    way: Way,
    streams: usize,
    bytes: u64,
    chunk: usize,
) -> Result<()> {
    let share = bytes / streams.max(1) as u64;
    let moves = (0..streams).map(|_| async {
        let stream = node.open(connection, PERF).await?;
        match way {
            Way::Up => up(stream, share, chunk).await,
            Way::Down => down(stream, share).await,
        }
    });
    try_join_all(moves).await?;
    Ok(())
}

async fn up<S>(mut stream: S, bytes: u64, chunk: usize) -> Result<()>
where
    S: futures::AsyncRead + futures::AsyncWrite + Unpin,
{
    stream.write_all(&0u64.to_be_bytes()).await?;
    write(&mut stream, bytes, chunk).await?;
    stream.close().await?;
    // The listener closes its side when it has read everything.
    match drain(&mut stream).await? {
        0 => Ok(()),
        extra => Err(format!("asked for nothing and got {extra} bytes").into()),
    }
}

async fn down<S>(mut stream: S, bytes: u64) -> Result<()>
where
    S: futures::AsyncRead + futures::AsyncWrite + Unpin,
{
    stream.write_all(&bytes.to_be_bytes()).await?;
    stream.close().await?;
    let mut buffer = vec![0; READ];
    let mut left = bytes;
    while left > 0 {
        match stream.read(&mut buffer).await? {
            0 => return Err(format!("{left} bytes of {bytes} are missing").into()),
            count => left = left.saturating_sub(count as u64),
        }
    }
    Ok(())
}

/// What a reading says of `bytes` moved.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) fn report(reading: Reading, bytes: u64) -> Value {
    let gib = bytes as f64 / (1u64 << 30) as f64;
    json!({
        "gib_s": round(gib / reading.wall),
        "cpu_s_per_gib": round(reading.cpu() / gib),
        "cpu_dialer": round(reading.dialer / gib),
        "cpu_listener": round(reading.listener / gib),
    })
}
