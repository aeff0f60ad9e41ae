//! Prints the peers of the local network as they come and go.
//!
//! ```text
//! cargo run -p p2p-mdns --example neighbours            # until Ctrl-C
//! cargo run -p p2p-mdns --example neighbours -- 1 10    # until one is there, at most 10 s
//! ```

use std::time::Duration;

use futures::StreamExt;
use p2p::Host;
use p2p_mdns::{Config, Event, Mdns};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let enough: usize = args.next().map_or(Ok(usize::MAX), |text| text.parse())?;
    let seconds: u64 = args.next().map_or(Ok(u64::MAX), |text| text.parse())?;
    p2p::block_on(async {
        let host = Host::builder().build().await?;
        let mdns = Mdns::new(host.swarm(), Config::default())?;
        let mut events = mdns.events();
        for any in ["/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/udp/0/quic-v1"] {
            if let Err(error) = host.listen(any).await {
                println!("not on     {any}: {error}");
            }
        }
        for addr in host.listen_addrs() {
            println!("we are     {addr}");
        }
        let rt = p2p_runtime::default_runtime();
        let watch = async {
            while let Some(event) = events.next().await {
                if let Event::Found { addr, .. } = event {
                    println!("found      {addr}");
                } else if let Event::Lost { addr, .. } = event {
                    println!("lost       {addr}");
                }
                if mdns.peers().len() >= enough {
                    // Others may not have heard us yet: they ask again after one and two seconds.
                    rt.sleep(Duration::from_secs(5)).await;
                    return;
                }
            }
        };
        let done = rt.timeout(Duration::from_secs(seconds), watch).await;
        host.close().await;
        done.map_err(Into::into)
    })
}
