//! What QUIC promises beyond the rules of all transports, in virtual time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::{MS, PORT, SEC, World, echo, muxed, receive, run, send};
use futures::future::{join, join_all};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{
    Chain, ConnectionEnd, Dialed, ErrorCode, Multiaddr, PeerId, Transport, TransportError,
};
use p2p_keys::Keypair;
use p2p_quic::{Config, HandshakeError, Quic};
use p2p_sim::{Host, NatConfig, NatRule, Sim};
use p2p_tls::Credentials;
use proptest::prelude::*;

#[test]
fn the_first_answer_takes_two_round_trips() {
    let (sim, world) = World::new(1, p2p_sim::Link::new(50 * MS), Config::default());
    let took = sim.block_on(async {
        world.serve_echo().await;
        let start = world.near.rt().now();
        let near = world.dial().await.unwrap();
        assert_eq!(world.near.rt().now() - start, 100 * MS, "the handshake");
        let mut stream = near.open().await.unwrap();
        stream.write_all(b"question").await.unwrap();
        stream.read_exact(&mut [0; 8]).await.unwrap();
        world.near.rt().now() - start
    });
    assert!((200 * MS..201 * MS).contains(&took), "{took:?}");
}

#[test]
fn under_load_dialers_first_show_their_address() {
    let mut config = Config::default();
    config.retry_above = 0;
    let (sim, world) = World::new(2, p2p_sim::Link::new(50 * MS), config);
    let took = sim.block_on(async {
        world.serve_echo().await;
        let start = world.near.rt().now();
        world.dial().await.unwrap();
        world.near.rt().now() - start
    });
    assert_eq!(took, 200 * MS, "one more round trip");
}

#[test]
fn handshakes_that_nobody_finishes_are_bounded_and_others_refused() {
    let mut config = Config::default();
    config.max_handshakes = 4;
    let (sim, world) = World::new(3, p2p_sim::Link::new(MS), config);
    sim.block_on(async {
        let mut listener = world.listen().await;
        let rt = world.near.rt();
        let dials = join_all((0..10).map(|_| rt.timeout(SEC, world.dial())));
        let outcomes = dials.await;
        let waiting = outcomes.iter().filter(|dialed| dialed.is_err()).count();
        assert_eq!(waiting, 4, "they wait for the listener");
        let (exceeded, times) = listener.refusals().unwrap();
        assert_eq!((exceeded.setting, times), ("max_handshakes", 6));
        assert!(listener.refusals().is_none(), "told once");
        for refused in outcomes.into_iter().flatten() {
            let Err(TransportError::Handshake(error)) = refused else {
                panic!("connected, or another error");
            };
            let error = error.downcast_ref::<HandshakeError>();
            assert!(matches!(error, Some(HandshakeError::Refused)), "{error:?}");
        }
        // Those that gave up are accepted and found dead; then there is room again.
        for _ in 0..4 {
            let link = listener.accept().await.unwrap().link;
            let done = world.far.rt().timeout(10 * SEC, link).await;
            assert!(!matches!(done, Ok(Ok(_))), "nobody is there any more");
        }
        let serve = async { listener.accept().await.unwrap().link.await.map(drop) };
        let (dialed, served) = join(world.dial(), serve).await;
        dialed.unwrap();
        served.unwrap();
    });
}

/// What a listener hears of a dialer with these credentials that expects `expect`.
fn listen_to(
    identity: &Keypair,
    credentials: Credentials,
    expect: Option<PeerId>,
) -> TransportError {
    let (sim, world) = World::new(9, p2p_sim::Link::new(10 * MS), Config::default());
    sim.block_on(async {
        let rt = world.near.rt();
        let dialer = Quic::with_credentials(rt.clone(), identity, credentials, Config::default());
        let mut listener = world.listen().await;
        let refuse = async { listener.accept().await.unwrap().link.await.err().unwrap() };
        let dial = async {
            let dialed = dialer.unwrap().dial(world.addr(), expect).await;
            // A dialer is done before the listener looks at its certificate.
            dialed.map(|dialed| run(&rt, muxed(dialed.link)))
        };
        join(refuse, dial).await.0
    })
}

#[test]
fn a_listener_says_what_is_wrong_with_the_certificate_of_a_dialer() {
    let identity = Keypair::ed25519_from_seed([1; 32]);
    let made = || p2p_tls::certificate::generate(&identity).unwrap();
    let (one, two) = (made(), made());
    let chain = vec![one.certificate, two.certificate];
    let rt = Sim::new(1).host("clock").rt();
    let peer = identity.to_peer_id();
    let credentials = Credentials::with_certificates(peer, chain, one.key, rt).unwrap();
    let error = listen_to(&identity, credentials, None);
    assert_eq!(
        Chain(&error).to_string(),
        "handshake failed: the remote showed 2 certificates, and must show exactly one"
    );
}

#[test]
fn a_listener_hears_that_a_dialer_refuses_its_certificate() {
    let identity = Keypair::ed25519_from_seed([1; 32]);
    let credentials = Credentials::new(&identity).unwrap();
    let error = listen_to(&identity, credentials, Some(identity.to_peer_id()));
    let text = Chain(&error).to_string();
    let refused = "the remote refuses our certificate, or expects somebody else (alert ";
    assert!(text.contains(refused), "{text}");
}

#[test]
fn an_unknown_version_is_answered_once_and_never_with_more_bytes() {
    let (sim, world) = World::new(4, p2p_sim::Link::new(MS), Config::default());
    sim.block_on(async {
        let _listener = world.listen().await;
        let socket = world.socket();
        let mut hello = vec![0; 1200];
        // A long header of version 0x5a5a5a5a, with two connection ids of 8 bytes.
        hello[..15].copy_from_slice(b"\xc0\x5a\x5a\x5a\x5a\x08abcdefgh\x08");
        hello[15..23].copy_from_slice(b"ABCDEFGH");
        send(&socket, world.far.socket(PORT), &hello).await;
        let (from, answer) = receive(&socket).await;
        assert_eq!(from, world.far.socket(PORT));
        assert_eq!(answer[1..5], [0; 4], "version negotiation");
        assert_eq!(answer[6..14], *b"ABCDEFGH");
        let versions: Vec<_> = answer[23..].chunks(4).collect();
        assert!(
            versions.contains(&&[0, 0, 0, 1][..]),
            "version 1 is offered"
        );
        assert!(answer.len() < hello.len());

        send(&socket, world.far.socket(PORT), &hello[..200]).await;
        let rt = world.near.rt();
        let silence = rt.timeout(SEC, receive(&socket)).await;
        assert!(silence.is_err(), "a short datagram gets no answer");
    });
}

#[test]
fn a_node_that_starts_anew_tells_those_who_knew_it_before() {
    let (sim, world) = World::new(7, p2p_sim::Link::new(MS), Config::default());
    let took = sim.block_on(async {
        world.serve_echo().await;
        let near = world.dial().await.unwrap();
        let mut stream = near.open().await.unwrap();
        stream.write_all(b"before").await.unwrap();
        stream.read_exact(&mut [0; 6]).await.unwrap();
        world.far.crash();
        world.far.restart();
        let again = Quic::new(world.far.rt(), &world.identity, Config::default()).unwrap();
        let _listener = again.listen(world.addr()).await.unwrap();
        let start = world.near.rt().now();
        stream.write_all(&[0; 100]).await.unwrap();
        let end = stream.read(&mut [0; 1]).await;
        assert!(end.is_err(), "{end:?}");
        world.near.rt().now() - start
    });
    assert!(took < SEC, "{took:?} to notice");
}

#[test]
fn an_address_is_free_as_soon_as_its_listener_is_dropped() {
    let (sim, world) = World::new(15, p2p_sim::Link::new(MS), Config::default());
    sim.block_on(async {
        for _ in 0..3 {
            drop(world.listen().await);
        }
        world.serve_echo().await;
        echo(&*world.dial().await.unwrap(), 100).await;
    });
}

#[test]
fn a_connection_survives_a_new_address_of_the_dialer() {
    let sim = Sim::new(5);
    let mut config = NatConfig::new(
        NatRule::AddressAndPortDependent,
        NatRule::AddressAndPortDependent,
    );
    config.preserves_ports = false;
    let nat = sim.nat("home", [192, 0, 2, 1], config);
    let world = World::of(nat.host("near"), sim.host("far"), Config::default());
    sim.block_on(async {
        let mut listener = world.listen().await;
        let accept = async { muxed(listener.accept().await.unwrap().link.await.unwrap()) };
        let (near, far) = join(world.dial(), accept).await;
        let near = near.unwrap();
        let far = run(&world.far.rt(), far);
        let before = format!("{far:?}");
        let mut stream = near.open().await.unwrap();
        let mut other = None;
        for round in 0..3u8 {
            nat.forget();
            stream.write_all(&[round; 1000]).await.unwrap();
            let other = match &mut other {
                Some(other) => other,
                none => none.insert(far.accept().await.unwrap()),
            };
            let mut came = [0; 1000];
            other.read_exact(&mut came).await.unwrap();
            other.write_all(&came).await.unwrap();
            stream.read_exact(&mut came).await.unwrap();
            assert_eq!(came, [round; 1000]);
        }
        assert_ne!(format!("{far:?}"), before, "the address did change");
    });
}

#[test]
fn a_quiet_connection_is_kept_and_a_dead_one_ends() {
    let (sim, world) = World::new(6, p2p_sim::Link::new(10 * MS), Config::default());
    sim.block_on(async {
        world.serve_echo().await;
        let near = world.connect().await.unwrap();
        let mut stream = near.muxing.muxer.open().await.unwrap();
        let rt = world.near.rt();
        let (ended, end) = futures::channel::oneshot::channel();
        let (driver, clock) = (near.muxing.driver, rt.clone());
        rt.spawn(
            "connection",
            Box::pin(async move {
                let end = driver.await;
                let _ = ended.send((end, clock.now()));
            }),
        );
        rt.sleep(600 * SEC).await;
        stream.write_all(b"still there?").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();

        sim.partition(&[&world.near], &[&world.far]);
        let cut = rt.now();
        let (end, at) = end.await.unwrap();
        let silent = Config::default().idle_timeout;
        assert!(
            matches!(end, ConnectionEnd::Silent(after) if after == silent),
            "{end}"
        );
        assert!(at - cut <= 2 * silent, "after {:?}", at - cut);
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert!(matches!(
            ConnectionEnd::of(&error),
            Some(ConnectionEnd::Silent(_))
        ));
    });
}

#[test]
fn pings_are_answered_at_once_for_minutes() {
    let (sim, world) = World::new(14, p2p_sim::Link::new(10 * MS), Config::default());
    sim.block_on(async {
        world.serve_echo().await;
        let near = world.dial().await.unwrap();
        let rt = world.near.rt();
        let mut long = near.open().await.unwrap();
        // Ten minutes, as libp2p pings: 32 bytes on one stream, and each time on a new one.
        for n in 0..600u32 {
            let payload = [n as u8; 32];
            let mut short = near.open().await.unwrap();
            for stream in [&mut long, &mut short] {
                let start = rt.now();
                stream.write_all(&payload).await.unwrap();
                let mut echo = [0; 32];
                stream.read_exact(&mut echo).await.unwrap();
                assert_eq!(echo, payload);
                let took = rt.now() - start;
                assert!(took < 21 * MS, "ping {n} took {took:?}");
            }
            short.close().await.unwrap();
            rt.sleep(SEC).await;
        }
    });
}

#[test]
fn one_socket_dials_and_listens() {
    let (sim, world) = World::new(11, p2p_sim::Link::new(MS), Config::default());
    sim.block_on(async {
        world.serve_echo().await;
        let at: Multiaddr = format!("/ip4/{}/udp/5000/quic-v1", world.near.ip())
            .parse()
            .unwrap();
        let _listener = world.dialer.listen(at.clone()).await.unwrap();
        let to = world.addr();
        let Dialed { local, .. } = world.dialer.dial(to, None).await.unwrap();
        assert_eq!(local, Some(at));
        let census = sim.census();
        assert_eq!(census.host("near").unwrap().udp_sockets, 1);
    });
}

#[test]
fn stragglers_of_a_forgotten_connection_are_not_taken_for_a_new_one() {
    const COUNT: usize = 16;
    let (sim, world) = World::new(14, p2p_sim::Link::new(5 * MS), Config::default());
    let middle = sim.host("middle");
    sim.block_on(async {
        let mut listener = world.listen().await;
        let passed = relay(&middle, world.far.socket(PORT));
        let to: Multiaddr = format!("/ip4/{}/udp/{PORT}/quic-v1", middle.ip())
            .parse()
            .unwrap();
        for _ in 0..COUNT {
            let dial = world.dialer.dial(to.clone(), None);
            let accept = async { listener.accept().await.unwrap().link.await };
            let (dialed, accepted) = join(dial, accept).await;
            let near = run(&world.near.rt(), muxed(dialed.unwrap().link));
            let _far = run(&world.far.rt(), muxed(accepted.unwrap()));
            near.close(ErrorCode::NONE);
        }
        world.near.rt().sleep(60 * SEC).await;

        // First datagrams (the bit 0x40 may be random) under a name of the listener, 8 bytes long.
        let mut late = passed.lock().unwrap().clone();
        late.retain(|datagram| datagram[0] & 0xb0 == 0x80 && datagram[5] == 8);
        assert!(late.len() >= COUNT, "{} stragglers", late.len());
        let socket = world.socket();
        for datagram in &late {
            send(&socket, world.far.socket(PORT), datagram).await;
        }
        let rt = world.far.rt();
        let came = rt.timeout(SEC, listener.accept()).await;
        assert!(came.is_err(), "a straggler came in as somebody new");
    });
}

/// Passes datagrams on between whoever comes to `middle` and `far`; those to `far` are kept.
fn relay(middle: &Host, far: SocketAddr) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let bind = |port| {
        let rt = middle.rt();
        rt.net().udp_bind(middle.socket(port)).unwrap()
    };
    let (inner, outer) = (bind(PORT), bind(PORT + 1));
    let (back_inner, back_outer) = (inner.clone(), outer.clone());
    let passed = Arc::new(Mutex::new(Vec::new()));
    let guest = Arc::new(Mutex::new(None));
    let (keep, known) = (passed.clone(), guest.clone());
    middle.spawn("there", async move {
        loop {
            let (from, datagram) = receive(&inner).await;
            *known.lock().unwrap() = Some(from);
            send(&outer, far, &datagram).await;
            keep.lock().unwrap().push(datagram);
        }
    });
    middle.spawn("back", async move {
        loop {
            let (_, datagram) = receive(&back_outer).await;
            let to = *guest.lock().unwrap();
            send(&back_inner, to.unwrap(), &datagram).await;
        }
    });
    passed
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let link = p2p_sim::Link::new(20 * MS).jitter(5 * MS).loss(0.02);
        let (sim, world) = World::new(seed, link, Config::default());
        sim.block_on(async {
            world.serve_echo().await;
            let near = world.dial().await.unwrap();
            echo(&*near, 200_000).await;
        });
        sim.hash()
    };
    assert_eq!(run(12), run(12));
    assert_ne!(run(12), run(13));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn garbage_from_strangers_changes_nothing(
        seed in any::<u64>(),
        garbage in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 1..1400)), 1..60),
    ) {
        let (sim, world) = World::new(seed, p2p_sim::Link::new(5 * MS), Config::default());
        sim.block_on(async {
            world.serve_echo().await;
            let socket = world.socket();
            let near = world.dial().await.unwrap();
            let strangers = async {
                for (looks_long, mut bytes) in garbage {
                    if looks_long && bytes.len() > 5 {
                        bytes[0] |= 0xc0;
                        bytes[1..5].copy_from_slice(&[0, 0, 0, 1]);
                        bytes.resize(1200, 0);
                    }
                    send(&socket, world.far.socket(PORT), &bytes).await;
                    world.near.rt().sleep(MS).await;
                }
            };
            join(strangers, echo(&*near, 300_000)).await;
        });
    }

    #[test]
    fn bad_links_lose_and_mix_up_nothing(
        seed in any::<u64>(),
        loss in 0.0..0.15f64,
        jitter in 0u32..20,
        reorder in 0.0..0.2f64,
        duplicate in 0.0..0.2f64,
        len in 1usize..300_000,
    ) {
        let link = p2p_sim::Link::new(10 * MS)
            .jitter(jitter * MS)
            .loss(loss)
            .reorder(reorder)
            .duplicate(duplicate);
        let (sim, world) = World::new(seed, link, Config::default());
        sim.block_on(async {
            world.serve_echo().await;
            let near = world.dial().await.unwrap();
            echo(&*near, len).await;
        });
    }
}
