//! What it costs that a swarm can be observed while nobody does: echo round trips and stream opens
//! between two swarms in memory, over Noise and yamux. To be built twice and run in turn:
//!
//! ```text
//! cargo build --release -p p2p-swarm --example observing --features metrics
//! cargo build --release -p p2p-swarm --example observing --features tracing/release_max_level_off
//! ```
//!
//! The first has metrics and spans and nobody who asks for them, the second has neither. The median
//! of several rounds in one process, and the time of the processor for all of it.

use std::error::Error;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Protocol, Rt};
use p2p_keys::Keypair;
use p2p_memory::{Hub, Memory};
use p2p_noise::Noise;
use p2p_swarm::{Stream, Swarm};
use p2p_yamux::Yamux;

const ECHO: Protocol = Protocol::from_static("/echo/1.0.0");
/// Measurements of which the median counts.
const ROUNDS: usize = 15;
/// Round trips, and streams, of each.
const EACH: u32 = 4000;

fn main() -> Result<(), Box<dyn Error>> {
    let rt = p2p_runtime::default_runtime();
    p2p_runtime::block_on(async move {
        let hub = Hub::new();
        let (server, client) = (swarm(&rt, &hub)?, swarm(&rt, &hub)?);
        server.handle(ECHO, |stream: Stream| async move {
            let (reader, mut writer) = stream.split();
            futures::io::copy(reader, &mut writer).await?;
            writer.close().await
        })?;
        let addr = server.listen("/memory/1".parse()?).await?.remove(0);
        let connection = client.dial(addr).await?;
        let mut stream = connection.open(&ECHO).await?;
        let (mut trips, mut opens) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let start = rt.now();
            for _ in 0..EACH {
                exchange(&mut stream).await?;
            }
            let half = rt.now();
            for _ in 0..EACH {
                let mut stream = connection.open(&ECHO).await?;
                exchange(&mut stream).await?;
                // Closed in order: whoever resets streams all the time is taken for an attacker.
                stream.close().await?;
                stream.read_to_end(&mut Vec::new()).await?;
            }
            // The first one warms up.
            if round > 0 {
                trips.push((half - start) / EACH);
                opens.push((rt.now() - half) / EACH);
            }
        }
        println!(
            "round trip {:>6} ns   open and round trip {:>6} ns   processor {:.2} s",
            median(&mut trips).as_nanos(),
            median(&mut opens).as_nanos(),
            processor()?
        );
        client.close().await;
        server.close().await;
        Ok(())
    })
}

fn swarm(rt: &Rt, hub: &Hub) -> Result<Swarm, Box<dyn Error>> {
    let keys = Keypair::generate_ed25519();
    Ok(Swarm::builder(rt.clone(), keys.to_peer_id())
        .transport(Memory::new(hub.clone(), p2p_memory::Config::default()))
        .security(Noise::new(&keys)?)
        .muxer(Yamux::default())
        .build()?)
}

async fn exchange(stream: &mut Stream) -> std::io::Result<()> {
    let mut bytes = [7; 64];
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    stream.read_exact(&mut bytes).await
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Seconds of processor time so far; zero where there is no `/proc`.
fn processor() -> Result<f64, Box<dyn Error>> {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else {
        return Ok(0.0);
    };
    let fields: Vec<&str> = stat.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    Ok((ticks(13).ok_or("stat")? + ticks(14).ok_or("stat")?) / 100.0)
}
