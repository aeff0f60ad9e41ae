//! Two hosts with the facade's defaults (TCP, Noise, yamux, identify, ping) in the simulator.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, io};
use p2p::{
    Config, ConnectionEnd, Event, Host, Keypair, Multiaddr, Multiplexer, SecureChannel, Stream,
};
use p2p_sim::{Link, Sim};

const LATENCY: Duration = Duration::from_millis(50);

/// A host that answers `/echo/1.0.0` and listens; its address.
async fn node(host: &p2p_sim::Host, seed: u8) -> (Host, Multiaddr) {
    let node = Host::builder()
        .identity(Keypair::ed25519_from_seed([seed; 32]))
        .runtime(host.rt())
        .build()
        .await
        .expect("the defaults make a host");
    node.handle("/echo/1.0.0", echo)
        .expect("the protocol is free");
    let addr = node
        .listen(format!("/ip4/{}/tcp/4001", host.ip()).as_str())
        .await;
    (node, addr.expect("the port is free"))
}

async fn echo(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    io::copy(reader, &mut writer).await?;
    writer.close().await
}

/// From opening a stream to its first answer.
async fn first_answer(from: &Host, to: &Multiaddr) -> Duration {
    let rt = from.swarm().rt();
    let start = rt.now();
    let mut stream = from.open(to, "/echo/1.0.0").await.expect("a stream");
    stream.write_all(b"x").await.expect("room for a byte");
    stream.read_exact(&mut [0]).await.expect("the echo");
    rt.now() - start
}

#[test]
fn dial_to_first_answer_is_three_round_trips_and_a_further_stream_one() {
    let sim = Sim::new(1);
    sim.default_link(Link::new(LATENCY));
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));

    let (first, second) = sim.block_on(async {
        let (a, _) = node(&alice, 1).await;
        let (_b, addr) = node(&bob, 2).await;
        let first = first_answer(&a, &addr).await;
        // Identify and ping have their own streams; let them finish.
        a.swarm().rt().sleep(Duration::from_secs(1)).await;
        (first, first_answer(&a, &addr).await)
    });

    assert_eq!(first, LATENCY * 6, "TCP, Noise, request");
    assert_eq!(second, LATENCY * 2);
}

/// A host that offers several multiplexers and has no services, so that nothing else travels.
async fn bare(host: &p2p_sim::Host) -> Host {
    let builder = Host::builder().runtime(host.rt()).identify(None).ping(None);
    let node = builder.build().await.expect("the defaults make a host");
    node.handle("/echo/1.0.0", echo)
        .expect("the protocol is free");
    node
}

#[test]
fn three_flights_each_way_to_the_first_answer_and_one_for_a_further_stream() {
    let sim = Sim::new(6);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));

    let (first, second) = sim.block_on(async {
        let (a, b) = (bare(&alice).await, bare(&bob).await);
        let addr = b
            .listen(format!("/ip4/{}/tcp/1", bob.ip()).as_str())
            .await
            .expect("free");
        sim.count_flights(&alice, &bob);
        let mut held = Vec::new();
        let mut flights = Vec::new();
        for _ in 0..2 {
            let mut stream = a.open(&addr, "/echo/1.0.0").await.expect("a stream");
            stream.write_all(b"x").await.expect("room for a byte");
            stream.read_exact(&mut [0]).await.expect("the echo");
            held.push(stream);
            flights.push(sim.flights(&alice, &bob).flights);
        }
        (flights[0], flights[1])
    });

    assert_eq!(first, 6, "TCP, Noise, request: there and back");
    assert_eq!(second - first, 2, "request: there and back");
}

#[test]
fn both_hosts_learn_who_the_other_is_and_how_far_away() {
    let sim = Sim::new(2);
    sim.default_link(Link::new(LATENCY));
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));

    sim.block_on(async {
        let (a, _) = node(&alice, 1).await;
        let (b, addr) = node(&bob, 2).await;
        let connection = a.dial(&addr).await.expect("bob is there");
        assert_eq!(
            connection.info().security.as_ref().map(|id| id.as_str()),
            Some(match p2p::tls::cpu_has_aes() {
                true => "/tls/1.0.0",
                false => "/noise",
            })
        );
        assert_eq!(
            connection.info().muxer.as_ref().map(|id| id.as_str()),
            Some("/yamux/1.0.0")
        );
        assert_eq!(
            connection.info().timings.muxer,
            Duration::ZERO,
            "agreed inside Noise"
        );

        let identify = a.identify().expect("on by default");
        let told = identify.identified(&connection).await.expect("an answer");
        assert_eq!(told.peer, b.peer_id());
        assert!(told.protocols.iter().any(|id| id.as_str() == "/echo/1.0.0"));
        assert!(told.signed_record.is_some());

        let ping = a.ping().expect("on by default");
        assert_eq!(ping.ping(b.peer_id()).await.expect("an echo"), LATENCY * 2);
    });
}

#[test]
fn an_idle_connection_costs_nothing_between_pings() {
    let sim = Sim::new(8);
    sim.default_link(Link::new(LATENCY));
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));

    let busy = sim.block_on(async {
        let (a, _) = node(&alice, 1).await;
        let (b, addr) = node(&bob, 2).await;
        let _connection = a.dial(&addr).await.expect("bob is there");
        let _kept = b.swarm().keep_alive(a.peer_id());
        let rt = a.swarm().rt();
        // Identify is done, and buffers are given back.
        rt.sleep(Duration::from_secs(120)).await;
        let mut busy = 0;
        for _ in 0..600 {
            let before = sim.stats().polls;
            rt.sleep(Duration::from_millis(100)).await;
            // One poll is our own.
            busy += usize::from(sim.stats().polls > before + 1);
        }
        busy
    });

    // In a minute each end sends four pings, which take two tenths of a second, and gives its
    // buffers back a second later.
    assert!((4..=8 * 4).contains(&busy), "{busy} of 600");
}

#[test]
fn closing_both_hosts_leaves_nothing_in_the_world() {
    let sim = Sim::new(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    sim.block_on(async {
        let (a, _) = node(&alice, 1).await;
        let (b, addr) = node(&bob, 2).await;
        first_answer(&a, &addr).await;
        a.close().await;
        b.close().await;
        assert_eq!(a.swarm().census().memory + b.swarm().census().memory, 0);
        assert!(
            a.swarm().census().tasks.is_empty(),
            "{:?}",
            a.swarm().census()
        );
    });
    sim.run_for(Duration::from_secs(300));
    assert!(sim.census().is_empty(), "{:?}", sim.census());
}

#[test]
fn closing_tells_how_connections_ended_also_those_that_do_not_end_in_time() {
    let sim = Sim::new(4);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mut config = Config::default();
    // Less than a multiplexer gives itself to say goodbye.
    config.shutdown_timeout = Duration::from_secs(1);
    let ends = sim.block_on(async {
        let a = Host::builder().identity(Keypair::ed25519_from_seed([1; 32]));
        let a = a.runtime(alice.rt()).config(config.clone());
        let a = a.build().await.expect("the settings are sound");
        let (_b, addr) = node(&bob, 2).await;
        first_answer(&a, &addr).await;
        let mut events = a.events();
        sim.partition(&[&alice], &[&bob]);
        // What is on the way fills the link: nothing of an end gets through.
        let mut streams = Vec::new();
        for _ in 0..20 {
            let mut stream = a.open(&addr, "/echo/1.0.0").await.expect("a stream");
            let written = stream.write_all(&[7; 256 << 10]);
            let rt = a.swarm().rt();
            let _ = rt.timeout(Duration::from_millis(100), written).await;
            streams.push(stream);
        }
        let start = sim.now();
        a.close().await;
        assert_eq!(sim.now() - start, config.shutdown_timeout);
        let mut ends = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::Disconnected { end, .. } = event {
                ends.push(end);
            }
        }
        ends
    });
    assert!(matches!(ends[..], [ConnectionEnd::Dropped]), "{ends:?}");
}

#[test]
fn the_same_seed_shows_the_same_events_and_another_seed_others() {
    let run = |seed| {
        let sim = Sim::new(seed);
        let jittery = Link::new(LATENCY).jitter(Duration::from_millis(20));
        sim.default_link(jittery);
        let (alice, bob) = (sim.host("alice"), sim.host("bob"));
        sim.block_on(async {
            let (a, _) = node(&alice, 1).await;
            let (_b, addr) = node(&bob, 2).await;
            for _ in 0..5 {
                first_answer(&a, &addr).await;
            }
        });
        sim.hash()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn plaintext_beside_a_secure_channel_is_refused() {
    let sim = Sim::new(4);
    let rt = sim.host("alice").rt();
    let both = [SecureChannel::Noise, SecureChannel::Plaintext];
    let built = sim.block_on(Host::builder().runtime(rt).secure_channels(&both).build());
    let refused = built.expect_err("downgrade is one message away");
    assert!(refused.to_string().contains("plaintext"), "{refused}");
}

#[test]
fn every_secure_channel_and_multiplexer_carries_a_megabyte_both_ways() {
    for channel in [SecureChannel::Noise, SecureChannel::Plaintext] {
        for muxer in [Multiplexer::Yamux, Multiplexer::Mplex] {
            let sim = Sim::new(5);
            let (alice, bob) = (sim.host("alice"), sim.host("bob"));
            let build = |host: &p2p_sim::Host| {
                let builder = Host::builder().runtime(host.rt()).config(Config::default());
                builder
                    .secure_channels(&[channel])
                    .multiplexers(&[muxer])
                    .build()
            };
            sim.block_on(async {
                let (a, b) = (
                    build(&alice).await.expect("a"),
                    build(&bob).await.expect("b"),
                );
                b.handle("/echo/1.0.0", echo).expect("free");
                let addr = b
                    .listen(format!("/ip4/{}/tcp/1", bob.ip()).as_str())
                    .await
                    .expect("free");
                let stream = a.open(&addr, "/echo/1.0.0").await.expect("a stream");
                let (mut reader, mut writer) = stream.split();
                let sent: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
                let mut got = Vec::new();
                let write = async {
                    writer.write_all(&sent).await?;
                    writer.close().await
                };
                futures::future::try_join(write, reader.read_to_end(&mut got))
                    .await
                    .expect("the echo");
                assert!(got == sent, "{channel:?} {muxer:?}: {} bytes", got.len());
            });
        }
    }
}

#[cfg(feature = "quic")]
#[test]
fn over_quic_the_first_answer_takes_two_round_trips() {
    let sim = Sim::new(21);
    sim.default_link(Link::new(LATENCY));
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));

    let (first, second) = sim.block_on(async {
        let (a, _) = node(&alice, 1).await;
        let (b, _) = node(&bob, 2).await;
        let addr = b
            .listen(format!("/ip4/{}/udp/4001/quic-v1", bob.ip()).as_str())
            .await
            .expect("the port is free");
        let first = first_answer(&a, &addr).await;
        a.swarm().rt().sleep(Duration::from_secs(1)).await;
        (first, first_answer(&a, &addr).await)
    });

    assert_eq!(first, LATENCY * 4, "QUIC, request");
    assert_eq!(second, LATENCY * 2);
}

#[cfg(feature = "quic")]
#[test]
fn quic_goes_first_and_tcp_takes_over_after_250_ms_where_udp_does_not_pass() {
    for listens in [true, false] {
        let sim = Sim::new(22);
        sim.default_link(Link::new(LATENCY));
        let (alice, bob) = (sim.host("alice"), sim.host("bob"));

        let (took, remote) = sim.block_on(async {
            let (a, _) = node(&alice, 1).await;
            let (b, tcp) = node(&bob, 2).await;
            let text = format!("/ip4/{}/udp/4001/quic-v1", bob.ip());
            let quic: Multiaddr = text.parse().expect("an address");
            if listens {
                b.listen(&quic).await.expect("the port is free");
            }
            let start = a.swarm().rt().now();
            let dialed = a.dial((b.peer_id(), vec![tcp, quic])).await;
            let connection = dialed.expect("one of the addresses answers");
            (
                a.swarm().rt().now() - start,
                connection.info().remote.to_string(),
            )
        });

        if listens {
            assert!(remote.contains("quic-v1"), "{remote}");
            assert_eq!(took, LATENCY * 2);
        } else {
            assert!(remote.contains("tcp"), "{remote}");
            assert_eq!(took, Duration::from_millis(250) + LATENCY * 4);
        }
    }
}
