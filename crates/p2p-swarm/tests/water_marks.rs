//! How many connections are left when there are more than the water marks allow.

mod common;

use std::time::Duration;

use common::{listen, peer, sim, swarm, swarm_with};
use futures::future;
use p2p_core::ErrorCode;
use p2p_swarm::Config;

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
