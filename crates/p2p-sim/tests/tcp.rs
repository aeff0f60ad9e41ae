//! Connections over simulated links.
#![expect(clippy::unwrap_used, reason = "tests say what they expect")]

mod support;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures::future::{join, join_all};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Elapsed, TcpOptions};
use p2p_sim::{Config, Link, Sim};
use support::{
    MS, PORT, SEC, connect, dial, echo, listen, options, pair, serve_echo, sleep, time, within,
};

/// A world where everything takes 50 ms one way.
fn fifty() -> Sim {
    let sim = Sim::new(1);
    sim.default_link(Link::new(50 * MS));
    sim
}

#[test]
fn a_connect_takes_one_round_trip_and_an_echo_another() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    serve_echo(&b);
    let (stream, took) = time(&sim, connect(&a, &b));
    assert_eq!(took, 100 * MS);
    let mut stream = stream.unwrap();
    assert_eq!(time(&sim, echo(&mut stream, b"hello")).1, 100 * MS);
}

#[test]
fn flights_count_round_trips_exactly() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    serve_echo(&b);
    sim.count_flights(&b, &a);
    let mut stream = sim.block_on(connect(&a, &b)).unwrap();
    assert_eq!(sim.flights(&a, &b).flights, 2);
    for n in 1..4 {
        sim.block_on(echo(&mut stream, &[7; 100])).unwrap();
        assert_eq!(sim.flights(&a, &b).flights, 2 + 2 * n);
    }
    let count = sim.flights(&a, &b);
    assert_eq!((count.packets, count.bytes), (8, 600));
}

#[test]
fn packets_that_cross_are_one_flight() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    sim.count_flights(&a, &b);
    sim.block_on(async {
        one.write_all(b"hi").await.unwrap();
        other.write_all(b"hi").await.unwrap();
        let mut bytes = [0; 2];
        one.read_exact(&mut bytes).await.unwrap();
        other.read_exact(&mut bytes).await.unwrap();
    });
    assert_eq!(sim.flights(&a, &b).flights, 1);
}

#[test]
fn addresses_of_both_ends_agree() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (one, other) = sim.block_on(pair(&a, &b));
    assert_eq!(one.peer_addr().unwrap(), b.socket(PORT));
    assert_eq!(other.local_addr().unwrap(), b.socket(PORT));
    assert_eq!(other.peer_addr().unwrap(), one.local_addr().unwrap());
    assert_eq!(one.local_addr().unwrap().ip(), a.ip());
}

#[test]
fn a_port_without_a_listener_refuses_after_one_round_trip() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (refused, took) = time(&sim, connect(&a, &b));
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(took, 100 * MS);
}

#[test]
fn an_address_of_nobody_is_silent_until_the_connect_times_out() {
    let sim = fifty();
    let a = sim.host("a");
    let nobody = SocketAddr::from(([192, 0, 2, 1], PORT));
    let (silent, took) = time(&sim, dial(&a, nobody));
    assert_eq!(silent.err().unwrap().kind(), ErrorKind::TimedOut);
    assert_eq!(took, 127 * SEC);
}

#[test]
fn giving_up_a_connect_leaves_nothing_behind() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let listener = listen(&b);
    for patience in [20, 70, 99] {
        let gone = sim.block_on(within(&a, MS * patience, connect(&a, &b)));
        assert!(matches!(gone, Err(Elapsed)));
    }
    drop(listener);
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{}", sim.census());
}

#[test]
fn a_full_backlog_drops_connects_until_there_is_room() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let mut options = options();
    options.backlog = 2;
    let at = SocketAddr::from(([0, 0, 0, 0], PORT));
    let mut listener = b.rt().net().tcp_listen(at, &options).unwrap();
    let (first, second) = sim.block_on(join(connect(&a, &b), connect(&a, &b)));
    let third = within(&a, 500 * MS, connect(&a, &b));
    assert!(sim.block_on(third).is_err(), "no room");
    // The first SYN is dropped, the one a second later finds room.
    let accept = async {
        sleep(&b, 300 * MS).await;
        listener.accept().await.unwrap()
    };
    let ((_, third), took) = time(&sim, join(accept, connect(&a, &b)));
    assert!(third.is_ok() && first.is_ok() && second.is_ok());
    assert_eq!(took, 1100 * MS);
}

#[test]
fn half_open_connections_count_in_the_backlog() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let mut options = options();
    options.backlog = 2;
    let at = SocketAddr::from(([0, 0, 0, 0], PORT));
    let mut listener = b.rt().net().tcp_listen(at, &options).unwrap();
    let accept = async {
        for _ in 0..3 {
            listener.accept().await.unwrap();
        }
    };
    let three = join_all([connect(&a, &b), connect(&a, &b), connect(&a, &b)]);
    let (_, took) = time(&sim, join(accept, three));
    // Two are half open when the third SYN arrives; it comes again a second later.
    assert_eq!(took, 1150 * MS);
}

#[test]
fn what_is_sent_later_does_not_arrive_earlier() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    sim.link(&a, &b, Link::new(500 * MS));
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    sim.block_on(one.write_all(b"slow")).unwrap();
    sim.link(&a, &b, Link::new(MS));
    sim.block_on(one.write_all(b"fast")).unwrap();
    let mut bytes = [0; 4];
    assert_eq!(time(&sim, other.read_exact(&mut bytes)).1, 500 * MS);
    assert_eq!(&bytes, b"slow");
}

#[test]
fn a_writer_waits_for_a_slow_reader_and_loses_nothing() {
    let mut config = Config::default();
    config.tcp.buffer = NonZeroUsize::new(10_000).unwrap();
    let sim = Sim::with_config(1, config);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    let bytes: Vec<u8> = (0..100_000u32).map(|n| n.to_be_bytes()[3]).collect();
    let written = sim.block_on(async {
        let mut written = 0;
        while let Ok(count) = within(&a, SEC, one.write(&bytes[written..])).await {
            written += count.unwrap();
        }
        written
    });
    assert_eq!(written, 10_000);
    let mut read = Vec::new();
    let write = async {
        one.write_all(&bytes[written..]).await.unwrap();
        one.close().await.unwrap();
    };
    sim.block_on(join(write, other.read_to_end(&mut read)))
        .1
        .unwrap();
    assert_eq!(read, bytes);
}

#[test]
fn closing_one_direction_leaves_the_other_open() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    sim.block_on(async {
        one.write_all(b"question").await.unwrap();
        one.close().await.unwrap();
        let mut text = String::new();
        other.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "question");
        other.write_all(b"answer").await.unwrap();
        other.close().await.unwrap();
        text.clear();
        one.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "answer");
        let late = one.write(b"more").await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
    drop((one, other));
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{}", sim.census());
}

#[test]
fn dropping_a_stream_with_unread_data_resets_it() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (mut one, other) = sim.block_on(pair(&a, &b));
    sim.block_on(one.write_all(b"never read")).unwrap();
    sim.run_for(SEC);
    drop(other);
    let (end, took) = time(&sim, one.read(&mut [0; 9]));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(took, 50 * MS);
    let write = sim.block_on(one.write(b"x"));
    assert_eq!(write.unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop(one);
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{}", sim.census());
}

#[test]
fn writing_to_a_dropped_stream_is_answered_with_a_reset() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (mut one, other) = sim.block_on(pair(&a, &b));
    drop(other);
    let mut byte = [0];
    assert_eq!(sim.block_on(one.read(&mut byte)).unwrap(), 0, "a clean end");
    sim.block_on(one.write(b"x")).unwrap();
    sim.run_for(100 * MS);
    let write = sim.block_on(one.write(b"x"));
    assert_eq!(write.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn what_came_before_a_reset_is_read_first_unless_set_otherwise() {
    for discards in [false, true] {
        let mut config = Config::default();
        config.tcp.reset_discards = discards;
        let sim = Sim::with_config(1, config);
        let (a, b) = (sim.host("a"), sim.host("b"));
        let (mut one, mut other) = sim.block_on(pair(&a, &b));
        sim.block_on(async {
            one.write_all(b"unread").await.unwrap();
            other.write_all(b"answer").await.unwrap();
        });
        sim.run_for(SEC);
        drop(other);
        sim.run_for(SEC);
        let mut text = Vec::new();
        let end = sim.block_on(one.read_to_end(&mut text)).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
        assert_eq!(text, if discards { &b""[..] } else { b"answer" });
    }
}

#[test]
fn dropping_a_listener_resets_who_was_not_accepted() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let listener = listen(&b);
    let mut stream = sim.block_on(connect(&a, &b)).unwrap();
    sim.run_for(SEC);
    drop(listener);
    let end = sim.block_on(stream.read(&mut [0; 9]));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let next = sim.block_on(connect(&a, &b)).err().unwrap();
    assert_eq!(next.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn loss_delays_segments_and_keeps_their_order() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    sim.link(&a, &b, Link::new(10 * MS).loss(0.3).jitter(30 * MS));
    serve_echo(&b);
    let mut stream = sim.block_on(connect(&a, &b)).unwrap();
    let (_, took) = time(&sim, async {
        for round in 0..50u8 {
            echo(&mut stream, &[round; 100]).await.unwrap();
        }
    });
    // 100 one-way trips of 10 to 40 ms; at least every fifth is repeated after 200 ms or more.
    assert!(took > 100 * 10 * MS + 20 * 200 * MS, "{took:?}");
}

#[test]
fn a_lost_syn_is_sent_again_after_a_second() {
    let took: Vec<Duration> = (0..40)
        .map(|seed| {
            let sim = Sim::new(seed);
            let (a, b) = (sim.host("a"), sim.host("b"));
            sim.try_link(&a, &b, Link::new(10 * MS).loss(0.5)).unwrap();
            serve_echo(&b);
            let (stream, took) = time(&sim, connect(&a, &b));
            stream.unwrap();
            took
        })
        .collect();
    for expected in [20 * MS, 1020 * MS, 3020 * MS] {
        assert!(took.contains(&expected), "{took:?}");
    }
}

#[test]
fn bandwidth_is_shared_fairly_among_connections() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    sim.link(&a, &b, Link::new(10 * MS).bandwidth(1_000_000));
    serve_sink(&b);
    let upload = |bytes: usize| {
        let (a, b) = (&a, &b);
        async move {
            let mut stream = connect(a, b).await.unwrap();
            stream.write_all(&vec![0; bytes]).await.unwrap();
            stream.close().await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            a.rt().now().elapsed_since_start().as_secs_f64()
        }
    };
    // Three share until the small one is done, two until the middle one is, then one has it all.
    let (small, (middle, large)) = sim.block_on(join(
        upload(1_000_000),
        join(upload(2_000_000), upload(3_000_000)),
    ));
    let close = |seconds: f64, expected: f64| (seconds - expected).abs() < 0.1;
    assert!(close(small, 3.05), "{small}");
    assert!(close(middle, 5.05), "{middle}");
    assert!(close(large, 6.05), "{large}");
}

/// Reads everything, then hangs up.
fn serve_sink(host: &p2p_sim::Host) {
    let (mut listener, rt) = (listen(host), host.rt());
    host.spawn("accept", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sink = async move {
                let mut buffer = vec![0; 65536];
                while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
            };
            rt.spawn("sink", Box::pin(sink));
        }
    });
}

#[test]
fn a_network_card_is_shared_among_all_remotes() {
    let sim = Sim::new(1);
    let server = sim.host("server");
    server.bandwidth(None, std::num::NonZeroU64::new(1_000_000));
    serve_sink(&server);
    let clients = sim.hosts(4);
    let upload = |client| {
        let server = &server;
        async move {
            let mut stream = connect(client, server).await.unwrap();
            stream.write_all(&[0; 500_000]).await.unwrap();
            stream.close().await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
    };
    let (_, took) = time(&sim, join_all(clients.iter().map(upload)));
    assert!((2 * SEC..2100 * MS).contains(&took), "{took:?}");
}

#[test]
fn removing_a_rate_limit_lets_what_waits_go() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    sim.link(&a, &b, Link::new(10 * MS).bandwidth(1000));
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    sim.block_on(one.write_all(&[7; 100_000])).unwrap();
    sim.run_for(SEC);
    sim.link(&a, &b, Link::new(10 * MS));
    let mut bytes = vec![0; 100_000];
    let (_, took) = time(&sim, other.read_exact(&mut bytes));
    assert!(took <= 20 * MS, "{took:?}");
    assert!(bytes.iter().all(|byte| *byte == 7));
}

#[test]
fn ports_in_use_and_foreign_addresses_are_refused() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let rt = b.rt();
    let listen_at = |at: SocketAddr| rt.net().tcp_listen(at, &options());
    let held = listen(&b);
    let again = listen_at(b.socket(PORT)).err().unwrap();
    assert_eq!(again.kind(), ErrorKind::AddrInUse);
    let foreign = listen_at(a.socket(PORT)).err().unwrap();
    assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
    assert!(foreign.to_string().contains("host b does not have"));
    drop(held);
    let listener = listen_at(b.socket(PORT)).unwrap();
    assert_eq!(listener.local_addr().unwrap(), b.socket(PORT));
    let first = listen_at(b.socket(0)).unwrap().local_addr().unwrap();
    assert_ne!(first.port(), 0);
}

#[test]
fn a_shared_port_can_be_listened_on_and_dialed_from() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    serve_echo(&b);
    let mut shared = TcpOptions::default();
    shared.reuse_port = true;
    shared.bind = Some(a.socket(4001));
    let rt = a.rt();
    let _first = rt.net().tcp_listen(a.socket(4001), &shared).unwrap();
    let _second = rt.net().tcp_listen(a.socket(4001), &shared).unwrap();
    let dialed = sim
        .block_on(rt.net().tcp_connect(b.socket(PORT), &shared))
        .unwrap();
    assert_eq!(dialed.local_addr().unwrap(), a.socket(4001));
    let twice = sim.block_on(rt.net().tcp_connect(b.socket(PORT), &shared));
    assert_eq!(twice.err().unwrap().kind(), ErrorKind::AddrNotAvailable);
    shared.reuse_port = false;
    let alone = sim.block_on(rt.net().tcp_connect(b.socket(PORT), &shared));
    assert_eq!(alone.err().unwrap().kind(), ErrorKind::AddrInUse);
}

#[test]
fn two_hosts_that_dial_each_other_get_one_connection() {
    let sim = fifty();
    let (a, b) = (sim.host("a"), sim.host("b"));
    let dial = |from: &p2p_sim::Host, to: &p2p_sim::Host| {
        let mut options = options();
        options.bind = Some(from.socket(4001));
        from.rt().net().tcp_connect(to.socket(4001), &options)
    };
    let (one, other) = sim.block_on(join(dial(&a, &b), dial(&b, &a)));
    let (mut one, mut other) = (one.unwrap(), other.unwrap());
    sim.block_on(async {
        one.write_all(b"hi").await.unwrap();
        let mut bytes = [0; 2];
        other.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hi");
    });
    drop((one, other));
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{}", sim.census());
}

#[test]
fn a_host_reaches_itself_by_loopback_and_by_its_own_address() {
    let sim = Sim::new(1);
    let a = sim.host("a");
    serve_echo(&a);
    for ip in ["127.0.0.1", "10.0.0.1", "0.0.0.0"] {
        let to = SocketAddr::new(ip.parse().unwrap(), PORT);
        let (_, took) = time(&sim, async {
            let mut stream = dial(&a, to).await.unwrap();
            echo(&mut stream, b"me").await.unwrap();
        });
        assert_eq!(took, 80 * MS / 1000);
    }
}

#[test]
fn ipv6_works_and_is_apart_from_ipv4() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let at: SocketAddr = "[::]:7".parse().unwrap();
    let mut listener = b.rt().net().tcp_listen(at, &options()).unwrap();
    let six = SocketAddr::new(b.addrs()[1], PORT);
    assert_eq!(six.to_string(), "[fd00::2]:7");
    let (stream, accepted) = sim.block_on(join(dial(&a, six), listener.accept()));
    assert_eq!(accepted.unwrap().1, stream.unwrap().local_addr().unwrap());
    let four = sim.block_on(connect(&a, &b)).err().unwrap();
    assert_eq!(four.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_family_that_the_host_has_no_address_of_is_unreachable() {
    let sim = Sim::new(1);
    let a = sim.host_at("a", [[192, 0, 2, 1]]);
    let error = sim
        .block_on(dial(&a, "[fd00::9]:7".parse().unwrap()))
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    assert!(
        error.to_string().contains("host a has no address"),
        "{error}"
    );
}
