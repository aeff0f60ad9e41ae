//! Messages in parts.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on should stop, and names the outputs it looks at"
)]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::{Budget, Instant, PeerId};
use p2p_pubsub::wire::{Control, Extensions, PartialOut, Rpc, WireLimits};
use p2p_pubsub::{
    GossipConfig, Gossipsub, Output, Partial, PartialError, PartialMode, PartialSent, Parts,
    Refusal, Router, Topic, Verdict, Version,
};
use proptest::prelude::*;
use support::{frames, gossipsub, peer, remote, rpc, signed};

/// A message of sixteen parts; which we have is a bitmap.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blob {
    group: Bytes,
    parts: BTreeMap<u8, Bytes>,
}

impl Blob {
    fn new(group: &str, parts: impl IntoIterator<Item = u8>) -> Self {
        let part = |n: u8| (n, Bytes::from(vec![n; 100]));
        Self {
            group: Bytes::copy_from_slice(group.as_bytes()),
            parts: parts.into_iter().map(part).collect(),
        }
    }

    /// Takes what is new and right; how many parts were not new.
    fn take(&mut self, parts: &[u8]) -> usize {
        let mut twice = 0;
        for part in parts.chunks(101) {
            if let [n, data @ ..] = part
                && data == vec![*n; 100]
            {
                let old = self.parts.insert(*n, Bytes::copy_from_slice(data));
                twice += usize::from(old.is_some());
            }
        }
        twice
    }
}

fn bitmap(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

impl Partial for Blob {
    fn group(&self) -> Bytes {
        self.group.clone()
    }

    fn metadata(&self) -> Bytes {
        let bits = self.parts.keys().map(|n| 1u16 << (n % 16));
        Bytes::copy_from_slice(&bits.sum::<u16>().to_be_bytes())
    }

    fn parts_for(&self, metadata: &[u8]) -> Option<Bytes> {
        let has = bitmap(metadata)?;
        let lacking = self.parts.iter().filter(|(n, _)| has & (1 << *n) == 0);
        let encoded = lacking.flat_map(|(n, data)| [&[*n], &data[..]].concat());
        Some(encoded.collect::<Vec<u8>>().into()).filter(|parts: &Bytes| !parts.is_empty())
    }

    fn merge(&self, metadata: &[u8]) -> Bytes {
        let ours = bitmap(&self.metadata()).unwrap();
        let both = bitmap(metadata).unwrap_or(0) | ours;
        Bytes::copy_from_slice(&both.to_be_bytes())
    }
}

/// Applications that publish again what they got.
struct Apps {
    routers: Vec<Gossipsub>,
    blobs: Vec<Blob>,
    now: Instant,
    flying: VecDeque<(usize, usize, Bytes)>,
    /// Parts that somebody had already.
    twice: usize,
    /// Whole messages that were delivered, by node.
    whole: Vec<usize>,
}

impl Apps {
    fn new(blobs: Vec<Blob>, mode: impl Fn(usize) -> Option<PartialMode>) -> Self {
        let topic = Topic::new("t");
        let mut routers = Vec::new();
        for n in 0..blobs.len() {
            let mut router = gossipsub(n, GossipConfig::default());
            router.set_partial(&topic, mode(n));
            router.subscribe(&topic, Instant::ZERO);
            routers.push(router);
        }
        Self {
            whole: vec![0; blobs.len()],
            routers,
            blobs,
            now: Instant::ZERO,
            flying: VecDeque::new(),
            twice: 0,
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let remote = remote(to, Version::V1_3, from == a);
            self.routers[from].handle_peer_connected(remote, self.now);
        }
    }

    fn publish(&mut self, n: usize) -> PartialSent {
        self.routers[n]
            .publish_parts(&"t".into(), &self.blobs[n])
            .unwrap()
    }

    /// Until nobody has anything more to say at this moment.
    fn settle(&mut self) {
        let by_peer: BTreeMap<PeerId, usize> =
            (0..self.blobs.len()).map(|n| (peer(n), n)).collect();
        loop {
            for n in 0..self.routers.len() {
                while let Some(output) = self.routers[n].poll_output() {
                    match output {
                        Output::Ready { peer } => {
                            for frame in frames(&mut self.routers[n], &peer) {
                                self.flying.push_back((n, by_peer[&peer], frame));
                            }
                        }
                        Output::Parts(parts) => self.take(n, &parts),
                        Output::Validate { ticket, .. } => {
                            self.routers[n].handle_verdict(ticket, Verdict::Accept, self.now);
                        }
                        Output::Deliver { .. } => self.whole[n] += 1,
                        _ => {}
                    }
                }
            }
            let Some((from, to, frame)) = self.flying.pop_front() else {
                return;
            };
            self.routers[to]
                .handle_rpc(&peer(from), frame, self.now)
                .unwrap();
        }
    }

    fn take(&mut self, n: usize, parts: &Arc<Parts>) {
        if parts.group == self.blobs[n].group {
            self.twice += self.blobs[n].take(parts.parts.as_deref().unwrap_or_default());
            self.publish(n);
        }
    }

    fn pass(&mut self, heartbeats: u64) {
        for _ in 0..heartbeats {
            self.now += Duration::from_secs(1);
            for router in &mut self.routers {
                router.handle_timeout(self.now);
            }
            self.settle();
        }
    }
}

fn requests(_: usize) -> Option<PartialMode> {
    Some(PartialMode::Requests)
}

#[test]
fn two_nodes_give_each_other_what_the_other_lacks_and_nothing_twice() {
    let mut apps = Apps::new(vec![Blob::new("g", 0..10), Blob::new("g", 6..16)], requests);
    apps.connect(0, 1);
    apps.settle();

    apps.publish(0);
    apps.publish(1);
    apps.settle();

    assert_eq!(apps.blobs[0], Blob::new("g", 0..16));
    assert_eq!(apps.blobs[1], Blob::new("g", 0..16));
    assert_eq!(apps.twice, 0);
    // The same again says nothing.
    assert_eq!(apps.publish(0), PartialSent::default());
}

#[test]
fn ten_nodes_with_a_part_or_two_each_all_end_with_all_parts() {
    let blobs = (0..10u8).map(|n| Blob::new("g", [n, n + 6])).collect();
    let mut apps = Apps::new(blobs, requests);
    for n in 0..10 {
        for step in [1, 3] {
            apps.connect(n, (n + step) % 10);
        }
    }
    apps.settle();
    apps.pass(2);

    for n in 0..10 {
        apps.publish(n);
    }
    apps.settle();

    for blob in &apps.blobs {
        assert_eq!(*blob, Blob::new("g", 0..16));
    }
}

#[test]
fn a_peer_outside_the_mesh_hears_by_gossip_and_gets_its_parts() {
    let mut blobs = vec![Blob::new("g", 0..16)];
    blobs.extend((1..20).map(|_| Blob::new("g", [])));
    let mut apps = Apps::new(blobs, requests);
    for n in 1..20 {
        apps.connect(n, 0);
    }
    apps.settle();
    let mesh = apps.routers[0].mesh(&"t".into()).unwrap().len();
    assert!(mesh < 19, "somebody is outside: {mesh}");

    apps.publish(0);
    apps.settle();
    apps.pass(4);

    for (n, blob) in apps.blobs.iter().enumerate() {
        assert_eq!(*blob, Blob::new("g", 0..16), "node {n}");
    }
}

#[test]
fn parts_that_are_published_to_some_reach_nobody_else() {
    let blobs = [0..16, 0..0, 0..0].map(|parts| Blob::new("g", parts));
    let mut apps = Apps::new(blobs.into(), requests);
    apps.connect(0, 1);
    apps.connect(0, 2);
    apps.settle();

    let sent = apps.routers[0].publish_parts_to(&"t".into(), &apps.blobs[0], &[peer(2), peer(7)]);

    let told = PartialSent {
        metadata: 1,
        ..PartialSent::default()
    };
    let mut said = |to| frames(&mut apps.routers[0], &peer(to)).len();
    assert_eq!(sent, Ok(told));
    assert_eq!((said(1), said(2)), (0, 1));
    // To all: whoever was told hears nothing twice.
    assert_eq!(apps.publish(0), told);
    let mut said = |to| frames(&mut apps.routers[0], &peer(to)).len();
    assert_eq!((said(1), said(2)), (1, 0));
}

#[test]
fn whoever_publishes_from_outside_the_topic_hears_what_we_lack_and_gets_no_parts() {
    let mut router = bench(GossipConfig::default(), Budget::unlimited(), 0);
    for n in [1, 2] {
        router.handle_peer_connected(remote(n, Version::V1_3, false), Instant::ZERO);
        let hello = rpc(vec![extensions()], Vec::new());
        router.handle_rpc(&peer(n), hello, Instant::ZERO).unwrap();
        frames(&mut router, &peer(n));
    }

    let everything = partial(b"g", None, Some(&[0xff, 0xff]));
    router
        .handle_rpc(&peer(1), everything, Instant::ZERO)
        .unwrap();
    let sent = router.publish_parts(&"t".into(), &Blob::new("g", 0..2));

    let told = PartialSent {
        metadata: 1,
        ..PartialSent::default()
    };
    assert_eq!(sent, Ok(told));
    assert_eq!(frames(&mut router, &peer(1)).len(), 1);
    assert_eq!(frames(&mut router, &peer(2)).len(), 0, "said nothing");
}

#[test]
fn a_peer_that_only_supports_parts_is_told_what_we_have_and_gets_whole_messages() {
    let mode = |n| {
        Some(match n {
            0 => PartialMode::Requests,
            _ => PartialMode::Supports,
        })
    };
    let mut apps = Apps::new(vec![Blob::new("g", 0..4), Blob::new("g", 0..16)], mode);
    apps.connect(0, 1);
    apps.settle();

    assert_eq!(apps.publish(0).metadata, 1);
    apps.publish(1);
    apps.settle();

    assert_eq!(
        apps.blobs[0],
        Blob::new("g", 0..16),
        "parts for whoever requests them"
    );
    assert_eq!(apps.blobs[1], Blob::new("g", 0..16));
    apps.routers[0]
        .publish(&signed(0, "t", b"whole", 1).into(), apps.now)
        .unwrap();
    apps.settle();
    assert_eq!(apps.whole, [0, 1]);
}

#[test]
fn whoever_requests_parts_gets_no_whole_message_no_ihave_and_no_idontwant_from_us() {
    let mut router = gossipsub(0, GossipConfig::default());
    let topic = Topic::new("t");
    router.set_partial(&topic, Some(PartialMode::Supports));
    router.subscribe(&topic, Instant::ZERO);
    for (n, mode) in [(1, PartialMode::Requests), (2, PartialMode::Supports)] {
        router.handle_peer_connected(remote(n, Version::V1_3, false), Instant::ZERO);
        let hello = vec![
            extensions(),
            Control::PartialSubscription(topic.clone(), mode),
        ];
        router
            .handle_rpc(&peer(n), rpc(hello, Vec::new()), Instant::ZERO)
            .unwrap();
    }
    frames(&mut router, &peer(1));
    frames(&mut router, &peer(2));

    router
        .publish(&signed(0, "t", b"ours", 1).into(), Instant::ZERO)
        .unwrap();
    let long = signed(9, "t", &[7; 4096], 1);
    router
        .handle_rpc(&peer(2), rpc(Vec::new(), vec![long]), Instant::ZERO)
        .unwrap();
    while let Some(output) = router.poll_output() {
        if let Output::Validate { ticket, .. } = output {
            router.handle_verdict(ticket, Verdict::Accept, Instant::ZERO);
        }
    }
    for second in 1..5 {
        router.handle_timeout(Instant::ZERO + Duration::from_secs(second));
    }

    let parts_of = |frames: Vec<Bytes>| -> String {
        let all = frames.iter().flat_map(|frame| {
            let rpc = Rpc::parse(frame, &WireLimits::default()).unwrap();
            rpc.parts()
                .map(|part| format!("{part:?}"))
                .collect::<Vec<_>>()
        });
        all.collect()
    };
    let said = parts_of(frames(&mut router, &peer(1)));
    for word in ["Publish", "IHave", "IDontWant"] {
        assert!(!said.contains(word), "{said}");
    }
    assert!(parts_of(frames(&mut router, &peer(2))).contains("Publish"));
}

fn extensions() -> Control {
    Control::Extensions(Extensions {
        partial_messages: true,
        test: false,
    })
}

/// One router in topic "t" that requests parts, with peers that have said hello.
fn bench(config: GossipConfig, budget: Budget, peers: usize) -> Gossipsub {
    let mut router = Gossipsub::new(peer(0), config, budget, 1, Instant::ZERO).unwrap();
    let topic = Topic::new("t");
    router.set_partial(&topic, Some(PartialMode::Requests));
    router.subscribe(&topic, Instant::ZERO);
    for n in 1..=peers {
        router.handle_peer_connected(remote(n, Version::V1_3, false), Instant::ZERO);
        let sub = Control::PartialSubscription(topic.clone(), PartialMode::Requests);
        router
            .handle_rpc(
                &peer(n),
                rpc(vec![extensions(), sub], Vec::new()),
                Instant::ZERO,
            )
            .unwrap();
    }
    drain(&mut router);
    router
}

fn drain(router: &mut Gossipsub) -> Vec<Arc<Parts>> {
    let outputs = std::iter::from_fn(|| router.poll_output());
    outputs
        .filter_map(|output| match output {
            Output::Parts(parts) => Some(parts),
            _ => None,
        })
        .collect()
}

fn partial(group: &[u8], parts: Option<&[u8]>, metadata: Option<&[u8]>) -> Bytes {
    let out = PartialOut {
        topic: "t".into(),
        group: Bytes::copy_from_slice(group),
        parts: parts.map(Bytes::copy_from_slice),
        metadata: metadata.map(Bytes::copy_from_slice),
    };
    rpc(vec![Control::Partial(out)], Vec::new())
}

#[test]
fn parts_in_the_first_rpc_count_although_the_extension_is_announced_behind_them() {
    let mut router = bench(GossipConfig::default(), Budget::unlimited(), 0);
    router.handle_peer_connected(remote(1, Version::V1_3, false), Instant::ZERO);
    let out = PartialOut {
        topic: "t".into(),
        group: Bytes::from_static(b"g"),
        parts: None,
        metadata: Some(Bytes::from_static(&[0, 0])),
    };
    let first = rpc(vec![Control::Partial(out), extensions()], Vec::new());
    router.handle_rpc(&peer(1), first, Instant::ZERO).unwrap();
    assert_eq!(drain(&mut router).len(), 1);
}

#[test]
fn groups_that_peers_start_are_limited_for_each_of_them_and_for_all() {
    let config = GossipConfig::default();
    let (its, all) = (config.max_peer_groups, config.max_peer_groups_per_topic);
    let peers = all / its + 10;
    let mut router = bench(config, Budget::unlimited(), peers);
    let before = router.entries();
    for n in 1..=peers {
        for group in 0..100u32 {
            let name = [(n as u32).to_be_bytes(), group.to_be_bytes()].concat();
            let said = partial(&name, None, Some(&[0, 0]));
            router.handle_rpc(&peer(n), said, Instant::ZERO).unwrap();
            drain(&mut router);
        }
    }
    // Each group and the one peer that spoke of it.
    assert_eq!(router.entries() - before, 2 * all);
    assert!(router.stats().refused[&Refusal::TooMany] > 1000);
    for heartbeat in 1..10 {
        router.handle_timeout(Instant::ZERO + Duration::from_secs(heartbeat));
    }
    assert_eq!(router.entries(), before, "forgotten in time");
}

#[test]
fn a_peer_that_leaves_takes_its_groups_along() {
    let mut router = bench(GossipConfig::default(), Budget::unlimited(), 1);
    let said = partial(b"g", None, Some(&[0, 0]));
    router.handle_rpc(&peer(1), said, Instant::ZERO).unwrap();
    router.handle_peer_disconnected(&peer(1), Instant::ZERO);
    let mut fresh = bench(GossipConfig::default(), Budget::unlimited(), 1);
    fresh.handle_peer_disconnected(&peer(1), Instant::ZERO);
    assert_eq!(router.entries(), fresh.entries());
}

#[test]
fn long_names_and_metadata_foreign_topics_and_unannounced_parts_are_refused() {
    let config = GossipConfig::default();
    let (name, metadata) = (
        vec![1; config.max_group_len + 1],
        vec![1; config.max_parts_metadata + 1],
    );
    let mut router = bench(config, Budget::unlimited(), 1);
    for said in [
        partial(&name, None, Some(&[0, 0])),
        partial(b"g", None, Some(&metadata)),
        partial(b"", None, Some(&[0, 0])),
    ] {
        router.handle_rpc(&peer(1), said, Instant::ZERO).unwrap();
    }
    assert_eq!(router.stats().refused[&Refusal::TooLong], 3);

    router.handle_peer_connected(remote(2, Version::V1_3, false), Instant::ZERO);
    let said = partial(b"g", Some(b"part"), None);
    router.handle_rpc(&peer(2), said, Instant::ZERO).unwrap();
    assert_eq!(router.stats().refused[&Refusal::NotNegotiated], 1);

    router.set_partial(&"t".into(), Some(PartialMode::Supports));
    let said = partial(b"g", Some(b"part"), Some(&[0, 0]));
    router.handle_rpc(&peer(1), said, Instant::ZERO).unwrap();
    assert_eq!(router.stats().refused[&Refusal::Unrequested], 1);

    router.set_partial(&"t".into(), None);
    let said = partial(b"g", None, Some(&[0, 0]));
    router.handle_rpc(&peer(1), said, Instant::ZERO).unwrap();
    assert_eq!(router.stats().refused[&Refusal::UnknownTopic], 1);

    let given: Vec<Option<Bytes>> = drain(&mut router)
        .iter()
        .map(|parts| parts.parts.clone())
        .collect();
    assert_eq!(given, [None], "what was not requested is not handed on");
}

#[test]
fn what_peers_say_is_paid_for_from_the_budget() {
    let budget = Budget::new("test", "limit", 100_000);
    let mut router = bench(GossipConfig::default(), budget.clone(), 30);
    for n in 1..=30 {
        for group in 0..8u32 {
            let said = partial(&group.to_be_bytes(), Some(&[7; 1000]), Some(&[1; 4000]));
            router.handle_rpc(&peer(n), said, Instant::ZERO).unwrap();
            assert!(budget.used() <= 100_000);
        }
    }
    assert!(router.stats().refused[&Refusal::TooMany] > 0);
    drop(drain(&mut router));
    drop(router);
    assert_eq!(budget.used(), 0);
}

#[test]
fn one_peer_makes_us_keep_no_more_than_its_share() {
    let mut config = GossipConfig::default();
    config.parts_bytes_per_peer = 6000;
    let budget = Budget::new("test", "limit", 100_000);
    let mut router = bench(config, budget.clone(), 2);
    // Peer, group, length; and how often something was refused by then. What takes the place of
    // something older is paid for by it.
    for (n, group, len, refused) in [
        (1, 1, 2500, 0),
        (1, 2, 2500, 0),
        (1, 3, 2500, 1),
        (1, 2, 2500, 1),
        (1, 2, 100, 1),
        (1, 3, 2500, 1),
        (2, 4, 2500, 1),
        (1, 2, 2500, 2),
    ] {
        let said = partial(&[group], None, Some(&vec![1; len]));
        router.handle_rpc(&peer(n), said, Instant::ZERO).unwrap();
        drain(&mut router);
        let count = router.stats().refused.get(&Refusal::TooMany).copied();
        assert_eq!(count.unwrap_or(0), refused, "{n} {group} {len}");
    }
    router.handle_peer_disconnected(&peer(1), Instant::ZERO);
    router.handle_peer_disconnected(&peer(2), Instant::ZERO);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_stalled_peer_costs_its_queue_and_gets_the_rest_later() {
    let mut config = GossipConfig::default();
    config.base.queue.partial_bytes = 4000;
    let mut router = bench(config, Budget::unlimited(), 1);
    let mut full = 0;
    for group in 0..100 {
        let blob = Blob::new(&format!("group {group}"), 0..16);
        full += router.publish_parts(&"t".into(), &blob).unwrap().full;
    }
    assert!(full > 50, "{full}");
    let waiting: usize = frames(&mut router, &peer(1)).iter().map(Bytes::len).sum();
    assert!(waiting <= 4000 + 200, "{waiting}");
    let last = Blob::new("group 99", 0..16);
    assert_eq!(
        router.publish_parts(&"t".into(), &last).unwrap().metadata,
        1
    );
}

#[test]
fn publishing_needs_a_mode_and_sizes_within_the_limits() {
    let mut router = gossipsub(0, GossipConfig::default());
    let blob = Blob::new("g", 0..1);
    let topic = Topic::new("t");
    assert_eq!(
        router.publish_parts(&topic, &blob),
        Err(PartialError::NotInTopic)
    );
    router.set_partial(&topic, Some(PartialMode::Requests));
    assert_eq!(
        router.publish_parts(&topic, &blob),
        Ok(PartialSent::default())
    );
    let nameless = Blob::new("", 0..1);
    assert!(matches!(
        router.publish_parts(&topic, &nameless),
        Err(PartialError::Length {
            what: "group",
            len: 0,
            ..
        })
    ));
}

proptest! {
    #[test]
    fn any_partials_from_any_peers_panic_nowhere_and_stay_within_the_limits(
        said in proptest::collection::vec(
            (
                1..4usize,
                proptest::collection::vec(any::<u8>(), 0..4),
                proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
                proptest::option::of(proptest::collection::vec(any::<u8>(), 0..6)),
                0..6u8,
            ),
            0..80,
        ),
    ) {
        let config = GossipConfig::default();
        let most = config.max_peer_groups;
        let mut router = bench(config, Budget::unlimited(), 3);
        let before = router.entries();
        let (mut blob, mut now) = (Blob::new("g", 0..5), Instant::ZERO);
        for (n, group, parts, metadata, then) in said {
            let said = partial(&group, parts.as_deref(), metadata.as_deref());
            router.handle_rpc(&peer(n), said, now).unwrap();
            for parts in drain(&mut router) {
                blob.take(parts.parts.as_deref().unwrap_or_default());
            }
            match then {
                0 => {
                    now += Duration::from_secs(1);
                    router.handle_timeout(now);
                }
                1 => {
                    blob.group = Bytes::copy_from_slice(if group.is_empty() { b"g" } else { &group });
                    router.publish_parts(&"t".into(), &blob).unwrap();
                }
                2 => {
                    let _ = frames(&mut router, &peer(n));
                }
                _ => {}
            }
            // Each of three peers starts so many groups; ours are at most as many as steps.
            prop_assert!(router.entries() - before <= (3 * most + 80) * 4);
        }
    }
}
