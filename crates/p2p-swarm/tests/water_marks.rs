//! How many connections are left when there are more than the water marks allow.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::time::Duration;

use common::{listen, peer, sim, swarm, swarm_with};
use futures::future;
use p2p_core::ErrorCode;
use p2p_swarm::{Config, Swarm};

#[test]
fn of_many_connections_that_fall_idle_together_no_more_are_closed_than_must() {
    let sim = sim(1);
    let bob = sim.host("bob");
    let mut config = Config::default();
    config.low_water = Some(5);
    let b = swarm_with(&bob, 2, config);
    let others: Vec<_> = (10..30)
        .zip(sim.hosts(20))
        .map(|(n, host)| swarm(&host, n))
        .collect();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let dials = others.iter().map(|other| other.dial(addr.clone()));
        let at_once = future::try_join_all(dials).await.unwrap();
        assert_eq!(b.peers().len(), 20);
        drop(at_once);
        // Their time is up at one instant, long before the first of them has said goodbye.
        bob.rt().sleep(Duration::from_secs(600)).await;
    });

    assert_eq!(b.peers().len(), 5);
}

#[test]
fn a_connection_that_is_closing_does_not_cost_another_its_place_above_the_mark() {
    let sim = sim(2);
    let bob = sim.host("bob");
    let mut config = Config::default();
    config.low_water = Some(2);
    config.idle_timeout = Duration::from_secs(10);
    let b = swarm_with(&bob, 2, config);
    let others: Vec<_> = (10..13)
        .zip(sim.hosts(3))
        .map(|(n, host)| (swarm(&host, n), host))
        .collect();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        for (other, _) in &others {
            other.dial(addr.clone()).await.unwrap();
        }
        // Its farewell finds nobody and takes seconds; meanwhile the two others fall idle.
        others[0].1.crash();
        bob.rt().sleep(Duration::from_secs(9)).await;
        assert_eq!(b.disconnect(&peer(10), ErrorCode::NONE), 1);
        bob.rt().sleep(Duration::from_secs(60)).await;
    });

    assert_eq!(b.peers(), [peer(11), peer(12)]);
}

/// Eight connections at once with a node that keeps five at most and tidies up to three.
fn crowd(seed: u64, look: impl AsyncFnOnce(&Swarm)) {
    let sim = sim(seed);
    let bob = sim.host("bob");
    let mut config = Config::default();
    config.low_water = Some(3);
    config.high_water = Some(5);
    config.idle_timeout = Duration::from_secs(3600);
    let b = swarm_with(&bob, 2, config);
    let others: Vec<_> = (10..18)
        .zip(sim.hosts(8))
        .map(|(n, host)| (swarm(&host, n), b.keep_alive(peer(n))))
        .collect();
    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let dials = others.iter().map(|(other, _)| other.dial(addr.clone()));
        future::try_join_all(dials).await.unwrap();
        let (swarms, handles): (Vec<_>, Vec<_>) = others.into_iter().unzip();
        b.rt().sleep(Duration::from_secs(10)).await;
        assert_eq!(b.peers().len(), 8, "none may go yet");
        drop(handles);
        look(&b).await;
        drop(swarms);
    });
}

#[test]
fn a_burst_above_the_high_water_mark_is_trimmed_though_nobody_else_comes() {
    crowd(3, async |b| {
        let held: Vec<_> = (10..18).flat_map(|n| b.connections(&peer(n))).collect();
        b.rt().sleep(Duration::from_secs(9)).await;
        assert_eq!(b.peers().len(), 8, "all are younger than trim_grace");
        b.rt().sleep(Duration::from_secs(3)).await;
        assert_eq!(b.peers().len(), 3);
        drop(held);
    });
}

#[test]
fn those_that_were_protected_are_looked_at_again() {
    crowd(4, async |b| {
        for n in 10..18 {
            b.protect(peer(n), "friend");
        }
        b.rt().sleep(Duration::from_secs(50)).await;
        assert_eq!(b.peers().len(), 8);
        for n in 10..14 {
            b.unprotect(peer(n), "friend");
        }
        b.rt().sleep(Duration::from_secs(25)).await;
        assert_eq!(b.peers(), [peer(14), peer(15), peer(16), peer(17)]);
        let tasks = b.census().tasks;
        assert!(!tasks.contains(&"trimming"), "{tasks:?}");
    });
}
