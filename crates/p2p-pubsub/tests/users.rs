//! What the program around pubsub does, or fails to do, and what it may rely on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod swarms;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};
use p2p_core::{PeerId, Rt};
use p2p_keys::{Keypair, PeerRecord};
use p2p_pubsub::{
    GossipConfig, Node, Presence, PublishError, PublishFailed, Pubsub, Received, Records,
    Subscription, TopicParams, Trace, Traced, Version,
};
use p2p_swarm::{Event, Swarm};
use swarms::{keypair, listen, network, next, sim, swarm, two};
use tracing::span;

const SECOND: Duration = Duration::from_secs(1);

/// The sequence number and the payload of the next message.
async fn numbered(subscription: &mut Subscription, rt: &Rt) -> (u64, Vec<u8>) {
    let next = rt.timeout(Duration::from_secs(10), subscription.next());
    let Some(Received::Message { message, .. }) = next.await.expect("a message in time") else {
        panic!("something was lost");
    };
    let seqno = u64::from_be_bytes(message.seqno().unwrap().try_into().unwrap());
    (seqno, message.data().to_vec())
}

#[test]
fn subscribers_that_never_read_keep_nobody_else_from_getting_messages() {
    let sim = sim(41);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let mut config = GossipConfig::default();
        config.base.memory_budget = 256 * 1024;
        config.cache_bytes = 32 * 1024;
        let network = network(&hosts, &config).await;
        let [alice, bob] = two(&network);
        let slow = ["one", "two", "three", "chat"].map(|topic| bob.subscribe(topic));
        let mut quick = bob.subscribe("chat");
        let data = vec![7; 8 * 1024];
        for topic in ["one", "two", "three"] {
            for _ in 0..20 {
                alice.publish_when_ready(topic, &data).await.unwrap();
            }
        }
        for _ in 0..60 {
            alice.publish_when_ready("chat", &data).await.unwrap();
            assert_eq!(next(&mut quick, &rt).await, data);
        }
        let stats = bob.stats();
        assert_eq!((stats.delivered, stats.rejected), (120, BTreeMap::new()));
        for (mut slow, sent) in slow.into_iter().zip([20, 20, 20, 60]) {
            let Some(Some(Received::Lagged(lost))) = slow.next().now_or_never() else {
                panic!("nothing lost in {slow:?}");
            };
            let mut read = 0;
            while slow.next().now_or_never().is_some() {
                read += 1;
            }
            assert_eq!(lost + read, sent);
        }
    });
}

#[test]
fn a_subscriber_that_does_not_read_holds_so_many_bytes() {
    let sim = sim(42);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let mut config = GossipConfig::default();
        config.base.subscriber_backlog_bytes = 10_000;
        let network = network(&hosts, &config).await;
        let [alice, bob] = two(&network);
        let mut chat = bob.subscribe("chat");
        for n in 0..20u8 {
            alice.publish_when_ready("chat", [n; 3000]).await.unwrap();
        }
        rt.sleep(SECOND).await;
        assert!(matches!(chat.next().await, Some(Received::Lagged(17))));
        assert_eq!(next(&mut chat, &rt).await, [17; 3000]);
    });
}

#[test]
fn those_who_wait_for_room_in_a_topic_have_their_turn_in_the_order_of_coming() {
    let sim = sim(43);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let mut config = GossipConfig::default();
        config.base.queue.own_bytes = 5000;
        let network = network(&hosts, &config).await;
        let [alice, bob] = two(&network);
        let mut chat = bob.subscribe("chat");
        rt.sleep(SECOND).await;
        // The second does not fit beside the first, the third would.
        let all = [4000, 4000, 100].map(|len| alice.publish("chat", vec![7; len]));
        let published = futures::future::join_all(all).await;
        assert!(published.iter().all(Result::is_ok));
        let mut last = 0;
        for len in [4000, 4000, 100] {
            let (seqno, data) = numbered(&mut chat, &rt).await;
            assert_eq!(data.len(), len);
            assert!(seqno > last);
            last = seqno;
        }
    });
}

#[test]
fn a_message_that_waited_goes_out_with_a_higher_number_than_those_before_it() {
    let sim = sim(44);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [alice, bob] = two(&network);
        let mut chat = bob.subscribe("chat");
        rt.sleep(SECOND).await;
        let waiting = alice.publish_when_ready("later", b"later");
        let others = async {
            alice.publish("chat", b"now").await.unwrap();
            let (now, _) = numbered(&mut chat, &rt).await;
            let mut late = bob.subscribe("later");
            (now, numbered(&mut late, &rt).await)
        };
        let (published, (now, (later, data))) = futures::join!(waiting, others);
        assert_eq!(
            (published.unwrap().sent, data.as_slice()),
            (1, &b"later"[..])
        );
        assert!(later > now, "{later} after {now}");
    });
}

#[test]
fn who_gives_up_waiting_lets_the_next_one_go_and_nobody_waits_behind_a_patient_one() {
    let sim = sim(45);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [alice, bob] = two(&network);
        rt.sleep(SECOND).await;
        let mut first = Box::pin(alice.publish_when_ready("chat", b"first"));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(alice.publish_when_ready("chat", b"second"));
        assert!(second.as_mut().now_or_never().is_none());
        let nobody = alice.publish("chat", b"impatient").now_or_never();
        let Some(Err(PublishFailed::Router(PublishError::NoPeers))) = nobody else {
            panic!("{nobody:?}");
        };
        drop(first);
        let mut chat = bob.subscribe("chat");
        second.await.unwrap();
        assert_eq!(next(&mut chat, &rt).await, b"second");
    });
}

/// Counts the events of the traces as they are made.
#[derive(Clone, Default)]
struct Made(Arc<AtomicUsize>);

impl tracing::Subscriber for Made {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::TRACE && metadata.target() == "p2p_pubsub::state"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn no_traces_are_made_once_nobody_reads_them() {
    let made = Made::default();
    let _counting = tracing::subscriber::set_default(made.clone());
    let count = || made.0.load(Ordering::Relaxed);
    let sim = sim(46);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [alice, bob] = two(&network);
        let mut chat = bob.subscribe("chat");
        let (traces, others) = (bob.traces(), bob.traces());
        alice.publish_when_ready("chat", b"one").await.unwrap();
        assert_eq!(next(&mut chat, &rt).await, b"one");
        drop(traces);
        let read = count();
        alice.publish("chat", b"two").await.unwrap();
        assert_eq!(next(&mut chat, &rt).await, b"two");
        assert!(count() > read, "the other reader is still there");
        drop(others);
        // The first that nobody reads is the last.
        let read = count();
        for _ in 0..10 {
            alice.publish("chat", b"more").await.unwrap();
            assert_eq!(next(&mut chat, &rt).await, b"more");
        }
        assert!(count() - read <= 2, "{} more", count() - read);
        let mut again = bob.traces();
        alice.publish("chat", b"again").await.unwrap();
        assert!(matches!(again.next().await, Some(Traced::Event { .. })));
    });
}

#[test]
fn a_node_speaks_only_the_versions_that_it_is_told_to() {
    let sim = sim(47);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let [a, b] = [0, 1].map(|n| swarm(hosts.get(n).unwrap(), n));
        let mut config = GossipConfig::default();
        config.versions = [Version::V1_1, Version::Floodsub].into();
        let alice = Pubsub::gossip(&(a.clone(), keypair(0)), config).unwrap();
        let config = GossipConfig::default();
        let bob = Pubsub::gossip(&(b.clone(), keypair(1)), config).unwrap();
        let mut offered = a.protocols();
        offered.sort_unstable();
        assert_eq!(
            offered,
            [Version::Floodsub, Version::V1_1].map(Version::protocol)
        );
        let mut traces = alice.traces();
        let mut chat = bob.subscribe("chat");
        let addr = listen(&b, hosts.last().unwrap()).await;
        a.dial(addr).await.unwrap();
        alice.publish_when_ready("chat", b"hello").await.unwrap();
        assert_eq!(next(&mut chat, &rt).await, b"hello");
        let version = loop {
            if let Some(Traced::Event {
                event: Trace::Connected { version, .. },
                ..
            }) = traces.next().await
            {
                break version;
            }
        };
        assert_eq!(version, Version::V1_1);
    });
}

#[test]
fn score_parameters_of_a_topic_are_replaced_or_refused_with_their_name() {
    let sim = sim(48);
    let hosts = sim.hosts(1);
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let (_, pubsub) = network.first().unwrap();
        let mut params = TopicParams::default();
        assert_eq!(pubsub.set_topic_params("chat", params.clone()), Ok(()));
        params.topic_weight = -1.0;
        let refused = pubsub.set_topic_params("chat", params).unwrap_err();
        assert_eq!(refused.parameter, "topic_weight");
    });
}

#[test]
fn an_rpc_is_paid_for_before_it_is_read_and_refused_in_the_name_of_the_limit() {
    let sim = sim(49);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [(a, alice), (b, bob)] = network.as_slice() else {
            panic!("two hosts");
        };
        let mut chat = bob.subscribe("chat");
        let mut events = b.events();
        alice.publish_when_ready("chat", b"hello").await.unwrap();
        assert_eq!(next(&mut chat, &rt).await, b"hello");
        let connection = b.connections(&a.local_peer()).remove(0);
        let budget = connection.budget();
        // What others have taken leaves a window of the stream, and less than this RPC.
        let taken = budget.reserve(budget.available() - 300_000).unwrap();
        alice.publish("chat", vec![7; 500_000]).await.unwrap();
        let hit = async {
            loop {
                if let Some(Event::LimitHit { exceeded, .. }) = events.next().await {
                    return exceeded;
                }
            }
        };
        let hit = rt.timeout(10 * SECOND, hit).await.expect("a limit");
        assert_eq!(hit.setting, "connection_memory");
        assert!(hit.wanted >= 500_000, "{hit}");
        drop(taken);
        rt.sleep(5 * SECOND).await;
        alice
            .publish_when_ready("chat", vec![8; 50_000])
            .await
            .unwrap();
        assert_eq!(next(&mut chat, &rt).await, vec![8; 50_000]);
    });
}

/// A node that gets the records of its peers from elsewhere.
struct Informed {
    node: (Swarm, Keypair),
    records: Arc<Mutex<BTreeMap<PeerId, Bytes>>>,
    changes: Mutex<Option<mpsc::Receiver<PeerId>>>,
}

impl Node for Informed {
    fn swarm(&self) -> &Swarm {
        &self.node.0
    }

    fn identity(&self) -> &Keypair {
        &self.node.1
    }

    fn records(&self) -> Option<Records> {
        let records = Arc::clone(&self.records);
        let lookup = move |peer: &PeerId| records.lock().unwrap().get(peer).cloned();
        Some(Records::new(lookup, self.changes.lock().unwrap().take()?))
    }
}

/// The hub has room for one in its mesh, and the others know nobody but the hub.
#[test]
fn who_finds_a_full_mesh_reaches_others_by_records_that_came_early_or_late() {
    for early in [true, false] {
        let sim = sim(50);
        let hosts = sim.hosts(3);
        let rt = hosts.first().unwrap().rt();
        sim.block_on(async {
            let mut config = GossipConfig::default();
            config.peer_exchange = true;
            (config.d, config.d_low, config.d_high) = (1, 1, 1);
            (config.d_score, config.d_out) = (0, 0);
            let (mut told, changes) = mpsc::channel(1);
            let hub = Informed {
                node: (swarm(hosts.first().unwrap(), 0), keypair(0)),
                records: Arc::default(),
                changes: Mutex::new(Some(changes)),
            };
            let pubsub = Pubsub::gossip(&hub, config.clone()).unwrap();
            let _chat = pubsub.subscribe("chat");
            let addr = listen(hub.swarm(), hosts.first().unwrap()).await;
            let [first, second] = [1, 2].map(|n| (swarm(hosts.get(n).unwrap(), n), keypair(n)));
            let [_first_chat, chat] = [&first, &second].map(|node| {
                let pubsub = Pubsub::gossip(node, config.clone()).unwrap();
                pubsub.subscribe("chat")
            });
            let reachable = listen(&first.0, hosts.get(1).unwrap()).await;
            let record = PeerRecord::seal(&first.1, 1, &[reachable]).unwrap();
            let learn = || {
                let (peer, record) = (first.0.local_peer(), record.encode().into());
                hub.records.lock().unwrap().insert(peer, record);
            };
            if early {
                learn();
            }
            first.0.dial(addr.clone()).await.unwrap();
            rt.sleep(2 * SECOND).await;
            if !early {
                learn();
                told.try_send(first.0.local_peer()).unwrap();
            }
            let mut present = chat.subscribers();
            second.0.dial(addr).await.unwrap();
            let found = async {
                while present.next().await != Some(Presence::Joined(first.0.local_peer())) {}
            };
            let found = rt.timeout(10 * SECOND, found).await;
            found.expect("the address came with the proposal");
        });
    }
}
