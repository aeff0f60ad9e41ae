//! Pubsub on swarms in a simulated network.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use p2p_core::{Multiaddr, Rt};
use p2p_keys::Keypair;
use p2p_noise::Noise;
use p2p_pubsub::{
    Config, GossipConfig, PublishError, PublishFailed, Pubsub, Received, Subscription,
};
use p2p_sim::{Host, Link, Sim};
use p2p_swarm::Swarm;
use p2p_tcp::Tcp;
use p2p_yamux::Yamux;

const LATENCY: Duration = Duration::from_millis(20);

fn sim(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    sim.default_link(Link::new(LATENCY));
    sim
}

fn keypair(n: usize) -> Keypair {
    let n = u8::try_from(n).unwrap();
    Keypair::ed25519_from_seed([n + 1; 32])
}

fn swarm(host: &Host, n: usize) -> Swarm {
    let (rt, keypair) = (host.rt(), keypair(n));
    Swarm::builder(rt.clone(), keypair.to_peer_id())
        .transport(Tcp::new(rt, p2p_tcp::Config::default()))
        .security(Noise::new(&keypair).unwrap())
        .muxer(Yamux::default())
        .build()
        .unwrap()
}

async fn listen(swarm: &Swarm, host: &Host) -> Multiaddr {
    let addr = format!("/ip4/{}/tcp/0", host.ip()).parse().unwrap();
    swarm.listen(addr).await.unwrap().remove(0)
}

/// Swarms with pubsub, each connected to the next and to the one three further.
async fn network(hosts: &[Host], config: &GossipConfig) -> Vec<(Swarm, Pubsub)> {
    let mut all = Vec::new();
    let mut addrs = Vec::new();
    for (n, host) in hosts.iter().enumerate() {
        let swarm = swarm(host, n);
        let pubsub = Pubsub::gossip(&swarm, keypair(n), config.clone()).unwrap();
        addrs.push(listen(&swarm, host).await);
        all.push((swarm, pubsub));
    }
    for (n, (swarm, _)) in all.iter().enumerate() {
        for step in [1, 3] {
            let other = (n + step) % hosts.len();
            if other != n {
                swarm.dial(addrs.get(other).unwrap().clone()).await.unwrap();
            }
        }
    }
    all
}

async fn next(subscription: &mut Subscription, rt: &Rt) -> Vec<u8> {
    let next = rt.timeout(Duration::from_secs(10), subscription.next());
    match next.await.expect("a message in time").unwrap() {
        Received::Message { message, .. } => message.data().to_vec(),
        Received::Lagged(lost) => panic!("{lost} lost"),
    }
}

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
        let alice = Pubsub::flood(&a, keypair(0), Config::default()).unwrap();
        let bob = Pubsub::flood(&b, keypair(1), Config::default()).unwrap();
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
        let [(_, alice), (_, bob)] = network.as_slice() else {
            panic!("two hosts");
        };
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
        let [(_, alice), (_, bob)] = network.as_slice() else {
            panic!("two hosts");
        };
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
        let [(_, alice), (_, bob)] = network.as_slice() else {
            panic!("two hosts");
        };
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
