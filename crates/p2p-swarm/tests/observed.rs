//! What peers say of where they see us, and what of it is believed.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::net::IpAddr;

use common::{LATENCY, listen, peer, sim, swarm};
use futures::StreamExt;
use p2p_core::Multiaddr;
use p2p_sim::Sim;
use p2p_swarm::{Connection, ConnectionInfo, Event, Swarm};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A peer that is connected for as long as this lives.
struct Visitor {
    _dialed: (Connection, Swarm),
    seen_as: ConnectionInfo,
}

/// Peers of three networks that dial `swarm` at `addr`.
async fn visited(sim: &Sim, swarm: &Swarm, addr: &Multiaddr) -> Vec<Visitor> {
    let mut visitors = Vec::new();
    for (n, from) in (10..).zip(["198.51.100.1", "192.0.2.1", "192.0.3.1"]) {
        let from = sim.host_at(from, [ip(from)]);
        let dialer = common::swarm(&from, n);
        let connection = dialer.dial(addr.clone()).await.unwrap();
        from.rt().sleep(LATENCY * 4).await;
        visitors.push(Visitor {
            _dialed: (connection, dialer),
            seen_as: swarm.connections(&peer(n)).remove(0).info().clone(),
        });
    }
    visitors
}

/// What the swarm announces after peers in three networks have each said `said` on a connection
/// that `change` may have changed.
fn announced(said: &[&str], change: impl Fn(&mut ConnectionInfo)) -> Vec<String> {
    let sim = sim(1);
    let bob = sim.host_at("bob", [ip("203.0.113.1")]);
    let b = swarm(&bob, 2);
    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let visitors = visited(&sim, &b, &addr).await;
        for visitor in &visitors {
            let mut info = visitor.seen_as.clone();
            change(&mut info);
            for said in said {
                b.observed(&info, &said.parse::<Multiaddr>().unwrap());
            }
        }
        let external = b.external_addrs();
        external
            .iter()
            .map(|addr| addr.to_string().split("/p2p/").next().unwrap().to_owned())
            .collect()
    })
}

#[test]
fn where_peers_of_three_networks_see_us_is_believed() {
    let seen = "/ip4/8.8.8.8/tcp/4001";
    assert_eq!(announced(&[seen], |_| ()), [seen]);
}

#[test]
fn an_address_that_nobody_sees_any_more_is_lost_although_nobody_asks() {
    let sim = sim(2);
    let bob = sim.host_at("bob", [ip("203.0.113.1")]);
    let b = swarm(&bob, 2);
    let mut events = b.events();
    let seen: Multiaddr = "/ip4/8.8.8.8/tcp/4001".parse().unwrap();
    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        for visitor in visited(&sim, &b, &addr).await {
            b.observed(&visitor.seen_as, &seen);
        }
    });
    let told = b.rt().now();
    sim.block_on(async {
        let mut came = None;
        loop {
            let event = events.next().await.unwrap();
            if let Event::ExternalAddr(addr) = event {
                came = Some(addr);
            } else if let Event::ExternalAddrGone(addr) = event {
                break assert_eq!(came, Some(addr));
            }
        }
    });
    let kept = b.rt().now() - told;
    let ttl = b.config().observation_ttl;
    assert!(kept <= ttl && kept + LATENCY * 40 > ttl, "{kept:?}");
    let left = b.census().tasks;
    assert!(!left.contains(&"external addresses"), "{left:?}");
}

#[test]
fn what_a_peer_cannot_have_seen_is_not_believed() {
    let lies = [
        "/dns4/victim.example/tcp/443",
        "/ip4/8.8.8.8/udp/53/quic-v1",
        "/ip4/8.8.8.8/tcp/80/ws",
        "/ip4/8.8.8.8",
        "/ip4/10.1.2.3/tcp/4001",
    ];
    assert_eq!(announced(&lies, |_| ()), [""; 0]);
}

#[test]
fn words_over_a_relay_do_not_count() {
    let relayed = "/ip4/9.9.9.9/tcp/1/p2p-circuit";
    let over_a_relay = |info: &mut ConnectionInfo| info.remote = relayed.parse().unwrap();
    assert_eq!(announced(&["/ip4/8.8.8.8/tcp/4001"], over_a_relay), [""; 0]);
}
