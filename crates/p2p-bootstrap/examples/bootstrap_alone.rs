//! A node that finds another by a list, over `/memory`, on async-std.
//!
//! `cargo run -p p2p-bootstrap --example bootstrap_alone`

use std::error::Error;
use std::time::Duration;

use p2p_bootstrap::{Bootstrap, Config, List};
use p2p_core::Rt;
use p2p_keys::Keypair;
use p2p_memory::{Hub, Memory};
use p2p_plaintext::Plaintext;
use p2p_runtime::block_on;
use p2p_swarm::Swarm;
use p2p_yamux::Yamux;

fn main() -> Result<(), Box<dyn Error>> {
    block_on(async {
        let (rt, hub) = (p2p_runtime::default_runtime(), Hub::new());
        let (alice, bob) = (swarm(&rt, &hub)?, swarm(&rt, &hub)?);
        let list = List::new(bob.listen("/memory/0".parse()?).await?)?;

        let bootstrap = Bootstrap::new(&alice, &list, Config::default())?;
        while !alice.is_connected(&bob.local_peer()) {
            rt.sleep(Duration::from_millis(1)).await;
        }
        println!("{bootstrap:#?}");
        alice.close().await;
        bob.close().await;
        Ok(())
    })
}

fn swarm(rt: &Rt, hub: &Hub) -> Result<Swarm, Box<dyn Error>> {
    let identity = Keypair::generate_ed25519();
    let swarm = Swarm::builder(rt.clone(), identity.to_peer_id())
        .transport(Memory::new(hub.clone(), p2p_memory::Config::default()))
        .security(Plaintext::new(&identity))
        .muxer(Yamux::default())
        .build()?;
    Ok(swarm)
}
