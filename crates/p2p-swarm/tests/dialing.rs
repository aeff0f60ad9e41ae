//! From several addresses to one connection: order, joining, backoff, both sides at once.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Credulous, LATENCY, Renamed, Terse, ask, listen, peer, sim, swarm, swarm_with};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, future};
use p2p_core::{
    AddrExt, BoxIo, BoxStream, Budget, ConnectionEnd, ErrorCode, Multiaddr, Multiplex, Muxer,
    Muxing, Protocol, Role, Rt,
};
use p2p_sim::{Host, Link, Sim};
use p2p_swarm::{Config, DialError, Event, OpenError, Step, Swarm, Target, UpgradeError};
use p2p_tcp::Tcp;

/// Nobody has these addresses: packets to them vanish.
fn dead(n: u16) -> Multiaddr {
    format!("/ip4/10.9.9.9/tcp/{}", n + 1).parse().unwrap()
}

/// A dial to these dead addresses and then a good one: how long it takes, and is a handshake
/// alone.
fn time_to_connect(seed: u64, dead_ones: u16) -> (Duration, Duration) {
    let sim = sim(seed);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    sim.block_on(async {
        let good = listen(&b, &bob).await;
        let mut addrs: Vec<Multiaddr> = (0..dead_ones).map(dead).collect();
        addrs.push(good);
        let start = a.rt().now();
        a.dial((peer(2), addrs)).await.unwrap();
        // TCP, and one round trip of the handshake.
        (a.rt().now() - start, LATENCY * 4)
    })
}

#[test]
fn a_dead_address_in_front_costs_less_than_300_ms() {
    let (took, handshake) = time_to_connect(1, 1);
    assert!(took < Duration::from_millis(300) + handshake, "{took:?}");
}

#[test]
fn eight_dead_addresses_in_front_cost_less_than_two_and_a_half_seconds() {
    let (took, _) = time_to_connect(2, 8);
    assert!(took < Duration::from_millis(2500), "{took:?}");
}

#[test]
fn who_joins_a_dial_brings_its_addresses_along() {
    let sim = sim(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    sim.block_on(async {
        let good = listen(&b, &bob).await;
        let start = a.rt().now();
        let first = a.dial((peer(2), vec![dead(1), dead(2)]));
        let second = async {
            a.rt().sleep(LATENCY).await;
            a.dial(good).await
        };
        let (first, second) = future::join(first, second).await;
        assert_eq!(first.unwrap().id(), second.unwrap().id());
        let took = a.rt().now() - start;
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
    assert_eq!(b.connections(&peer(1)).len(), 1);
}

#[test]
fn an_address_without_a_name_uses_the_connection_that_there_is() {
    let sim = sim(4);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    sim.block_on(async {
        let named = listen(&b, &bob).await;
        let unnamed = named.without_peer();
        let other = listen(&b, &bob).await.without_peer();
        let first = a.dial(unnamed.clone()).await.unwrap();
        for _ in 0..20 {
            assert_eq!(a.dial(unnamed.clone()).await.unwrap().id(), first.id());
        }
        // Who is there shows only after the handshake.
        for _ in 0..20 {
            assert_eq!(a.dial(other.clone()).await.unwrap().id(), first.id());
        }
        let both = (a.dial(unnamed.clone()), a.dial(unnamed));
        let (one, two) = future::join(both.0, both.1).await;
        assert_eq!(one.unwrap().id(), two.unwrap().id());
        a.rt().sleep(Duration::from_secs(6)).await;
    });

    assert_eq!(a.connections(&peer(2)).len(), 1);
    assert_eq!(b.connections(&peer(1)).len(), 1);
    assert!(
        !a.census().tasks.contains(&"hanging up"),
        "{:?}",
        a.census()
    );
}

#[test]
fn unnamed_dials_to_one_address_are_joined() {
    let sim = sim(5);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    sim.block_on(async {
        let unnamed = listen(&b, &bob).await.without_peer();
        let dials = (0..5).map(|_| a.dial(unnamed.clone()));
        future::try_join_all(dials).await.unwrap();
    });

    assert_eq!(b.stats().connections_accepted, 1);
}

#[test]
fn a_muxer_that_the_remote_does_not_know_fails_the_dial() {
    let sim = sim(6);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let terse = |host: &Host, n, muxer| {
        let rt = host.rt();
        let swarm = Swarm::builder(rt.clone(), peer(n))
            .transport(Tcp::new(rt, p2p_tcp::Config::default()))
            .security(Terse(peer(n)))
            .muxer(Renamed(muxer));
        swarm.build().unwrap()
    };
    let (a, b) = (terse(&alice, 1, "/one"), terse(&bob, 2, "/two"));

    let error = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        a.dial(addr).await.unwrap_err()
    });

    let DialError::AllFailed { attempts, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(attempts[0].error.step(), Step::Muxer, "{error}");
}

#[test]
fn closing_ends_dials_under_way() {
    let sim = sim(7);
    let alice = sim.host("alice");
    let a = swarm(&alice, 1);

    let (error, took) = sim.block_on(async {
        let start = a.rt().now();
        let dial = a.dial((peer(2), vec![dead(1)]));
        let close = async {
            a.rt().sleep(LATENCY).await;
            a.close().await;
        };
        let (dialed, ()) = future::join(dial, close).await;
        (dialed.unwrap_err(), a.rt().now() - start)
    });

    assert!(matches!(error, DialError::Closed), "{error}");
    assert_eq!(took, LATENCY);
}

#[test]
fn an_open_that_cannot_redial_tells_why_the_connection_ended() {
    let sim = sim(8);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let rt = alice.rt();
    let a = Swarm::builder(rt.clone(), peer(1))
        .transport(Tcp::new(rt, p2p_tcp::Config::default()))
        .security(Credulous(peer(1)))
        .muxer(GoneAway);
    let (a, b) = (a.build().unwrap(), swarm(&bob, 2));

    let error = sim.block_on(async {
        let addr = listen(&a, &alice).await;
        b.dial(addr).await.unwrap();
        a.rt().sleep(LATENCY).await;
        // Nothing is known of where b could be dialed; but that is not what went wrong.
        a.open(peer(2), "/echo/1.0.0").await.unwrap_err()
    });

    assert!(
        matches!(error, OpenError::Muxer(p2p_core::OpenError::GoneAway)),
        "{error}"
    );
}

/// Yamux with a remote that takes no streams.
#[derive(Debug)]
struct GoneAway;

#[derive(Debug)]
struct NoStreams(Arc<dyn Muxer>);

impl Multiplex for GoneAway {
    fn protocol(&self) -> Protocol {
        p2p_yamux::Yamux::default().protocol()
    }

    fn start(&self, io: BoxIo, role: Role, rt: &Rt, budget: &Budget) -> Muxing {
        let Muxing { muxer, driver } = p2p_yamux::Yamux::default().start(io, role, rt, budget);
        let muxer = Arc::new(NoStreams(muxer));
        Muxing { muxer, driver }
    }
}

impl Muxer for NoStreams {
    fn open(&self) -> BoxFuture<'static, Result<BoxStream, p2p_core::OpenError>> {
        future::ready(Err(p2p_core::OpenError::GoneAway)).boxed()
    }

    fn accept(&self) -> BoxFuture<'static, Result<BoxStream, ConnectionEnd>> {
        self.0.accept()
    }

    fn close(&self, code: ErrorCode) {
        self.0.close(code);
    }

    fn streams(&self) -> usize {
        self.0.streams()
    }
}

#[test]
fn an_address_that_failed_is_left_alone_until_its_time_or_a_reset() {
    let sim = sim(9);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let a = swarm(&alice, 1);
    let addr = Multiaddr::from_tcp_socket(bob.socket(1));
    a.add_addrs(peer(2), [addr.clone()]);

    sim.block_on(async {
        a.dial(peer(2)).await.unwrap_err();
        let backoffs = a.backoffs(&peer(2));
        assert_eq!((backoffs.len(), backoffs[0].failures), (1, 1));

        let start = a.rt().now();
        let error = a.dial(peer(2)).await.unwrap_err();
        assert_eq!(a.rt().now(), start, "not a packet was sent");
        let DialError::AllFailed { attempts, .. } = &error else {
            panic!("{error}");
        };
        let left = &*attempts[0].error;
        assert!(
            matches!(left, UpgradeError::Backoff { failures: 1, .. }),
            "{left}"
        );

        // Whoever names the address wants it tried.
        let error = a.dial((peer(2), vec![addr.clone()])).await.unwrap_err();
        assert!(error.to_string().contains("transport"), "{error}");
        assert_eq!(a.backoffs(&peer(2))[0].failures, 2);

        assert_eq!(a.reset_backoff(&peer(2)), 1);
        assert!(a.backoffs(&peer(2)).is_empty());
        let error = a.dial(peer(2)).await.unwrap_err();
        assert!(error.to_string().contains("transport"), "{error}");

        a.rt().sleep(Duration::from_secs(1)).await;
        assert!(a.backoffs(&peer(2)).is_empty(), "its time is over");
    });
}

#[test]
fn an_address_where_somebody_else_answers_is_forgotten() {
    let sim = sim(10);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await.without_peer();
        a.learn_addrs(peer(9), [addr]);
        let error = a.dial(peer(9)).await.unwrap_err();
        assert!(error.to_string().contains("wrong peer"), "{error}");
    });

    assert!(a.addrs(&peer(9)).is_empty());
}

#[test]
fn our_own_listen_address_is_not_dialed_for_somebody_else() {
    let sim = sim(11);
    let alice = sim.host("alice");
    let a = swarm(&alice, 1);

    let (error, took) = sim.block_on(async {
        let own = listen(&a, &alice).await.without_peer();
        let start = a.rt().now();
        let error = a.dial((peer(9), vec![own])).await.unwrap_err();
        (error, a.rt().now() - start)
    });

    assert!(
        error.to_string().contains("the address is our own"),
        "{error}"
    );
    assert_eq!(took, Duration::ZERO);
}

#[test]
fn no_more_addresses_than_allowed_are_tried_at_a_time() {
    let sim = sim(12);
    let alice = sim.host("alice");
    let mut config = Config::default();
    config.limits.max_attempts = 3;
    config.dial_timeout = Duration::from_secs(2);
    let a = swarm_with(&alice, 1, config);

    sim.block_on(async {
        let dials = (0..6u8).map(|n| {
            let addrs = vec![dead(u16::from(n)), dead(100 + u16::from(n))];
            a.dial((peer(10 + n), addrs))
        });
        let start = a.rt().now();
        let results = future::join_all(dials).await;
        assert!(results.iter().all(Result::is_err));
        // The first of each at once; the second of each, a stagger later, in two rounds of three.
        assert_eq!(a.rt().now() - start, Duration::from_millis(4250));
    });
}

/// Both sides dial at once; returns how many connections each side has after the dust settled.
fn both_dial(sim: &Sim, config: &Config, apart: Duration) -> (usize, usize) {
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let a = swarm_with(&alice, 1, config.clone());
    let b = swarm_with(&bob, 2, config.clone());
    for swarm in [&a, &b] {
        swarm.handle(common::ECHO, common::echo).unwrap();
    }
    sim.block_on(async {
        let (at_a, at_b) = (listen(&a, &alice).await, listen(&b, &bob).await);
        let late = async {
            b.rt().sleep(apart).await;
            ask(&b, at_a, b"from b").await
        };
        let (from_a, from_b) = future::join(ask(&a, at_b, b"from a"), late).await;
        assert_eq!(from_a.unwrap(), b"from a");
        assert_eq!(from_b.unwrap(), b"from b");
        a.rt().sleep(Duration::from_secs(15)).await;
        let counts = (a.connections(&peer(2)).len(), b.connections(&peer(1)).len());
        assert_eq!(
            ask(&a, Multiaddr::empty().with_peer(peer(2)), b"again")
                .await
                .unwrap(),
            b"again"
        );
        counts
    })
}

#[test]
fn a_thousand_dials_from_both_sides_at_once_end_in_one_used_connection() {
    for seed in 0..1000u64 {
        let sim = Sim::new(seed);
        let millis = |n: u64| Duration::from_millis(n);
        let link = Link::new(millis(1 + seed * 7 % 120)).jitter(millis(seed * 13 % 80));
        sim.default_link(link);
        let apart = millis(seed * 31 % 500);
        let counts = both_dial(&sim, &Config::default(), apart);
        assert_eq!(counts, (1, 1), "seed {seed}, {apart:?} apart");
    }
}

#[test]
fn both_sides_may_dial_at_once_although_only_one_connection_is_allowed() {
    for seed in 0..100u64 {
        let sim = Sim::new(seed);
        let millis = |n: u64| Duration::from_millis(n);
        sim.default_link(Link::new(millis(20)).jitter(millis(seed % 30)));
        let mut config = Config::default();
        config.limits.max_connections_per_peer = 1;
        let (alice, bob) = (sim.host("alice"), sim.host("bob"));
        let a = swarm_with(&alice, 1, config.clone());
        let b = swarm_with(&bob, 2, config);
        sim.block_on(async {
            let (at_a, at_b) = (listen(&a, &alice).await, listen(&b, &bob).await);
            let _ = future::join(a.dial(at_b), b.dial(at_a)).await;
            a.rt().sleep(Duration::from_secs(15)).await;
        });
        assert_eq!(a.connections(&peer(2)).len(), 1, "seed {seed}");
        assert_eq!(b.connections(&peer(1)).len(), 1, "seed {seed}");
    }
}

#[test]
fn a_lesser_connection_that_is_in_use_stays() {
    let sim = sim(13);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    sim.block_on(async {
        let (at_a, at_b) = (listen(&a, &alice).await, listen(&b, &bob).await);
        // The lesser one is there first, or its dialer would be content with the other.
        let later = async {
            a.rt().sleep(LATENCY).await;
            a.dial(at_b).await
        };
        let (from_a, from_b) = future::join(later, b.dial(at_a)).await;
        let (from_a, from_b) = (from_a.unwrap(), from_b.unwrap());
        assert_eq!(from_b.info().role, Role::Dialer);
        a.rt().sleep(Duration::from_secs(30)).await;
        assert_eq!(b.connections(&peer(1)).len(), 2, "b still holds its own");
        let mut events = b.events();
        drop((from_a, from_b));
        let end = loop {
            if let Event::Disconnected { end, .. } = events.next().await.unwrap() {
                break end;
            }
        };
        let text = end.to_string();
        assert!(text.contains("supplanted"), "{text}");
    });
    assert_eq!(b.stats().connections_supplanted, 1);
}

#[test]
fn a_peer_without_any_transport_for_its_address_is_no_reason_to_wait() {
    let sim = sim(14);
    let a = swarm(&sim.host("alice"), 1);
    let quic: Multiaddr = "/ip4/1.2.3.4/udp/1/quic-v1".parse().unwrap();
    a.add_addrs(peer(2), [quic]);
    sim.block_on(async {
        for _ in 0..3 {
            let error = a.dial(Target::Peer(peer(2))).await.unwrap_err();
            assert!(error.to_string().contains("no transport"), "{error}");
        }
    });
}

#[test]
fn a_peer_that_closed_the_door_is_heard_with_its_code() {
    let sim = sim(15);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        a.rt().sleep(LATENCY).await;
        assert_eq!(b.disconnect(&peer(1), ErrorCode::GATED), 1);
        let end = connection.ended().await;
        assert!(end.to_string().contains("gated"), "{end}");
    });
}
