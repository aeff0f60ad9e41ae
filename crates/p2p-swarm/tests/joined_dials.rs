//! One dial for several callers: whose addresses are tried, and what is said of the rest.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::time::Duration;

use common::{LATENCY, listen, peer, sim, swarm, swarm_with};
use futures::future;
use p2p_core::{AddrExt, Multiaddr};
use p2p_swarm::{Config, DialError};

/// Nobody has these addresses: packets to them vanish.
fn dead(n: u16) -> Multiaddr {
    format!("/ip4/10.9.9.9/tcp/{}", n + 1).parse().unwrap()
}

#[test]
fn who_joins_a_dial_with_the_one_good_address_connects_though_the_book_is_full_of_dead_ones() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    a.add_addrs(peer(2), (0..64).map(dead));

    sim.block_on(async {
        let good = listen(&b, &bob).await;
        let second = async {
            a.rt().sleep(Duration::from_secs(1)).await;
            a.dial(good).await
        };
        let (first, second) = future::join(a.dial(peer(2)), second).await;
        assert_eq!(first.unwrap().id(), second.unwrap().id());
    });
}

#[test]
fn who_finds_no_place_in_a_dial_gets_one_of_his_own() {
    let sim = sim(2);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mut config = Config::default();
    config.limits.max_dial_addrs = 2;
    let (a, b) = (swarm_with(&alice, 1, config), swarm(&bob, 2));

    sim.block_on(async {
        let good = listen(&b, &bob).await;
        // Both are under way when somebody knows better.
        let first = a.dial((peer(2), vec![dead(1), dead(2)]));
        let second = async {
            a.rt().sleep(Duration::from_secs(1)).await;
            let start = a.rt().now();
            a.dial(good).await.unwrap();
            a.rt().now() - start
        };
        let (first, took) = future::join(first, second).await;
        assert_eq!(took, LATENCY * 4, "a handshake");
        first.unwrap();
    });
    assert_eq!(b.connections(&peer(1)).len(), 1);
}

#[test]
fn addresses_beyond_the_limit_are_counted_and_the_setting_is_named() {
    let sim = sim(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let a = swarm(&alice, 1);
    let addrs: Vec<Multiaddr> = (1..=40)
        .map(|port| Multiaddr::from_tcp_socket(bob.socket(port)))
        .collect();

    let error = sim.block_on(a.dial((peer(2), addrs))).unwrap_err();

    let DialError::AllFailed {
        attempts,
        more,
        left_out,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((attempts.len(), *more, *left_out), (16, 16, 8));
    let text = error.to_string();
    let last = "8 more were not tried (setting: max_dial_addrs)";
    assert!(text.ends_with(last), "{text}");
}
