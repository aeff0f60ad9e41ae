//! Connect, identify, close, again and again: resident memory must stay flat. Reads it from
//! `/proc`, so only on Linux.
//!
//! `cargo run --release -p p2p --example connect_cycles -- 100000`

use std::error::Error;

use p2p::{ErrorCode, Host};

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
        for cycle in 0..=cycles {
            if cycle % (cycles / 10).max(1) == 0 {
                println!("{cycle:>7} cycles: {} KiB resident", resident()? / 1024);
            }
            let connection = client.dial(addr.clone()).await?;
            identify.identified(&connection).await?;
            connection.close(ErrorCode::NONE);
            connection.ended().await;
        }
        client.close().await;
        server.close().await;
        let (a, b) = (client.swarm().census(), server.swarm().census());
        println!(
            "left: {} bytes, {:?} {:?}",
            a.memory + b.memory,
            a.tasks,
            b.tasks
        );
        Ok(())
    })
}

/// Bytes.
fn resident() -> Result<usize, Box<dyn Error>> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = pages.split(' ').nth(1).ok_or("statm")?.parse()?;
    Ok(pages * 4096)
}
