//! Many topics, and what a peer is told of them.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of what is sent, only some is counted"
)]

mod support;

use std::collections::BTreeSet;

use p2p_keys::PeerRecord;
use p2p_pubsub::wire::{Control, Part, Rpc, WireLimits};
use p2p_pubsub::{ControlKind, GossipConfig, PartialMode, Refusal, Router, Topic, Trace, Version};
use support::{Bench, frames, keypair, peer, refused, remote, signed};

/// A router in so many topics with names of 20 bytes, and in "t".
fn in_topics(count: usize) -> Bench {
    let mut config = GossipConfig::default();
    config.base.max_topics_per_peer = 2 * count;
    let mut bench = Bench::new(config);
    for n in 0..count {
        bench.router.subscribe(&name(n), bench.now);
    }
    bench.drain();
    bench.traces.clear();
    bench
}

fn name(n: usize) -> Topic {
    Topic::from(format!("a topic, number {n:04}"))
}

#[test]
fn a_peer_is_told_of_ten_thousand_topics_and_grafted_in_all_of_them() {
    let mut bench = in_topics(10_000);
    bench
        .router
        .handle_peer_connected(remote(1, Version::V1_3, true), bench.now);
    let mut told = BTreeSet::new();
    for (at, frame) in frames(&mut bench.router, &peer(1)).iter().enumerate() {
        let rpc = Rpc::parse(frame, &WireLimits::default()).unwrap();
        let mut count = 0;
        for part in rpc.parts() {
            match part {
                Part::Subscription(sub) => {
                    assert!(sub.subscribe);
                    told.insert(sub.topic.unwrap().to_vec());
                    count += 1;
                }
                Part::Extensions(_) => assert_eq!(at, 0, "in the first RPC"),
                _ => panic!("{part:?}"),
            }
        }
        assert!(count <= 100, "{count}");
    }
    assert_eq!(told.len(), 10_001);

    for chunk in 0..10usize {
        let join = |n| Control::Subscription(true, name(1000 * chunk + n));
        bench.say(1, (0..1000).map(join).collect());
    }
    let (control, _) = bench.sent(1);
    let grafts = control
        .iter()
        .filter(|item| matches!(item, Control::Graft(_)));
    assert_eq!(grafts.count(), 10_000);
    assert_eq!(bench.router.stats().lost_control.len(), 0);
}

#[test]
fn a_peer_that_does_not_read_is_told_what_is_true_when_it_does() {
    let mut bench = in_topics(0);
    bench.peer(1, Version::V1_3);
    bench.sent(1);
    let (joined, left) = (name(1), name(2));
    for _ in 0..100 {
        for topic in [&joined, &left] {
            bench.router.subscribe(topic, bench.now);
            bench.router.unsubscribe(topic, bench.now);
        }
    }
    bench.router.subscribe(&joined, bench.now);
    bench.drain();
    assert_eq!(
        bench.sent(1).0,
        [Control::Subscription(true, joined.clone())]
    );
    // A newer way of taking part is said, and leaving after that.
    bench
        .router
        .set_partial(&joined, Some(PartialMode::Requests));
    bench.drain();
    let told = Control::PartialSubscription(joined.clone(), PartialMode::Requests);
    assert_eq!(bench.sent(1).0, [told]);
    bench
        .router
        .set_partial(&joined, Some(PartialMode::Supports));
    bench.router.unsubscribe(&joined, bench.now);
    bench.drain();
    assert_eq!(bench.sent(1).0, [Control::Subscription(false, joined)]);
}

#[test]
fn a_peer_in_as_many_topics_as_it_may_can_still_say_how_it_takes_part_in_them() {
    let mut config = GossipConfig::default();
    config.base.max_topics_per_peer = 1;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_3);
    let again = Control::PartialSubscription("t".into(), PartialMode::Requests);
    let other = Control::Subscription(true, "u".into());
    bench.say(1, vec![again, other]);
    assert_eq!(refused(&bench, Refusal::TooManyTopics), 1, "only the other");
}

#[test]
fn control_messages_that_do_not_fit_are_counted_and_traced() {
    let mut config = GossipConfig::default();
    config.base.queue.control_bytes = 500;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_2);
    bench.peer(2, Version::V1_2);
    for seqno in 1..=100 {
        bench.send(2, signed(2, "t", &[7; 2000], seqno));
    }
    let lost = |trace: &&Trace| {
        let kind = ControlKind::IDontWant;
        **trace
            == Trace::ControlLost {
                peer: peer(1),
                kind,
            }
    };
    let traced = bench.traces.iter().filter(lost).count() as u64;
    assert!(traced > 50, "{traced}");
    assert_eq!(
        bench.router.stats().lost_control,
        [(ControlKind::IDontWant, traced)].into()
    );
}

#[test]
fn who_finds_a_full_mesh_is_told_of_sixteen_others_with_their_signed_records() {
    let mut config = GossipConfig::default();
    config.peer_exchange = true;
    let mut bench = Bench::new(config);
    for n in 1..=20 {
        bench.peer(n, Version::V1_1);
        bench.say(n, vec![Control::Graft("t".into())]);
        let addrs = [1, 2, 3].map(|m| format!("/ip4/10.0.{m}.{n}/tcp/4001").parse().unwrap());
        let record = PeerRecord::seal(&keypair(n), 1, &addrs).unwrap().encode();
        bench.router.set_record(&peer(n), record.into());
    }
    bench.peer(21, Version::V1_1);
    bench.sent(21);
    bench.say(21, vec![Control::Graft("t".into())]);
    let (control, _) = bench.sent(21);
    let [Control::Prune { peers, .. }] = &control[..] else {
        panic!("{control:?}");
    };
    assert_eq!(peers.len(), 16);
    for info in peers {
        let record = info.record.as_ref().unwrap();
        let record = PeerRecord::open(record, &Default::default()).unwrap();
        assert_eq!(record.peer.to_bytes(), info.peer);
        assert_eq!(record.addrs.len(), 3);
    }
}
