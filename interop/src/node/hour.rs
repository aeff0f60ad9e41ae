//! An hour of everything in turn.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, io, stream};
use p2p::{Connection, Host, StreamReset};
use serde_json::json;

use super::basic::{echo_once, exchange, open};
use super::error::{NodeError, unsupported};
use super::report::{event, millis};
use super::serve::PERF;

const HOUR: Duration = Duration::from_secs(3600);
const ECHO_BYTES: usize = 100_000;
const TRANSFER_BYTES: u64 = 1_000_000;
/// Streams of a burst, and what each carries.
const BURST: u8 = 10;
const BURST_BYTES: usize = 1000;

/// What was done, by kind.
#[derive(Default)]
struct Done {
    pings: u64,
    echoes: u64,
    bursts: u64,
    transfers: u64,
    /// Streams of bursts that were reset unheard, and done again one by one.
    again: u64,
    worst: Duration,
}

/// Every second a ping, an echo, a burst of streams or a transfer, in turn, for an hour, on one
/// connection.
pub(super) async fn hour(host: &Host, connection: &Connection) -> Result<(), NodeError> {
    let ping = host.ping().ok_or_else(|| unsupported("service", "ping"))?;
    let rt = host.swarm().rt();
    let started = Instant::now();
    let mut done = Done::default();
    let mut pinger = ping.pinger(connection.peer()).await?;
    for second in 0u64.. {
        if started.elapsed() >= HOUR {
            break;
        }
        if let Some(end) = connection.end() {
            let text = format!("hour: the connection ended in second {second}: {end}");
            return Err(NodeError::Unexpected(text));
        }
        let failed = |what: &str| NodeError::at(&format!("hour: {what} in second {second}"));
        match second % 4 {
            0 => {
                done.worst = done.worst.max(pinger.ping().await?);
                done.pings += 1;
            }
            1 => {
                let echoed = echo_once(connection, 1, ECHO_BYTES).await?;
                echoed.map_err(failed("echo"))?;
                done.echoes += 1;
            }
            2 => {
                for seed in burst(connection).await?.map_err(failed("burst"))? {
                    let echoed = echo_once(connection, seed, BURST_BYTES).await?;
                    echoed.map_err(failed("echo after a burst"))?;
                    done.again += 1;
                }
                done.bursts += 1;
            }
            _ => {
                let stream = open(connection, PERF).await?;
                let moved = exchange(stream, TRANSFER_BYTES, TRANSFER_BYTES).await;
                moved.map_err(failed("transfer"))?;
                done.transfers += 1;
            }
        }
        rt.sleep(Duration::from_secs(1)).await;
    }
    pinger.close().await;
    let Done {
        pings,
        echoes,
        bursts,
        transfers,
        again,
        worst,
    } = done;
    event(
        "hour",
        json!({ "seconds": HOUR.as_secs(), "pings": pings, "echoes": echoes, "bursts": bursts,
            "transfers": transfers, "again": again, "worst_ms": millis(worst) }),
    );
    Ok(())
}

/// Echoes on streams that are open at the same time; the seeds of those that were reset.
async fn burst(connection: &Connection) -> Result<io::Result<Vec<u8>>, NodeError> {
    let echoes = stream::iter(0..BURST).map(Ok::<_, NodeError>);
    let echoes = echoes.map_ok(|seed| async move {
        let echoed = echo_once(connection, seed, BURST_BYTES).await?;
        Ok(echoed
            .map(|()| None)
            .or_else(|error| match StreamReset::of(&error) {
                Some(_) => Ok(Some(seed)),
                None => Err(error),
            }))
    });
    let done: Vec<_> = echoes
        .try_buffer_unordered(usize::from(BURST))
        .try_collect()
        .await?;
    Ok(done.into_iter().filter_map(io::Result::transpose).collect())
}
