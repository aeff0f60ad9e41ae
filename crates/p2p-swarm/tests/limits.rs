//! Limits refuse what is beyond them, by name, and leave everything else alone.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::net::IpAddr;

use common::{ECHO, LATENCY, ask, echo, failed, listen, peer, sim, swarm, swarm_with};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use p2p_core::{AddrExt, ErrorCode, Multiaddr, StreamReset, TcpOptions};
use p2p_sim::Host;
use p2p_swarm::{Config, Event, HandlerOptions};

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
        failed(&mut events).await
    });

    assert!(
        error.to_string().contains("max_pending_incoming"),
        "{error}"
    );
}

#[test]
fn a_stream_beyond_the_limit_is_reset_and_its_connection_stays() {
    let sim = sim(11);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let a = swarm(&alice, 1);
    let b = swarm_with(&bob, 2, Config::default());
    let options = HandlerOptions::default().max_streams(2);
    b.handle_with(ECHO, options, echo).unwrap();

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
        failed(&mut events).await
    });

    assert!(
        error.to_string().contains("max_connections_per_peer"),
        "{error}"
    );
    assert_eq!(b.connections(&peer(1)).len(), 1);
}

#[test]
fn one_prefix_cannot_take_every_place_for_pending_connections() {
    let sim = sim(21);
    let bob = sim.host_at("bob", ["203.0.113.1".parse::<IpAddr>().unwrap()]);
    let honest = sim.host_at("honest", ["198.51.100.1".parse::<IpAddr>().unwrap()]);
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
    let bob = sim.host_at("bob", ["203.0.113.1".parse::<IpAddr>().unwrap()]);
    let far = sim.host_at("far", ["198.51.100.1".parse::<IpAddr>().unwrap()]);
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
    b.handle("/plain", echo).unwrap();
    let options = HandlerOptions::default().max_streams(1);
    b.handle_with("/special", options, echo).unwrap();

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
    b.handle(ECHO, echo).unwrap();

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
