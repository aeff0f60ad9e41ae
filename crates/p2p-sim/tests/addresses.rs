//! Hosts whose addresses change while they run.
#![expect(clippy::unwrap_used, reason = "tests say what they expect")]

mod support;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_sim::{Config, Host, NatConfig, SetupError, Sim};
use support::{
    MS, PORT, SEC, bind, dial, echo, pair, receive, receive_for, send, serve_echo, sleep, time,
    within,
};

const OLD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const NEW: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));

fn at(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, PORT)
}

/// One that stays where it is, and one that moves.
fn hosts(sim: &Sim) -> (Host, Host) {
    (sim.host_at("a", [OTHER]), sim.host_at("b", [OLD]))
}

#[test]
fn a_host_is_found_at_the_address_that_it_has_now() {
    let sim = Sim::new(1);
    let (a, b) = hosts(&sim);
    serve_echo(&b);
    let mut stream = sim.block_on(dial(&a, at(OLD))).unwrap();
    sim.block_on(echo(&mut stream, b"before")).unwrap();
    drop(stream);

    b.set_addrs([NEW]);
    assert_eq!((b.addrs(), b.ip()), (vec![NEW], NEW));
    let own = b.rt().net().interface_addrs().unwrap();
    assert!(own.contains(&NEW) && !own.contains(&OLD), "{own:?}");
    // Whoever listens on all addresses listens on the new one too.
    let mut stream = sim.block_on(dial(&a, at(NEW))).unwrap();
    sim.block_on(echo(&mut stream, b"after")).unwrap();
    let (gone, took) = time(&sim, dial(&a, at(OLD)));
    assert_eq!(gone.err().unwrap().kind(), ErrorKind::TimedOut);
    assert_eq!(took, 127 * SEC);
    // It sends from the first that it has, and cannot have sockets at what it has not.
    let dialed = sim.block_on(dial(&b, at(NEW))).unwrap();
    assert_eq!(dialed.local_addr().unwrap().ip(), NEW);
    let bound = b.rt().net().udp_bind(SocketAddr::new(OLD, 0));
    assert_eq!(bound.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn a_connection_outlives_an_address_that_comes_back() {
    let sim = Sim::new(1);
    let (a, b) = hosts(&sim);
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    b.set_addrs([NEW]);
    sim.block_on(one.write_all(b"to")).unwrap();
    sim.block_on(other.write_all(b"fro")).unwrap();
    for (host, end) in [(&a, &mut one), (&b, &mut other)] {
        let heard = sim.block_on(within(host, 60 * SEC, end.read(&mut [0])));
        assert!(heard.is_err(), "silence");
    }
    b.set_addrs([NEW, OLD]);
    let (mut to, mut fro) = ([0; 2], [0; 3]);
    sim.block_on(async {
        one.read_exact(&mut fro).await.unwrap();
        other.read_exact(&mut to).await.unwrap();
    });
    assert_eq!((&to, &fro), (b"to", b"fro"));
}

#[test]
fn what_is_under_way_to_a_lost_address_does_not_arrive_before_it_is_back() {
    let sim = Sim::new(1);
    let (a, b) = hosts(&sim);
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    sim.block_on(one.write_all(b"x")).unwrap();
    b.set_addrs([NEW]);
    let heard = sim.block_on(within(&b, SEC, other.read(&mut [0])));
    assert!(heard.is_err(), "it was on its way when the address went");
    b.set_addrs([OLD]);
    sim.block_on(other.read_exact(&mut [0])).unwrap();
}

#[test]
fn a_connection_over_a_lost_address_dies_by_silence_and_others_live_on() {
    let sim = Sim::new(1);
    let (a, b) = hosts(&sim);
    b.set_addrs([OLD, NEW]);
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    serve_echo(&a);
    let mut good = sim.block_on(dial(&b, at(OTHER))).unwrap();
    assert_eq!(good.local_addr().unwrap().ip(), OLD, "the first");
    b.set_addrs([NEW]);
    let mut better = sim.block_on(dial(&b, at(OTHER))).unwrap();

    sim.block_on(one.write_all(b"into the void")).unwrap();
    sim.block_on(other.write_all(b"from nowhere")).unwrap();
    let start = sim.now();
    for end in [&mut one, &mut other] {
        let error = sim.block_on(end.read(&mut [0])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    let took = sim.now() - start;
    assert!(took >= 924 * SEC && took < 1000 * SEC, "{took:?}");
    sim.block_on(echo(&mut better, b"here")).unwrap();
    let heard = within(&b, SEC, echo(&mut good, b"lost too"));
    assert!(sim.block_on(heard).is_err());
}

#[test]
fn where_the_system_aborts_connections_their_own_end_hears_it_at_once() {
    let mut config = Config::default();
    config.tcp.abort_on_lost_addr = true;
    let sim = Sim::with_config(1, config);
    let (a, b) = hosts(&sim);
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    let nowhere = SocketAddr::from(([203, 0, 113, 1], PORT));
    let moving = async {
        sleep(&b, SEC).await;
        b.set_addrs([NEW]);
    };
    let ((dialed, ()), took) = time(&sim, join(dial(&b, nowhere), moving));
    assert_eq!(dialed.err().unwrap().kind(), ErrorKind::ConnectionAborted);
    let (end, took_too) = time(&sim, other.read(&mut [0]));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!((took, took_too), (SEC, std::time::Duration::ZERO));
    drop(other);
    let heard = sim.block_on(within(&a, 60 * SEC, one.read(&mut [0])));
    assert!(heard.is_err(), "the other end hears nothing");
    // Once the address is back, there is somebody to say that it is over.
    b.set_addrs([OLD]);
    sim.block_on(one.write_all(b"x")).unwrap();
    let end = sim.block_on(one.read(&mut [0])).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    drop(one);
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{}", sim.census());
}

#[test]
fn whoever_takes_the_address_resets_connections_that_it_does_not_know() {
    let sim = Sim::new(1);
    let (a, b) = hosts(&sim);
    let (mut one, _other) = sim.block_on(pair(&a, &b));
    b.set_addrs([NEW]);
    let heir = sim.host_at("heir", [OLD]);
    sim.block_on(one.write_all(b"still you?")).unwrap();
    let (end, took) = time(&sim, one.read(&mut [0]));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(took < SEC, "{took:?}");
    assert_eq!(heir.ip(), OLD);
}

#[test]
fn datagrams_to_and_from_a_lost_address_are_lost() {
    let sim = Sim::new(1);
    let (a, b) = hosts(&sim);
    let (one, everywhere) = (bind(&a, PORT), bind(&b, PORT));
    let fixed = b.rt().net().udp_bind(SocketAddr::new(OLD, 9)).unwrap();
    sim.block_on(send(&one, at(OLD), b"on its way")).unwrap();
    b.set_addrs([NEW]);
    sim.block_on(send(&one, at(OLD), b"late")).unwrap();
    let heard = sim.block_on(receive_for(&b, &everywhere, SEC));
    assert!(heard.is_empty(), "{heard:?}");
    let sent = sim.block_on(send(&fixed, at(OTHER), b"from nowhere"));
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    // A socket at all addresses goes on with the new one.
    sim.block_on(send(&everywhere, at(OTHER), b"moved"))
        .unwrap();
    let (_, received) = sim.block_on(receive(&one)).unwrap();
    assert_eq!(received.from, at(NEW));
}

#[test]
fn a_host_without_addresses_reaches_itself_and_nobody_else() {
    let sim = Sim::new(1);
    let (a, b) = hosts(&sim);
    serve_echo(&b);
    b.set_addrs([] as [IpAddr; 0]);
    let mut stream = sim
        .block_on(dial(&b, SocketAddr::from(([127, 0, 0, 1], PORT))))
        .unwrap();
    sim.block_on(echo(&mut stream, b"alone")).unwrap();
    let away = sim.block_on(dial(&b, at(OTHER))).err().unwrap();
    assert_eq!(away.kind(), ErrorKind::NetworkUnreachable);
    drop(a);
}

#[test]
fn behind_a_nat_addresses_change_as_well() {
    let sim = Sim::new(1);
    let outside = sim.host("outside");
    serve_echo(&outside);
    let nat = sim.nat("nat", [198, 51, 100, 1], NatConfig::default());
    let inner = |n: u8| IpAddr::from([192, 168, 0, n]);
    let host = nat.host_at("inside", [inner(1)]);
    let mut old = sim.block_on(dial(&host, outside.socket(PORT))).unwrap();
    sim.block_on(echo(&mut old, b"one")).unwrap();
    host.set_addrs([inner(2)]);
    let mut new = sim.block_on(dial(&host, outside.socket(PORT))).unwrap();
    sim.block_on(echo(&mut new, b"two")).unwrap();
    assert_eq!(new.local_addr().unwrap().ip(), inner(2));
    let heard = within(&host, SEC, echo(&mut old, b"three"));
    assert!(sim.block_on(heard).is_err());
}

#[test]
fn an_address_that_cannot_be_had_changes_nothing() {
    let sim = Sim::new(1);
    let (a, b) = hosts(&sim);
    let hash = sim.hash();
    let text = |error: SetupError| error.to_string();
    for (addrs, complaint) in [
        (
            vec![NEW, OTHER],
            "address 192.0.2.9 of host b is used already, by a",
        ),
        (
            vec![NEW, NEW],
            "address 192.0.2.2 of host b is used already, by b",
        ),
        (
            vec![OLD, OLD],
            "address 192.0.2.1 of host b is used already, by b",
        ),
        (
            vec![IpAddr::from([127, 0, 0, 1])],
            "host b cannot have the address 127.0.0.1: loopback, unspecified and multicast \
             addresses belong to nobody",
        ),
    ] {
        assert_eq!(text(b.try_set_addrs(addrs).unwrap_err()), complaint);
    }
    assert_eq!((b.addrs(), a.addrs()), (vec![OLD], vec![OTHER]));
    assert_eq!(sim.hash(), hash);
}

#[test]
fn changes_are_in_the_log_and_in_the_hash() {
    let sim = Sim::new(1);
    let (_, b) = hosts(&sim);
    b.set_addrs([NEW, OLD]);
    let hash = sim.hash();
    // The order is no event; neither is what was there before.
    b.set_addrs([OLD, NEW]);
    assert_eq!(sim.hash(), hash);
    sim.run_for(5 * MS);
    b.set_addrs([NEW]);
    assert_ne!(sim.hash(), hash);
    let events = sim.last_events();
    let [.., added, removed] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(added.ends_with("b        has the address 192.0.2.2 now"));
    assert!(removed.ends_with("0.005000000 b        has LOST the address 192.0.2.1"));
}
