//! What a hostile or broken peer tries. Each test is one attack.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of what comes out, only some is looked at"
)]

mod scored;
mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::{Budget, Instant};
use p2p_pubsub::wire::{Control, Extensions};
use p2p_pubsub::{
    Config, Draft, DropCause, Floodsub, GossipConfig, Message, MessageId, MessageIdFn, Output,
    PruneCause, Refusal, Reject, Router, SignatureError, Topic, TopicParams, Trace, Verdict,
    Version,
};
use proptest::prelude::*;
use support::{
    Bench, honest_traffic_passes, id_of, keypair, peer, prune, refused, rejected, rpc, signed,
};

const SECOND: Duration = Duration::from_secs(1);

/// Invalid messages and misbehaviour cost.
/// Invalid messages count as well, and nothing is forgotten soon.
fn scored() -> GossipConfig {
    let mut topic = TopicParams::default();
    topic.invalid_message_deliveries_weight = -10.0;
    topic.invalid_message_deliveries_decay = 0.99;
    let mut config = scored::scored();
    if let Some((params, _)) = &mut config.scoring {
        params.topics.insert("t".into(), topic);
        params.behaviour_penalty_decay = 0.99;
    }
    config
}

fn grafts(sent: &[Control]) -> usize {
    sent.iter()
        .filter(|item| matches!(item, Control::Graft(_)))
        .count()
}

#[test]
fn a_backoff_of_any_size_is_clamped_and_survives_heartbeats() {
    for backoff in [0, 1, 3600, i64::MAX as u64, u64::MAX - 1, u64::MAX] {
        let mut bench = Bench::new(GossipConfig::default());
        bench.pass(SECOND);
        bench.peer(1, Version::V1_1);
        bench.say(1, vec![prune("t", backoff)]);
        bench.sent(1);
        bench.pass(Duration::from_secs(30));
        let early = grafts(&bench.sent(1).0);
        // Zero means the usual minute.
        assert_eq!(early, usize::from(backoff == 1), "{backoff}");
        bench.pass(Duration::from_secs(3700));
        assert_eq!(early + grafts(&bench.sent(1).0), 1, "{backoff}");
    }
}

#[test]
fn a_clock_that_jumps_a_hundred_years_breaks_nothing() {
    let mut bench = Bench::new(scored());
    bench.peer(1, Version::V1_2);
    bench.send(1, signed(1, "t", b"before", 1));
    for now in [Duration::from_secs(100 * 365 * 86_400), Duration::MAX] {
        bench.now = Instant::ZERO + now;
        bench.router.handle_timeout(bench.now);
        bench.say(1, vec![prune("t", u64::MAX)]);
        bench.send(1, signed(1, "t", b"after", now.as_secs().min(1 << 40) + 2));
    }
    assert_eq!(bench.delivered.len(), 3);
}

#[test]
fn floodsub_remembers_nothing_over_a_hundred_years_and_panics_nowhere() {
    let century = Duration::from_secs(100 * 365 * 86_400);
    let mut router = Floodsub::new(peer(0), Config::default(), Budget::unlimited(), 0);
    router.subscribe(&"t".into(), Instant::ZERO);
    router.handle_peer_connected(support::remote(1, Version::Floodsub, false), Instant::ZERO);
    let mut delivered = 0;
    let times = [Instant::ZERO, Instant::ZERO + century, Instant::FAR_FUTURE];
    for now in times {
        router.handle_timeout(now);
        // Twice each time: the second is a duplicate.
        for _ in 0..2 {
            let message = rpc(Vec::new(), vec![signed(1, "t", b"again", 1)]);
            router.handle_rpc(&peer(1), message, now).unwrap();
            while let Some(output) = router.poll_output() {
                match output {
                    Output::Validate { ticket, .. } => {
                        router.handle_verdict(ticket, Verdict::Accept, now);
                    }
                    Output::Deliver { .. } => delivered += 1,
                    _ => {}
                }
            }
        }
        assert_eq!(
            router.stats().received,
            router.stats().delivered + duplicates(&router)
        );
    }
    assert_eq!(delivered, 3);
}

fn duplicates(router: &Floodsub) -> u64 {
    let dropped = &router.stats().dropped_in;
    dropped.get(&DropCause::Duplicate).copied().unwrap_or(0)
}

#[test]
fn a_graft_without_a_subscription_is_ignored() {
    let mut bench = Bench::new(GossipConfig::default());
    bench
        .router
        .handle_peer_connected(support::remote(1, Version::V1_1, false), bench.now);
    bench.say(1, vec![Control::Graft("t".into())]);
    assert_eq!(bench.router.mesh(&"t".into()), Some(Vec::new()));
}

#[test]
fn topic_names_of_64_kib_are_refused() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_1);
    let before = bench.router.entries();
    let long = Topic::from("x".repeat(64 * 1024));
    let ids = vec![MessageId::new(b"id")];
    bench.say(
        1,
        vec![
            Control::Subscription(true, long.clone()),
            Control::Graft(long.clone()),
            prune(long.as_str(), 60),
            Control::IHave(long, ids.into()),
        ],
    );
    assert_eq!(refused(&bench, Refusal::TopicTooLong), 4);
    bench.send(1, signed(1, &"x".repeat(64 * 1024), b"long", 1));
    let dropped = &bench.router.stats().dropped_in;
    assert_eq!(dropped[&DropCause::NotSubscribed], 1);
    assert_eq!((bench.router.entries(), bench.checks), (before, 0));
    honest_traffic_passes(&mut bench);
}

#[test]
fn idontwant_cancels_what_waits_in_the_queue() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_2);
    bench.peer(2, Version::V1_2);
    let message = signed(2, "t", &[1; 2000], 1);
    let id = id_of(&message);
    bench.send(2, message);
    bench.say(1, vec![Control::IDontWant(vec![id])]);
    let (control, messages) = bench.sent(1);
    assert!(messages.is_empty());
    // We have told it the same.
    assert!(
        control
            .iter()
            .any(|item| matches!(item, Control::IDontWant(_)))
    );
    assert_eq!(bench.router.stats().dropped_out[&DropCause::Cancelled], 1);
}

#[test]
fn a_forged_copy_before_the_original_does_not_block_it() {
    let mut bench = Bench::new(scored());
    bench.peer(1, Version::V1_2);
    bench.peer(2, Version::V1_2);
    let original = signed(3, "t", b"original", 1);
    let mut forged = original.raw().to_vec();
    let at = forged
        .windows(8)
        .position(|part| part == b"original")
        .unwrap();
    forged[at] ^= 1;
    let forged = || {
        Message::decode(Bytes::from(forged.clone()))
            .unwrap()
            .unwrap()
    };

    bench.send(1, forged());
    assert_eq!(
        rejected(&bench, Reject::Signature(SignatureError::Invalid)),
        1
    );
    bench.send(2, signed(3, "t", b"original", 1));
    assert_eq!(bench.delivered, [id_of(&original)]);
    // And after it: not even checked.
    let checks = bench.checks;
    bench.send(1, forged());
    assert_eq!((bench.checks, bench.delivered.len()), (checks, 1));
    assert!(bench.router.score(&peer(1)) < 0.0);
    assert_eq!(bench.router.score(&peer(2)), 0.0);
}

#[test]
fn a_forgery_under_way_does_not_block_the_original_and_equal_copies_are_checked_once() {
    let mut bench = Bench::new(scored());
    for n in 1..=9 {
        bench.peer(n, Version::V1_2);
    }
    bench.stall = true;
    let forged = Message::encode(
        "t".into(),
        &Draft {
            from: Some(&peer(20).to_bytes()),
            data: b"original",
            seqno: Some(&1u64.to_be_bytes()),
            signature: Some(&[0; 64]),
            key: None,
        },
    );
    bench.send(9, forged);
    for n in 1..=8 {
        bench.send(n, signed(20, "t", b"original", 1));
    }
    assert_eq!(bench.waiting.len(), 2);
    let tickets = std::mem::take(&mut bench.waiting);
    let bad = Verdict::BadSignature(SignatureError::Invalid);
    bench.router.handle_verdict(tickets[0], bad, bench.now);
    bench
        .router
        .handle_verdict(tickets[1], Verdict::Accept, bench.now);
    bench.drain();
    assert_eq!(bench.delivered.len(), 1);
    for n in 1..=8 {
        assert_eq!(bench.router.score(&peer(n)), 0.0, "{n}");
        assert!(bench.sent(n).1.is_empty(), "{n} has it already");
    }
    assert!(bench.router.score(&peer(9)) < 0.0);
}

#[test]
fn a_message_in_our_own_name_is_rejected_and_costs_its_sender() {
    let mut bench = Bench::new(scored());
    bench.peer(1, Version::V1_2);
    bench.send(1, signed(0, "t", b"you said that", 1));
    assert_eq!(rejected(&bench, Reject::SelfOrigin), 1);
    assert_eq!(bench.router.score(&peer(1)), -10.0);
    assert_eq!((bench.checks, bench.delivered.len()), (0, 0));
    honest_traffic_passes(&mut bench);
}

#[test]
fn a_message_with_the_id_of_one_of_ours_is_a_duplicate_of_it() {
    let mut config = GossipConfig::default();
    config.base.message_id = MessageIdFn::Sha256;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_2);
    let ours = Arc::new(signed(0, "t", b"said by us", 1));
    bench.router.publish(&ours, bench.now).unwrap();
    bench.sent(1);

    bench.send(1, signed(1, "t", b"said by us", 7));

    let dropped = &bench.router.stats().dropped_in;
    assert_eq!(dropped[&DropCause::Duplicate], 1);
    assert_eq!((bench.checks, bench.delivered.len()), (0, 0));
    honest_traffic_passes(&mut bench);
}

#[test]
fn messages_of_topics_that_we_are_not_in_are_dropped_unread() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_2);
    bench.send(1, signed(1, "elsewhere", &[0; 100_000], 1));
    assert_eq!(bench.checks, 0);
    assert_eq!(
        bench.router.stats().dropped_in[&DropCause::NotSubscribed],
        1
    );
}

#[test]
fn a_replayed_message_is_a_duplicate_as_long_as_it_is_remembered() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.peer(1, Version::V1_2);
    for _ in 0..100 {
        bench.send(1, signed(1, "t", b"again", 7));
        bench.pass(SECOND);
    }
    assert_eq!((bench.checks, bench.delivered.len()), (1, 1));
}

#[test]
fn a_graft_within_the_backoff_is_misbehaviour_and_counts_twice_if_at_once() {
    let mut config = scored();
    config.d = 1;
    config.d_low = 1;
    config.d_high = 1;
    config.d_score = 0;
    config.d_out = 0;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_1);
    bench.peer(2, Version::V1_1);
    bench.say(2, vec![Control::Graft("t".into())]);
    let full = |trace: &Trace| {
        matches!(
            trace,
            Trace::Pruned {
                why: PruneCause::Full,
                ..
            }
        )
    };
    assert!(bench.traces.iter().any(full));
    assert_eq!(bench.router.score(&peer(2)), 0.0);
    bench.say(2, vec![Control::Graft("t".into())]);
    assert_eq!(bench.router.score(&peer(2)), -4.0);
    bench.now += Duration::from_secs(20);
    bench.say(2, vec![Control::Graft("t".into())]);
    assert_eq!(bench.router.score(&peer(2)), -9.0);
}

#[test]
fn a_peer_that_offers_and_never_sends_loses_its_score() {
    let mut bench = Bench::new(scored());
    bench.peer(1, Version::V1_1);
    bench.peer(2, Version::V1_1);
    let kept = signed(2, "t", b"kept", 1);
    bench.say(
        1,
        vec![Control::IHave(
            "t".into(),
            vec![MessageId::new(b"never")].into(),
        )],
    );
    bench.say(
        2,
        vec![Control::IHave("t".into(), vec![id_of(&kept)].into())],
    );
    bench.send(2, kept);
    bench.pass(5 * SECOND);
    assert!(bench.router.score(&peer(1)) < -0.9);
    assert_eq!(bench.router.score(&peer(2)), 0.0);
}

#[test]
fn peers_that_offer_and_never_send_do_not_keep_us_from_one_that_would() {
    const LIARS: usize = 100;
    let mut bench = Bench::new(GossipConfig::default());
    for n in 1..=LIARS + 1 {
        bench.peer(n, Version::V1_1);
    }
    let id = id_of(&signed(1, "t", b"x", 1));
    let offer = || vec![Control::IHave("t".into(), vec![id.clone()].into())];
    let is_asked = |sent: &[Control]| sent.iter().any(|it| matches!(it, Control::IWant(_)));

    let mut asked = 0;
    for n in 1..=LIARS {
        bench.say(n, offer());
        asked += usize::from(is_asked(&bench.sent(n).0));
    }
    bench.pass(2 * SECOND);
    bench.say(LIARS + 1, offer());

    assert_eq!(asked, 2, "at first no more than two");
    assert!(is_asked(&bench.sent(LIARS + 1).0));
}

#[test]
fn extensions_after_the_first_rpc_are_misbehaviour_and_unknown_ones_are_ignored() {
    let mut bench = Bench::new(scored());
    bench
        .router
        .handle_peer_connected(support::remote(1, Version::V1_3, false), bench.now);
    // control { extensions { field 77: 1 } }, then an unknown field of the RPC.
    bench
        .receive(
            1,
            Bytes::from_static(&[0x1a, 5, 0x32, 3, 0xe8, 0x04, 1, 0x78, 1]),
        )
        .unwrap();
    assert_eq!(bench.router.score(&peer(1)), 0.0);
    bench.say(1, vec![Control::Extensions(Extensions::default())]);
    assert_eq!(bench.router.score(&peer(1)), -100.0);
    assert_eq!(refused(&bench, Refusal::LateExtensions), 1);
    honest_traffic_passes(&mut bench);
}

#[test]
fn invalid_messages_take_a_peer_out_of_the_mesh_and_then_off_the_air() {
    let mut bench = Bench::new(scored());
    bench.peer(1, Version::V1_2);
    bench.say(1, vec![Control::Graft("t".into())]);
    bench.stall = true;
    for seqno in 1..=3 {
        bench.send(1, signed(1, "t", b"invalid", seqno));
    }
    for ticket in std::mem::take(&mut bench.waiting) {
        bench
            .router
            .handle_verdict(ticket, Verdict::Reject, bench.now);
    }
    assert_eq!(bench.router.score(&peer(1)), -90.0);
    bench.send(1, signed(1, "t", b"more", 9));
    assert!(bench.waiting.is_empty());
    assert_eq!(bench.router.stats().dropped_in[&DropCause::Graylisted], 1);
    bench.pass(2 * SECOND);
    assert_eq!(bench.router.mesh(&"t".into()), Some(Vec::new()));
    assert_eq!(bench.router.stats().pruned[&PruneCause::NegativeScore], 1);
}

#[test]
fn coming_back_does_not_wash_a_score_or_a_backoff_away() {
    let mut bench = Bench::new(scored());
    bench.peer(1, Version::V1_1);
    bench.say(1, vec![prune("t", 60)]);
    bench.send(1, signed(0, "t", b"in our name", 1));
    bench.router.handle_peer_disconnected(&peer(1), bench.now);
    bench.pass(10 * SECOND);
    bench.peer(1, Version::V1_1);
    assert_eq!(bench.router.score(&peer(1)), -10.0);
    assert_eq!(bench.router.mesh(&"t".into()), Some(Vec::new()));
}

#[test]
fn proposed_peers_are_dialed_only_with_a_good_score_and_never_ourselves() {
    let proposal = |n: usize| Control::Prune {
        topic: "t".into(),
        peers: [0, n]
            .map(|n| p2p_pubsub::wire::PeerInfo {
                peer: peer(n).to_bytes().into(),
                record: None,
            })
            .to_vec(),
        backoff: Some(60),
    };
    let mut config = scored();
    config.peer_exchange = true;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_1);
    bench.say(1, vec![proposal(30)]);
    let dials = |bench: &Bench| {
        let dial = |output: &&Output| matches!(output, Output::Connect { .. });
        bench.others.iter().filter(dial).count()
    };
    assert_eq!((dials(&bench), refused(&bench, Refusal::LowScore)), (0, 1));
    bench.router.set_application_score(&peer(1), 100.0);
    for n in 30..60 {
        bench.say(1, vec![proposal(n)]);
    }
    assert_eq!(dials(&bench), 16);
}

#[test]
fn a_record_of_somebody_else_is_not_dialed() {
    let record = p2p_keys::PeerRecord::seal(&keypair(5), 1, &[])
        .unwrap()
        .encode();
    let mut config = GossipConfig::default();
    config.peer_exchange = true;
    let mut bench = Bench::new(config);
    bench.peer(1, Version::V1_1);
    for (n, dialed) in [(6, 0), (5, 1)] {
        let info = p2p_pubsub::wire::PeerInfo {
            peer: peer(n).to_bytes().into(),
            record: Some(record.clone().into()),
        };
        let (topic, peers, backoff) = ("t".into(), vec![info], None);
        bench.say(
            1,
            vec![Control::Prune {
                topic,
                peers,
                backoff,
            }],
        );
        let dial = |output: &&Output| matches!(output, Output::Connect { .. });
        assert_eq!(bench.others.iter().filter(dial).count(), dialed, "{n}");
    }
}

/// One step of whatever a peer, an application or time can do.
#[derive(Clone, Debug)]
enum Step {
    Bytes(usize, Vec<u8>),
    Connect(usize, Version),
    Disconnect(usize),
    Own(u64),
    Pass(u64),
    Reopen(usize),
    Say(usize, Vec<Control>),
    Send(usize, usize, u64),
    Subscribe(bool),
    Take(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let topic = || prop_oneof![Just(Topic::new("t")), Just(Topic::new("u"))];
    let ids = || prop::collection::vec((0u8..8).prop_map(|n| MessageId::new(&[n])), 0..4);
    let item = prop_oneof![
        topic().prop_map(Control::Graft),
        (topic(), any::<Option<u64>>()).prop_map(|(topic, backoff)| Control::Prune {
            topic,
            peers: Vec::new(),
            backoff
        }),
        (topic(), ids()).prop_map(|(topic, ids)| Control::IHave(topic, ids.into())),
        ids().prop_map(Control::IWant),
        ids().prop_map(Control::IDontWant),
        (any::<bool>(), topic()).prop_map(|(on, topic)| Control::Subscription(on, topic)),
    ];
    let version = prop::sample::select(Version::ALL.to_vec());
    let n = 1usize..6;
    prop_oneof![
        (n.clone(), prop::collection::vec(any::<u8>(), 0..30)).prop_map(|(n, b)| Step::Bytes(n, b)),
        (n.clone(), version).prop_map(|(n, version)| Step::Connect(n, version)),
        n.clone().prop_map(Step::Disconnect),
        (1u64..5).prop_map(Step::Own),
        (0u64..20_000).prop_map(Step::Pass),
        n.clone().prop_map(Step::Reopen),
        (n.clone(), prop::collection::vec(item, 0..5)).prop_map(|(n, say)| Step::Say(n, say)),
        (n.clone(), 0usize..6, 1u64..5).prop_map(|(n, by, seqno)| Step::Send(n, by, seqno)),
        any::<bool>().prop_map(Step::Subscribe),
        n.prop_map(Step::Take),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn whatever_happens_the_mesh_is_sound_and_every_message_is_accounted_for(
        steps in prop::collection::vec(any_step(), 0..60)
    ) {
        let mut bench = Bench::new(scored());
        for step in steps {
            match step {
                Step::Bytes(n, bytes) => { let _ = bench.receive(n, bytes.into()); }
                Step::Connect(n, version) => {
                    let remote = support::remote(n, version, n % 2 == 0);
                    bench.router.handle_peer_connected(remote, bench.now);
                }
                Step::Disconnect(n) => bench.router.handle_peer_disconnected(&peer(n), bench.now),
                Step::Own(seqno) => { let _ = bench.publish(signed(0, "t", b"own", seqno)); }
                Step::Pass(millis) => bench.pass(Duration::from_millis(millis)),
                Step::Reopen(n) => bench.router.handle_stream_opened(&peer(n)),
                Step::Say(n, items) => bench.receive(n, rpc(items, Vec::new())).unwrap(),
                Step::Send(n, by, seqno) => bench.send(n, signed(by, "t", &[1; 1500], seqno)),
                Step::Subscribe(true) => { bench.router.subscribe(&"t".into(), bench.now); }
                Step::Subscribe(false) => { bench.router.unsubscribe(&"t".into(), bench.now); }
                Step::Take(n) => { bench.sent(n); }
            }
            bench.drain();
            let mesh = bench.router.mesh(&"t".into()).unwrap_or_default();
            prop_assert!(mesh.len() <= 12);
            let stats = bench.router.stats();
            let dropped: u64 = stats.dropped_in.values().sum();
            let rejected: u64 = stats.rejected.values().sum();
            prop_assert_eq!(stats.received, stats.delivered + dropped + rejected);
        }
        for n in 1..6 {
            bench.router.handle_peer_disconnected(&peer(n), bench.now);
        }
        bench.pass(Duration::from_secs(8000));
        prop_assert_eq!(bench.router.entries(), 0);
    }
}
