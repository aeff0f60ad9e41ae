//! Which connections stay, who is let in, and what is told of it.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::time::Duration;

use common::{ECHO, LATENCY, ask, builder, echo, listen, peer, sim, swarm, swarm_with};
use futures::{FutureExt, StreamExt};
use p2p_core::{AddrExt, ConnectionEnd, ErrorCode, Multiaddr};
use p2p_sim::Host;
use p2p_swarm::{Config, DialError, Event, Events, GateList, Swarm};

/// The events that are there already.
fn pending(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

/// Keeps no unused connection for longer than a minute.
fn frugal(host: &Host, n: u8) -> Swarm {
    let mut config = Config::default();
    config.low_water = Some(0);
    swarm_with(host, n, config)
}

/// A server for at most `high` connections before it tidies up to `low`.
fn tidy(host: &Host, low: usize, high: usize) -> Swarm {
    let mut config = Config::default();
    config.low_water = Some(low);
    config.high_water = Some(high);
    config.idle_timeout = Duration::from_secs(3600);
    let swarm = swarm_with(host, 2, config);
    swarm.handle(ECHO, echo).unwrap();
    swarm
}

#[test]
fn above_the_high_water_mark_the_least_useful_connections_go() {
    let sim = sim(1);
    let bob = sim.host("bob");
    let b = tidy(&bob, 3, 5);
    let mut events = b.events();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut others = Vec::new();
        for (n, host) in (10..15).zip(sim.hosts(5)) {
            let other = swarm(&host, n);
            let held = other.dial(addr.clone()).await.unwrap();
            others.push((other, held));
            bob.rt().sleep(LATENCY).await;
        }
        b.protect(peer(10), "friend");
        b.tag_peer(peer(11), "useful", 10);
        let keep = b.keep_alive(peer(12));
        bob.rt().sleep(Duration::from_secs(30)).await;
        assert_eq!(b.peers().len(), 5, "not yet too many");

        let sixth = swarm(&sim.host("sixth"), 20);
        let _held = sixth.dial(addr).await.unwrap();
        bob.rt().sleep(LATENCY * 4).await;
        // Three of six must go: not 10 and 12, not the new one; 11 is worth more than 13 and 14.
        assert_eq!(b.peers(), [peer(10), peer(12), peer(20)]);
        drop(keep);
    });

    let mut gone = Vec::new();
    for event in pending(&mut events) {
        if let Event::Disconnected { peer, end, .. } = event {
            let ConnectionEnd::Limit(exceeded) = end else {
                panic!("{end}");
            };
            assert_eq!((exceeded.setting, exceeded.limit), ("high_water", 5));
            gone.push(peer);
        }
    }
    gone.sort();
    assert_eq!(gone, [peer(11), peer(13), peer(14)]);
    assert_eq!(b.stats().connections_trimmed, 3);
}

#[test]
fn unused_connections_are_kept_up_to_the_low_water_mark_and_closed_above_it() {
    let sim = sim(11);
    let bob = sim.host("bob");
    let mut config = Config::default();
    config.low_water = Some(2);
    let b = swarm_with(&bob, 2, config);
    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut others = Vec::new();
        for (n, host) in (10..14).zip(sim.hosts(4)) {
            let other = swarm(&host, n);
            other.dial(addr.clone()).await.unwrap();
            others.push(other);
        }
        bob.rt().sleep(Duration::from_secs(600)).await;
        assert_eq!(b.peers().len(), 2);
    });
}

#[test]
fn a_dial_beyond_max_connections_is_a_limit_hit() {
    let sim = sim(12);
    let (alice, bob, carol) = (sim.host("alice"), sim.host("bob"), sim.host("carol"));
    let (b, c) = (swarm(&bob, 2), swarm(&carol, 3));
    let mut config = Config::default();
    config.limits.max_connections = 1;
    let a = swarm_with(&alice, 1, config);
    let mut events = a.events();
    sim.block_on(async {
        let (to_b, to_c) = (listen(&b, &bob).await, listen(&c, &carol).await);
        a.dial(to_b).await.unwrap();
        a.dial(to_c).await.unwrap_err();
    });
    let hits = pending(&mut events).into_iter().filter_map(|event| {
        let Event::LimitHit { exceeded, peer, .. } = event else {
            return None;
        };
        Some((exceeded.setting, peer))
    });
    assert_eq!(
        hits.collect::<Vec<_>>(),
        [("max_connections", Some(peer(3)))]
    );
}

#[test]
fn a_keep_alive_handle_keeps_an_unused_connection() {
    let sim = sim(2);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (frugal(&alice, 1), frugal(&bob, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let (at_a, at_b) = (a.keep_alive(peer(2)), b.keep_alive(peer(1)));
        a.dial(addr).await.unwrap();
        a.rt().sleep(Duration::from_secs(600)).await;
        assert!(a.is_connected(&peer(2)));
        drop((at_a, at_b));
        a.rt().sleep(Duration::from_secs(121)).await;
        assert!(!a.is_connected(&peer(2)));
    });
}

#[test]
fn a_list_keeps_peers_and_networks_out_at_every_door() {
    let sim = sim(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let list = GateList::default();
    let a = swarm(&alice, 1);
    let b = builder(&bob, 2).gate(list.clone()).build().unwrap();
    b.handle(ECHO, echo).unwrap();
    let mut events = b.events();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let at_a = listen(&a, &alice).await;
        assert_eq!(ask(&a, addr.clone(), b"x").await.unwrap(), b"x");

        // A denied peer stays until it is shown out.
        list.deny_peer(peer(1));
        assert_eq!(ask(&a, addr.clone(), b"x").await.unwrap(), b"x");
        b.disconnect(&peer(1), ErrorCode::GATED);
        a.rt().sleep(LATENCY * 4).await;
        pending(&mut events);

        // Secured: it has proved who it is.
        let _ = ask(&a, addr.clone(), b"x").await.unwrap_err();
        a.rt().sleep(LATENCY).await;
        let told: Vec<String> = failures(&mut events);
        assert_eq!(
            told,
            [format!(
                "denied by policy: peer {} is on the deny list",
                peer(1)
            )]
        );
        // Dial.
        let error = b.dial(at_a.clone()).await.unwrap_err();
        assert!(error.to_string().contains("deny list"), "{error}");
        list.undeny_peer(&peer(1));

        // Accept: not a byte is read.
        list.deny_addrs("10.0.0.0/8".parse().unwrap());
        let _ = a.dial(addr.clone()).await.unwrap_err();
        let told = failures(&mut events);
        assert!(told[0].contains("10.0.0.0/8"), "{told:?}");
        let DialError::AllFailed { attempts, .. } = b.dial(at_a).await.unwrap_err() else {
            unreachable!("a gate is asked for each address");
        };
        assert!(attempts[0].error.to_string().contains("10.0.0.0/8"));
        list.undeny_addrs(&"10.0.0.0/8".parse().unwrap());
        assert_eq!(ask(&a, addr, b"x").await.unwrap(), b"x");
    });
}

/// The reasons of failed incoming connections.
fn failures(events: &mut Events) -> Vec<String> {
    let failed = pending(events).into_iter().filter_map(|event| {
        let Event::IncomingFailed { error, .. } = event else {
            return None;
        };
        Some(error.to_string())
    });
    failed.collect()
}

#[test]
fn who_lags_is_told_and_finds_the_rest_in_a_snapshot() {
    let sim = sim(4);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let a = swarm(&alice, 1);
    let mut config = Config::default();
    config.event_backlog = 2;
    config.count_bytes = true;
    let b = swarm_with(&bob, 2, config);
    b.handle(ECHO, echo).unwrap();
    let (before, mut events) = b.watch();
    assert!(before.connections.is_empty() && before.listen_addrs.is_empty());

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let external: Multiaddr = "/ip4/203.0.113.9/tcp/1".parse().unwrap();
        assert!(b.add_external_addr(&external));
        for _ in 0..3 {
            let connection = a.dial(addr.clone()).await.unwrap();
            connection.close(ErrorCode::NONE);
            connection.ended().await;
        }
        let mut stream = a.open(addr.clone(), ECHO).await.unwrap();
        use futures::{AsyncReadExt, AsyncWriteExt};
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();

        let told = pending(&mut events);
        assert!(
            matches!(told[0], Event::Lagged(lost) if lost >= 5),
            "{told:?}"
        );
        assert_eq!(told.len(), 3);
        let now = b.snapshot();
        assert_eq!(now.connections.len(), 1);
        let connection = &now.connections[0];
        assert_eq!((connection.info.peer, connection.streams), (peer(1), 1));
        assert!(connection.in_use);
        assert!(
            connection
                .traffic
                .is_some_and(|(read, written)| read > 50 && written > 50)
        );
        assert_eq!(now.listen_addrs, [addr]);
        assert_eq!(now.external_addrs, [external.with_peer(peer(2))]);
        assert_eq!(now.protocols, [ECHO]);
        assert_eq!(
            (now.usage.connections, now.usage.peers, now.usage.streams),
            (1, 1, 1)
        );
        assert_eq!(b.stats().connections_accepted, 4);
        assert_eq!(b.stats().connections_ended.iter().sum::<u64>(), 3);
    });
}

#[test]
fn a_limit_that_is_hit_again_and_again_is_told_once_a_second() {
    let sim = sim(5);
    let bob = sim.host("bob");
    let mut config = Config::default();
    config.limits.max_pending_per_prefix = 1;
    config.event_backlog = 10_000;
    let b = swarm_with(&bob, 2, config);
    let mut events = b.events();
    let mallory = sim.host("mallory");

    sim.block_on(async {
        let to = listen(&b, &bob).await.tcp_socket().unwrap();
        let rt = mallory.rt();
        let options = p2p_core::TcpOptions::default();
        let connects = (0..100).map(|_| rt.net().tcp_connect(to, &options));
        let _held = futures::future::join_all(connects).await;
        rt.sleep(LATENCY * 2).await;
    });

    let events = pending(&mut events);
    let hits = events
        .iter()
        .filter(|event| matches!(event, Event::LimitHit { .. }))
        .count();
    assert_eq!(hits, 1);
    assert_eq!(b.stats().limits_hit["max_pending_per_prefix"], 99);
}

#[cfg(feature = "metrics")]
#[test]
fn the_metrics_are_open_metrics_text() {
    let sim = sim(6);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let _ = ask(&a, addr.clone(), b"x").await.unwrap();
        let _ = a.dial(addr.with_peer(peer(9))).await;
    });

    let text = p2p_swarm::metrics::render(&a);
    assert!(text.ends_with("# EOF\n"));
    for line in [
        "# TYPE p2p_swarm_connections_opened counter",
        "p2p_swarm_connections_opened_total{role=\"dialer\"} 1",
        "p2p_swarm_attempts_failed_total{step=\"security\"} 1",
        "p2p_swarm_dials_failed_total 1",
        "p2p_swarm_used{what=\"connections\"} 1",
        "p2p_swarm_limit{what=\"connections\"} 1024",
        "p2p_swarm_streams_opened_total 1",
        "p2p_swarm_memory_budget_bytes 268435456",
        "# UNIT p2p_swarm_memory_bytes bytes",
        "p2p_swarm_lifetime_seconds_bucket{le=\"3600.0\"} 0",
        "p2p_swarm_transport_seconds_bucket{le=\"0.1\"} 1",
        "p2p_swarm_transport_seconds_bucket{le=\"0.03\"} 0",
        "p2p_swarm_transport_seconds_sum 0.100000000",
        "# UNIT p2p_swarm_transport_seconds seconds",
    ] {
        assert!(
            text.lines().any(|other| other == line),
            "{line} is missing in\n{text}"
        );
    }
    // A family is declared once, and its samples follow it.
    let types: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    let distinct: std::collections::BTreeSet<_> = types.iter().collect();
    assert_eq!(types.len(), distinct.len());
}
