//! The jobs about memory: `idle-conns`, `idle-streams`.

use futures::io::{AsyncReadExt, AsyncWriteExt};
use serde_json::{Value, json};

use super::args::Dial;
use super::measure::{Meter, memory, round};
use super::requests::connect_many;
use super::serve::{ECHO, HOLD};
use super::{Node, Result};

/// The line of `/proc/PID/status` that counts what a process has for itself.
const OWN: &str = "RssAnon";

/// The job `idle-conns`: connections from peers that each have one, after one byte each.
///
/// # Errors
/// If a connection fails.
pub(crate) async fn conns<N: Node>(node: &N, dial: &Dial) -> Result<Value> {
    let (count, concurrency) = (dial.n.unwrap_or(1000), dial.concurrency.unwrap_or(50));
    // What the first connections make for all.
    drop(connect_many::<N>(dial, 20, 10).await?);
    node.sleep(1.0).await;
    let before = memory(dial.listener_pid, OWN);
    let held = connect_many::<N>(dial, count, concurrency).await?;
    for (node, connection) in &held {
        let mut stream = node.open(connection, ECHO).await?;
        stream.write_all(&[1]).await?;
        stream.flush().await?;
        stream.read_exact(&mut [0]).await?;
        stream.close().await?;
    }
    node.sleep(dial.settle).await;
    let after = memory(dial.listener_pid, OWN);
    let meter = Meter::start(dial.listener_pid);
    node.sleep(dial.idle).await;
    let idle = meter.read();
    drop(held);
    Ok(json!({
        "listener_bytes_per_conn": each(before, after, count),
        "idle_cpu": round(idle.listener / idle.wall.max(0.001)),
    }))
}

/// The job `idle-streams`: streams that are open and say nothing.
///
/// # Errors
/// If a connection or a stream fails.
pub(crate) async fn streams<N: Node>(node: &N, dial: &Dial) -> Result<Value> {
    let count = dial.n.unwrap_or(10_000);
    let held = connect_many::<N>(dial, dial.conns, dial.conns).await?;
    for (node, connection) in &held {
        let mut stream = node.open(connection, ECHO).await?;
        stream.write_all(&[1]).await?;
        stream.flush().await?;
        stream.read_exact(&mut [0]).await?;
    }
    node.sleep(dial.settle).await;
    let before = (memory(dial.listener_pid, OWN), memory(None, OWN));
    let mut open = Vec::with_capacity(count);
    'all: loop {
        for (node, connection) in &held {
            if open.len() == count {
                break 'all;
            }
            let mut stream = node.open(connection, HOLD).await?;
            stream.write_all(&[1]).await?;
            stream.flush().await?;
            open.push(stream);
            // The listener has to keep up: a backlog is not what is measured.
            if open.len() % 32 == 0 {
                let mut echo = node.open(connection, ECHO).await?;
                echo.write_all(&[1]).await?;
                echo.flush().await?;
                echo.read_exact(&mut [0]).await?;
                echo.close().await?;
            }
        }
    }
    node.sleep(dial.settle).await;
    let after = (memory(dial.listener_pid, OWN), memory(None, OWN));
    drop(open);
    Ok(json!({
        "listener_bytes_per_stream": each(before.0, after.0, count),
        "dialer_bytes_per_stream": each(before.1, after.1, count),
    }))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn each(before: u64, after: u64, count: usize) -> f64 {
    round((after as f64 - before as f64) / count.max(1) as f64)
}
