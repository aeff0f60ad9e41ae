//! A swarm put together by hand: two of them in one process, over `/memory`, Noise and yamux, on
//! async-std.
//!
//! `cargo run -p p2p-swarm --example swarm_alone`

use std::error::Error;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::Rt;
use p2p_keys::Keypair;
use p2p_memory::{Hub, Memory};
use p2p_noise::Noise;
use p2p_runtime::block_on;
use p2p_swarm::{Stream, Swarm};
use p2p_yamux::Yamux;

fn main() -> Result<(), Box<dyn Error>> {
    block_on(async {
        let (rt, hub) = (p2p_runtime::default_runtime(), Hub::new());
        let (alice, bob) = (swarm(&rt, &hub)?, swarm(&rt, &hub)?);

        bob.handle("/shout/1.0.0", shout)?;
        let addrs = bob.listen("/memory/0".parse()?).await?;
        let addr = addrs.first().ok_or("no address")?;
        println!("bob listens on {addr}");

        // Dials on the way. A second stream would use the same connection.
        let mut stream = alice.open(addr, "/shout/1.0.0").await?;
        stream.write_all(b"hello").await?;
        stream.close().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        println!("bob answers {answer:?}");

        let info = stream.info();
        println!(
            "secured by {:?}, streams by {:?}",
            info.security, info.muxer
        );
        println!("connected in {:?}", info.timings);
        alice.close().await;
        bob.close().await;
        Ok(())
    })
}

fn swarm(rt: &Rt, hub: &Hub) -> Result<Swarm, Box<dyn Error>> {
    let identity = Keypair::generate_ed25519();
    let swarm = Swarm::builder(rt.clone(), identity.to_peer_id())
        .transport(Memory::new(hub.clone(), p2p_memory::Config::default()))
        .security(Noise::new(&identity)?)
        .muxer(Yamux::default())
        .build()?;
    Ok(swarm)
}

/// The protocol: answers in capitals.
async fn shout(mut stream: Stream) -> std::io::Result<()> {
    let mut text = String::new();
    let mut limited = (&mut stream).take(1024);
    limited.read_to_string(&mut text).await?;
    stream.write_all(text.to_uppercase().as_bytes()).await?;
    stream.close().await
}
