use proptest::prelude::*;

use super::*;
use crate::Draft;

impl Queue {
    /// The next RPC, for a peer of somebody in the topics `ours`.
    fn rpc_of(&mut self, limits: &QueueLimits, ours: &BTreeSet<Topic>) -> Option<RpcOut> {
        let mut rpc = RpcOut::default();
        let word = |topic: &Topic| Control::Subscription(ours.contains(topic), topic.clone());
        self.fill_rpc(limits, ours, word, &mut rpc).then_some(rpc)
    }

    fn next_rpc(&mut self, limits: &QueueLimits) -> Option<RpcOut> {
        self.rpc_of(limits, &BTreeSet::new())
    }
}

fn message(n: u8, len: usize) -> (MessageId, Arc<Message>) {
    let draft = Draft {
        data: &vec![n; len],
        ..Draft::default()
    };
    let message = Message::encode("t".into(), &draft);
    (MessageId::new(&[n]), Arc::new(message))
}

#[test]
fn control_goes_before_own_messages_and_those_before_forwarded_ones() {
    let (mut queue, limits) = (Queue::default(), QueueLimits::default());
    let (theirs, ours) = (message(1, 10), message(2, 10));
    queue.push_forwarded(&theirs.0, &theirs.1, &limits);
    queue.push_own(&ours.0, &ours.1, &limits);
    queue.push_control(Control::Graft("t".into()), &limits);

    let rpc = queue.next_rpc(&limits).unwrap();
    assert_eq!(rpc.control, [Control::Graft("t".into())]);
    assert!(Arc::ptr_eq(&rpc.messages[0], &ours.1));
    assert!(Arc::ptr_eq(&rpc.messages[1], &theirs.1));
    assert!(queue.next_rpc(&limits).is_none());
    assert_eq!(queue.bytes(), 0);
}

#[test]
fn a_newer_word_on_a_topic_replaces_an_older_one() {
    let (mut queue, limits) = (Queue::default(), QueueLimits::default());
    let prune = Control::Prune {
        topic: "t".into(),
        peers: Vec::new(),
        backoff: Some(60),
    };
    queue.push_control(Control::Graft("t".into()), &limits);
    queue.push_control(Control::Graft("u".into()), &limits);
    queue.push_control(prune.clone(), &limits);
    let rpc = queue.next_rpc(&limits).unwrap();
    assert_eq!(rpc.control, [prune, Control::Graft("u".into())]);
}

#[test]
fn gossip_and_proposed_peers_are_lost_when_full_and_words_on_meshes_never() {
    let mut queue = Queue::default();
    let limits = QueueLimits {
        control_bytes: 500,
        ..QueueLimits::default()
    };
    let ids = |n| Control::IWant(vec![MessageId::new(&[n; 30])]);
    let taken = (0..10).filter(|n| queue.push_control(ids(*n), &limits));
    assert_eq!(taken.count(), 5);
    for n in 0..100 {
        let peers = vec![crate::wire::PeerInfo {
            peer: vec![7; 38].into(),
            record: None,
        }];
        let prune = Control::Prune {
            topic: format!("{n}").into(),
            peers,
            backoff: None,
        };
        assert!(queue.push_control(prune, &limits));
    }
    assert!(queue.bytes() <= 500);
    let rpc = queue.next_rpc(&limits).unwrap();
    assert_eq!(rpc.control.len(), 105);
    assert_eq!(queue.bytes(), 0);
}

#[test]
fn an_rpc_has_at_most_a_hundred_subscriptions() {
    let (mut queue, limits) = (Queue::default(), QueueLimits::default());
    let ours = (0..250)
        .map(|n| Topic::from(format!("topic {n}")))
        .collect();
    queue.greet(&ours);
    queue.push_control(Control::Graft("topic 249".into()), &limits);
    let rpcs = std::iter::from_fn(|| queue.rpc_of(&limits, &ours));
    let sizes: Vec<usize> = rpcs.map(|rpc| rpc.control.len()).collect();
    // The graft comes when the peer knows that we are in the topic.
    assert_eq!(sizes, [100, 100, 51]);
}

proptest! {
    #[test]
    fn whatever_changes_meanwhile_a_peer_knows_our_topics_in_the_end(
        before in prop::collection::btree_set(0u8..20, 0..20),
        ops in prop::collection::vec((0u8..4, 0u8..20), 0..60)
    ) {
        let topic = |n: u8| Topic::from(format!("{n:02}"));
        let mut ours: BTreeSet<Topic> = before.into_iter().map(topic).collect();
        let limits = QueueLimits { rpc_subscriptions: 3, ..QueueLimits::default() };
        let (mut queue, mut known) = (Queue::default(), BTreeSet::new());
        let mut hear = |rpc: RpcOut| for item in rpc.control {
            let Control::Subscription(joined, topic) = item else {
                panic!("{item:?}");
            };
            match joined {
                true => known.insert(topic),
                false => known.remove(&topic),
            };
        };
        queue.greet(&ours);
        for (op, n) in ops {
            let topic = topic(n);
            match op {
                0 => if ours.insert(topic.clone()) { queue.topic_changed(&topic, true) },
                1 => if ours.remove(&topic) { queue.topic_changed(&topic, false) },
                2 => if ours.contains(&topic) { queue.topic_again(&topic) },
                _ => queue.rpc_of(&limits, &ours).into_iter().for_each(&mut hear),
            }
        }
        std::iter::from_fn(|| queue.rpc_of(&limits, &ours)).for_each(&mut hear);
        prop_assert!(queue.is_empty());
        prop_assert_eq!(known, ours);
    }
}

proptest! {
    #[test]
    fn a_peer_that_never_reads_costs_at_most_its_limits(
        ops in prop::collection::vec((0u8..4, any::<u8>(), 0usize..3000), 0..200)
    ) {
        let mut queue = Queue::default();
        let limits = QueueLimits {
            control_bytes: 2000,
            own_bytes: 5000,
            forwarded_bytes: 7000,
            rpc_bytes: 4000,
            ..QueueLimits::default()
        };
        for (op, n, len) in ops {
            let (id, message) = message(n, len);
            match op {
                0 => { queue.push_own(&id, &message, &limits); }
                1 => { queue.push_forwarded(&id, &message, &limits); }
                2 => { queue.cancel(&id); }
                _ => { queue.push_control(Control::IWant(vec![id]), &limits); }
            }
            prop_assert!(queue.bytes() <= 2000 + 5000 + 7000);
        }
        while let Some(rpc) = queue.next_rpc(&limits) {
            prop_assert!(rpc.encoded_len() <= 4000 + 64);
        }
        prop_assert!(queue.is_empty());
        prop_assert_eq!(queue.bytes(), 0);
    }
}
