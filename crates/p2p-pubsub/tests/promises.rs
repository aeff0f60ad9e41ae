//! Offered messages: who owes one, who is blamed if it does not come, and how many are read.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of what is sent, only some is looked at"
)]

mod scored;
mod support;

use std::time::Duration;

use p2p_core::{Budget, Instant};
use p2p_pubsub::wire::{Control, Part, Rpc, WireLimits};
use p2p_pubsub::{
    Config, Draft, DropCause, Floodsub, GaterParams, GossipConfig, Gossipsub, Message, MessageId,
    MessageIdFn, Output, PartialMode, Refusal, Reject, Router, SignatureError, Topic, Verdict,
    Version,
};
use scored::scored;
use support::{Bench, frames, id_of, peer, refused, rejected, rpc, signed};

const SECOND: Duration = Duration::from_secs(1);

/// Only broken promises cost.
fn wanted(sent: &[Control]) -> Vec<MessageId> {
    let ids = |item: &Control| match item {
        Control::IWant(ids) => ids.clone(),
        _ => Vec::new(),
    };
    sent.iter().flat_map(ids).collect()
}

/// Peer `n` offers a message, and is asked for it.
fn offer(bench: &mut Bench, n: usize, message: &Message) {
    let id = id_of(message);
    bench.say(n, vec![Control::IHave("t".into(), vec![id.clone()].into())]);
    assert_eq!(wanted(&bench.sent(n).0), [id]);
}

fn score_after_five_seconds(bench: &mut Bench, n: usize) -> f64 {
    bench.pass(5 * SECOND);
    bench.router.score(&peer(n))
}

#[test]
fn a_message_that_is_judged_for_long_was_sent_in_time() {
    let mut bench = Bench::new(scored());
    bench.peer(1, Version::V1_1);
    let message = signed(2, "t", b"hard to judge", 1);
    offer(&mut bench, 1, &message);
    bench.stall = true;
    bench.send(1, message);
    bench.router.handle_judging(bench.waiting[0]);
    assert_eq!(score_after_five_seconds(&mut bench, 1), 0.0);
}

#[test]
fn a_forged_copy_keeps_no_promise() {
    let mut bench = Bench::new(scored());
    bench.peer(1, Version::V1_1);
    let message = signed(2, "t", b"real", 1);
    offer(&mut bench, 1, &message);
    let draft = Draft {
        from: Some(&peer(2).to_bytes()),
        data: b"forged",
        seqno: Some(&1u64.to_be_bytes()),
        signature: Some(&[0; 64]),
        key: None,
    };
    bench.send(1, Message::encode("t".into(), &draft));
    let invalid = Reject::Signature(SignatureError::Invalid);
    assert_eq!(rejected(&bench, invalid), 1);
    assert!(score_after_five_seconds(&mut bench, 1) < 0.0);
}

#[test]
fn who_sends_what_we_do_not_take_has_kept_its_promise() {
    for (len, blocked, why) in [
        (5, Some(2), Reject::BlockedSource),
        (5, Some(1), Reject::BlockedPeer),
        (1000, None, Reject::TooLarge),
    ] {
        let message = signed(2, "t", &vec![7; len], 1);
        let mut config = scored();
        config.base.max_message_size = 500;
        let mut bench = Bench::new(config);
        bench.peer(1, Version::V1_1);
        if let Some(n) = blocked {
            bench.router.block(peer(n), true);
        }
        offer(&mut bench, 1, &message);
        bench.send(1, message);
        assert_eq!(rejected(&bench, why), 1);
        assert_eq!(score_after_five_seconds(&mut bench, 1), 0.0, "{why:?}");
    }
}

#[test]
fn a_gated_peer_owes_nothing() {
    let mut config = scored();
    config.gater = Some(GaterParams::default());
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_1);
    bench.stall = true;
    // Checks are overloaded, and hardly anything that peer 1 sends is any good.
    for seqno in 1..=100 {
        bench.send(1, signed(1, "t", b"bad", seqno));
    }
    let verdicts = [Verdict::Reject, Verdict::Throttled].into_iter().cycle();
    for (ticket, verdict) in std::mem::take(&mut bench.waiting).into_iter().zip(verdicts) {
        bench.router.handle_verdict(ticket, verdict, bench.now);
    }
    let message = signed(2, "t", b"good", 1);
    offer(&mut bench, 1, &message);
    bench.send(1, message);
    assert_eq!(bench.router.stats().dropped_in[&DropCause::Gated], 1);
    assert_eq!(score_after_five_seconds(&mut bench, 1), 0.0);
}

#[test]
fn our_lack_of_memory_breaks_nobodys_promise() {
    let mut bench = Bench::new(scored());
    let budget = Budget::new("test", "test", 100);
    bench.router = Gossipsub::new(peer(0), scored(), budget, 0, Instant::ZERO).unwrap();
    bench.router.subscribe(&"t".into(), bench.now);
    bench.peer(1, Version::V1_1);
    let (message, other) = (signed(2, "t", b"one", 1), signed(2, "t", b"two", 2));
    offer(&mut bench, 1, &message);
    // Not the one that was promised: its sender may have been about to send that, too.
    bench.send(1, other);
    assert_eq!(rejected(&bench, Reject::Budget), 1);
    assert_eq!(score_after_five_seconds(&mut bench, 1), 0.0);
}

#[test]
fn who_was_not_asked_for_lack_of_room_owes_nothing() {
    let mut config = scored();
    // One request, and not two.
    config.base.queue.control_bytes = 200;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_1);
    bench.peer(2, Version::V1_1);
    let (first, message) = (signed(3, "t", b"one", 1), signed(3, "t", b"two", 2));
    let ihave = |of: &Message| vec![Control::IHave("t".into(), vec![id_of(of)].into())];
    bench.say(1, ihave(&first));
    for _ in 0..4 {
        bench.say(1, ihave(&message));
    }
    assert_eq!(wanted(&bench.sent(1).0), [id_of(&first)]);
    bench.send(1, first);
    assert_eq!(score_after_five_seconds(&mut bench, 1), 0.0);
    // And takes nobody's turn.
    bench.sent(2);
    bench.say(2, ihave(&message));
    assert_eq!(wanted(&bench.sent(2).0), [id_of(&message)]);
}

#[test]
fn what_we_wrote_ourselves_is_not_asked_for() {
    let ours = signed(0, "t", b"before our restart", 1);
    let theirs = signed(1, "t", b"new", 1);
    for (name, asked) in [
        (MessageIdFn::AuthorAndSeqno, vec![id_of(&theirs)]),
        (MessageIdFn::Sha256, vec![id_of(&ours), id_of(&theirs)]),
    ] {
        let mut config = scored();
        config.base.message_id_of.insert("t".into(), name.clone());
        let mut bench = Bench::new(config);
        bench.peer(1, Version::V1_1);
        let ids = vec![id_of(&ours), id_of(&theirs)];
        bench.say(1, vec![Control::IHave("t".into(), ids.into())]);
        let mut wanted = wanted(&bench.sent(1).0);
        wanted.sort_unstable_by_key(|id| *id != id_of(&ours));
        assert_eq!(wanted, asked, "{name:?}");
    }
}

#[test]
fn an_offer_counts_once_for_all_topics_of_its_rpc() {
    let mut bench = Bench::new(GossipConfig::default());
    let topics: Vec<Topic> = (0..40).map(|n| format!("topic {n}").into()).collect();
    for topic in &topics {
        bench.router.subscribe(topic, bench.now);
    }
    bench.peer(1, Version::V1_1);
    bench.sent(1);
    let mut offer = |round: u32| {
        let id = |n: usize| MessageId::new(format!("{round} {n}").as_bytes());
        let item = |(n, topic): (usize, &Topic)| Control::IHave(topic.clone(), vec![id(n)].into());
        bench.say(1, topics.iter().enumerate().map(item).collect());
        wanted(&bench.sent(1).0).len()
    };
    // Ten RPCs in a heartbeat, and no more.
    let asked: Vec<usize> = (0..11).map(&mut offer).collect();
    assert_eq!(asked, [[40; 10].as_slice(), &[0]].concat());
    assert_eq!(refused(&bench, Refusal::TooMany), 40);
}

#[test]
fn in_a_heartbeat_we_offer_as_many_rpcs_as_are_read_and_in_time_every_topic() {
    let mut config = GossipConfig::default();
    (config.d, config.d_low, config.d_high) = (0, 0, 0);
    (config.d_score, config.d_out) = (0, 0);
    config.max_ihave_messages = 2;
    (config.history_length, config.history_gossip) = (50, 50);
    let mut bench = Bench::new(config);
    let topics: Vec<Topic> = (0..40).map(|n| format!("topic {n}").into()).collect();
    bench.peer(1, Version::V1_1);
    let join = |topic: &Topic| Control::Subscription(true, topic.clone());
    bench.say(1, topics.iter().map(join).collect());
    for (n, topic) in (0u64..).zip(&topics) {
        bench.router.subscribe(topic, bench.now);
        for seqno in 40 * n + 1..=40 * n + 40 {
            bench
                .publish(signed(0, topic.as_str(), b"x", seqno))
                .unwrap();
        }
    }
    bench.sent(1);
    let mut offered: Vec<String> = Vec::new();
    for _ in 0..40 {
        bench.pass(SECOND);
        let mut rpcs = 0;
        for frame in frames(&mut bench.router, &peer(1)) {
            let rpc = Rpc::parse(&frame, &WireLimits::default()).unwrap();
            let topics = rpc.parts().filter_map(|part| match part {
                Part::IHave(ihave) => Some(String::from_utf8_lossy(ihave.topic?).into_owned()),
                _ => None,
            });
            let before = offered.len();
            offered.extend(topics);
            rpcs += usize::from(offered.len() > before);
        }
        assert!((1..=2).contains(&rpcs), "{rpcs}");
    }
    offered.sort();
    offered.dedup();
    assert_eq!(offered.len(), topics.len(), "{offered:?}");
}

#[test]
fn a_forged_copy_does_not_make_us_refuse_the_original() {
    let mut bench = Bench::new(GossipConfig::default());
    for n in 1..=3 {
        bench.peer(n, Version::V1_2);
    }
    let original = signed(9, "t", &[1; 2000], 1);
    let draft = Draft {
        from: Some(&peer(9).to_bytes()),
        data: &[2; 2000],
        seqno: Some(&1u64.to_be_bytes()),
        signature: Some(&[0; 64]),
        key: None,
    };
    let unwanted = |sent: Vec<Control>| {
        let is = |item: &Control| matches!(item, Control::IDontWant(_));
        sent.iter().any(is)
    };
    bench.send(1, Message::encode("t".into(), &draft));
    assert!(!unwanted(bench.sent(3).0), "nothing has come yet");
    bench.send(2, original);
    assert!(unwanted(bench.sent(3).0));
    assert_eq!(bench.delivered.len(), 1);
}

#[test]
fn others_need_not_send_what_is_still_being_judged() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_2);
    bench.peer(2, Version::V1_2);
    bench.sent(2);
    bench.stall = true;
    let message = signed(9, "t", &[1; 2000], 1);
    let id = id_of(&message);
    bench.send(1, message);
    let ticket = bench.waiting[0];
    bench.router.handle_judging(ticket);
    assert_eq!(bench.sent(2).0, [Control::IDontWant(vec![id])]);
    // Once is enough.
    bench.router.handle_judging(ticket);
    let accept = Verdict::Accept;
    bench.router.handle_verdict(ticket, accept, bench.now);
    assert_eq!(bench.sent(2).0, []);
}

#[test]
fn who_asks_for_what_it_did_not_want_gets_it() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_2);
    bench.peer(2, Version::V1_2);
    let message = signed(2, "t", &[1; 2000], 1);
    let id = id_of(&message);
    bench.say(1, vec![Control::IDontWant(vec![id.clone()])]);
    bench.send(2, message);
    assert_eq!(bench.sent(1).1.len(), 0);
    bench.say(1, vec![Control::IWant(vec![id])]);
    assert_eq!(bench.sent(1).1.len(), 1);
}

#[test]
fn a_peer_in_as_many_topics_as_we_remember_can_announce_them_anew() {
    let mut config = GossipConfig::default();
    config.base.max_topics_per_peer = 1;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_3);
    let mode = PartialMode::Requests;
    bench.say(1, vec![Control::PartialSubscription("t".into(), mode)]);
    assert_eq!(refused(&bench, Refusal::TooManyTopics), 0);
    bench.say(1, vec![Control::Subscription(true, "u".into())]);
    assert_eq!(refused(&bench, Refusal::TooManyTopics), 1);
}

#[test]
fn a_message_of_a_topic_that_we_left_during_its_check_is_neither_delivered_nor_forwarded() {
    let routers: [(Box<dyn Router>, Version); 2] = [
        (
            Box::new(support::gossipsub(0, GossipConfig::default())),
            Version::V1_1,
        ),
        (
            Box::new(Floodsub::new(
                peer(0),
                Config::default(),
                Budget::unlimited(),
                0,
            )),
            Version::Floodsub,
        ),
    ];
    for (mut router, version) in routers {
        let now = Instant::ZERO;
        router.subscribe(&"t".into(), now);
        for n in [1, 2] {
            router.handle_peer_connected(support::remote(n, version, false), now);
            let join = rpc(vec![Control::Subscription(true, "t".into())], Vec::new());
            router.handle_rpc(&peer(n), join, now).unwrap();
        }
        let message = rpc(Vec::new(), vec![signed(1, "t", b"late", 1)]);
        router.handle_rpc(&peer(1), message, now).unwrap();
        router.unsubscribe(&"t".into(), now);
        let mut outputs = Vec::new();
        while let Some(output) = router.poll_output() {
            if let Output::Validate { ticket, .. } = output {
                router.handle_verdict(ticket, Verdict::Accept, now);
            }
            outputs.push(output);
        }
        let delivered = |output: &Output| matches!(output, Output::Deliver { .. });
        assert!(!outputs.iter().any(delivered), "{version:?}");
        let stats = router.stats();
        assert_eq!(stats.dropped_in[&DropCause::NotSubscribed], 1);
        assert_eq!((stats.delivered, stats.queued), (0, 0), "{version:?}");
    }
}
