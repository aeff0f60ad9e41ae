use proptest::prelude::*;

use super::*;
use crate::{Draft, Topic};

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
    queue
        .push_control(Control::Graft("t".into()), &limits)
        .unwrap();

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
    queue
        .push_control(Control::Graft("t".into()), &limits)
        .unwrap();
    queue
        .push_control(Control::Graft("u".into()), &limits)
        .unwrap();
    queue.push_control(prune.clone(), &limits).unwrap();
    let rpc = queue.next_rpc(&limits).unwrap();
    assert_eq!(rpc.control, [Control::Graft("u".into()), prune]);
}

#[test]
fn gossip_makes_room_for_what_must_not_be_lost() {
    let mut queue = Queue::default();
    let limits = QueueLimits {
        control_bytes: 500,
        ..QueueLimits::default()
    };
    for n in 0..10u8 {
        let ids = vec![MessageId::new(&[n; 30])];
        queue.push_control(Control::IWant(ids), &limits).unwrap();
    }
    for n in 0..7 {
        let topic = Topic::from(format!("{n}"));
        queue
            .push_control(Control::Subscription(true, topic), &limits)
            .unwrap();
    }
    let stalled = queue.push_control(Control::Graft("x".into()), &limits);
    assert_eq!(stalled, Err(Stalled));
    assert_eq!(queue.control.len(), 7);
}

#[test]
fn an_rpc_has_at_most_a_hundred_subscriptions() {
    let (mut queue, limits) = (Queue::default(), QueueLimits::default());
    for n in 0..250 {
        let topic = Topic::from(format!("topic {n}"));
        queue
            .push_control(Control::Subscription(true, topic), &limits)
            .unwrap();
    }
    let sizes = std::iter::from_fn(|| queue.next_rpc(&limits)).map(|rpc| rpc.control.len());
    assert_eq!(sizes.collect::<Vec<_>>(), [100, 100, 50]);
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
                _ => { let _ = queue.push_control(Control::IWant(vec![id]), &limits); }
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
