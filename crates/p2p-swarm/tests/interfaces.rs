//! Listening on all addresses follows the interfaces; connections over an address that is gone
//! end with a cause.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use common::{ECHO, LATENCY, ask, builder, echo, peer, sim, swarm};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use p2p_core::{AddrExt, Blame, ConnectionEnd, Multiaddr};
use p2p_sim::{Host, Sim};
use p2p_swarm::{Config, Event, Events, Swarm};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const CAFE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const PHONE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// As long as it may take until a change is seen.
const INTERVAL: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);

fn at(ip: IpAddr, port: u16) -> Multiaddr {
    match ip {
        IpAddr::V4(ip) => format!("/ip4/{ip}/tcp/{port}"),
        IpAddr::V6(ip) => format!("/ip6/{ip}/tcp/{port}"),
    }
    .parse()
    .unwrap()
}

/// A swarm that answers and never finds its connections idle, on a host at [`HOME`].
fn rover(sim: &Sim) -> (Host, Swarm) {
    let host = sim.host_at("rover", [HOME]);
    let mut config = Config::default();
    config.idle_timeout = 24 * HOUR;
    let swarm = builder(&host, 2).config(config).build().unwrap();
    swarm.handle(ECHO, echo).unwrap();
    (host, swarm)
}

fn listen(sim: &Sim, swarm: &Swarm, addr: &str) {
    let addr = addr.parse().unwrap();
    sim.block_on(swarm.listen(addr)).unwrap();
}

/// What happened to the listen addresses since the last look: `+` came, `-` went.
fn changes(events: &mut Events) -> Vec<String> {
    let all = std::iter::from_fn(|| events.next().now_or_never().flatten());
    all.filter_map(|event| {
        if let Event::ListenAddr(addr) = event {
            Some(format!("+{addr}"))
        } else if let Event::ListenAddrGone(addr) = event {
            Some(format!("-{addr}"))
        } else {
            None
        }
    })
    .collect()
}

#[test]
fn a_new_address_is_announced_and_a_lost_one_withdrawn() {
    let sim = sim(1);
    let (host, rover) = rover(&sim);
    let visitor = swarm(&sim.host("visitor"), 1);
    let mut events = rover.events();
    listen(&sim, &rover, "/ip4/0.0.0.0/tcp/1");
    assert_eq!(
        changes(&mut events),
        ["+/ip4/127.0.0.1/tcp/1", "+/ip4/192.0.2.1/tcp/1"]
    );

    host.set_addrs([HOME, CAFE]);
    sim.run_for(INTERVAL);
    assert_eq!(changes(&mut events), ["+/ip4/198.51.100.1/tcp/1"]);
    let answer = sim.block_on(ask(&visitor, at(CAFE, 1), b"found"));
    assert_eq!(answer.unwrap(), b"found");

    host.set_addrs([CAFE, PHONE]);
    sim.run_for(INTERVAL);
    assert_eq!(
        changes(&mut events),
        ["-/ip4/192.0.2.1/tcp/1", "+/ip4/203.0.113.1/tcp/1"]
    );
    let own = rover.local_peer();
    let expected = [IpAddr::from([127, 0, 0, 1]), CAFE, PHONE];
    assert_eq!(
        rover.listen_addrs(),
        expected.map(|ip| at(ip, 1).with_peer(own))
    );
    assert_eq!(rover.snapshot().listen_addrs, rover.listen_addrs());

    host.set_addrs([] as [IpAddr; 0]);
    sim.run_for(INTERVAL);
    assert_eq!(
        changes(&mut events),
        ["-/ip4/198.51.100.1/tcp/1", "-/ip4/203.0.113.1/tcp/1"]
    );
    host.set_addrs([HOME]);
    sim.run_for(INTERVAL);
    assert_eq!(changes(&mut events), ["+/ip4/192.0.2.1/tcp/1"]);
}

#[test]
fn nothing_happens_when_nothing_that_concerns_the_listener_changes() {
    let sim = sim(2);
    let (host, rover) = rover(&sim);
    host.set_addrs([HOME, CAFE]);
    let mut events = rover.events();
    listen(&sim, &rover, "/ip4/0.0.0.0/tcp/1");
    listen(&sim, &rover, "/ip4/192.0.2.1/tcp/2");
    assert_eq!(changes(&mut events).len(), 4);

    sim.run_for(HOUR);
    assert_eq!(changes(&mut events), [""; 0], "nothing changed");
    host.set_addrs([CAFE, HOME]);
    sim.run_for(HOUR);
    assert_eq!(changes(&mut events), [""; 0], "only the order");
    host.set_addrs([CAFE, HOME, SIX]);
    sim.run_for(HOUR);
    assert_eq!(changes(&mut events), [""; 0], "of the other family");
    // Gone and back between two looks.
    sim.run_for(INTERVAL / 10);
    host.set_addrs([HOME]);
    sim.run_for(INTERVAL / 10);
    host.set_addrs([CAFE, HOME]);
    sim.run_for(HOUR);
    assert_eq!(changes(&mut events), [""; 0]);
    // One address was asked for: whoever listens there waits until it is back.
    host.set_addrs([CAFE]);
    sim.run_for(HOUR);
    assert_eq!(changes(&mut events), ["-/ip4/192.0.2.1/tcp/1"]);
}

#[test]
fn all_listeners_see_a_change_at_the_same_time() {
    let sim = sim(3);
    let (host, rover) = rover(&sim);
    listen(&sim, &rover, "/ip4/0.0.0.0/tcp/1");
    sim.run_for(INTERVAL / 3);
    listen(&sim, &rover, "/ip4/0.0.0.0/tcp/2");
    sim.run_for(INTERVAL / 3);
    listen(&sim, &rover, "/ip6/::/tcp/3");
    let mut events = rover.events();
    host.set_addrs([HOME, CAFE, SIX]);
    let times: Vec<_> = sim.block_on(async {
        let mut times = Vec::new();
        for _ in 0..3 {
            events.next().await.unwrap();
            times.push(rover.rt().now());
        }
        times
    });
    assert!(times.windows(2).all(|two| two[0] == two[1]), "{times:?}");
    assert!(times[0].elapsed_since_start() <= 2 * INTERVAL);
}

#[test]
fn a_listener_that_was_removed_follows_nothing_any_more() {
    let sim = sim(4);
    let (host, rover) = rover(&sim);
    listen(&sim, &rover, "/ip4/0.0.0.0/tcp/1");
    let mut events = rover.events();
    assert!(rover.unlisten(&at(HOME, 1)));
    assert_eq!(changes(&mut events).len(), 2);
    host.set_addrs([HOME, CAFE]);
    sim.run_for(HOUR);
    assert_eq!(changes(&mut events), [""; 0]);
}

#[test]
fn connections_over_a_lost_address_end_with_a_cause_and_others_stay() {
    let sim = sim(5);
    let (host, rover) = rover(&sim);
    host.set_addrs([HOME, CAFE]);
    let (one, other) = (sim.host("one"), sim.host("other"));
    let (lost, kept) = (swarm(&one, 1), swarm(&other, 3));
    let mut there = rover.events();
    listen(&sim, &rover, "/ip4/0.0.0.0/tcp/1");
    sim.block_on(async {
        let mut stream = lost.open(at(HOME, 1), ECHO).await.unwrap();
        let mut good = kept.open(at(CAFE, 1), ECHO).await.unwrap();
        for stream in [&mut stream, &mut good] {
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
        }
        let mut here = lost.events();
        let start = rover.rt().now();
        host.set_addrs([CAFE]);
        stream.write_all(b"into the void").await.unwrap();
        stream.flush().await.unwrap();

        let end = end_of(&mut here).await;
        assert!(matches!(end, ConnectionEnd::Silent(_)), "{end}");
        assert_eq!(end.blame(), Blame::Network);
        let error = stream.read(&mut [0]).await.unwrap_err();
        let cause = ConnectionEnd::of(&error).map(ToString::to_string);
        assert_eq!(cause, Some(end.to_string()), "{error}");
        let end = end_of(&mut there).await;
        assert!(matches!(end, ConnectionEnd::Silent(_)), "{end}");
        let took = rover.rt().now() - start;
        assert!(took < Duration::from_secs(60), "keep-alives: {took:?}");

        good.write_all(b"y").await.unwrap();
        good.read_exact(&mut [0]).await.unwrap();
        assert!(rover.is_connected(&peer(3)) && !rover.is_connected(&peer(1)));
        // Whoever lost it finds it where it is now.
        let answer = ask(&lost, at(CAFE, 1), b"again").await.unwrap();
        assert_eq!(answer, b"again");
    });
}

#[test]
fn where_the_system_aborts_them_the_cause_is_the_error_of_the_system() {
    let mut config = p2p_sim::Config::default();
    config.tcp.abort_on_lost_addr = true;
    let sim = Sim::with_config(6, config);
    sim.default_link(p2p_sim::Link::new(LATENCY));
    let (host, rover) = rover(&sim);
    let visitor = swarm(&sim.host("visitor"), 1);
    listen(&sim, &rover, "/ip4/0.0.0.0/tcp/1");
    sim.block_on(async {
        let connection = visitor.dial(at(HOME, 1)).await.unwrap();
        rover.rt().sleep(Duration::from_secs(1)).await;
        let mut events = rover.events();
        let start = rover.rt().now();
        host.set_addrs([CAFE]);
        let end = end_of(&mut events).await;
        let ConnectionEnd::Io(error) = &end else {
            panic!("{end}");
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        assert_eq!(end.blame(), Blame::Network);
        assert_eq!(rover.rt().now(), start, "at once");
        let end = connection.ended().await;
        assert!(matches!(end, ConnectionEnd::Silent(_)), "{end}");
    });
}

/// Why the next connection ended.
async fn end_of(events: &mut Events) -> ConnectionEnd {
    loop {
        if let Event::Disconnected { end, .. } = events.next().await.unwrap() {
            return end;
        }
    }
}
