//! Swarms with pubsub in a simulated network.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file is a crate of its own and uses a part"
)]

use std::time::Duration;

use futures::StreamExt;
use p2p_core::{Multiaddr, Rt};
use p2p_keys::Keypair;
use p2p_noise::Noise;
use p2p_pubsub::{GossipConfig, Pubsub, Received, Subscription};
use p2p_sim::{Host, Link, Sim};
use p2p_swarm::Swarm;
use p2p_tcp::Tcp;
use p2p_yamux::Yamux;

pub(crate) const LATENCY: Duration = Duration::from_millis(20);

pub(crate) fn sim(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    sim.default_link(Link::new(LATENCY));
    sim
}

pub(crate) fn keypair(n: usize) -> Keypair {
    let n = u8::try_from(n).unwrap();
    Keypair::ed25519_from_seed([n + 1; 32])
}

pub(crate) fn swarm(host: &Host, n: usize) -> Swarm {
    let (rt, keypair) = (host.rt(), keypair(n));
    Swarm::builder(rt.clone(), keypair.to_peer_id())
        .transport(Tcp::new(rt, p2p_tcp::Config::default()))
        .security(Noise::new(&keypair).unwrap())
        .muxer(Yamux::default())
        .build()
        .unwrap()
}

pub(crate) async fn listen(swarm: &Swarm, host: &Host) -> Multiaddr {
    let addr = format!("/ip4/{}/tcp/0", host.ip()).parse().unwrap();
    swarm.listen(addr).await.unwrap().remove(0)
}

/// Swarms with pubsub, each connected to the next and to the one three further.
pub(crate) async fn network(hosts: &[Host], config: &GossipConfig) -> Vec<(Swarm, Pubsub)> {
    let mut all = Vec::new();
    let mut addrs = Vec::new();
    for (n, host) in hosts.iter().enumerate() {
        let swarm = swarm(host, n);
        let pubsub = Pubsub::gossip(&(swarm.clone(), keypair(n)), config.clone()).unwrap();
        addrs.push(listen(&swarm, host).await);
        all.push((swarm, pubsub));
    }
    for (n, (swarm, _)) in all.iter().enumerate() {
        for step in [1, 3] {
            let other = (n + step) % hosts.len();
            if other != n {
                swarm.dial(addrs.get(other).unwrap().clone()).await.unwrap();
            }
        }
    }
    all
}

/// The two of a network of two.
pub(crate) fn two(network: &[(Swarm, Pubsub)]) -> [&Pubsub; 2] {
    match network {
        [(_, alice), (_, bob)] => [alice, bob],
        more => panic!("two hosts, not {}", more.len()),
    }
}

pub(crate) async fn next(subscription: &mut Subscription, rt: &Rt) -> Vec<u8> {
    let next = rt.timeout(Duration::from_secs(10), subscription.next());
    match next.await.expect("a message in time").unwrap() {
        Received::Message { message, .. } => message.data().to_vec(),
        Received::Lagged(lost) => panic!("{lost} lost"),
    }
}
