//! Which road a host takes: secure channels that one end lacks, names, WebSocket, private
//! networks, and how long each takes.
#![cfg(all(feature = "tls", feature = "dns", feature = "websocket"))]

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use p2p::{Host, HostBuilder, SecureChannel};
use p2p_sim::{Link, Sim};

const LATENCY: Duration = Duration::from_millis(50);
const TLS: &str = "/tls/1.0.0";
const NOISE: &str = "/noise";

/// A world with two hosts 50 ms apart, the second of which answers.
struct World {
    sim: Sim,
    near: p2p_sim::Host,
    far: p2p_sim::Host,
}

impl World {
    fn new(seed: u64) -> Self {
        let sim = Sim::new(seed);
        sim.default_link(Link::new(LATENCY));
        let (near, far) = (sim.host("near"), sim.host("far"));
        sim.name("far.test", [Ipv4Addr::new(10, 0, 0, 2)]);
        Self { sim, near, far }
    }

    /// Asks for an echo: how long until it is here, and over which secure channel.
    fn echo(&self, near: HostBuilder, far: HostBuilder, to: &str) -> (Duration, String) {
        self.sim.block_on(async {
            let far = far.runtime(self.far.rt()).build().await.expect("starts");
            far.handle("/echo/1", |mut stream| async move {
                let mut byte = [0];
                stream.read_exact(&mut byte).await?;
                stream.write_all(&byte).await?;
                stream.close().await
            })
            .expect("nobody else answers");
            for at in ["/ip4/10.0.0.2/tcp/4001", "/ip4/10.0.0.2/tcp/4002/ws"] {
                far.listen(at).await.expect("listens");
            }
            let near: Host = near.runtime(self.near.rt()).build().await.expect("starts");
            let start = self.sim.now();
            let addr: p2p::Multiaddr = to.parse().expect("an address");
            let mut stream = near.open(addr, "/echo/1").await.expect("connects");
            stream.write_all(&[7]).await.expect("writes");
            stream.flush().await.expect("flushes");
            let mut byte = [0];
            stream.read_exact(&mut byte).await.expect("reads");
            let took = self.sim.now() - start;
            let security = stream.connection().info().security.clone();
            near.close().await;
            far.close().await;
            (took, security.map_or_else(String::new, |id| id.to_string()))
        })
    }
}

fn host(channels: &[SecureChannel]) -> HostBuilder {
    Host::builder().secure_channels(channels)
}

#[test]
fn a_first_answer_takes_three_round_trips_although_two_channels_are_offered() {
    let (tls, noise) = (SecureChannel::Tls, SecureChannel::Noise);
    let both = [[tls, noise], [noise, tls]];
    for ours in &both {
        for theirs in &both {
            let (took, security) =
                World::new(1).echo(host(ours), host(theirs), "/ip4/10.0.0.2/tcp/4001");
            assert_eq!(took, 6 * LATENCY);
            let first = if ours[0] == tls { TLS } else { NOISE };
            assert_eq!(security, first, "the dialer's order counts");
        }
    }
}

#[test]
fn a_remote_with_only_the_second_channel_is_reached_over_that_one() {
    let (tls, noise) = (SecureChannel::Tls, SecureChannel::Noise);
    for (ours, theirs, used) in [([tls, noise], noise, NOISE), ([noise, tls], tls, TLS)] {
        let (took, security) =
            World::new(2).echo(host(&ours), host(&[theirs]), "/ip4/10.0.0.2/tcp/4001");
        assert_eq!(security, used);
        assert!(took <= 14 * LATENCY, "{took:?}");
    }
}

#[test]
fn a_host_dials_a_name() {
    let (took, _) = World::new(3).echo(Host::builder(), Host::builder(), "/dns4/far.test/tcp/4001");
    assert!(took < 7 * LATENCY, "{took:?}");
    // And over WebSocket, where the name stays in the address that it comes to.
    let to = "/dns4/far.test/tcp/4002/ws";
    let (took, _) = World::new(3).echo(Host::builder(), Host::builder(), to);
    assert!(took < 9 * LATENCY, "{took:?}");
}

#[test]
fn a_host_dials_websocket_for_one_round_trip_more() {
    let builder = Host::builder;
    let (took, _) = World::new(4).echo(builder(), builder(), "/ip4/10.0.0.2/tcp/4002/ws");
    assert_eq!(took, 8 * LATENCY);
}

#[cfg(feature = "pnet")]
#[test]
fn a_private_network_is_reached_with_its_key_only() {
    use p2p::pnet::PreSharedKey;
    let private = |byte| Host::builder().private_network(PreSharedKey::new([byte; 32]));
    let (took, _) = World::new(5).echo(private(7), private(7), "/ip4/10.0.0.2/tcp/4001");
    assert_eq!(took, 6 * LATENCY, "the key costs no round trip");

    let world = World::new(6);
    for stranger in [private(8), Host::builder()] {
        world.sim.block_on(async {
            let far = private(7)
                .runtime(world.far.rt())
                .build()
                .await
                .expect("starts");
            far.listen("/ip4/10.0.0.2/tcp/4001").await.expect("listens");
            let near = stranger
                .runtime(world.near.rt())
                .build()
                .await
                .expect("starts");
            let addr: p2p::Multiaddr = "/ip4/10.0.0.2/tcp/4001".parse().expect("an address");
            assert!(near.dial(addr).await.is_err(), "a stranger gets in");
            near.close().await;
            far.close().await;
        });
    }
}

#[cfg(feature = "quic")]
#[test]
fn a_push_counts_although_its_sender_hears_no_answer() {
    let world = World::new(6);
    world.sim.block_on(async {
        // As go does over QUIC: who has sent a push stops what comes back.
        let mut deaf = p2p::quic::Config::default();
        deaf.max_lingering = 0;
        let far = Host::builder().quic(Some(deaf)).runtime(world.far.rt());
        let far = far.build().await.expect("starts");
        let near = Host::builder().runtime(world.near.rt());
        let near = near.build().await.expect("starts");
        let addr = far.listen("/ip4/10.0.0.2/udp/4001/quic-v1").await;
        let connection = near.dial(addr.expect("listens")).await.expect("connects");
        let identify = near.identify().expect("on");
        identify.identified(&connection).await.expect("told");
        let mut events = identify.events();
        world.near.rt().sleep(Duration::from_secs(1)).await;
        far.handle("/added/1", |_stream| async {}).expect("new");
        let pushed = async {
            while let Some(event) = events.next().await {
                if let p2p::identify::Event::Updated { info, .. } = event
                    && info.protocols.iter().any(|it| it.as_str() == "/added/1")
                {
                    return;
                }
            }
        };
        let told = world
            .near
            .rt()
            .timeout(Duration::from_secs(10), pushed)
            .await;
        assert!(told.is_ok(), "the push was lost");
    });
}

#[cfg(feature = "quic")]
#[test]
fn quic_is_preferred_and_tcp_follows_250_ms_after_it() {
    let quic = "/ip4/10.0.0.2/udp/4001/quic-v1";
    let tcp = "/ip4/10.0.0.2/tcp/4001";
    // The first byte of an answer: two round trips over QUIC, three over TCP, of 100 ms each.
    for (listens, expected) in [(vec![tcp, quic], 200), (vec![tcp], 250 + 300)] {
        let world = World::new(7);
        let took = world.sim.block_on(async {
            let far = Host::builder().runtime(world.far.rt());
            let far = far.build().await.expect("starts");
            far.handle("/greet/1", |mut stream| async move {
                stream.write_all(b"!").await?;
                stream.close().await
            })
            .expect("new");
            for at in &listens {
                far.listen(*at).await.expect("listens");
            }
            let near = Host::builder().runtime(world.near.rt());
            let near = near.build().await.expect("starts");
            let addrs = [tcp, quic].map(|addr| addr.parse().expect("an address"));
            near.swarm().add_addrs(far.peer_id(), addrs);
            let start = world.sim.now();
            let mut stream = near.open(far.peer_id(), "/greet/1").await.expect("opens");
            stream.flush().await.expect("flushes");
            stream.read_exact(&mut [0]).await.expect("reads");
            let own = stream.connection().info().security.is_none();
            assert_eq!(own, listens.len() == 2, "QUIC where it is there");
            world.sim.now() - start
        });
        let expected = Duration::from_millis(expected);
        assert!(
            took >= expected && took < expected + Duration::from_millis(10),
            "{took:?}"
        );
    }
}

#[cfg(feature = "bootstrap")]
#[test]
fn who_builds_a_host_with_its_events_misses_none_of_its_first_peers() {
    let World { sim, near, far } = World::new(3);
    sim.block_on(async {
        let far = Host::builder().runtime(far.rt()).build().await.unwrap();
        let addr = far.listen("/ip4/10.0.0.2/tcp/4001").await.unwrap();
        let list = p2p::bootstrap::List::new([addr]).unwrap();
        let near = Host::builder()
            .runtime(near.rt())
            .bootstrap(list, p2p::bootstrap::Config::default());
        let (near, events) = near.build_with_events().await.unwrap();
        near.swarm().rt().sleep(Duration::from_secs(10)).await;
        let met = events.any(|event| async {
            matches!(event, p2p::Event::Connected { info } if info.peer == far.peer_id())
        });
        assert!(met.await);
    });
}
