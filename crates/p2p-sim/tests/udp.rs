//! Datagrams, with and without NATs.
#![expect(clippy::unwrap_used, reason = "tests say what they expect")]

mod support;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::join;
use futures::io::AsyncWriteExt;
use p2p_core::{Datagram, UdpSocket};
use p2p_sim::{Config, Host, Link, NatConfig, NatRule, Sim};
use support::{
    MS, PORT, SEC, bind, connect, echo, options, pair, receive, receive_for, send, serve_echo,
    time, within,
};

#[test]
fn a_datagram_takes_one_latency() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    sim.default_link(Link::new(50 * MS));
    let (one, other) = (bind(&a, 0), bind(&b, PORT));
    sim.count_flights(&a, &b);
    let ((bytes, from), took) = time(&sim, async {
        send(&one, b.socket(PORT), b"hello").await.unwrap();
        receive(&other).await.unwrap()
    });
    assert_eq!((bytes.as_slice(), took), (&b"hello"[..], 50 * MS));
    assert_eq!(
        from.from,
        SocketAddr::new(a.ip(), one.local_addr().unwrap().port())
    );
    assert_eq!(from.to, Some(b.ip()));
    assert_eq!(sim.flights(&a, &b).flights, 1);
}

/// Sends `count` numbered datagrams, 1 ms apart; returns the numbers as they arrive.
fn volley(sim: &Sim, a: &Host, b: &Host, count: u32) -> Vec<u32> {
    let (one, other) = (bind(a, 0), bind(b, PORT));
    let sending = async {
        for n in 0..count {
            send(&one, b.socket(PORT), &n.to_be_bytes()).await.unwrap();
            a.rt().sleep(MS).await;
        }
    };
    let (_, received) = sim.block_on(join(sending, receive_for(b, &other, 10 * SEC)));
    let numbers = received.into_iter();
    numbers
        .map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()))
        .collect()
}

#[test]
fn a_clean_link_delivers_all_in_order() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    assert_eq!(volley(&sim, &a, &b, 100), (0..100).collect::<Vec<_>>());
}

#[test]
fn links_lose_duplicate_and_reorder_datagrams_as_often_as_set() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    sim.link(&a, &b, Link::new(10 * MS).loss(0.2));
    let lossy = volley(&sim, &a, &b, 1000);
    assert!((750..850).contains(&lossy.len()), "{}", lossy.len());
    assert!(lossy.is_sorted());

    sim.link(&a, &b, Link::new(10 * MS).duplicate(0.2));
    let doubled = volley(&sim, &a, &b, 1000);
    assert!((1150..1250).contains(&doubled.len()), "{}", doubled.len());

    sim.link(&a, &b, Link::new(10 * MS).reorder(0.1));
    let mixed = volley(&sim, &a, &b, 1000);
    let late = mixed.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((50..150).contains(&late), "{late}");
    assert_eq!(mixed.len(), 1000);

    sim.link(&a, &b, Link::new(10 * MS).jitter(20 * MS));
    assert!(!volley(&sim, &a, &b, 100).is_sorted());
}

#[test]
fn datagrams_above_the_mtu_vanish_and_impossible_ones_are_refused() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (one, other) = (bind(&a, 0), bind(&b, PORT));
    sim.block_on(async {
        send(&one, b.socket(PORT), &[0; 1473]).await.unwrap();
        send(&one, b.socket(PORT), &[1; 1472]).await.unwrap();
        assert_eq!(receive(&other).await.unwrap().0, [1; 1472]);
        assert!(send(&one, b.socket(PORT), &[0; 65_508]).await.is_err());
        assert!(
            send(&one, "[fd00::2]:7".parse().unwrap(), b"x")
                .await
                .is_err()
        );
    });
}

#[test]
fn a_full_socket_drops_what_comes_next() {
    let mut config = Config::default();
    config.udp_buffer = 1640;
    let sim = Sim::with_config(1, config);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (one, other) = (bind(&a, 0), bind(&b, PORT));
    sim.block_on(async {
        for _ in 0..20 {
            send(&one, b.socket(PORT), &[0; 100]).await.unwrap();
        }
    });
    sim.run_for(SEC);
    let received = sim.block_on(receive_for(&b, &other, SEC));
    assert_eq!(received.len(), 10);
    assert!(
        sim.last_events()
            .iter()
            .any(|line| line.contains("buffer is full"))
    );
}

#[test]
fn several_datagrams_in_one_call_arrive_one_by_one() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (one, other) = (bind(&a, 0), bind(&b, PORT));
    let datagram = Datagram {
        to: b.socket(PORT),
        from: Some(a.ip()),
        contents: b"abcde",
        segment: Some(2),
        ecn: 2,
    };
    sim.block_on(async {
        poll_fn(|cx| one.poll_send(cx, &datagram)).await.unwrap();
        for part in [&b"ab"[..], b"cd", b"e"] {
            let (bytes, received) = receive(&other).await.unwrap();
            assert_eq!((bytes.as_slice(), received.ecn), (part, 2));
        }
    });
}

#[test]
fn datagrams_share_a_rate_limit_with_connections() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    sim.link(&a, &b, Link::new(10 * MS).bandwidth(100_000));
    let (mut one, _other) = sim.block_on(pair(&a, &b));
    sim.block_on(one.write_all(&vec![0; 1_000_000])).unwrap();
    let (socket, sink) = (bind(&a, 0), bind(&b, PORT));
    // Behind at most one segment of 16 KiB, not behind ten seconds of them.
    let (_, took) = time(&sim, async {
        send(&socket, b.socket(PORT), &[0; 1000]).await.unwrap();
        receive(&sink).await.unwrap();
    });
    assert!(took < 200 * MS, "{took:?}");
}

#[test]
fn a_socket_that_is_dropped_leaves_nothing_and_frees_its_port() {
    let sim = Sim::new(1);
    let a = sim.host("a");
    let socket = bind(&a, PORT);
    assert!(a.rt().net().udp_bind(a.socket(PORT)).is_err());
    assert_eq!(sim.census().host("a").unwrap().udp_sockets, 1);
    drop(socket);
    assert!(sim.census().is_empty());
    bind(&a, PORT);
}

/// Whom a datagram from `host` seems to come from, and an answer that got back.
async fn ask(socket: &Arc<dyn UdpSocket>, server: &Host, at: &Arc<dyn UdpSocket>) -> SocketAddr {
    let port = at.local_addr().unwrap().port();
    send(socket, server.socket(port), b"who am I")
        .await
        .unwrap();
    let seen = receive(at).await.unwrap().1.from;
    send(at, seen, b"you are this").await.unwrap();
    receive(socket).await.unwrap();
    seen
}

#[test]
fn a_mapping_depends_on_the_remote_as_its_rule_says() {
    use NatRule::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    for (rule, same_for_port, same_for_address) in [
        (EndpointIndependent, true, true),
        (AddressDependent, true, false),
        (AddressAndPortDependent, false, false),
    ] {
        let sim = Sim::new(1);
        let config = NatConfig::new(rule, AddressAndPortDependent);
        let nat = sim.nat("home", [192, 0, 2, 1], config);
        let (inside, one, other) = (nat.host("inside"), sim.host("one"), sim.host("other"));
        let socket = bind(&inside, 4001);
        let (first, second) = (bind(&one, 7), bind(&one, 8));
        let third = bind(&other, 7);
        sim.block_on(async {
            let seen = ask(&socket, &one, &first).await;
            assert_eq!(seen, "192.0.2.1:4001".parse().unwrap());
            assert_eq!(ask(&socket, &one, &second).await == seen, same_for_port);
            assert_eq!(ask(&socket, &other, &third).await == seen, same_for_address);
        });
    }
}

#[test]
fn a_filter_admits_whom_its_rule_says() {
    use NatRule::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    for (rule, expected) in [
        (EndpointIndependent, [true, true, true]),
        (AddressDependent, [true, true, false]),
        (AddressAndPortDependent, [true, false, false]),
    ] {
        let sim = Sim::new(1);
        let config = NatConfig::new(EndpointIndependent, rule);
        let nat = sim.nat("home", [192, 0, 2, 1], config);
        let (inside, one, other) = (nat.host("inside"), sim.host("one"), sim.host("other"));
        let socket = bind(&inside, 4001);
        let senders = [bind(&one, 7), bind(&one, 8), bind(&other, 7)];
        let seen = sim.block_on(ask(&socket, &one, &senders[0]));
        for (sender, admitted) in senders.iter().zip(expected) {
            let received = sim.block_on(async {
                send(sender, seen, b"hello").await.unwrap();
                receive_for(&inside, &socket, SEC).await
            });
            assert_eq!(received.len() == 1, admitted, "{rule:?}");
        }
    }
}

#[test]
fn a_mapping_expires_without_use_and_lives_with_it() {
    let sim = Sim::new(1);
    let nat = sim.nat("home", [192, 0, 2, 1], NatConfig::default());
    let (inside, one) = (nat.host("inside"), sim.host("one"));
    let (socket, server) = (bind(&inside, 4001), bind(&one, 7));
    let reached = |seen| {
        sim.block_on(async {
            send(&server, seen, b"hello").await.unwrap();
            receive_for(&inside, &socket, SEC).await.len() == 1
        })
    };
    let seen = sim.block_on(ask(&socket, &one, &server));
    sim.run_for(100 * SEC);
    assert!(reached(seen));
    sim.block_on(ask(&socket, &one, &server));
    sim.run_for(100 * SEC);
    assert!(reached(seen), "what goes out refreshes");
    sim.run_for(30 * SEC);
    assert!(!reached(seen), "what comes in does not");
    assert_eq!(nat.mappings(), 0);
}

#[test]
fn what_comes_in_keeps_a_mapping_alive_where_it_is_set_up_to() {
    for refreshes in [true, false] {
        let sim = Sim::new(1);
        let mut config = NatConfig::default();
        config.inbound_refreshes = refreshes;
        let nat = sim.nat("home", [192, 0, 2, 1], config);
        let (inside, one) = (nat.host("inside"), sim.host("one"));
        let (socket, server) = (bind(&inside, 4001), bind(&one, 7));
        let seen = sim.block_on(ask(&socket, &one, &server));
        let reached = || {
            sim.run_for(100 * SEC);
            sim.block_on(async {
                send(&server, seen, b"hello").await.unwrap();
                receive_for(&inside, &socket, SEC).await.len() == 1
            })
        };
        assert!(reached(), "used 100 s ago, of 120");
        assert_eq!(
            reached(),
            refreshes,
            "went out 200 s ago, came in 100 s ago"
        );
    }
}

#[test]
fn a_silent_connection_lives_as_long_as_its_mapping() {
    for (silence, lives) in [(599, true), (601, false)] {
        let sim = Sim::new(1);
        let mut config = NatConfig::default();
        config.tcp_expiry = 600 * SEC;
        let nat = sim.nat("home", [192, 0, 2, 1], config);
        let (inside, outside) = (nat.host("inside"), sim.host("outside"));
        let (mut one, mut other) = sim.block_on(pair(&inside, &outside));
        sim.run_for(silence * SEC);
        sim.block_on(other.write_all(b"hello?")).unwrap();
        if lives {
            let mut bytes = [0; 6];
            let read = futures::AsyncReadExt::read_exact(&mut one, &mut bytes);
            sim.block_on(read).unwrap();
            assert_eq!(&bytes, b"hello?");
        } else {
            let end = sim.block_on(futures::AsyncReadExt::read(&mut other, &mut [0]));
            assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        }
    }
}

#[test]
fn an_outer_port_is_the_inner_one_only_if_it_is_free_and_the_nat_preserves_it() {
    for (preserves, expected) in [(true, [4001, 20000]), (false, [20000, 20001])] {
        let sim = Sim::new(1);
        let mut config = NatConfig::default();
        config.preserves_ports = preserves;
        let nat = sim.nat("home", [192, 0, 2, 1], config);
        let insides = [nat.host("first"), nat.host("second")];
        let one = sim.host("one");
        let server = bind(&one, 7);
        for (inside, port) in insides.iter().zip(expected) {
            let socket = bind(inside, 4001);
            let seen = sim.block_on(ask(&socket, &one, &server));
            assert_eq!(seen, SocketAddr::new(nat.outer(), port));
        }
    }
}

#[test]
fn a_forwarded_port_outlives_the_older_mappings_of_its_socket() {
    let sim = Sim::new(1);
    let nat = sim.nat("home", [192, 0, 2, 1], NatConfig::default());
    let (inside, one) = (nat.host("inside"), sim.host("one"));
    let (socket, server) = (bind(&inside, 4001), bind(&one, 7));
    let port = || sim.block_on(ask(&socket, &one, &server)).port();
    assert_eq!(port(), 4001);
    nat.forward(9000, inside.socket(4001));
    assert_eq!(port(), 9000);

    // Its old port expires: whoever knocks there finds that out.
    sim.run_for(200 * SEC);
    let old = SocketAddr::new(nat.outer(), 4001);
    sim.block_on(send(&server, old, b"still there?")).unwrap();
    assert!(sim.block_on(receive_for(&inside, &socket, SEC)).is_empty());
    assert_eq!(nat.mappings(), 2, "the forwarded ports of TCP and UDP");
    assert_eq!(port(), 9000);

    // Another socket takes one of its ports: the other one stays.
    nat.forward(9001, inside.socket(4001));
    nat.forward(9000, inside.socket(5));
    assert_eq!(port(), 9001);
}

#[test]
fn two_hosts_behind_nats_punch_holes_for_datagrams() {
    let sim = Sim::new(1);
    let nats = [1, 2].map(|n| sim.nat(&format!("n{n}"), [192, 0, 2, n], NatConfig::default()));
    let hosts = [nats[0].host("a"), nats[1].host("b")];
    let server = sim.host("server");
    let sockets = [bind(&hosts[0], 4001), bind(&hosts[1], 4001)];
    let meeting = bind(&server, 7);
    sim.block_on(async {
        let a = ask(&sockets[0], &server, &meeting).await;
        let b = ask(&sockets[1], &server, &meeting).await;
        send(&sockets[0], b, b"one way").await.unwrap();
        assert!(
            receive_for(&hosts[1], &sockets[1], SEC).await.is_empty(),
            "filtered"
        );
        send(&sockets[1], a, b"other way").await.unwrap();
        assert_eq!(receive(&sockets[0]).await.unwrap().1.from, b);
        send(&sockets[0], b, b"one way").await.unwrap();
        assert_eq!(receive(&sockets[1]).await.unwrap().1.from, a);
    });
}

#[test]
fn connections_pass_a_nat_outwards_only() {
    let sim = Sim::new(1);
    let nat = sim.nat("home", [192, 0, 2, 1], NatConfig::default());
    let (inside, outside) = (nat.host("inside"), sim.host("outside"));
    serve_echo(&outside);
    serve_echo(&inside);
    let mut stream = sim.block_on(connect(&inside, &outside)).unwrap();
    sim.block_on(echo(&mut stream, b"hello")).unwrap();
    for to in [inside.socket(PORT), SocketAddr::new(nat.outer(), PORT)] {
        let connect = outside.rt().net().tcp_connect(to, &options());
        assert!(sim.block_on(within(&outside, 60 * SEC, connect)).is_err());
    }
    nat.forward(PORT, inside.socket(PORT));
    let to = SocketAddr::new(nat.outer(), PORT);
    let stream = sim.block_on(outside.rt().net().tcp_connect(to, &options()));
    sim.block_on(echo(&mut stream.unwrap(), b"forwarded"))
        .unwrap();
    let neighbour = nat.host("neighbour");
    let mut stream = sim.block_on(connect(&neighbour, &inside)).unwrap();
    sim.block_on(echo(&mut stream, b"at home")).unwrap();
}

#[test]
fn a_nat_that_forgets_breaks_its_connections() {
    let sim = Sim::new(1);
    let nat = sim.nat("home", [192, 0, 2, 1], NatConfig::default());
    let (inside, outside) = (nat.host("inside"), sim.host("outside"));
    let (_one, mut other) = sim.block_on(pair(&inside, &outside));
    nat.forget();
    sim.block_on(other.write_all(b"hello?")).unwrap();
    let mut byte = [0];
    let (end, _) = time(&sim, futures::AsyncReadExt::read(&mut other, &mut byte));
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn two_hosts_behind_nats_punch_holes_for_connections() {
    let sim = Sim::new(1);
    let nats = [1, 2].map(|n| sim.nat(&format!("n{n}"), [192, 0, 2, n], NatConfig::default()));
    let (a, b) = (nats[0].host("a"), nats[1].host("b"));
    let dial = |from: &Host, to: [u8; 4]| {
        let mut options = options();
        options.bind = Some(from.socket(4001));
        from.rt().net().tcp_connect((to, 4001).into(), &options)
    };
    let (one, other) = sim.block_on(join(dial(&a, [192, 0, 2, 2]), async {
        b.rt().sleep(300 * MS).await;
        dial(&b, [192, 0, 2, 1]).await
    }));
    let (mut one, mut other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.peer_addr().unwrap(), "192.0.2.2:4001".parse().unwrap());
    sim.block_on(async {
        one.write_all(b"hi").await.unwrap();
        let mut bytes = [0; 2];
        futures::AsyncReadExt::read_exact(&mut other, &mut bytes)
            .await
            .unwrap();
    });
}

#[test]
fn hairpins_and_nats_behind_nats_work_where_they_are_set_up() {
    let sim = Sim::new(1);
    let mut config = NatConfig::new(NatRule::EndpointIndependent, NatRule::EndpointIndependent);
    config.hairpins = true;
    let carrier = sim.nat("carrier", [192, 0, 2, 1], config.clone());
    let home = carrier.nat("home", [100, 64, 0, 1], config);
    let (inner, middle, server) = (
        home.host("inner"),
        carrier.host("middle"),
        sim.host("server"),
    );
    let sockets = [bind(&inner, 4001), bind(&middle, 4002)];
    let meeting = bind(&server, 7);
    sim.block_on(async {
        let one = ask(&sockets[0], &server, &meeting).await;
        let other = ask(&sockets[1], &server, &meeting).await;
        assert_eq!(one.ip(), carrier.outer());
        send(&sockets[0], other, b"by the outer address")
            .await
            .unwrap();
        assert_eq!(receive(&sockets[1]).await.unwrap().1.from, one);
        send(&sockets[1], one, b"and back").await.unwrap();
        assert_eq!(receive(&sockets[0]).await.unwrap().1.from, other);
    });
}
