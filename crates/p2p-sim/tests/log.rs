//! What is set, begins or ends is in the log, and so in the hash.
#![expect(clippy::unwrap_used, reason = "tests say what they expect")]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;

use p2p_core::{Group, UdpOptions, UdpSocket};
use p2p_sim::{Config, EventHash, Host, Link, Nat, NatConfig, Sim};
use support::{MS, PORT, SEC, bind, listen, receive, send};

const GROUP: [u8; 4] = [224, 0, 0, 251];

struct World {
    sim: Sim,
    alice: Host,
    bob: Host,
    nat: Nat,
}

/// What is done, and a line of the log that tells of it.
type Act = (fn(&World), &'static str);

/// Everything that can be set and undone, with a second value where the first could hide it.
const ACTS: &[Act] = &[
    (|w| w.sim.default_link(Link::new(MS)), "all other links set"),
    (
        |w| w.sim.default_link(Link::new(MS).loss(0.1)),
        "all other links set",
    ),
    (
        |w| w.sim.link(&w.alice, &w.bob, Link::new(MS)),
        "link bob - alice set",
    ),
    (
        |w| w.sim.link(&w.alice, &w.bob, Link::new(MS).mtu(1400)),
        "link bob - alice set",
    ),
    (|w| rate(&w.alice, 10), "alice    network card set"),
    (|w| rate(&w.alice, 11), "alice    network card set"),
    (|w| rate(&w.bob, 10), "bob      network card set"),
    (|w| w.alice.clock_ahead(SEC), "clock set, 1000000000 ns"),
    (|w| w.alice.clock_behind(SEC), "clock set, -1000000000 ns"),
    (
        |w| w.sim.name("a.test", [[10, 0, 0, 1]]),
        "the name a.test has 1 addresses",
    ),
    (
        |w| w.sim.name("a.test", [[10, 0, 0, 2]]),
        "the name a.test has 1 addresses",
    ),
    (
        |w| w.sim.name::<IpAddr>("a.test", []),
        "the name a.test has 0 addresses",
    ),
    (
        |w| resolve(w, "localhost"),
        "resolved localhost: 2 addresses",
    ),
    (|w| resolve(w, &long('a')), "resolved longlong"),
    (|w| resolve(w, &long('b')), "resolved longlong"),
    (another_nat, "NAT at 192.0.2.9"),
    (
        |w| w.nat.forward(9, w.bob.socket(PORT)),
        "NAT forwards 192.0.2.1:9 to 10.0.0.2:7",
    ),
    (
        |w| w.nat.forward(9, w.bob.socket(8)),
        "NAT forwards 192.0.2.1:9 to 10.0.0.2:8",
    ),
    (|w| w.nat.forget(), "NAT at 192.0.2.1 forgets all"),
    (|w| drop(bind(&w.alice, 1)), "alice    unbind 0.0.0.0:1"),
    (|w| drop(bind(&w.bob, 2)), "bob      bind 0.0.0.0:2"),
    (|w| std::mem::forget(bind(&w.bob, 2)), "bob      bind"),
    (|w| drop(listen(&w.alice)), "alice    listen 0.0.0.0:7 ends"),
    (|w| std::mem::forget(listen(&w.alice)), "alice    listen"),
    (|w| part(w, &w.alice, &w.bob), "alice    on one side"),
    (|w| part(w, &w.bob, &w.alice), "alice    on the other side"),
    (
        |w| {
            w.sim.partition_one_way(&[&w.alice], &[&w.bob]);
        },
        "PARTITION 0, one way",
    ),
    (
        |w| w.sim.heal(w.sim.partition(&[&w.alice], &[&w.bob])),
        "HEALED partition 0",
    ),
    (
        |w| {
            part(w, &w.alice, &w.bob);
            w.sim.heal(w.sim.partition(&[&w.alice], &[&w.bob]));
        },
        "HEALED partition 1",
    ),
    (|w| w.sim.heal_all(), "HEALED all partitions"),
    (|w| crash(&w.alice), "alice    CRASH"),
    (|w| tell(w, &w.alice), "nobody of this network is in"),
    (|w| heard(w, false), "bob      datagram of 1 from 10.0.0.1"),
    (
        |w| heard(w, true),
        "bob      datagram to 224.0.0.251:5353 dropped",
    ),
];

#[test]
fn whatever_is_set_begins_or_ends_is_in_the_log_and_changes_the_hash() {
    let mut hashes = vec![(played(None), "nothing")];
    for act in ACTS {
        let hash = played(Some(act));
        assert_eq!(hash, played(Some(act)), "{}", act.1);
        let same = hashes.iter().find(|(other, _)| *other == hash);
        assert!(same.is_none(), "{} is like {same:?}", act.1);
        hashes.push((hash, act.1));
    }
}

#[test]
fn a_full_socket_of_a_group_is_told_of_although_another_one_hears() {
    let mut config = Config::default();
    config.udp_buffer = 100;
    let sim = Sim::with_config(1, config);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (from, _full, reads) = (bind(&alice, 5353), member(&bob), member(&bob));
    bob.spawn(
        "reads",
        async move { while receive(&reads).await.is_ok() {} },
    );
    for _ in 0..3 {
        sim.block_on(send(&from, group(), &[0; 40])).unwrap();
        sim.run_for(SEC);
    }
    let log = sim.last_events().join("\n");
    assert_eq!(log.matches("datagram of 40 from").count(), 3, "{log}");
    assert_eq!(log.matches("buffer is full").count(), 2, "{log}");
}

/// The hash of a small world in which this has happened. Its line is in the log.
fn played(act: Option<&Act>) -> EventHash {
    let sim = Sim::new(1);
    let nat = sim.nat("home", [192, 0, 2, 1], NatConfig::default());
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let world = World {
        sim,
        alice,
        bob,
        nat,
    };
    if let Some((act, line)) = act {
        act(&world);
        world.sim.run_for(SEC);
        let log = world.sim.last_events().join("\n");
        assert!(log.contains(line), "{line}\n{log}");
    }
    world.sim.hash()
}

fn rate(host: &Host, bytes: u64) {
    host.bandwidth(NonZeroU64::new(bytes), None);
}

fn resolve(world: &World, name: &str) {
    let rt = world.alice.rt();
    // What is not known is an error, and in the log like everything else.
    let _ = world.sim.block_on(rt.net().resolve(name));
}

/// Names that only differ where the log does not show them.
fn long(end: char) -> String {
    format!("{}{end}", "long".repeat(20))
}

fn another_nat(world: &World) {
    let config = NatConfig::default();
    world.sim.nat("other", Ipv4Addr::new(192, 0, 2, 9), config);
}

fn part(world: &World, one: &Host, other: &Host) {
    world.sim.partition(&[one], &[other]);
}

fn crash(host: &Host) {
    host.crash();
}

fn group() -> SocketAddr {
    (GROUP, 5353).into()
}

/// A socket that is in the group.
fn member(host: &Host) -> Arc<dyn UdpSocket> {
    let mut options = UdpOptions::default();
    options.group = Some(Group {
        addr: GROUP.into(),
        interface: 1,
        source: host.ip(),
    });
    let at = SocketAddr::from(([0, 0, 0, 0], 5353));
    host.rt().net().udp_open(at, &options).unwrap()
}

fn tell(world: &World, from: &Host) {
    let socket = bind(from, 5353);
    world.sim.block_on(send(&socket, group(), b"x")).unwrap();
}

/// Alice tells the group, in which Bob is, behind a partition or not.
fn heard(world: &World, cut: bool) {
    let member = member(&world.bob);
    if cut {
        part(world, &world.alice, &world.bob);
    }
    tell(world, &world.alice);
    world.sim.run_for(SEC);
    drop(member);
}
