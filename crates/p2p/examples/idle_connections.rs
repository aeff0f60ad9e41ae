//! What an idle connection costs: a full mesh of nodes over loopback TCP, Noise and yamux, with
//! ping and identify running. Reads the resident memory from `/proc`, so only on Linux.
//!
//! `cargo run --release -p p2p --example idle_connections -- 139` makes 139 × 138 / 2 = 9591
//! connections, both sides of each in this process: two sockets each (`ulimit -n 20000`). It fails
//! if a side takes more than is promised, 16 KiB.

use std::error::Error;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use p2p::{Config, Host, SecureChannel};

/// Dials at a time, well below the limit.
const AT_ONCE: usize = 32;
/// Resident memory that a side of an idle connection may take, in bytes.
const PROMISED: usize = 16 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let nodes: usize = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 40,
    };
    p2p::block_on(async {
        let mut hosts = Vec::new();
        let mut addrs = Vec::new();
        for _ in 0..nodes {
            let mut config = Config::default();
            config.idle_timeout = Duration::from_secs(3600);
            let host = Host::builder()
                .config(config)
                .secure_channels(&[SecureChannel::Noise])
                .build()
                .await?;
            addrs.push(host.listen("/ip4/127.0.0.1/tcp/0").await?);
            hosts.push(host);
        }
        let before = Usage::now()?;
        for (at, host) in hosts.iter().enumerate() {
            let dials = addrs.iter().take(at).map(|addr| host.dial(addr.clone()));
            let mut connected = stream::iter(dials).buffer_unordered(AT_ONCE);
            while let Some(connection) = connected.next().await {
                connection?;
            }
        }
        // Until identify is done and buffers are given back.
        let rt = hosts.first().ok_or("no node")?.swarm().rt().clone();
        rt.sleep(Duration::from_secs(20)).await;
        let after = Usage::now()?;
        let sides: usize = hosts
            .iter()
            .map(|host| host.swarm().usage().connections)
            .sum();
        println!("{sides} sides of {} connections", sides / 2);
        let grown = after.resident.saturating_sub(before.resident);
        let side = grown / sides.max(1);
        println!(
            "resident memory: {} KiB more, {side} bytes a side",
            grown / 1024
        );

        let start = Usage::now()?;
        rt.sleep(Duration::from_secs(30)).await;
        let ticks = Usage::now()?.ticks - start.ticks;
        println!("CPU in 30 s with pings and keep-alives: {ticks} hundredths of a second");
        if side > PROMISED {
            return Err(format!("{side} bytes a side, at most {PROMISED} promised").into());
        }
        Ok(())
    })
}

/// What the system says of this process.
struct Usage {
    /// Bytes.
    resident: usize,
    /// User and system time, in clock ticks of usually 10 ms.
    ticks: u64,
}

impl Usage {
    fn now() -> Result<Self, Box<dyn Error>> {
        let pages = std::fs::read_to_string("/proc/self/statm")?;
        let pages: usize = pages.split(' ').nth(1).ok_or("statm")?.parse()?;
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // The name, in parentheses, may hold spaces.
        let fields = stat.rsplit(')').next().ok_or("stat")?;
        let mut times = fields.split_whitespace().skip(11);
        let mut time = || times.next().ok_or("stat");
        Ok(Self {
            resident: pages * 4096,
            ticks: time()?.parse::<u64>()? + time()?.parse::<u64>()?,
        })
    }
}
