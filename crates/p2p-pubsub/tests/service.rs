//! Pubsub on swarms in a simulated network.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod swarms;

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use p2p_core::Rt;
use p2p_pubsub::{
    Config, GossipConfig, Opinion, Partial, PartialMode, PartsReceived, PartsSubscription,
    Presence, PublishError, PublishFailed, Pubsub, Received, Reject, Trace, Traced, Validator,
};
use swarms::{keypair, listen, network, next, sim, swarm, two};

#[test]
fn a_message_reaches_every_subscriber_of_a_dozen_hosts_once() {
    let sim = sim(1);
    let hosts = sim.hosts(12);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let mut subscriptions: Vec<_> = network
            .iter()
            .map(|(_, pubsub)| pubsub.subscribe("chat"))
            .collect();
        rt.sleep(Duration::from_secs(2)).await;
        for (n, (_, pubsub)) in network.iter().enumerate() {
            let data = vec![u8::try_from(n).unwrap(); 2000];
            pubsub.publish("chat", &data).await.unwrap();
            for (other, subscription) in subscriptions.iter_mut().enumerate() {
                if other != n {
                    assert_eq!(next(subscription, &rt).await, data, "from {n} to {other}");
                }
            }
        }
        rt.sleep(Duration::from_secs(5)).await;
        for subscription in &mut subscriptions {
            assert!(
                subscription.next().now_or_never().is_none(),
                "a second copy"
            );
        }
    });
}

#[test]
fn floodsub_carries_many_messages_in_order_on_one_stream() {
    let sim = sim(2);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let [a, b] = [0, 1].map(|n| swarm(hosts.get(n).unwrap(), n));
        let alice = Pubsub::flood(&(a.clone(), keypair(0)), Config::default()).unwrap();
        let bob = Pubsub::flood(&(b.clone(), keypair(1)), Config::default()).unwrap();
        let mut chat = bob.subscribe("chat");
        let addr = listen(&b, hosts.last().unwrap()).await;
        let connection = a.dial(addr).await.unwrap();
        rt.sleep(Duration::from_secs(1)).await;
        for n in 0..200u8 {
            alice.publish("chat", &[n]).await.unwrap();
        }
        for n in 0..200u8 {
            assert_eq!(next(&mut chat, &rt).await, [n]);
        }
        assert_eq!(connection.streams(), 2, "one each way");
    });
}

#[test]
fn a_topic_ends_with_its_last_subscription() {
    let sim = sim(3);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [alice, bob] = two(&network);
        let nobody = |result| matches!(result, Err(PublishFailed::Router(PublishError::NoPeers)));
        rt.sleep(Duration::from_secs(1)).await;
        assert!(nobody(alice.publish("chat", b"anybody?").await));
        let (first, second) = (bob.subscribe("chat"), bob.subscribe("chat"));
        rt.sleep(Duration::from_secs(1)).await;
        first.publish(b"nobody there").await.unwrap_err();
        drop(first);
        rt.sleep(Duration::from_secs(1)).await;
        alice.publish("chat", b"one left").await.unwrap();
        drop(second);
        rt.sleep(Duration::from_secs(1)).await;
        assert!(nobody(alice.publish("chat", b"gone").await));
    });
}

#[test]
fn a_subscriber_that_does_not_read_is_told_what_it_lost_and_slows_nobody() {
    let sim = sim(4);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let mut config = GossipConfig::default();
        config.base.subscriber_backlog = 10;
        let network = network(&hosts, &config).await;
        let [alice, bob] = two(&network);
        let (mut slow, mut quick) = (bob.subscribe("chat"), bob.subscribe("chat"));
        rt.sleep(Duration::from_secs(1)).await;
        for n in 0..50u8 {
            alice.publish("chat", &[n]).await.unwrap();
            assert_eq!(next(&mut quick, &rt).await, [n]);
        }
        assert!(matches!(slow.next().await, Some(Received::Lagged(40))));
        assert_eq!(next(&mut slow, &rt).await, [40]);
    });
}

#[test]
fn a_publisher_waits_for_room_and_nothing_is_lost() {
    let sim = sim(5);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let mut config = GossipConfig::default();
        config.base.queue.own_bytes = 5000;
        let network = network(&hosts, &config).await;
        let [alice, bob] = two(&network);
        let mut chat = bob.subscribe("chat");
        rt.sleep(Duration::from_secs(1)).await;
        let publish = async {
            for n in 0..100u8 {
                alice.publish("chat", &[n; 2000]).await.unwrap();
            }
        };
        let read = async {
            for n in 0..100u8 {
                assert_eq!(next(&mut chat, &rt).await, [n; 2000]);
            }
        };
        futures::join!(publish, read);
    });
}

#[test]
fn a_peer_that_reconnects_is_heard_again() {
    let sim = sim(6);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [(a, alice), (b, bob)] = network.as_slice() else {
            panic!("two hosts");
        };
        let mut chat = bob.subscribe("chat");
        for round in 0..3u8 {
            rt.sleep(Duration::from_secs(1)).await;
            alice.publish("chat", &[round]).await.unwrap();
            assert_eq!(next(&mut chat, &rt).await, [round]);
            for connection in a.connections(&b.local_peer()) {
                connection.close(p2p_core::ErrorCode::NONE);
                connection.ended().await;
            }
            rt.sleep(Duration::from_secs(1)).await;
            let gone = alice.publish("chat", b"nobody").await;
            assert!(gone.is_err(), "round {round}");
            a.dial(b.listen_addrs().remove(0)).await.unwrap();
        }
    });
}

#[test]
fn closing_the_swarm_ends_every_task() {
    let sim = sim(7);
    let hosts = sim.hosts(3);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let _chats: Vec<_> = network
            .iter()
            .map(|(_, pubsub)| pubsub.subscribe("t"))
            .collect();
        rt.sleep(Duration::from_secs(2)).await;
        for (swarm, _) in &network {
            swarm.close().await;
            assert_eq!(swarm.census().tasks, [""; 0]);
        }
    });
}

#[test]
fn a_validator_decides_what_is_delivered() {
    let sim = sim(8);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [alice, bob] = two(&network);
        let opinion = |byte: Option<&u8>| match byte {
            Some(0) => Opinion::Accept,
            Some(1) => Opinion::Ignore,
            Some(_) | None => Opinion::Reject,
        };
        bob.set_validator(
            "now",
            Validator::new(move |candidate| opinion(candidate.message.data().first())),
        );
        let clock = rt.clone();
        bob.set_validator(
            "later",
            Validator::later(8, move |candidate| {
                let clock = clock.clone();
                async move {
                    clock.sleep(Duration::from_millis(500)).await;
                    opinion(candidate.message.data().first())
                }
            }),
        );
        for topic in ["now", "later"] {
            let mut chat = bob.subscribe(topic);
            for byte in [2, 1, 0] {
                alice.publish_when_ready(topic, [byte]).await.unwrap();
            }
            assert_eq!(next(&mut chat, &rt).await, [0]);
        }
        rt.sleep(Duration::from_secs(1)).await;
        let stats = bob.stats();
        assert_eq!(stats.rejected.get(&Reject::Ignored), Some(&2), "{stats:?}");
        assert_eq!(stats.rejected.get(&Reject::Invalid), Some(&2), "{stats:?}");
        assert_eq!((stats.received, stats.delivered), (6, 2));
    });
}

#[test]
fn a_validator_that_never_answers_costs_its_places_and_nothing_else() {
    let sim = sim(9);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [alice, bob] = two(&network);
        bob.set_validator("slow", Validator::later(3, |_| std::future::pending()));
        let _slow = bob.subscribe("slow");
        let mut quick = bob.subscribe("quick");
        for n in 0..10u8 {
            alice.publish_when_ready("slow", [n]).await.unwrap();
        }
        alice.publish_when_ready("quick", b"hello").await.unwrap();
        assert_eq!(next(&mut quick, &rt).await, b"hello");
        let throttled = bob.stats().rejected.get(&Reject::Throttled).copied();
        assert_eq!(throttled, Some(7));
        rt.sleep(Duration::from_secs(31)).await;
        let stats = bob.stats();
        let lost: u64 = stats
            .rejected
            .values()
            .chain(stats.dropped_in.values())
            .sum();
        assert_eq!(stats.received, stats.delivered + lost, "{stats:?}");
    });
}

#[test]
fn messages_in_bulk_are_checked_by_several_tasks_and_stay_in_order() {
    let sim = sim(10);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let mut config = GossipConfig::default();
        config.base.subscriber_backlog = 1000;
        let network = network(&hosts, &config).await;
        let [alice, bob] = two(&network);
        let mut chat = bob.subscribe("chat");
        alice.publish_when_ready("chat", b"first").await.unwrap();
        assert_eq!(next(&mut chat, &rt).await, b"first");
        for n in 0..500u16 {
            alice.publish("chat", n.to_be_bytes()).await.unwrap();
        }
        for n in 0..500u16 {
            assert_eq!(next(&mut chat, &rt).await, n.to_be_bytes());
        }
        let stats = bob.stats();
        assert_eq!((stats.received, stats.delivered), (501, 501));
    });
}

#[test]
fn a_publisher_can_wait_for_the_first_subscriber() {
    let sim = sim(11);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [alice, bob] = two(&network);
        let early = alice.publish_when_ready("chat", b"for the first");
        let later = async {
            rt.sleep(Duration::from_secs(5)).await;
            let mut chat = bob.subscribe("chat");
            next(&mut chat, &rt).await
        };
        let (published, got) = futures::join!(early, later);
        assert_eq!(published.unwrap().sent, 1);
        assert_eq!(got, b"for the first");
    });
}

#[test]
fn subscribers_come_and_go_as_a_stream() {
    let sim = sim(12);
    let hosts = sim.hosts(3);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [(_, alice), (b, bob), (c, carol)] = network.as_slice() else {
            panic!("three hosts");
        };
        let here = bob.subscribe("chat");
        rt.sleep(Duration::from_secs(1)).await;
        let chat = alice.subscribe("chat");
        let mut present = chat.subscribers();
        assert_eq!(present.next().await, Some(Presence::Joined(b.local_peer())));
        let other = carol.subscribe("chat");
        assert_eq!(present.next().await, Some(Presence::Joined(c.local_peer())));
        drop(here);
        assert_eq!(present.next().await, Some(Presence::Left(b.local_peer())));
        c.close().await;
        assert_eq!(present.next().await, Some(Presence::Left(c.local_peer())));
        assert!(alice.peers("chat").is_empty());
        drop((chat, other));
        assert_eq!(present.next().await, None);
    });
}

#[test]
fn what_is_held_for_subscribers_is_paid_from_the_memory_of_the_swarm() {
    let sim = sim(13);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let mut config = GossipConfig::default();
        config.history_length = 1;
        config.history_gossip = 1;
        let network = network(&hosts, &config).await;
        let [(_, alice), (b, bob)] = network.as_slice() else {
            panic!("two hosts");
        };
        let chat = bob.subscribe("chat");
        for n in 0..50u8 {
            alice
                .publish_when_ready("chat", vec![n; 10_000])
                .await
                .unwrap();
        }
        rt.sleep(Duration::from_secs(5)).await;
        let held = b.budget().used();
        drop(chat);
        rt.sleep(Duration::from_secs(5)).await;
        let freed = held - b.budget().used();
        assert!((500_000..600_000).contains(&freed), "{freed} of {held}");
    });
}

#[test]
fn traces_tell_why_and_cost_nothing_until_asked_for() {
    let sim = sim(14);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [(a, alice), (_, bob)] = network.as_slice() else {
            panic!("two hosts");
        };
        let mut traces = bob.traces();
        let _chat = bob.subscribe("chat");
        let _too = alice.subscribe("chat");
        rt.sleep(Duration::from_secs(1)).await;
        let mut grafts = 0;
        while let Some(Some(traced)) = traces.next().now_or_never() {
            let Traced::Event { event, .. } = traced else {
                panic!("{traced:?}");
            };
            if let Trace::Grafted { peer, .. } = event {
                assert_eq!(peer, a.local_peer());
                grafts += 1;
            }
        }
        assert_eq!(grafts, 1);
    });
}

#[test]
fn messages_of_the_greatest_length_back_to_back_all_arrive() {
    let sim = sim(21);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let network = network(&hosts, &GossipConfig::default()).await;
        let [(_, alice), (_, bob)] = &network[..] else {
            panic!("two");
        };
        let _topic = alice.subscribe("chat");
        let mut chat = bob.subscribe("chat");
        rt.sleep(Duration::from_secs(2)).await;
        // Less what surrounds the payload.
        let longest = GossipConfig::default().base.max_message_size - 200;
        for n in 0..5u8 {
            alice.publish("chat", vec![n; longest]).await.unwrap();
        }
        for n in 0..5u8 {
            assert_eq!(next(&mut chat, &rt).await, vec![n; longest]);
        }
    });
}

/// Eight parts of one byte each; zero is missing.
struct Eight([u8; 8]);

impl Eight {
    fn bits(&self) -> u8 {
        let bits = (0..8).zip(self.0);
        bits.map(|(n, part)| u8::from(part != 0) << n).sum()
    }

    fn without(&self, has: u8) -> Vec<u8> {
        let part = |(n, part): (u32, u8)| if has & (1u8 << n) == 0 { part } else { 0 };
        (0..8).zip(self.0).map(part).collect()
    }
}

impl Partial for Eight {
    fn group(&self) -> Bytes {
        Bytes::from_static(b"eight")
    }

    fn metadata(&self) -> Bytes {
        vec![self.bits()].into()
    }

    fn parts_for(&self, metadata: &[u8]) -> Option<Bytes> {
        let has = *metadata.first()?;
        (self.bits() & !has != 0).then(|| self.without(has).into())
    }

    fn merge(&self, metadata: &[u8]) -> Bytes {
        let has = metadata.first().copied().unwrap_or_default();
        vec![has | self.bits()].into()
    }
}

/// For ten seconds, merges what comes and publishes that again.
async fn serve(mut parts: PartsSubscription, mut ours: Eight, rt: Rt) -> [u8; 8] {
    parts.publish(&ours).unwrap();
    let end = rt.now() + Duration::from_secs(10);
    while let Ok(received) = rt.timeout(end - rt.now(), parts.next()).await {
        let PartsReceived::Parts(received) = received.unwrap() else {
            panic!("lost");
        };
        for (part, new) in ours.0.iter_mut().zip(received.parts.iter().flatten()) {
            *part |= new;
        }
        parts.publish(&ours).unwrap();
    }
    ours.0
}

#[test]
fn two_and_ten_hosts_put_a_message_together_from_the_parts_of_all() {
    for count in [2usize, 10] {
        let sim = sim(30 + count as u64);
        let hosts = sim.hosts(count);
        let rt = hosts.first().unwrap().rt();
        sim.block_on(async {
            let network = network(&hosts, &GossipConfig::default()).await;
            let subscriptions: Vec<_> = network
                .iter()
                .map(|(_, pubsub)| pubsub.subscribe_parts("words", PartialMode::Requests))
                .collect();
            rt.sleep(Duration::from_secs(3)).await;
            let all = subscriptions.into_iter().enumerate().map(|(n, parts)| {
                let mut ours = Eight([0; 8]);
                for (at, part) in ours.0.iter_mut().enumerate() {
                    if at % count == n {
                        *part = b"together"[at];
                    }
                }
                serve(parts, ours, rt.clone())
            });
            for word in futures::future::join_all(all).await {
                assert_eq!(&word, b"together");
            }
        });
    }
}
