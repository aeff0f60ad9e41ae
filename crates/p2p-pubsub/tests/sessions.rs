//! How long peers hear each other: starts, ends and repairs of streams, in a simulated network.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

mod scored;
mod swarms;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::{FutureExt, StreamExt};
use p2p_core::{ErrorCode, Multiaddr, Protocol};
use p2p_pubsub::wire::{Control, Extensions, RpcOut};
use p2p_pubsub::{
    Author, GossipConfig, MessageId, Opinion, Pubsub, ScoreParams, Thresholds, Trace, Traced,
    Validator, Version,
};
use p2p_sim::Host;
use p2p_swarm::{Connection, Stream, Swarm};
use scored::scored;
use swarms::{LATENCY, keypair, listen, next, sim, swarm};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A swarm that listens.
async fn listening(host: &Host, n: usize) -> (Swarm, Multiaddr) {
    let swarm = swarm(host, n);
    let addr = listen(&swarm, host).await;
    (swarm, addr)
}

fn gossip(swarm: &Swarm, n: usize, config: GossipConfig) -> Pubsub {
    Pubsub::gossip(&(swarm.clone(), keypair(n)), config).unwrap()
}

#[test]
fn a_copy_that_was_held_back_and_is_needed_leaves_when_it_is_due() {
    let sim = sim(1);
    let hosts = sim.hosts(3);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        // Nothing else wakes the router.
        let mut config = GossipConfig::default();
        config.heartbeat_interval = 100 * SECOND;
        let mut params = ScoreParams::default();
        params.decay_interval = 100 * SECOND;
        config.scoring = Some((params, Thresholds::default()));
        let mut all = Vec::new();
        for (n, host) in hosts.iter().enumerate() {
            let (swarm, addr) = listening(host, n).await;
            let pubsub = gossip(&swarm, n, config.clone());
            let chat = pubsub.subscribe("chat");
            all.push((swarm, addr, pubsub, chat));
        }
        let [(a, _, alice, _), (b, to_b, ..), (c, to_c, _, chat)] = &mut all[..] else {
            panic!("three");
        };
        a.dial(to_b.clone()).await.unwrap();
        a.dial(to_c.clone()).await.unwrap();
        b.dial(to_c.clone()).await.unwrap();
        rt.sleep(SECOND).await;
        // B learns that C hears Alice herself.
        for n in 0..3u8 {
            alice.publish("chat", [n; 2000]).await.unwrap();
            assert_eq!(next(chat, &rt).await, [n; 2000]);
            rt.sleep(SECOND).await;
        }
        for connection in a.connections(&c.local_peer()) {
            connection.close(ErrorCode::NONE);
            connection.ended().await;
        }
        rt.sleep(SECOND).await;
        let published = rt.now();
        alice.publish("chat", [9; 2000]).await.unwrap();
        assert_eq!(next(chat, &rt).await, [9; 2000]);
        let took = rt.now() - published;
        let pause = GossipConfig::default().stagger.unwrap();
        assert!(took >= pause, "held back: {took:?}");
        assert!(took <= pause + 4 * LATENCY, "{took:?}");
    });
}

#[test]
fn a_pubsub_that_starts_long_after_the_connection_works_on_it() {
    for late in [0, 1] {
        let sim = sim(2);
        let hosts = sim.hosts(2);
        let rt = hosts.first().unwrap().rt();
        sim.block_on(async {
            let (a, _) = listening(&hosts[0], 0).await;
            let (b, to_b) = listening(&hosts[1], 1).await;
            let swarms = [&a, &b];
            let early = 1 - late;
            let first = gossip(swarms[early], early, GossipConfig::default());
            let connection = a.dial(to_b).await.unwrap();
            rt.sleep(10 * MINUTE).await;
            assert_eq!(first.usage().sessions, 0);
            let second = gossip(swarms[late], late, GossipConfig::default());
            let started = rt.now();
            let (mut here, mut there) = (first.subscribe("here"), second.subscribe("there"));
            let both = async {
                first.publish_when_ready("there", b"hello").await.unwrap();
                second.publish_when_ready("here", b"hello").await.unwrap();
            };
            rt.timeout(5 * SECOND, both).await.expect("not for ever");
            assert_eq!(next(&mut here, &rt).await, b"hello");
            assert_eq!(next(&mut there, &rt).await, b"hello");
            let took = rt.now() - started;
            assert!(took < SECOND, "late is {late}: {took:?}");
            assert_eq!(connection.streams(), 2, "one each way");
        });
    }
}

const V1_3: Protocol = Version::V1_3.protocol();

/// Alice with pubsub on a swarm, and one without.
struct Strangers {
    alice: Pubsub,
    a: Swarm,
    b: Swarm,
    /// Held, so that it is not idle.
    _connection: Connection,
}

impl Strangers {
    /// The other end of the connection.
    fn to_alice(&self) -> Connection {
        self.b.connections(&self.a.local_peer()).remove(0)
    }
}

/// Streams of Alice are served by `serve`.
async fn strangers<Served>(
    hosts: &[Host],
    config: GossipConfig,
    serve: impl Fn(Stream) -> Served + Send + Sync + 'static,
) -> Strangers
where
    Served: Future<Output = ()> + Send + 'static,
{
    let (a, _) = listening(&hosts[0], 0).await;
    let (b, to_b) = listening(&hosts[1], 1).await;
    b.handle(V1_3, serve).unwrap();
    let alice = gossip(&a, 0, config);
    let _connection = a.dial(to_b).await.unwrap();
    Strangers {
        alice,
        a,
        b,
        _connection,
    }
}

async fn read_all(mut stream: Stream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

#[test]
fn streams_that_live_long_are_opened_anew_for_as_long_as_the_connection_lives() {
    let sim = sim(3);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let (opened, clock) = (Arc::new(AtomicUsize::new(0)), rt.clone());
        let count = Arc::clone(&opened);
        let serve = move |mut stream: Stream| {
            count.fetch_add(1, Ordering::Relaxed);
            let clock = clock.clone();
            async move {
                clock.sleep(11 * MINUTE).await;
                stream.reset(ErrorCode::NONE);
            }
        };
        let config = GossipConfig::default();
        let _pair = strangers(&hosts, config, serve).await;
        rt.sleep(58 * MINUTE).await;
        assert_eq!(opened.load(Ordering::Relaxed), 6);
    });
}

#[test]
fn streams_that_end_at_once_are_opened_more_and_more_rarely_and_each_end_is_told() {
    let sim = sim(4);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let (opened, clock) = (Arc::new(AtomicUsize::new(0)), rt.clone());
        let count = Arc::clone(&opened);
        let serve = move |mut stream: Stream| {
            count.fetch_add(1, Ordering::Relaxed);
            let clock = clock.clone();
            async move {
                stream.flush().await.unwrap();
                clock.sleep(LATENCY).await;
                stream.reset(ErrorCode::NONE);
            }
        };
        let config = GossipConfig::default();
        let pair = strangers(&hosts, config, serve).await;
        let mut traces = pair.alice.traces();
        let mut seen = Vec::new();
        for time in [MINUTE, 29 * MINUTE, 29 * MINUTE] {
            rt.sleep(time).await;
            seen.push(opened.load(Ordering::Relaxed));
        }
        // After 1, 2, 4 seconds and so on, then every ten minutes.
        assert_eq!(seen, [6, 12, 15]);
        let mut ends = 0;
        while let Some(Some(Traced::Event { event, .. })) = traces.next().now_or_never() {
            ends += usize::from(matches!(event, Trace::Disconnected { .. }));
        }
        assert_eq!(ends, 15);
    });
}

/// Opens a stream and sends these RPCs on it.
async fn say(connection: &Connection, rpcs: Vec<RpcOut>) -> Stream {
    let mut stream = connection.open(&V1_3).await.unwrap();
    let mut bytes = Vec::new();
    rpcs.iter().for_each(|rpc| rpc.encode_frame(&mut bytes));
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

fn control(items: Vec<Control>) -> RpcOut {
    RpcOut {
        control: items,
        ..RpcOut::default()
    }
}

fn hello(topics: &[&str]) -> RpcOut {
    let mut items = vec![Control::Extensions(Extensions::default())];
    let join = |topic: &&str| Control::Subscription(true, (*topic).into());
    items.extend(topics.iter().map(join));
    control(items)
}

/// Misbehaviour costs.
#[test]
fn a_peer_that_opens_a_second_stream_starts_anew_without_blame() {
    let sim = sim(5);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let pair = strangers(&hosts, scored(), read_all).await;
        rt.sleep(SECOND).await;
        let (alice, b, to_alice) = (&pair.alice, &pair.b, pair.to_alice());
        let first = say(&to_alice, vec![hello(&["chat", "other"])]).await;
        rt.sleep(SECOND).await;
        assert_eq!(alice.peers("other"), [b.local_peer()]);
        let second = say(&to_alice, vec![hello(&["chat"])]).await;
        rt.sleep(SECOND).await;
        assert_eq!(alice.peers("chat"), [b.local_peer()]);
        assert_eq!(alice.peers("other"), []);
        assert_eq!(alice.score(&b.local_peer()), 0.0);
        drop((first, second));
    });
}

#[test]
fn a_slow_validator_costs_nobody_its_score() {
    let sim = sim(6);
    let hosts = sim.hosts(2);
    let rt = hosts.first().unwrap().rt();
    sim.block_on(async {
        let pair = strangers(&hosts, scored(), read_all).await;
        rt.sleep(SECOND).await;
        let (alice, b, to_alice) = (&pair.alice, &pair.b, pair.to_alice());
        let clock = rt.clone();
        let judge = Validator::later(8, move |_| {
            let clock = clock.clone();
            async move {
                clock.sleep(10 * SECOND).await;
                Opinion::Accept
            }
        });
        alice.set_validator("chat", judge);
        let mut chat = alice.subscribe("chat");
        let mut author = Author::signing(keypair(1));
        let message = author.write("chat".into(), b"think", SECOND).unwrap();
        let id = [message.from().unwrap(), message.seqno().unwrap()].concat();
        let ids = vec![MessageId::new(&id)];
        let published = RpcOut {
            messages: vec![Arc::new(message)],
            ..RpcOut::default()
        };
        let offer = control(vec![Control::IHave("chat".into(), ids.into())]);
        let _stream = say(&to_alice, vec![hello(&["chat"]), offer, published]).await;
        rt.sleep(8 * SECOND).await;
        assert_eq!(alice.stats().received, 1);
        assert_eq!(alice.score(&b.local_peer()), 0.0);
        assert_eq!(next(&mut chat, &rt).await, b"think");
    });
}
