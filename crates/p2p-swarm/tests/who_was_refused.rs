//! Who ran into a limit, where that is known.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use common::{LATENCY, listen, peer, sim, swarm, swarm_with};
use futures::{FutureExt, StreamExt};
use p2p_core::TcpOptions;
use p2p_core::{AddrExt, PeerId};
use p2p_sim::Sim;
use p2p_swarm::{Config, Event, Events};

/// A setting, and who ran into it.
type Hit = (&'static str, Option<PeerId>);

/// Of each failed incoming connection and each limit that was hit, who it was.
fn told(events: &mut Events) -> (Vec<Option<PeerId>>, Vec<Hit>) {
    let (mut failed, mut hit) = (Vec::new(), Vec::new());
    while let Some(Some(event)) = events.next().now_or_never() {
        if let Event::IncomingFailed { peer, .. } = event {
            failed.push(peer);
        } else if let Event::LimitHit { exceeded, peer, .. } = event {
            hit.push((exceeded.setting, peer));
        }
    }
    (failed, hit)
}

/// Two nodes with one identity dial somebody who takes one connection of each peer.
fn twice(sim: &Sim, config: Config) -> Events {
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let b = swarm_with(&bob, 2, config);
    let (one, two) = (swarm(&alice, 1), swarm(&alice, 1));
    let events = b.events();
    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let _first = one.dial(addr.clone()).await.unwrap();
        let _second = two.dial(addr).await;
        bob.rt().sleep(LATENCY * 4).await;
    });
    events
}

#[test]
fn a_peer_with_too_many_connections_is_named_in_the_refusal() {
    let mut config = Config::default();
    config.limits.max_connections_per_peer = 1;
    let (failed, hit) = told(&mut twice(&sim(1), config));
    assert_eq!(failed, [Some(peer(1))]);
    assert_eq!(hit, [("max_connections_per_peer", Some(peer(1)))]);
}

#[test]
fn who_is_refused_before_it_says_who_it_is_has_no_name() {
    let sim = sim(2);
    let (bob, mallory) = (sim.host("bob"), sim.host("mallory"));
    let mut config = Config::default();
    config.limits.max_pending_per_prefix = 1;
    let b = swarm_with(&bob, 2, config);
    let mut events = b.events();
    sim.block_on(async {
        let to = listen(&b, &bob).await.tcp_socket().unwrap();
        let options = TcpOptions::default();
        let net = mallory.rt();
        let connects = (0..2).map(|_| net.net().tcp_connect(to, &options));
        let _held = futures::future::join_all(connects).await;
        bob.rt().sleep(LATENCY * 2).await;
    });
    let (failed, hit) = told(&mut events);
    assert_eq!(failed, [None]);
    assert_eq!(hit, [("max_pending_per_prefix", None)]);
}
