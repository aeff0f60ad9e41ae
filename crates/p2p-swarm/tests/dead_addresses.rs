//! Addresses where nobody answers cost a dial a bounded time, and other dials nothing.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::time::Duration;

use common::{LATENCY, listen, peer, sim, swarm, swarm_with};
use futures::{StreamExt, stream::FuturesUnordered};
use p2p_core::Multiaddr;
use p2p_swarm::{Config, DialError, UpgradeError};

/// Nobody has these addresses: packets to them vanish.
fn dead(n: u16) -> Multiaddr {
    format!("/ip4/10.9.9.9/tcp/{}", n + 1).parse().unwrap()
}

#[test]
fn dials_to_many_dead_addresses_do_not_hold_up_one_to_a_live_one() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mut config = Config::default();
    config.limits.max_attempts = 16;
    let (a, b) = (swarm_with(&alice, 1, config), swarm(&bob, 2));

    sim.block_on(async {
        let good = listen(&b, &bob).await;
        let mut hopeless: FuturesUnordered<_> = (0..8u8)
            .map(|n| {
                let addrs = (0..16).map(|port| dead(u16::from(n) * 16 + port));
                a.dial((peer(10 + n), addrs.collect::<Vec<_>>()))
            })
            .collect();
        // Long enough for them to want more than there is.
        let wait = a.rt().timeout(Duration::from_secs(5), hopeless.next());
        assert!(wait.await.is_err());
        let start = a.rt().now();
        a.dial(good).await.unwrap();
        assert_eq!(a.rt().now() - start, LATENCY * 4, "a handshake");
    });
}

#[test]
fn a_dial_has_a_deadline_for_all_its_addresses_together() {
    let sim = sim(2);
    let mut config = Config::default();
    config.limits.max_attempts_per_peer = 1;
    let a = swarm_with(&sim.host("alice"), 1, config);

    let (error, took) = sim.block_on(async {
        let start = a.rt().now();
        let addrs: Vec<Multiaddr> = (0..8).map(dead).collect();
        let error = a.dial((peer(2), addrs)).await.unwrap_err();
        (error, a.rt().now() - start)
    });

    assert_eq!(took, Duration::from_secs(30));
    let DialError::AllFailed { attempts, .. } = &error else {
        panic!("{error}");
    };
    // Two or three have had their ten seconds; of each it is said what became of it.
    assert_eq!(attempts.len(), 8);
    let given_up = attempts
        .iter()
        .filter(|one| matches!(*one.error, UpgradeError::GivenUp { .. }));
    assert!((5..=6).contains(&given_up.count()), "{error}");
    assert!(error.to_string().contains("dial_deadline"), "{error}");
}
