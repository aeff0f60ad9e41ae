//! Names of the simulator.

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::join;
use p2p_core::Transport;
use p2p_dns::{Config, Dns};
use p2p_sim::Sim;
use p2p_tcp::Tcp;

#[test]
fn names_of_the_simulator_are_dialed() {
    let sim = Sim::new(1);
    let (near, far) = (sim.host("near"), sim.host("far"));
    sim.name("far.test", [Ipv4Addr::new(10, 0, 0, 2)]);
    sim.block_on(async {
        let tcp = |rt| Tcp::new(rt, p2p_tcp::Config::default());
        let at = "/ip4/10.0.0.2/tcp/4001".parse().unwrap();
        let mut listener = tcp(far.rt()).listen(at).await.unwrap();
        let dns = Dns::new(near.rt(), Config::default(), vec![Arc::new(tcp(near.rt()))]);
        let to = "/dns4/far.test/tcp/4001".parse().unwrap();
        let (dialed, accepted) = join(dns.dial(to, None), listener.accept()).await;
        assert_eq!(dialed.unwrap().local, Some(accepted.unwrap().remote));
    });
}
