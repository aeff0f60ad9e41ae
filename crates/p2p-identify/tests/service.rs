//! Identify between swarms.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{LATENCY, keys, listen, patient, sim};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use p2p_core::{AddrExt, ErrorCode, Multiaddr, Protocol, StreamReset, frame};
use p2p_identify::{Config, Event, Identify, IdentifyError, PROTOCOL, PUSH_PROTOCOL};
use p2p_swarm::{Stream, Swarm};

const CHAT: Protocol = Protocol::from_static("/chat/1");

fn identify(swarm: &Swarm, n: u8) -> Identify {
    Identify::new(swarm, keys(n), Config::default()).unwrap()
}

async fn ignore(_stream: Stream) {}

#[test]
fn both_ends_know_each_other_one_round_trip_after_connecting() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let (ia, ib) = (identify(&a, 1), identify(&b, 2));
    b.handle(CHAT, ignore).unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let own = listen(&a, &alice).await;
        let connection = a.dial(addr.clone()).await.unwrap();
        let start = a.rt().now();
        let info = ia.identified(&connection).await.unwrap();
        assert_eq!(a.rt().now() - start, 2 * LATENCY);

        assert_eq!(info.peer, b.local_peer());
        assert_eq!(info.listen_addrs, [addr.without_peer()]);
        assert_eq!(info.protocols, [CHAT, PROTOCOL, PUSH_PROTOCOL]);
        assert!(info.agent_version.starts_with("p2p/"));
        assert!(info.signed_record.is_some());
        let seen = connection.info().local.clone();
        assert_eq!(info.observed_addr, seen);
        assert_eq!(ia.observed(), [(connection.id(), seen.unwrap())]);
        assert_eq!(a.protocols_of(&b.local_peer()), info.protocols);

        let back = b.connections(&a.local_peer()).remove(0);
        ib.identified(&back).await.unwrap();
        assert_eq!(b.addrs(&a.local_peer()), [own]);
    });
}

#[test]
fn the_key_of_a_noise_handshake_is_the_key_that_identify_names() {
    let sim = sim(11);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let swarm = |host: &p2p_sim::Host, n| {
        Swarm::builder(host.rt(), keys(n).to_peer_id())
            .transport(p2p_tcp::Tcp::new(host.rt(), p2p_tcp::Config::default()))
            .security(p2p_noise::Noise::new(&keys(n)).unwrap())
            .muxer(p2p_yamux::Yamux::default())
            .build()
            .unwrap()
    };
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let (ia, _ib) = (identify(&a, 1), identify(&b, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let start = a.rt().now();
        let info = ia.identified(&connection).await.unwrap();
        assert_eq!(info.public_key, keys(2).public().to_protobuf());
        assert_eq!(a.rt().now() - start, 2 * LATENCY);
    });
}

#[test]
fn what_is_known_of_a_peer_is_forgotten_with_its_last_connection() {
    let sim = sim(2);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let (ia, _ib) = (identify(&a, 1), identify(&b, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        ia.identified(&connection).await.unwrap();
        assert!(a.census().memory > 0);
        connection.close(ErrorCode::NONE);
        connection.ended().await;
        a.rt().sleep(Duration::from_secs(1)).await;
        assert_eq!(ia.info(&b.local_peer()), None);
        assert!(matches!(
            ia.identified(&connection).await,
            Err(IdentifyError::Ended)
        ));
        drop(connection);
        assert_eq!(a.census().memory, 0);
        assert!(!a.census().tasks.contains(&"identify"));
    });
}

#[test]
fn changes_are_pushed_together_and_once() {
    let sim = sim(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let (ia, ib) = (identify(&a, 1), identify(&b, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        ia.identified(&connection).await.unwrap();
        a.rt().sleep(Duration::from_secs(5)).await;
        let mut events = ia.events();

        for n in 0..20 {
            let id = Protocol::new(&format!("/burst/{n:02}")).unwrap();
            b.handle(id, ignore).unwrap();
        }
        let second = listen(&b, &bob).await;
        let start = a.rt().now();
        let Some(Event::Updated { info, .. }) = events.next().await else {
            panic!("not an update");
        };
        // The delay, then one way.
        assert_eq!(a.rt().now() - start, Duration::from_secs(1) + LATENCY);
        assert_eq!(info.protocols.len(), 22);
        assert!(info.listen_addrs.contains(&second.without_peer()));
        assert_eq!(ia.info(&b.local_peer()).as_ref(), Some(&*info));
        a.rt().sleep(Duration::from_secs(60)).await;
        assert!(events.next().now_or_never().is_none(), "told once");

        // And what is gone is gone, also in the other direction.
        let mut events = ib.events();
        a.handle(CHAT, ignore).unwrap();
        assert!(
            matches!(events.next().await, Some(Event::Updated { info, .. })
            if info.protocols.contains(&CHAT))
        );
        a.unhandle(&CHAT);
        assert!(
            matches!(events.next().await, Some(Event::Updated { info, .. })
            if !info.protocols.contains(&CHAT))
        );
    });
}

#[test]
fn a_push_leaves_alone_what_it_does_not_mention() {
    let sim = sim(4);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let (ia, _ib) = (identify(&a, 1), identify(&b, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let before = ia.identified(&connection).await.unwrap();
        let mut events = ia.events();
        let back = b.connections(&a.local_peer()).remove(0);
        let mut stream = back.open(&PUSH_PROTOCOL).await.unwrap();
        // Only the agent version, field 6.
        p2p_identify::send(&mut stream, b"\x32\x03new")
            .await
            .unwrap();
        let Some(Event::Updated { info, .. }) = events.next().await else {
            panic!("not an update");
        };
        let mut expected = before;
        expected.agent_version = "new".to_owned();
        assert_eq!(*info, expected);
    });
}

#[test]
fn a_flood_of_pushes_is_reset_beyond_its_rate_and_the_connection_stays() {
    let sim = sim(5);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let (ia, _ib) = (identify(&a, 1), identify(&b, 2));
    let mut events = a.events();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        ia.identified(&connection).await.unwrap();
        let back = b.connections(&a.local_peer()).remove(0);
        let mut taken = 0;
        for _ in 0..1000 {
            let mut stream = back.open(&PUSH_PROTOCOL).await.unwrap();
            let _ = p2p_identify::send(&mut stream, b"\x32\x01x").await;
            match stream.read(&mut [0]).await {
                Ok(_) => taken += 1,
                Err(error) => {
                    assert_eq!(
                        StreamReset::of(&error).unwrap().code,
                        ErrorCode::RATE_LIMITED
                    );
                }
            }
        }
        // A thousand round trips take 100 s: the burst, and one every five seconds.
        assert!((29..=31).contains(&taken), "{taken}");
        assert!(connection.end().is_none());
    });
    let mut told = 0;
    while let Some(Some(event)) = events.next().now_or_never() {
        if let p2p_swarm::Event::LimitHit { exceeded, peer, .. } = event {
            assert!(exceeded.setting.contains("push_burst"), "{exceeded}");
            assert_eq!(peer, Some(b.local_peer()));
            told += 1;
        }
    }
    assert!((90..=101).contains(&told), "once a second: {told}");
}

#[test]
fn a_storm_of_pushes_from_many_peers_delays_nobody() {
    let sim = sim(8);
    let (alice, bob, carol) = (sim.host("alice"), sim.host("bob"), sim.host("carol"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let _ia = identify(&a, 1);
    sim.block_on(async {
        let addr = listen(&a, &alice).await;
        let friend = b.dial(addr.clone()).await.unwrap();
        let idle = (meet(&carol, &addr).await, asked(&friend).await);
        for (n, host) in (100..200).zip(sim.hosts(100)) {
            let (swarm, addr) = (patient(&host, u8::try_from(n).unwrap()), addr.clone());
            host.spawn("pusher", async move {
                // One network may not have all of them pending at once.
                swarm.rt().sleep(LATENCY * (n - 100)).await;
                let connection = swarm.dial(addr).await.unwrap();
                loop {
                    let mut stream = connection.open(&PUSH_PROTOCOL).await.unwrap();
                    let _ = p2p_identify::send(&mut stream, b"\x32\x01x").await;
                    let _ = stream.read(&mut [0]).await;
                }
            });
        }
        let start = a.rt().now();
        let mut worst = (Duration::ZERO, Duration::ZERO);
        while a.rt().now() - start < Duration::from_secs(20) {
            worst.0 = worst.0.max(meet(&carol, &addr).await);
            worst.1 = worst.1.max(asked(&friend).await);
        }
        assert!(
            worst.0 <= idle.0 * 2 && worst.1 <= idle.1 * 2,
            "{worst:?} instead of {idle:?}"
        );
        let hits = a.stats().limits_hit["push_burst, push_interval"];
        assert!(hits > 5000, "{hits}");
        assert!(a.usage().memory < 64 << 20, "{}", a.usage().memory);
    });
}

/// From dialing to knowing who is there.
async fn meet(host: &p2p_sim::Host, to: &Multiaddr) -> Duration {
    let swarm = patient(host, 3);
    let identify = identify(&swarm, 3);
    let start = swarm.rt().now();
    let connection = swarm.dial(to.clone()).await.unwrap();
    identify.identified(&connection).await.unwrap();
    let took = swarm.rt().now() - start;
    swarm.close().await;
    took
}

/// How long it takes to be told again who is there, on a connection that there is.
async fn asked(connection: &p2p_swarm::Connection) -> Duration {
    let start = connection.rt().now();
    let mut stream = connection.open(&PROTOCOL).await.unwrap();
    assert_ne!(stream.read(&mut [0]).await.unwrap(), 0);
    connection.rt().now() - start
}

#[test]
fn a_peer_that_never_answers_fails_in_time_and_harms_nobody() {
    let sim = sim(6);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let ia = identify(&a, 1);
    b.handle(PROTOCOL, |mut stream: Stream| async move {
        // The slowest possible answer: a byte now and then, and no end.
        let rt = stream.connection().rt().clone();
        stream.write_all(b"\xff\x3f").await.unwrap();
        while stream.write_all(b"\x00").await.is_ok() {
            rt.sleep(Duration::from_secs(1)).await;
        }
    })
    .unwrap();

    sim.block_on(async {
        let mut events = ia.events();
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let start = a.rt().now();
        let error = ia.identified(&connection).await.unwrap_err();
        assert!(matches!(error, IdentifyError::TimedOut { .. }), "{error}");
        assert_eq!(a.rt().now() - start, Duration::from_secs(10));
        assert!(matches!(events.next().await, Some(Event::Failed { .. })));
        assert!(connection.end().is_none());
        assert_eq!(ia.info(&b.local_peer()), None);
    });
}

#[test]
fn a_peer_without_identify_is_reported_and_kept() {
    let sim = sim(7);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let ia = identify(&a, 1);

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let error = ia.identified(&connection).await.unwrap_err();
        assert!(matches!(error, IdentifyError::Unsupported), "{error}");
        assert!(connection.end().is_none());
    });
}

#[test]
fn the_loopback_addresses_of_a_peer_elsewhere_are_not_dialed() {
    let sim = sim(8);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let ia = identify(&a, 1);
    b.handle(PROTOCOL, |mut stream: Stream| async move {
        let mut message = Vec::new();
        for text in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/0.0.0.0/tcp/2",
            "/ip4/10.1.2.3/tcp/3",
        ] {
            let addr: Multiaddr = text.parse().unwrap();
            message.extend([0x12, u8::try_from(addr.len()).unwrap()]);
            message.extend(addr.to_vec());
        }
        stream.write_all(&frame::encode(&message)).await.unwrap();
        stream.close().await.unwrap();
    })
    .unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr.clone()).await.unwrap();
        let info = ia.identified(&connection).await.unwrap();
        assert_eq!(info.listen_addrs.len(), 3, "what was said is shown");
        let near: Multiaddr = "/ip4/10.1.2.3/tcp/3".parse().unwrap();
        let known = a.addrs(&b.local_peer());
        assert_eq!(known, [addr, near.with_peer(b.local_peer())]);
    });
}

#[test]
fn an_asker_gets_message_and_end_together() {
    let sim = sim(9);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (patient(&alice, 1), patient(&bob, 2));
    let _ib = identify(&b, 2);

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let start = a.rt().now();
        let mut stream = connection.open(&PROTOCOL).await.unwrap();
        let (peer, key) = (connection.peer(), connection.info().public_key.clone());
        let limits = Config::default().limits;
        let info = p2p_identify::request(&mut stream, peer, key, &limits).await;
        info.unwrap();
        assert_eq!(a.rt().now() - start, 2 * LATENCY);
    });
}

#[test]
fn the_service_does_not_keep_its_swarm_alive() {
    let sim = sim(10);
    let host = sim.host("alice");
    let swarm = patient(&host, 1);
    let service = identify(&swarm, 1);
    let weak = swarm.downgrade();

    sim.block_on(async {
        drop(swarm);
        assert!(weak.upgrade().is_none());
        host.rt().sleep(Duration::from_secs(1)).await;
        assert!(service.observed().is_empty());
    });
}

/// A host with these addresses.
fn at(sim: &p2p_sim::Sim, name: &str, addrs: &[&str]) -> p2p_sim::Host {
    let addrs = addrs
        .iter()
        .map(|addr| addr.parse::<std::net::IpAddr>().unwrap());
    sim.host_at(name, addrs)
}

#[test]
fn private_addresses_are_told_to_the_own_network_only_unless_asked_for() {
    let sim = sim(40);
    let bob = at(&sim, "bob", &["203.0.113.1", "10.0.0.5"]);
    let (far, near) = (
        at(&sim, "far", &["198.51.100.1"]),
        at(&sim, "near", &["10.0.0.6"]),
    );
    let b = patient(&bob, 2);
    let open = at(&sim, "open", &["203.0.113.2", "10.0.0.7"]);
    let o = patient(&open, 5);
    let _ib = identify(&b, 2);
    let mut config = Config::default();
    config.announce_private = true;
    let _io = Identify::new(&o, keys(5), config).unwrap();

    sim.block_on(async {
        let everywhere = || "/ip4/0.0.0.0/tcp/4001".parse::<Multiaddr>().unwrap();
        b.listen(everywhere()).await.unwrap();
        o.listen(everywhere()).await.unwrap();
        let told = async |host: &p2p_sim::Host, n, to: &str| {
            let swarm = patient(host, n);
            let identify = identify(&swarm, n);
            let to: Multiaddr = to.parse().unwrap();
            let connection = swarm.dial(to).await.unwrap();
            let info = identify.identified(&connection).await.unwrap();
            let addrs = info.listen_addrs.iter().map(ToString::to_string);
            addrs.collect::<Vec<_>>().join(" ")
        };
        let public = "/ip4/203.0.113.1/tcp/4001";
        assert_eq!(told(&far, 3, public).await, public);
        let both = "/ip4/203.0.113.1/tcp/4001 /ip4/10.0.0.5/tcp/4001";
        assert_eq!(told(&near, 4, "/ip4/10.0.0.5/tcp/4001").await, both);
        let both = "/ip4/203.0.113.2/tcp/4001 /ip4/10.0.0.7/tcp/4001";
        assert_eq!(told(&far, 3, "/ip4/203.0.113.2/tcp/4001").await, both);
    });
}

#[test]
fn an_address_that_three_networks_see_us_at_is_confirmed_and_pushed() {
    let sim = sim(41);
    let bob = at(&sim, "bob", &["203.0.113.1"]);
    let b = patient(&bob, 2);
    let _ib = identify(&b, 2);
    let mut events = b.events();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut held = Vec::new();
        // The first two share a network and count as one.
        for (n, ip) in (10..).zip(["198.51.100.1", "198.51.100.2", "192.0.2.1", "192.0.3.1"]) {
            assert!(b.external_addrs().is_empty(), "before {ip}");
            let host = at(&sim, ip, &[ip]);
            let swarm = patient(&host, n);
            let identify = identify(&swarm, n);
            let connection = swarm.dial(addr.clone()).await.unwrap();
            identify.identified(&connection).await.unwrap();
            b.rt().sleep(LATENCY * 4).await;
            held.push((swarm, identify, connection));
        }
        assert_eq!(b.external_addrs(), std::slice::from_ref(&addr));
        while events.next().await.is_some_and(|event| {
            !matches!(event, p2p_swarm::Event::ExternalAddr(seen) if seen == addr.without_peer())
        }) {}

        // What the operator adds is told to everybody at once.
        let forwarded: Multiaddr = "/ip4/203.0.113.99/tcp/9".parse().unwrap();
        assert!(b.add_external_addr(&forwarded));
        b.rt().sleep(Duration::from_secs(2)).await;
        for (_, identify, _) in &held {
            let info = identify.info(&b.local_peer()).unwrap();
            assert!(info.listen_addrs.contains(&forwarded), "{info:?}");
        }
    });
}
