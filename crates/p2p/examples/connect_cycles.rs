//! Connect, identify, close, again and again: fails if resident memory does not stay flat after the
//! first tenth, or if anything is left at the end. Reads `/proc`, so only on Linux.
//!
//! `cargo run --release -p p2p --example connect_cycles -- 100000`

use std::error::Error;

use p2p::{ErrorCode, Host};

/// What the allocator may add after the first tenth, in bytes: 100,000 cycles that leave a dozen
/// bytes each are more.
const FLAT: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let cycles: usize = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 1000,
    };
    p2p::block_on(async {
        let (client, server) = (
            Host::builder().build().await?,
            Host::builder().build().await?,
        );
        let addr = server.listen("/ip4/127.0.0.1/tcp/0").await?;
        let identify = client.identify().ok_or("no identify")?;
        let (tenth, mut warm) = ((cycles / 10).max(1), 0);
        for cycle in 0..=cycles {
            if cycle % tenth == 0 {
                println!("{cycle:>7} cycles: {} KiB resident", resident()? / 1024);
            }
            if cycle == tenth {
                warm = resident()?;
            }
            let connection = client.dial(addr.clone()).await?;
            identify.identified(&connection).await?;
            connection.close(ErrorCode::NONE);
            connection.ended().await;
        }
        let grown = resident()?.saturating_sub(warm);
        client.close().await;
        server.close().await;
        let (a, b) = (client.swarm().census(), server.swarm().census());
        println!(
            "left: {} bytes, {:?} {:?}",
            a.memory + b.memory,
            a.tasks,
            b.tasks
        );
        if grown > FLAT {
            return Err(format!("{grown} bytes more than after {tenth} cycles").into());
        }
        if a.memory + b.memory > 0 || !a.tasks.is_empty() || !b.tasks.is_empty() {
            return Err("something is left".into());
        }
        Ok(())
    })
}

/// Bytes.
fn resident() -> Result<usize, Box<dyn Error>> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = pages.split(' ').nth(1).ok_or("statm")?.parse()?;
    Ok(pages * 4096)
}
