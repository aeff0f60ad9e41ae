//! What a new stream of a peer means to a router: it starts anew.

mod support;

use p2p_core::{Budget, Instant};
use p2p_pubsub::wire::{Control, Extensions};
use p2p_pubsub::{Config, Floodsub, GossipConfig, Output, PruneCause, Refusal, Router, Version};
use support::{Bench, peer, refused, remote, rpc};

fn joins(topics: &[&str]) -> Vec<Control> {
    let join = |topic: &&str| Control::Subscription(true, (*topic).into());
    topics.iter().map(join).collect()
}

#[test]
fn the_first_rpc_of_a_new_stream_takes_the_place_of_all_that_was_said_on_the_old_one() {
    let mut bench = Bench::new(GossipConfig::default());
    bench.router.subscribe(&"u".into(), bench.now);
    let peer_1 = remote(1, Version::V1_3, false);
    bench.router.handle_peer_connected(peer_1, bench.now);
    let hello = |topics: &[&str]| {
        let mut hello = vec![Control::Extensions(Extensions::default())];
        hello.extend(joins(topics));
        hello
    };
    bench.say(1, hello(&["t", "u", "v"]));
    assert_eq!(bench.router.mesh(&"u".into()), Some(vec![peer(1)]));
    bench.sent(1);
    bench.others.clear();

    bench.router.handle_stream_opened(&peer(1));
    assert_eq!(bench.router.topic_peers(&"u".into()), [peer(1)], "as yet");
    bench.say(1, hello(&["t"]));

    assert_eq!(refused(&bench, Refusal::LateExtensions), 0);
    for left in ["u", "v"] {
        assert_eq!(bench.router.topic_peers(&left.into()), [], "{left}");
    }
    assert_eq!(
        bench.others.len(),
        2,
        "told that it left: {:?}",
        bench.others
    );
    assert_eq!(bench.router.mesh(&"u".into()), Some(Vec::new()));
    assert_eq!(bench.router.stats().pruned[&PruneCause::Unsubscribed], 1);
    // It may have forgotten that it is in our mesh.
    assert_eq!(bench.sent(1).0, [Control::Graft("t".into())]);
    // And then it is as before: what is not named stays.
    bench.say(1, joins(&["u"]));
    assert_eq!(bench.router.topic_peers(&"t".into()), [peer(1)]);
    bench.say(1, hello(&[]));
    assert_eq!(refused(&bench, Refusal::LateExtensions), 1);
}

#[test]
fn floodsub_forgets_topics_that_a_new_stream_does_not_name() {
    let now = Instant::ZERO;
    let mut router = Floodsub::new(peer(0), Config::default(), Budget::unlimited(), 0);
    router.handle_peer_connected(remote(1, Version::Floodsub, false), now);
    let say = |router: &mut Floodsub, topics: &[&str]| {
        let rpc = rpc(joins(topics), Vec::new());
        router.handle_rpc(&peer(1), rpc, now).unwrap();
    };
    say(&mut router, &["t", "u"]);
    say(&mut router, &["v"]);
    assert_eq!(router.topic_peers(&"t".into()), [peer(1)]);

    router.handle_stream_opened(&peer(1));
    say(&mut router, &["u"]);

    let mut left = Vec::new();
    while let Some(output) = router.poll_output() {
        if let Output::Left { topic, .. } = output {
            left.push(topic);
        }
    }
    assert_eq!(left, ["t".into(), "v".into()]);
    assert_eq!(router.topic_peers(&"u".into()), [peer(1)]);
}
