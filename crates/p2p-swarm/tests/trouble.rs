//! What goes wrong is said clearly, ends as little as possible, and leaves nothing behind.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "an unexpected error is a failed test"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Credulous, ECHO, LATENCY, ask, builder, listen, peer, sim, swarm, swarm_with};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use p2p_core::{
    AddrExt, Budget, ConnectionEnd, ErrorCode, Multiaddr, Multiplex, Role, StreamReset, TcpOptions,
};
use p2p_sim::{Host, Sim};
use p2p_swarm::{Attempt, Config, DialError, Event, HandlerOptions, Step, Swarm, UpgradeError};

/// The only attempt of a failed dial.
fn attempt(error: DialError) -> Attempt {
    if let DialError::AllFailed {
        attempts, more: 0, ..
    } = &error
        && let [only] = &**attempts
    {
        return only.clone();
    }
    panic!("not a single failed attempt: {error}");
}

/// A TCP listener on `host` that sends `greeting` to everybody and then says nothing.
fn stranger(host: &Host, greeting: &'static [u8]) -> Multiaddr {
    let rt = host.rt();
    let options = TcpOptions::default();
    let mut listener = rt.net().tcp_listen(host.socket(80), &options).unwrap();
    host.spawn("stranger", async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(greeting).await;
            held.push(stream);
        }
    });
    Multiaddr::from_tcp_socket(host.socket(80))
}

fn assert_nothing_left(swarm: &Swarm) {
    let census = swarm.census();
    let held = (census.connections, census.memory, census.sharing_peers);
    assert_eq!(held, (0, 0, 0), "{census:?}");
    let known = ["listener"];
    assert!(
        census.tasks.iter().all(|task| known.contains(task)),
        "{census:?}"
    );
}

#[test]
fn a_refused_connection_names_the_transport() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let a = swarm(&alice, 1);
    let addr = Multiaddr::from_tcp_socket(bob.socket(1)).with_peer(peer(2));

    let failed = attempt(sim.block_on(a.dial(addr.clone())).unwrap_err());

    assert_eq!(failed.error.step(), Step::Transport);
    assert_eq!(failed.addr, addr);
    assert_nothing_left(&a);
}

#[test]
fn an_address_without_a_transport_says_so() {
    let sim = sim(2);
    let a = swarm(&sim.host("alice"), 1);
    let addr: Multiaddr = "/ip4/1.2.3.4/udp/1/quic-v1".parse().unwrap();

    let failed = attempt(sim.block_on(a.dial(addr)).unwrap_err());

    assert!(
        failed.error.to_string().contains("no transport"),
        "{}",
        failed.error
    );
}

#[test]
fn a_wrong_peer_is_named_beside_the_expected_one() {
    let sim = sim(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    let failed = sim.block_on(async {
        let addr = listen(&b, &bob).await.with_peer(peer(9));
        attempt(a.dial(addr).await.unwrap_err())
    });

    assert_eq!(failed.error.step(), Step::Security);
    let text = failed.error.to_string();
    assert!(
        text.contains(&peer(9).to_string()) && text.contains(&peer(2).to_string()),
        "{text}"
    );
    sim.run_for(Duration::from_secs(60));
    assert_nothing_left(&a);
    assert_nothing_left(&b);
}

#[test]
fn a_peer_that_speaks_http_is_recognised_as_no_libp2p_node() {
    let sim = sim(4);
    let (alice, web) = (sim.host("alice"), sim.host("web"));
    let a = swarm(&alice, 1);
    let addr = stranger(&web, b"HTTP/1.1 400 Bad Request\r\n\r\n");

    let failed = attempt(sim.block_on(a.dial(addr)).unwrap_err());

    assert!(
        matches!(*failed.error, UpgradeError::Negotiation(_)),
        "{}",
        failed.error
    );
    let text = p2p_swarm::Chain(&*failed.error).to_string();
    assert!(text.contains("HTTP"), "{text}");
    assert_nothing_left(&a);
}

#[test]
fn a_peer_that_says_nothing_costs_one_deadline() {
    let sim = sim(5);
    let (alice, mute) = (sim.host("alice"), sim.host("mute"));
    let a = swarm(&alice, 1);
    let addr = stranger(&mute, b"");

    let start = a.rt().now();
    let failed = attempt(sim.block_on(a.dial(addr)).unwrap_err());

    assert_eq!(failed.error.step(), Step::Security);
    assert!(
        matches!(*failed.error, UpgradeError::Timeout { .. }),
        "{}",
        failed.error
    );
    assert_eq!(a.rt().now() - start, Duration::from_secs(10));
    assert_nothing_left(&a);
}

#[test]
fn an_unknown_peer_and_ourselves_are_refused_without_a_packet() {
    let sim = sim(6);
    let a = swarm(&sim.host("alice"), 1);

    let unknown = sim.block_on(a.dial(peer(9))).unwrap_err();
    assert!(matches!(unknown, DialError::NoAddress { .. }), "{unknown}");
    let own = sim.block_on(a.dial(peer(1))).unwrap_err();
    assert!(matches!(own, DialError::SelfDial { .. }), "{own}");
}

#[test]
fn our_own_address_without_a_name_is_noticed() {
    let sim = sim(7);
    let alice = sim.host("alice");
    let a = swarm(&alice, 1);

    let failed = sim.block_on(async {
        let addr = listen(&a, &alice).await.without_peer();
        attempt(a.dial(addr).await.unwrap_err())
    });

    assert!(
        matches!(*failed.error, UpgradeError::SelfDial),
        "{}",
        failed.error
    );
    sim.run_for(Duration::from_secs(60));
    assert_nothing_left(&a);
}

#[test]
fn a_half_open_connection_is_gone_when_its_deadline_passes() {
    let sim = sim(8);
    let (bob, mallory) = (sim.host("bob"), sim.host("mallory"));
    let b = swarm(&bob, 2);
    let mut events = b.events();

    let error = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let rt = mallory.rt();
        let to = addr.tcp_socket().unwrap();
        let _held = rt
            .net()
            .tcp_connect(to, &TcpOptions::default())
            .await
            .unwrap();
        loop {
            if let Event::IncomingFailed { error, .. } = events.next().await.unwrap() {
                break error;
            }
        }
    });

    assert!(
        matches!(
            *error,
            UpgradeError::Timeout {
                step: Step::Security,
                ..
            }
        ),
        "{error}"
    );
    assert_nothing_left(&b);
}

#[test]
fn half_open_connections_beyond_the_limit_are_refused_and_the_setting_named() {
    let sim = sim(9);
    let (bob, mallory) = (sim.host("bob"), sim.host("mallory"));
    let mut config = Config::default();
    config.limits.max_pending_incoming = 3;
    let b = swarm_with(&bob, 2, config);
    let mut events = b.events();

    let error = sim.block_on(async {
        let to = listen(&b, &bob).await.tcp_socket().unwrap();
        let rt = mallory.rt();
        let options = TcpOptions::default();
        let connects = (0..4).map(|_| rt.net().tcp_connect(to, &options));
        let _held = future::join_all(connects).await;
        loop {
            if let Event::IncomingFailed { error, .. } = events.next().await.unwrap() {
                break error;
            }
        }
    });

    assert!(
        error.to_string().contains("max_pending_incoming"),
        "{error}"
    );
}

#[test]
fn an_unknown_protocol_fails_its_stream_and_nothing_else() {
    let sim = sim(10);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut stream = a.open(addr.clone(), "/unknown/1.0.0").await.unwrap();
        stream.write_all(b"x").await.unwrap();
        let error = stream.read(&mut [0]).await.unwrap_err();
        let refused = p2p_multistream::NegotiationError::of(&error);
        assert!(refused.is_some(), "{error:?}");
        assert_eq!(ask(&a, addr, b"still here").await.unwrap(), b"still here");
    });

    assert_eq!(a.connections(&peer(2)).len(), 1);
}

#[test]
fn a_stream_beyond_the_limit_is_reset_and_its_connection_stays() {
    let sim = sim(11);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let a = swarm(&alice, 1);
    let b = swarm_with(&bob, 2, Config::default());
    let options = HandlerOptions::default().max_streams(2);
    b.handle_with(ECHO, options, common::echo).unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut streams = Vec::new();
        for _ in 0..2 {
            let mut stream = a.open(addr.clone(), ECHO).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            streams.push(stream);
        }
        let mut third = a.open(addr.clone(), ECHO).await.unwrap();
        third.write_all(b"x").await.unwrap();
        let error = third.read(&mut [0]).await.unwrap_err();
        let reset = StreamReset::of(&error).unwrap_or_else(|| panic!("not a reset: {error:?}"));
        assert_eq!(reset.code, ErrorCode::RESOURCE_LIMIT_EXCEEDED);

        drop(streams);
        a.rt().sleep(LATENCY * 2).await;
        assert_eq!(ask(&a, addr, b"room again").await.unwrap(), b"room again");
    });
}

#[test]
fn a_remote_that_never_answers_a_proposal_is_not_waited_for_forever() {
    let sim = sim(12);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let a = swarm(&alice, 1);
    let addr = deaf(&bob);

    sim.block_on(async {
        let mut stream = a.open(addr, ECHO).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    });
}

/// Upgrades connections and then never looks at a stream.
fn deaf(host: &Host) -> Multiaddr {
    use p2p_core::Security;
    let rt = host.rt();
    let mut listener = rt
        .net()
        .tcp_listen(host.socket(80), &TcpOptions::default())
        .unwrap();
    host.spawn("deaf", async move {
        let (io, _) = listener.accept().await.unwrap();
        let id = Credulous(peer(2));
        let offered = vec![id.protocol()];
        let config = p2p_multistream::Config::default();
        let (_, io) = p2p_multistream::listen(io, &offered, &config)
            .await
            .unwrap();
        let yamux = p2p_yamux::Yamux::default();
        let secured = id.secure(Box::new(io), Role::Listener, None, vec![yamux.protocol()]);
        let io = secured.await.unwrap().io;
        let muxing = yamux.start(io, Role::Listener, &rt, &Budget::unlimited());
        muxing.driver.await;
    });
    Multiaddr::from_tcp_socket(host.socket(80))
}

#[test]
fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let sim = sim(13);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mut config = Config::default();
    config.low_water = Some(0);
    let (a, b) = (swarm_with(&alice, 1, config), swarm(&bob, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut stream = a.open(addr, ECHO).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        a.rt().sleep(Duration::from_secs(600)).await;
        assert_eq!(a.connections(&peer(2)).len(), 1, "a stream is open");

        // Each end judges for itself: both hold a handle.
        let held = (a.connections(&peer(2)), b.connections(&peer(1)));
        drop(stream);
        a.rt().sleep(Duration::from_secs(600)).await;
        assert_eq!(a.connections(&peer(2)).len(), 1, "a handle is held");

        let mut events = a.events();
        let start = a.rt().now();
        drop(held.0);
        let end = loop {
            if let Event::Disconnected { end, .. } = events.next().await.unwrap() {
                break end;
            }
        };
        let expected = matches!(end, ConnectionEnd::Local(ErrorCode::GARBAGE_COLLECTED));
        assert!(expected, "{end}");
        let waited = a.rt().now() - start;
        assert!(waited >= Duration::from_secs(60), "{waited:?}");
        assert!(waited <= Duration::from_secs(121), "{waited:?}");
    });
}

#[test]
fn dropping_the_swarm_ends_every_task_and_socket() {
    let sim = sim(14);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    let stream = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut stream = a.open(addr, ECHO).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        stream
    });
    drop((a, b));
    drop(stream);
    sim.run_for(Duration::from_secs(300));

    assert!(sim.census().is_empty(), "{:?}", sim.census());
}

#[test]
fn closing_is_orderly_and_bounded_although_the_remote_is_dead() {
    let sim = sim(15);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        a.dial(addr).await.unwrap();
        bob.crash();
        let start = a.rt().now();
        a.close().await;
        let took = a.rt().now() - start;
        assert!(took <= Duration::from_secs(6), "{took:?}");
        let refused = a.dial(peer(2)).await.unwrap_err();
        assert!(matches!(refused, DialError::Closed), "{refused}");
    });

    assert_nothing_left(&a);
    drop(b);
}

#[test]
fn a_handler_that_never_returns_delays_nobody() {
    let sim = sim(16);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    b.handle("/stuck/1.0.0", |_stream| future::pending::<()>())
        .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut stuck = Vec::new();
        for _ in 0..200 {
            let mut stream = a.open(addr.clone(), "/stuck/1.0.0").await.unwrap();
            stream.write_all(b"x").await.unwrap();
            stuck.push(stream);
        }
        assert_eq!(ask(&a, addr, b"hello").await.unwrap(), b"hello");
    });
}

#[test]
fn a_handler_that_takes_long_to_answer_is_waited_for() {
    let sim = sim(20);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let rt = bob.rt();
    b.handle("/slow/1.0.0", move |mut stream| {
        let rt = rt.clone();
        async move {
            rt.sleep(Duration::from_secs(50)).await;
            stream.write_all(b"at last").await?;
            stream.close().await
        }
    })
    .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut stream = a.open(addr, "/slow/1.0.0").await.unwrap();
        stream.close().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "at last");
    });
}

#[test]
fn more_connections_with_one_peer_than_allowed_are_refused() {
    let sim = sim(17);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mut config = Config::default();
    config.limits.max_connections_per_peer = 1;
    let b = swarm_with(&bob, 2, config);
    // Two nodes with the same identity: each dials once.
    let (one, two) = (swarm(&alice, 1), swarm(&alice, 1));
    let mut events = b.events();

    let error = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let _first = one.dial(addr.clone()).await.unwrap();
        let _second = two.dial(addr).await;
        loop {
            if let Event::IncomingFailed { error, .. } = events.next().await.unwrap() {
                break error;
            }
        }
    });

    assert!(
        error.to_string().contains("max_connections_per_peer"),
        "{error}"
    );
    assert_eq!(b.connections(&peer(1)).len(), 1);
}

#[test]
fn contradictory_settings_are_named_when_the_swarm_is_built() {
    let sim = Sim::new(18);
    let alice = sim.host("alice");
    let build = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        builder(&alice, 1)
            .config(config)
            .build()
            .unwrap_err()
            .to_string()
    };
    assert!(build(|config| config.limits.max_connections = 0).contains("max_connections"));
    let text = build(|config| config.limits.memory_budget = 1);
    assert!(
        text.contains("peer_memory") && text.contains("memory_budget"),
        "{text}"
    );
    let nothing = Swarm::builder(alice.rt(), peer(1)).build().unwrap_err();
    assert!(nothing.to_string().contains("no transport"), "{nothing}");
}

#[test]
fn every_failure_of_a_dial_is_listed_and_no_more_than_sixteen() {
    let sim = sim(19);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let a = swarm(&alice, 1);
    let addrs: Vec<Multiaddr> = (1..=20)
        .map(|port| Multiaddr::from_tcp_socket(bob.socket(port)))
        .collect();

    let error = sim.block_on(a.dial((peer(2), addrs))).unwrap_err();

    let DialError::AllFailed { attempts, more, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((attempts.len(), *more), (16, 4));
    assert_eq!(error.to_string().lines().count(), 1 + 16 + 1, "{error}");
    let _: &Arc<[Attempt]> = attempts;
}

/// Connects from each of `hosts` and says nothing; the sockets stay open while the result lives.
async fn stall(hosts: &[Host], to: &Multiaddr) -> Vec<Box<dyn p2p_core::TcpStream>> {
    let to = to.tcp_socket().unwrap();
    let options = TcpOptions::default();
    let mut held = Vec::new();
    for host in hosts {
        held.extend(host.rt().net().tcp_connect(to, &options).await);
    }
    held
}

#[test]
fn one_prefix_cannot_take_every_place_for_pending_connections() {
    let sim = sim(21);
    let bob = sim.host_at("bob", ["203.0.113.1".parse::<std::net::IpAddr>().unwrap()]);
    let honest = sim.host_at(
        "honest",
        ["198.51.100.1".parse::<std::net::IpAddr>().unwrap()],
    );
    let crowd = sim.hosts(40);
    let (a, b) = (swarm(&honest, 1), swarm(&bob, 2));
    let mut events = b.events();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let _held = stall(&crowd, &addr).await;
        bob.rt().sleep(LATENCY).await;
        let mut settings = Vec::new();
        while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
            if let Event::IncomingFailed { error, .. } = event {
                settings.push(error.to_string());
            }
        }
        assert_eq!(settings.len(), 8, "32 of 40: {settings:?}");
        assert!(
            settings[0].contains("max_pending_per_prefix"),
            "{settings:?}"
        );
        assert_eq!(b.usage().pending_incoming, 32);

        let start = a.rt().now();
        assert_eq!(ask(&a, addr, b"hello").await.unwrap(), b"hello");
        assert_eq!(
            a.rt().now() - start,
            LATENCY * 6,
            "as if nothing were going on"
        );
    });
}

#[test]
fn one_prefix_cannot_take_every_connection() {
    let sim = sim(22);
    let bob = sim.host_at("bob", ["203.0.113.1".parse::<std::net::IpAddr>().unwrap()]);
    let far = sim.host_at("far", ["198.51.100.1".parse::<std::net::IpAddr>().unwrap()]);
    let near = sim.hosts(4);
    let mut config = Config::default();
    config.limits.max_connections_per_prefix = 2;
    let b = swarm_with(&bob, 2, config);
    let mut events = b.events();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut held = Vec::new();
        for (n, host) in (10..).zip(&near) {
            let swarm = swarm(host, n);
            held.push((swarm.dial(addr.clone()).await, swarm));
            bob.rt().sleep(LATENCY).await;
        }
        assert_eq!(b.peers().len(), 2);
        let other = swarm(&far, 1);
        other.dial(addr).await.unwrap();
        bob.rt().sleep(LATENCY).await;
        assert_eq!(b.peers().len(), 3);
        drop(held);
        bob.rt().sleep(LATENCY * 4).await;
    });

    let mut refusals = 0;
    while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
        if let Event::LimitHit { exceeded, .. } = event {
            assert_eq!(exceeded.setting, "max_connections_per_prefix");
            refusals += 1;
        }
    }
    assert!(refusals >= 1);
    assert_eq!(b.stats().limits_hit["max_connections_per_prefix"], 2);
}

#[test]
fn a_prefix_that_connects_too_often_is_slowed_down() {
    let sim = sim(23);
    let (bob, mallory) = (sim.host("bob"), sim.host("mallory"));
    let mut config = Config::default();
    config.limits.incoming_rate_per_prefix = 5;
    config.limits.incoming_burst_per_prefix = 10;
    let b = swarm_with(&bob, 2, config);

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        for _ in 0..30 {
            drop(stall(std::slice::from_ref(&mallory), &addr).await);
        }
        mallory.rt().sleep(LATENCY * 2).await;
    });

    // 30 connects of 100 ms each: 10 at once and 5 a second pass.
    let refused = b.stats().limits_hit["incoming_rate_per_prefix, incoming_burst_per_prefix"];
    assert!((4..=7).contains(&refused), "{refused}");
}

#[test]
fn a_refused_stream_names_the_setting_that_refused_it() {
    let sim = sim(24);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mut config = Config::default();
    config.limits.max_streams_per_protocol = 1;
    let (a, b) = (swarm(&alice, 1), swarm_with(&bob, 2, config));
    b.handle("/plain", common::echo).unwrap();
    let options = HandlerOptions::default().max_streams(1);
    b.handle_with("/special", options, common::echo).unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        for protocol in ["/plain", "/special"] {
            let mut held = Vec::new();
            for _ in 0..2 {
                let mut stream = a.open(addr.clone(), protocol).await.unwrap();
                stream.write_all(b"x").await.unwrap();
                let _ = stream.read_exact(&mut [0]).await;
                held.push(stream);
            }
        }
    });

    let hits = b.stats().limits_hit;
    assert_eq!(hits.get("max_streams_per_protocol"), Some(&1), "{hits:?}");
    assert_eq!(
        hits.get("HandlerOptions::max_streams"),
        Some(&1),
        "{hits:?}"
    );
}

#[test]
fn streams_beyond_the_limit_of_a_connection_are_reset_and_the_rest_goes_on() {
    let sim = sim(25);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mut config = Config::default();
    config.limits.max_streams_per_connection = 3;
    let (a, b) = (swarm(&alice, 1), swarm_with(&bob, 2, config));
    b.handle(ECHO, common::echo).unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut served = Vec::new();
        let mut refused = 0;
        for _ in 0..10 {
            let mut stream = a.open(addr.clone(), ECHO).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            match stream.read_exact(&mut [0]).await {
                Ok(()) => served.push(stream),
                Err(error) => {
                    let code = StreamReset::of(&error).unwrap().code;
                    assert_eq!(code, ErrorCode::RESOURCE_LIMIT_EXCEEDED);
                    refused += 1;
                }
            }
        }
        assert_eq!((served.len(), refused), (3, 7));
        drop(served);
        a.rt().sleep(LATENCY * 2).await;
        assert_eq!(ask(&a, addr, b"room again").await.unwrap(), b"room again");
    });
    assert_eq!(b.usage().streams, 0);
}

#[test]
fn a_swarm_without_the_parts_that_its_transports_need_is_not_built() {
    let sim = Sim::new(26);
    let alice = sim.host("alice");
    let tcp = || p2p_tcp::Tcp::new(alice.rt(), p2p_tcp::Config::default());
    let bare = || Swarm::builder(alice.rt(), peer(1)).transport(tcp());
    let text = bare().build().unwrap_err().to_string();
    assert!(text.contains("no secure channel"), "{text}");
    let text = bare()
        .security(Credulous(peer(1)))
        .build()
        .unwrap_err()
        .to_string();
    assert!(text.contains("no multiplexer"), "{text}");
}
