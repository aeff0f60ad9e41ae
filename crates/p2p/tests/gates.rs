//! Several policies of one host: each of them counts, by IP address and by name.
#![cfg(feature = "dns")]

use std::net::Ipv4Addr;
use std::time::Duration;

use p2p::{Host, HostBuilder, Multiaddr};
use p2p_sim::{Link, Sim};
use p2p_swarm::GateList;

#[test]
fn every_gate_of_a_host_counts_in_any_order_for_addresses_and_for_names() {
    let strict = || {
        let list = GateList::default();
        list.deny_addrs("10.0.0.2/32".parse().unwrap());
        list
    };
    let lax = GateList::default;
    let orders: [HostBuilder; 2] = [
        Host::builder().gate(strict()).gate(lax()),
        Host::builder().gate(lax()).gate(strict()),
    ];
    for near in orders {
        let sim = Sim::new(1);
        sim.default_link(Link::new(Duration::from_millis(50)));
        let (here, there) = (sim.host("near"), sim.host("far"));
        sim.name("far.test", [Ipv4Addr::new(10, 0, 0, 2)]);
        sim.block_on(async {
            let far = Host::builder().runtime(there.rt()).build().await.unwrap();
            far.listen("/ip4/10.0.0.2/tcp/4001").await.unwrap();
            let near = near.runtime(here.rt()).build().await.unwrap();
            for to in ["/ip4/10.0.0.2/tcp/4001", "/dns4/far.test/tcp/4001"] {
                let addr: Multiaddr = to.parse().unwrap();
                let error = format!("{:?}", near.dial(addr).await.unwrap_err());
                assert!(error.contains("on the deny list"), "{to}: {error}");
            }
            near.listen("/ip4/10.0.0.1/tcp/4001").await.unwrap();
            let back: Multiaddr = "/ip4/10.0.0.1/tcp/4001".parse().unwrap();
            assert!(far.dial(back).await.is_err(), "who is denied comes in");
            near.close().await;
            far.close().await;
        });
    }
}
