//! What goes wrong is said clearly, ends as little as possible, and leaves nothing behind.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{
    Credulous, ECHO, ask, assert_nothing_left, attempt, builder, listen, peer, sim, swarm,
    swarm_with,
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use p2p_core::{AddrExt, ConnectionEnd, ErrorCode, Multiaddr, TcpOptions};
use p2p_sim::{Host, Sim};
use p2p_swarm::{Attempt, Config, DialError, Event, Step, Swarm, UpgradeError};

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
