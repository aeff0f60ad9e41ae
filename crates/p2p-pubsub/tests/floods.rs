//! Floods: what a peer can say is more than we answer, keep or pay for.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of what is sent, only some is counted"
)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use p2p_pubsub::wire::Control;
use p2p_pubsub::{
    Draft, DropCause, GossipConfig, Message, MessageId, Refusal, Reject, Router, Topic, Verdict,
    Version,
};
use support::{Bench, honest_traffic_passes, id_of, peer, prune, refused, rejected, signed};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_million_grafts_and_prunes_of_unknown_topics_leave_nothing_and_get_no_answer() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_1);
    bench.sent(1);
    let before = bench.router.entries();
    for round in 0..400 {
        let name = |n: usize| Topic::from(format!("unknown {round} {n}"));
        let items = (0..2500).map(|n| match n % 2 {
            0 => Control::Graft(name(n)),
            _ => prune(name(n).as_str(), 60),
        });
        bench.say(1, items.collect());
        bench.traces.clear();
    }
    assert_eq!(bench.router.entries(), before);
    assert_eq!(bench.sent(1).0, []);
    assert_eq!(refused(&bench, Refusal::UnknownTopic), 1_000_000);
    honest_traffic_passes(&mut bench);
}

/// As many topics and ids that nobody knows as the limits let through, and then a million more.
#[test]
fn a_million_offers_and_requests_of_what_nobody_knows_leave_nothing_and_get_no_answer() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_1);
    bench.sent(1);
    let before = (bench.router.entries(), bench.router.held_bytes());
    let id = |n: u32| MessageId::new(&n.to_be_bytes());
    // Half a million topics, each with an id.
    for round in 0..200 {
        let offer = |n: u32| {
            let topic = Topic::from(format!("unknown {round} {n}"));
            Control::IHave(topic, vec![id(n)].into())
        };
        bench.say(1, (0..2500).map(offer).collect());
        bench.traces.clear();
    }
    // Ten RPCs are read.
    assert_eq!(refused(&bench, Refusal::UnknownTopic), 25_000);
    assert_eq!(refused(&bench, Refusal::TooMany), 475_000);
    // And half a million ids.
    for round in 0..500 {
        let ids = (0..1000).map(|n| id(round * 1000 + n)).collect();
        bench.say(1, vec![Control::IWant(ids)]);
        bench.traces.clear();
    }
    assert_eq!(refused(&bench, Refusal::TooMany), 475_000 + 495);
    let after = (bench.router.entries(), bench.router.held_bytes());
    assert_eq!(after, before);
    let (control, messages) = bench.sent(1);
    assert_eq!((control, messages.len()), (Vec::new(), 0));
    honest_traffic_passes(&mut bench);
}

#[test]
fn a_subscription_to_everything_is_cut_off_at_the_limit() {
    let mut config = GossipConfig::default();
    config.base.max_topics_per_peer = 100;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_1);
    for round in 0..250 {
        let sub = |n| Control::Subscription(true, Topic::from(format!("{round}/{n}")));
        bench.say(1, (0..4000).map(sub).collect());
        bench.traces.clear();
        bench.others.clear();
    }
    assert!(bench.router.entries() < 120, "{}", bench.router.entries());
    assert_eq!(refused(&bench, Refusal::TooManyTopics), 1_000_000 - 99);
    honest_traffic_passes(&mut bench);
}

#[test]
fn an_ihave_flood_is_answered_up_to_the_limits() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_1);
    bench.sent(1);
    let mut n = 0u32;
    let mut ids = || -> Vec<MessageId> {
        n += 1;
        let id = |m: u32| MessageId::new(&[n.to_be_bytes(), m.to_be_bytes()].concat());
        (0..1000).map(id).collect()
    };
    for _ in 0..50 {
        bench.say(1, vec![Control::IHave("t".into(), ids().into())]);
    }
    let asked = |sent: &[Control]| -> usize {
        let count = |item: &Control| match item {
            Control::IWant(ids) => ids.len(),
            _ => 0,
        };
        sent.iter().map(count).sum()
    };
    assert_eq!(asked(&bench.sent(1).0), 5000);
    assert_eq!(refused(&bench, Refusal::TooMany), 45);
    // The next heartbeat gives it another chance.
    bench.pass(2 * SECOND);
    bench.say(1, vec![Control::IHave("t".into(), ids().into())]);
    assert_eq!(asked(&bench.sent(1).0), 1000);
}

#[test]
fn an_iwant_loop_gets_a_message_three_times() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_1);
    bench.peer(2, Version::V1_1);
    let message = signed(2, "t", b"wanted", 1);
    let id = id_of(&message);
    bench.send(2, message);
    bench.sent(1);
    for _ in 0..100 {
        bench.say(1, vec![Control::IWant(vec![id.clone(); 10])]);
    }
    assert_eq!(bench.sent(1).1.len(), 3);
}

#[test]
fn an_iwant_flood_is_answered_up_to_the_limit_and_again_after_a_heartbeat() {
    let mut config = GossipConfig::default();
    config.max_iwant_length = 10;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_1);
    bench.peer(2, Version::V1_1);
    let messages = (1..=25).map(|seqno| signed(2, "t", b"wanted", seqno));
    let mut ids = Vec::new();
    for message in messages {
        ids.push(id_of(&message));
        bench.send(2, message);
    }
    bench.sent(1);
    bench.say(1, vec![Control::IWant(ids.clone())]);
    assert_eq!(bench.sent(1).1.len(), 10);
    assert_eq!(refused(&bench, Refusal::TooMany), 1);
    // However they are divided.
    let each = |id: &MessageId| Control::IWant(vec![id.clone()]);
    bench.say(1, ids.iter().map(each).collect());
    assert_eq!(bench.sent(1).1.len(), 0);
    assert_eq!(refused(&bench, Refusal::TooMany), 1 + 25);

    bench.pass(SECOND);
    bench.sent(1);
    bench.say(1, vec![Control::IWant(ids.split_off(10))]);
    assert_eq!(bench.sent(1).1.len(), 10);
}

#[test]
fn an_idontwant_flood_is_bounded_and_forgotten() {
    let mut config = GossipConfig::default();
    config.idontwant_bytes = 10_000;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_2);
    for n in 0..5000u32 {
        bench.say(
            1,
            vec![Control::IDontWant(vec![MessageId::new(&n.to_be_bytes())])],
        );
    }
    // 10,000 bytes are 147 ids of 4 bytes.
    assert_eq!(refused(&bench, Refusal::TooMany), 5000 - 147);
    bench.pass(5 * SECOND);
    bench.say(1, vec![Control::IDontWant(vec![MessageId::new(b"new")])]);
    assert_eq!(refused(&bench, Refusal::TooMany), 5000 - 147);
}

#[test]
fn many_forgeries_of_one_id_are_not_all_checked() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_2);
    bench.stall = true;
    for n in 0..100u8 {
        let draft = Draft {
            from: Some(&peer(20).to_bytes()),
            data: &[n],
            seqno: Some(&1u64.to_be_bytes()),
            signature: Some(&[0; 64]),
            key: None,
        };
        bench.send(1, Message::encode("t".into(), &draft));
    }
    assert_eq!(bench.waiting.len(), 4);
    assert_eq!(rejected(&bench, Reject::QueueFull), 96);
}

#[test]
fn a_slow_check_costs_at_most_its_bytes_and_one_peer_only_its_share() {
    let mut config = GossipConfig::default();
    config.base.validating_bytes = 100_000;
    config.base.validating_bytes_per_peer = 30_000;
    let mut bench = Bench::new(config);
    bench.stall = true;
    for n in 1..=5 {
        bench.peer(n, Version::V1_2);
        for seqno in 1..=100 {
            bench.send(n, signed(n, "t", &[0; 850], seqno));
        }
    }
    let received = bench.router.stats().received;
    assert_eq!(
        (received, bench.waiting.len() as u64),
        (500, 500 - rejected(&bench, Reject::QueueFull))
    );
    let len = signed(1, "t", &[0; 850], 1).raw().len();
    assert!(bench.waiting.len() * len <= 100_000);
    assert!((bench.waiting.len() + 1) * len > 100_000);
    for ticket in std::mem::take(&mut bench.waiting) {
        bench
            .router
            .handle_verdict(ticket, Verdict::Ignore, bench.now);
    }
    bench.send(1, signed(1, "t", &[0; 850], 1000));
    assert_eq!(bench.waiting.len(), 1);
}

#[test]
fn empty_frames_are_nothing() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_1);
    let entries = bench.router.entries();
    bench.others.clear();
    for _ in 0..1000 {
        bench.receive(1, Bytes::new()).unwrap();
    }
    assert_eq!(bench.router.entries(), entries);
    assert!(bench.others.is_empty(), "{:?}", bench.others);
    honest_traffic_passes(&mut bench);
}

#[test]
fn a_peer_that_stalls_for_ten_minutes_costs_at_most_its_queue() {
    let mut config = GossipConfig::default();
    config.base.queue.forwarded_bytes = 100_000;
    config.cache_bytes = 200_000;
    config.base.seen_bytes = 50_000;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_2);
    bench.peer(2, Version::V1_2);
    for seqno in 1..=3000 {
        bench.send(2, signed(2, "t", &[3; 5000], seqno));
        bench.pass(Duration::from_millis(200));
        bench.traces.clear();
        bench.sent(2);
    }
    assert_eq!(bench.delivered.len(), 3000);
    assert!(
        bench.router.held_bytes() <= 250_000,
        "{}",
        bench.router.held_bytes()
    );
    let stalled: usize = support::frames(&mut bench.router, &peer(1))
        .iter()
        .map(Bytes::len)
        .sum();
    assert!(stalled <= 100_000 + 256 * 1024, "{stalled}");
    let dropped = bench.router.stats().dropped_out[&DropCause::QueueFull];
    assert!(dropped > 2900, "{dropped}");
}
