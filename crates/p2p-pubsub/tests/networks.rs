//! Routers among themselves.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use p2p_core::Budget;
use p2p_pubsub::{
    Config, Floodsub, GossipConfig, Gossipsub, GraftCause, MessageId, PublishError, Router, Topic,
    Version,
};
use support::{LATENCY, Net, gossipsub, peer, signed};

fn floodsubs(count: usize) -> Vec<Floodsub> {
    let new = |n| Floodsub::new(peer(n), Config::default(), Budget::unlimited(), n as u64);
    (0..count).map(new).collect()
}

/// `count` gossipsub routers, each connected to about `degree` others, all in topic "t".
fn mesh(count: usize, degree: usize, config: &GossipConfig) -> Net<Gossipsub> {
    let routers = (0..count).map(|n| gossipsub(n, config.clone())).collect();
    let mut net = Net::new(routers);
    for n in 0..count {
        net.subscribe(n, "t");
    }
    for (a, b) in links(count, degree) {
        net.connect(a, b, Version::V1_2);
    }
    net
}

fn links(count: usize, degree: usize) -> BTreeSet<(usize, usize)> {
    let mut links = BTreeSet::new();
    for n in 0..count {
        for step in 1..=degree / 2 {
            let other = (n + step * step) % count;
            if n != other {
                links.insert((n.min(other), n.max(other)));
            }
        }
    }
    links
}

fn got<R: Router>(net: &Net<R>, n: usize, id: &MessageId) -> usize {
    let delivered = net.delivered.get(n).unwrap();
    delivered.iter().filter(|(found, _)| found == id).count()
}

#[test]
fn floodsub_reaches_everybody_and_never_goes_back() {
    let mut net = Net::new(floodsubs(4));
    for n in 0..4 {
        net.subscribe(n, "t");
    }
    // A ring: the last host gets two copies.
    for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
        net.connect(a, b, Version::Floodsub);
    }
    net.run(LATENCY);
    let id = net.publish(0, signed(0, "t", b"hello", 1));
    net.run(10 * LATENCY);
    let counts: Vec<usize> = (0..4).map(|n| got(&net, n, &id)).collect();
    assert_eq!(counts, [0, 1, 1, 1]);
    let received: u64 = net
        .routers
        .iter()
        .map(|router| router.stats().received)
        .sum();
    assert_eq!(received, 5);
}

#[test]
fn every_subscriber_of_a_mesh_gets_every_message_once() {
    let mut net = mesh(20, 8, &GossipConfig::default());
    net.run(Duration::from_secs(3));
    let ids: Vec<_> = (0..20)
        .map(|n| {
            let id = net.publish(n, signed(n, "t", &[7; 2000], 1));
            net.run(Duration::from_millis(200));
            (n, id)
        })
        .collect();
    net.run(Duration::from_secs(5));
    for (author, id) in ids {
        for n in (0..20).filter(|n| *n != author) {
            assert_eq!(got(&net, n, &id), 1, "message of {author} at {n}");
        }
    }
    for router in &net.routers {
        let size = router.mesh(&Topic::new("t")).unwrap().len();
        assert!((5..12).contains(&size), "{size}");
    }
}

#[test]
fn the_first_message_after_a_subscription_is_not_lost() {
    let mut config = GossipConfig::default();
    config.flood_publish = false;
    let mut net = mesh(5, 4, &config);
    // One latency for the subscriptions, and long before the first heartbeat.
    net.run(LATENCY);
    let id = net.publish(0, signed(0, "t", b"first", 1));
    net.run(3 * LATENCY);
    for n in 1..5 {
        assert_eq!(got(&net, n, &id), 1, "{n}");
    }
    let stats = net.routers.first().unwrap().stats();
    assert!(
        stats.grafted.contains_key(&GraftCause::Subscribed),
        "{stats:?}"
    );
}

#[test]
fn gossip_brings_a_message_to_those_outside_the_mesh() {
    let mut config = GossipConfig::default();
    config.flood_publish = false;
    config.d = 1;
    config.d_low = 1;
    config.d_out = 0;
    config.d_score = 0;
    config.d_high = 1;
    let mut net = mesh(6, 4, &config);
    net.run(Duration::from_secs(2));
    let id = net.publish(0, signed(0, "t", b"rumour", 1));
    net.run(Duration::from_secs(8));
    for n in 1..6 {
        assert_eq!(got(&net, n, &id), 1, "{n}");
    }
}

#[test]
fn a_publisher_outside_the_topic_uses_its_fanout() {
    let mut config = GossipConfig::default();
    config.flood_publish = false;
    let mut net = mesh(5, 4, &config);
    net.routers
        .first_mut()
        .unwrap()
        .unsubscribe(&"t".into(), net.now);
    net.run(Duration::from_secs(1));
    let id = net.publish(0, signed(0, "t", b"from outside", 1));
    net.run(Duration::from_secs(2));
    for n in 1..5 {
        assert_eq!(got(&net, n, &id), 1, "{n}");
    }
    assert_eq!(got(&net, 0, &id), 0);
}

#[test]
fn publishing_to_nobody_says_so_and_can_be_repeated() {
    let mut net = mesh(2, 0, &GossipConfig::default());
    let publish = |net: &mut Net<Gossipsub>| {
        let now = net.now;
        let router = net.routers.first_mut().unwrap();
        router.publish(&signed(0, "t", b"anybody?", 1).into(), now)
    };
    assert_eq!(publish(&mut net), Err(PublishError::NoPeers));
    net.connect(0, 1, Version::V1_1);
    net.run(LATENCY);
    assert_eq!(publish(&mut net).unwrap().sent, 1);
    assert_eq!(publish(&mut net), Err(PublishError::Duplicate));
}

#[test]
fn floodsub_and_all_versions_of_gossipsub_share_a_topic() {
    let mut net = mesh(5, 0, &GossipConfig::default());
    for (n, version) in (1..5).zip([
        Version::Floodsub,
        Version::V1_0,
        Version::V1_1,
        Version::V1_3,
    ]) {
        net.connect(0, n, version);
    }
    net.run(Duration::from_secs(2));
    for author in 0..5 {
        let id = net.publish(author, signed(author, "t", &[1; 3000], 1));
        net.run(Duration::from_secs(1));
        for n in (0..5).filter(|n| *n != author) {
            assert_eq!(got(&net, n, &id), 1, "from {author} to {n}");
        }
    }
}

#[test]
fn the_same_seeds_give_the_same_trace() {
    let run = || {
        let mut config = GossipConfig::default();
        config.base.trace = true;
        let mut net = mesh(12, 6, &config);
        for round in 0..4 {
            net.run(Duration::from_secs(1));
            net.publish(round, signed(round, "t", &[1; 1500], 1));
        }
        net.run(Duration::from_secs(2));
        net.log
    };
    let first = run();
    assert!(first.len() > 500);
    assert_eq!(first, run());
}

/// The window is that of the gossip: what was published up to three heartbeats before.
#[test]
fn a_cut_of_a_minute_heals_and_brings_back_what_is_still_offered_and_nothing_older() {
    let (count, degree) = (40, 10);
    let config = GossipConfig::default();
    let heartbeat = config.heartbeat_interval;
    let mut net = mesh(count, degree, &config);
    let is_left = |n: usize| n < count / 2;
    let others = |author: usize| (0..count).filter(move |n| *n != author);
    let cut: Vec<_> = links(count, degree)
        .into_iter()
        .filter(|(a, b)| is_left(*a) != is_left(*b))
        .collect();
    net.run(Duration::from_secs(5));

    for (a, b) in &cut {
        net.disconnect(*a, *b);
    }
    net.run(Duration::from_secs(50));
    let old = net.publish(3, signed(3, "t", b"old", 1));
    net.run(Duration::from_secs(9));
    let recent = net.publish(30, signed(30, "t", b"recent", 1));
    net.run(Duration::from_secs(1));
    for (a, b) in &cut {
        net.connect(*a, *b, Version::V1_2);
    }
    net.run(heartbeat);
    let new = net.publish(7, signed(7, "t", b"new", 1));
    net.run(4 * heartbeat);

    for (n, router) in net.routers.iter().enumerate() {
        let size = router.mesh(&"t".into()).unwrap().len();
        assert!(
            (config.d_low..=config.d_high).contains(&size),
            "{n}: {size}"
        );
    }
    for n in others(7) {
        assert_eq!(got(&net, n, &new), 1, "what is published after it, at {n}");
    }
    for n in others(30) {
        assert_eq!(got(&net, n, &recent), 1, "what is still offered, at {n}");
    }
    for n in others(3) {
        let side = usize::from(is_left(n));
        assert_eq!(got(&net, n, &old), side, "what is offered no more, at {n}");
    }
}

#[test]
fn when_everybody_has_left_nothing_is_held_but_backoffs_and_those_expire() {
    let mut net = mesh(12, 6, &GossipConfig::default());
    net.run(Duration::from_secs(2));
    net.publish(0, signed(0, "t", b"data", 1));
    net.run(Duration::from_secs(2));
    for a in 0..12 {
        for b in a + 1..12 {
            net.disconnect(a, b);
        }
    }
    net.run(Duration::from_secs(200));
    for router in &net.routers {
        assert_eq!(router.entries(), 0, "{router:?}");
        assert_eq!(router.held_bytes(), 0);
    }
}

#[test]
fn every_received_message_is_accounted_for() {
    let mut net = mesh(15, 8, &GossipConfig::default());
    net.run(Duration::from_secs(2));
    for n in 0..15 {
        net.publish(n, signed(n, "t", &[1; 500], 1));
    }
    net.run(Duration::from_secs(3));
    for router in &net.routers {
        let stats = router.stats();
        let dropped: u64 = stats.dropped_in.values().sum();
        let rejected: u64 = stats.rejected.values().sum();
        assert_eq!(
            stats.received,
            stats.delivered + dropped + rejected,
            "{stats:?}"
        );
        assert_eq!(stats.delivered, 14);
    }
}

#[test]
fn at_mesh_degree_eight_every_node_checks_each_message_once() {
    let (nodes, messages) = (40, 20);
    let mut config = GossipConfig::default();
    (config.d, config.d_low) = (8, 8);
    let mut net = mesh(nodes, 16, &config);
    net.run(Duration::from_secs(5));
    for router in &net.routers {
        assert!(router.mesh(&"t".into()).unwrap().len() >= 8);
    }

    for n in 0..messages {
        net.publish(n, signed(n, "t", b"small", 1));
        // The copies of one come while others are checked.
        net.run(LATENCY / 3);
    }
    net.run(10 * LATENCY);

    let checks = net.log.iter().filter(|line| line.contains("Validate"));
    assert_eq!(checks.count(), messages * (nodes - 1));
    let received: u64 = net
        .routers
        .iter()
        .map(|router| router.stats().received)
        .sum();
    let distinct = (messages * (nodes - 1)) as u64;
    assert!(
        received > 5 * distinct,
        "copies came: {received} of {distinct}"
    );
}
