//! A peer that is being dialed comes by itself.

mod common;

use std::time::Duration;

use common::{LATENCY, listen, peer, sim, swarm};
use futures::future;
use p2p_core::{Multiaddr, Role};

#[test]
fn a_dial_to_a_dead_address_ends_when_the_peer_comes_by_itself() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let dead: Multiaddr = "/ip4/10.9.9.9/tcp/1".parse().unwrap();

    sim.block_on(async {
        let at_a = listen(&a, &alice).await;
        let start = a.rt().now();
        let comes = async {
            b.rt().sleep(Duration::from_secs(1)).await;
            b.dial(at_a).await.unwrap()
        };
        let dial = async {
            let connection = a.dial((peer(2), vec![dead])).await.unwrap();
            (connection, a.rt().now() - start)
        };
        let (_held, (connection, took)) = future::join(comes, dial).await;
        assert_eq!(connection.info().role, Role::Listener);
        assert!(took <= Duration::from_secs(1) + LATENCY * 4, "{took:?}");
        // What was under way ends in its own time, and leaves nothing.
        a.rt().sleep(Duration::from_secs(10)).await;
        let tasks = a.census().tasks;
        assert!(!tasks.contains(&"dialing on"), "{tasks:?}");
    });
    assert_eq!(a.connections(&peer(2)).len(), 1);
}
