//! What is still told of when a swarm ends.

mod common;

use std::time::Duration;

use common::{LATENCY, listen, peer, sim, swarm, swarm_with};
use futures::StreamExt;
use p2p_core::{AddrExt, ConnectionEnd};
use p2p_swarm::{Config, Event};

#[test]
fn a_connection_that_outlasts_the_shutdown_is_told_of_before_the_events_end() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mut config = Config::default();
    // Less than a multiplexer waits for the answer to its farewell.
    config.shutdown_timeout = Duration::from_secs(1);
    let (a, b) = (swarm_with(&alice, 1, config), swarm(&bob, 2));

    let told: Vec<Event> = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        a.dial(addr).await.unwrap();
        let events = a.events();
        bob.crash();
        a.close().await;
        events.collect().await
    });

    let [Event::Disconnected { peer: who, end, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(*who, peer(2));
    assert!(matches!(end, ConnectionEnd::Dropped), "{end}");
}

#[test]
fn a_dropped_swarm_tells_how_its_connections_and_listeners_ended() {
    let sim = sim(2);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    let (addr, told) = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let _held = a.dial(addr.clone()).await.unwrap();
        a.rt().sleep(LATENCY * 2).await;
        let events = b.events();
        drop(b);
        let told: Vec<Event> = events.collect().await;
        (addr, told)
    });

    let [
        Event::ListenAddrGone(gone),
        Event::Disconnected {
            remaining: 0, end, ..
        },
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(*gone, addr.without_peer());
    assert!(matches!(end, ConnectionEnd::Dropped), "{end}");
}

#[test]
fn closing_tells_that_listen_addresses_are_gone() {
    let sim = sim(3);
    let alice = sim.host("alice");
    let a = swarm(&alice, 1);

    let (addrs, told) = sim.block_on(async {
        let addrs = [listen(&a, &alice).await, listen(&a, &alice).await];
        let events = a.events();
        a.close().await;
        let told: Vec<Event> = events.collect().await;
        (addrs.map(|addr| addr.without_peer()), told)
    });

    let gone: Vec<_> = told
        .into_iter()
        .map(|event| {
            let Event::ListenAddrGone(addr) = event else {
                panic!("{event:?}");
            };
            addr
        })
        .collect();
    assert_eq!(gone, addrs);
}
