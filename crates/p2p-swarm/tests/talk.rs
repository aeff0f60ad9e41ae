//! Two swarms talk.

mod common;

use std::time::Duration;

use common::{ECHO, LATENCY, ask, listen, peer, sim, swarm};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use p2p_core::{AddrExt, ConnectionEnd, ErrorCode, Multiaddr, Role};
use p2p_swarm::{Event, Target};

#[test]
fn a_stream_carries_bytes_both_ways_and_ends_cleanly() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    let answer = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        ask(&a, addr, b"hello").await.unwrap()
    });

    assert_eq!(answer, b"hello");
    let connection = a.connections(&peer(2)).remove(0);
    assert_eq!(connection.info().role, Role::Dialer);
    assert_eq!(
        connection.info().muxer.as_ref().unwrap().as_str(),
        "/yamux/1.0.0"
    );
    assert_eq!(b.peers(), [peer(1)]);
}

#[test]
fn the_first_answer_takes_three_round_trips_and_each_further_stream_one() {
    let sim = sim(2);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    let (first, second) = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let start = a.rt().now();
        let mut stream = a.open(addr.clone(), ECHO).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        let first = a.rt().now() - start;

        let again = a.rt().now();
        let mut stream = a.open(addr, ECHO).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        (first, a.rt().now() - again)
    });

    assert_eq!(first, LATENCY * 6);
    assert_eq!(second, LATENCY * 2);
}

#[test]
fn a_thousand_dials_to_one_peer_at_once_are_one() {
    let sim = sim(3);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    let (connections, most) = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let dials = future::try_join_all((0..1000).map(|_| a.dial(addr.clone())));
        let watch = async {
            let mut most = (0, 0);
            for _ in 0..5 {
                a.rt().sleep(LATENCY).await;
                let (from, to) = (a.usage(), b.usage());
                most.0 = most.0.max(from.pending_dials);
                most.1 = most.1.max(to.pending_incoming + to.connections);
            }
            most
        };
        let (connections, most) = future::join(dials, watch).await;
        (connections.unwrap(), most)
    });

    assert_eq!(
        most,
        (1, 1),
        "dials under way, and what they are to the other"
    );
    let first = connections[0].id();
    assert!(connections.iter().all(|one| one.id() == first));
    assert_eq!(connections.len(), 1000);
    assert_eq!(b.connections(&peer(1)).len(), 1);
    assert_eq!(a.stats().connections_dialed, 1);
}

#[test]
fn a_dial_goes_on_for_those_who_still_wait() {
    let sim = sim(4);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let impatient = a.rt().timeout(LATENCY, a.dial(addr.clone()));
        let (gone, connected) = future::join(impatient, a.dial(addr)).await;
        assert!(gone.is_err());
        assert_eq!(connected.unwrap().peer(), peer(2));
    });
}

#[test]
fn a_dial_that_nobody_waits_for_leaves_nothing() {
    let sim = sim(5);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        assert!(a.rt().timeout(LATENCY * 3, a.dial(addr)).await.is_err());
        a.rt().sleep(Duration::from_secs(60)).await;
    });

    assert_eq!(a.census().connections, 0);
    assert_eq!(a.census().tasks, [""; 0]);
    assert_eq!(b.census().connections, 0);
    assert_eq!(a.census().memory + b.census().memory, 0);
}

#[test]
fn one_address_is_enough_if_the_first_is_dead() {
    let sim = sim(6);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    let took = sim.block_on(async {
        let good = listen(&b, &bob).await;
        // Nobody has this address: the packets vanish.
        let dead = "/ip4/10.9.9.9/tcp/1".parse().unwrap();
        let start = a.rt().now();
        let target = Target::PeerAt(peer(2), vec![dead, good]);
        a.dial(target).await.unwrap();
        a.rt().now() - start
    });

    assert_eq!(took, Duration::from_millis(250) + LATENCY * 4);
}

#[test]
fn a_closed_connection_tells_both_ends_why() {
    let sim = sim(7);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let mut events = b.events();

    let (ours, theirs) = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        connection.close(ErrorCode::NONE);
        let ours = connection.ended().await;
        let theirs = loop {
            if let Event::Disconnected { end, .. } = events.next().await.unwrap() {
                break end;
            }
        };
        (ours, theirs)
    });

    assert!(
        matches!(ours, ConnectionEnd::Local(ErrorCode::NONE)),
        "{ours}"
    );
    assert!(
        matches!(theirs, ConnectionEnd::Remote(ErrorCode::NONE)),
        "{theirs}"
    );
}

#[test]
fn the_end_of_a_connection_is_known_although_nobody_waited_for_it() {
    let sim = sim(8);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let mut events = a.events();

    let (before, after) = sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let connection = a.dial(addr).await.unwrap();
        let before = connection.end();
        connection.close(ErrorCode::NONE);
        while !matches!(events.next().await.unwrap(), Event::Disconnected { .. }) {}
        (before, connection.end())
    });

    assert!(before.is_none());
    assert!(
        matches!(after, Some(ConnectionEnd::Local(ErrorCode::NONE))),
        "{after:?}"
    );
}

#[test]
fn who_joins_a_dial_is_not_bound_to_its_addresses() {
    let sim = sim(9);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));

    let (first, second) = sim.block_on(async {
        let good = listen(&b, &bob).await;
        let dead = format!("/ip4/{}/tcp/1", bob.ip()).parse::<Multiaddr>();
        let dead = dead.unwrap().with_peer(peer(2));
        future::join(a.dial(dead), a.dial(good)).await
    });

    let (first, second) = (
        first.expect("by the other's address"),
        second.expect("by its own"),
    );
    assert_eq!(first.id(), second.id());
}
