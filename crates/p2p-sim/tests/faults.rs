//! Partitions, crashes, names, wrong set-up, and what is left behind.
#![expect(clippy::unwrap_used, reason = "tests say what they expect")]

mod support;

use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_sim::{Link, SetupError, Sim};
use support::{
    MS, PORT, SEC, bind, connect, echo, listen, options, pair, serve_echo, sleep, time, within,
};

#[test]
fn a_partition_that_heals_only_delays_a_connection() {
    let sim = Sim::new(1);
    let (a, b, c) = (sim.host("a"), sim.host("b"), sim.host("c"));
    serve_echo(&b);
    let mut stream = sim.block_on(connect(&a, &b)).unwrap();
    let cut = sim.partition(&[&a], &[&b]);
    let waits = within(&a, 10 * SEC, echo(&mut stream, b"hello"));
    assert!(sim.block_on(waits).is_err());
    sim.block_on(connect(&c, &b)).unwrap();
    sim.heal(cut);
    let mut bytes = [0; 5];
    let (read, took) = time(&sim, stream.read_exact(&mut bytes));
    read.unwrap();
    assert_eq!(&bytes, b"hello");
    assert!(took < 10 * SEC, "tries again in time: {took:?}");
}

#[test]
fn a_partition_that_lasts_fails_who_writes_and_not_who_reads() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    sim.partition(&[&a], &[&b]);
    sim.block_on(one.write_all(b"into the void")).unwrap();
    let (end, took) = time(&sim, one.read(&mut [0]));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(took >= 924 * SEC && took < 1000 * SEC, "{took:?}");
    let heard = sim.block_on(within(&b, SEC, other.read(&mut [0])));
    assert!(heard.is_err(), "it has heard nothing");
}

#[test]
fn what_is_on_the_way_when_the_path_is_cut_is_sent_again() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    sim.default_link(Link::new(100 * MS));
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    sim.block_on(one.write_all(b"first")).unwrap();
    sim.run_for(50 * MS);
    let cut = sim.partition(&[&a], &[&b]);
    sim.block_on(one.write_all(b" second")).unwrap();
    sim.run_for(SEC);
    sim.heal(cut);
    let mut bytes = [0; 12];
    sim.block_on(other.read_exact(&mut bytes)).unwrap();
    assert_eq!(&bytes, b"first second");
}

#[test]
fn a_one_way_partition_lets_the_other_way_pass() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (mut one, mut other) = sim.block_on(pair(&a, &b));
    sim.partition_one_way(&[&a], &[&b]);
    sim.block_on(async {
        one.write_all(b"x").await.unwrap();
        other.write_all(b"y").await.unwrap();
        let mut byte = [0];
        one.read_exact(&mut byte).await.unwrap();
        assert!(within(&b, SEC, other.read(&mut byte)).await.is_err());
        sim.heal_all();
        other.read_exact(&mut byte).await.unwrap();
    });
}

#[test]
fn a_crash_is_silent_and_traffic_after_the_restart_is_reset() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    serve_echo(&b);
    let mut stream = sim.block_on(connect(&a, &b)).unwrap();
    sim.block_on(echo(&mut stream, b"alive")).unwrap();

    b.crash();
    assert!(!b.is_up());
    let heard = sim.block_on(within(&a, 60 * SEC, stream.read(&mut [0])));
    assert!(heard.is_err(), "silence");
    b.restart();
    let heard = sim.block_on(within(&a, 60 * SEC, stream.read(&mut [0])));
    assert!(heard.is_err(), "half open: nobody has sent anything");
    sim.block_on(stream.write_all(b"anybody?")).unwrap();
    let (end, took) = time(&sim, stream.read(&mut [0]));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(took, 20 * MS);
    drop(stream);
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{}", sim.census());
}

#[test]
fn what_is_written_to_a_crashed_host_is_reset_when_it_is_up_again() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (mut one, _other) = sim.block_on(pair(&a, &b));
    b.crash();
    sim.block_on(one.write_all(b"hello?")).unwrap();
    sim.run_for(20 * SEC);
    b.restart();
    let (end, took) = time(&sim, one.read(&mut [0]));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(took < 20 * SEC, "{took:?}");
}

#[test]
fn a_crash_ends_tasks_and_sockets_and_handles_of_the_old_life_fail() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let alive = Arc::new(());
    let (held, sleeper) = (alive.clone(), b.clone());
    b.spawn("holder", async move {
        sleep(&sleeper, 1000 * SEC).await;
        drop(held);
    });
    let old = b.rt();
    let (_one, mut other) = sim.block_on(pair(&a, &b));
    let _socket = bind(&b, 9);
    sim.run_for(SEC);
    b.crash();
    assert_eq!(Arc::strong_count(&alive), 1);
    assert!(
        sim.census().host("b").unwrap().is_empty(),
        "{}",
        sim.census()
    );
    b.restart();
    let error = sim.block_on(other.read(&mut [0])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkDown);
    let error = old
        .net()
        .tcp_listen(b.socket(PORT), &options())
        .err()
        .unwrap();
    assert!(error.to_string().contains("host b has crashed"), "{error}");
    old.spawn("ghost", Box::pin(std::future::pending()));
    assert!(sim.census().host("b").unwrap().is_empty());
    serve_echo(&b);
    let mut stream = sim.block_on(connect(&a, &b)).unwrap();
    sim.block_on(echo(&mut stream, b"back")).unwrap();
}

#[test]
fn a_task_can_crash_its_own_host() {
    let sim = Sim::new(1);
    let host = sim.host("a");
    let own = host.clone();
    host.spawn("suicide", async move {
        own.crash();
        sleep(&own, SEC).await;
    });
    sim.run_until_idle();
    assert!(sim.census().is_empty() && !host.is_up());
}

#[test]
fn a_down_host_is_silent_to_connects() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    b.crash();
    let silent = within(&a, 60 * SEC, connect(&a, &b));
    assert!(sim.block_on(silent).is_err());
    b.restart();
    let refused = sim.block_on(connect(&a, &b)).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_dial_after_a_crash_from_the_same_port_replaces_the_dead_connection() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let mut listener = listen(&b);
    let dial = || {
        let mut options = options();
        options.bind = Some(a.socket(4001));
        a.rt().net().tcp_connect(b.socket(PORT), &options)
    };
    let _first = sim.block_on(dial()).unwrap();
    let mut old = sim.block_on(listener.accept()).unwrap().0;
    a.crash();
    a.restart();
    sim.block_on(dial()).unwrap();
    let end = sim.block_on(old.read(&mut [0])).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn everything_is_back_to_zero_after_an_orderly_end() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    let (server, rt) = (listen(&b), b.rt());
    b.spawn("server", async move {
        let mut server = server;
        let (mut stream, _) = server.accept().await.unwrap();
        let _ = rt.timeout(SEC, stream.read(&mut [0; 8])).await;
    });
    let stream = sim.block_on(connect(&a, &b)).unwrap();
    sim.run_for(100 * MS);
    let census = sim.census();
    let busy = census.host("b").unwrap();
    assert_eq!(busy.tasks.get("server"), Some(&1));
    assert_eq!((busy.sockets(), busy.timers), (2, 1));
    assert!(census.to_string().contains("1 x task server"), "{census}");
    drop(stream);
    sim.run_until_idle();
    assert!(sim.census().is_empty(), "{}", sim.census());
    assert_eq!(sim.census().to_string(), "nothing is alive");
}

#[test]
fn names_resolve_on_every_host_and_unknown_ones_do_not() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("a"), sim.host("b"));
    sim.name("Example.com", b.addrs());
    let rt = a.rt();
    let resolve = |name: &str| sim.block_on(rt.net().resolve(name));
    assert_eq!(resolve("example.com.").unwrap(), b.addrs());
    assert_eq!(
        resolve("10.1.2.3").unwrap(),
        ["10.1.2.3".parse::<IpAddr>().unwrap()]
    );
    assert_eq!(
        resolve("nowhere.org").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    sim.name("example.com", [0u8; 0].map(|_| b.ip()));
    assert!(resolve("example.com").is_err());
    let addrs = rt.net().interface_addrs().unwrap();
    let text: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["127.0.0.1", "::1", "10.0.0.1", "fd00::1"]);
}

#[test]
fn wrong_set_up_is_an_error_that_names_it() {
    let sim = Sim::new(1);
    let ip: IpAddr = "192.0.2.1".parse().unwrap();
    sim.host_at("alice", [ip]);
    let error = |name: &str, addr: &str| {
        let addrs = vec![addr.parse().unwrap()];
        sim.try_host(name, Some(addrs)).unwrap_err().to_string()
    };
    assert_eq!(
        error("bob", "192.0.2.1"),
        "address 192.0.2.1 of host bob is used already, by alice"
    );
    assert!(error("bob", "127.0.0.1").contains("host bob cannot have the address 127.0.0.1"));
    assert_eq!(error("alice", "192.0.2.2"), "there is a host alice already");
    assert_eq!(
        sim.find_host("bob").unwrap_err(),
        SetupError::UnknownHost("bob".into())
    );
    let twice = sim.try_host("bob", Some(vec!["192.0.2.2".parse().unwrap(); 2]));
    assert!(matches!(twice, Err(SetupError::AddressUsed { .. })));
    let alice = sim.find_host("alice").unwrap();
    let stranger = Sim::new(2).host("stranger");
    let error = sim
        .try_link(&alice, &stranger, Link::default())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "host stranger belongs to another simulation"
    );
    let error = sim
        .try_link(&alice, &alice, Link::default().loss(1.5))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "loss of a link is 1.5: it must be between 0 and 1"
    );
}

#[test]
#[should_panic(expected = "bandwidth of a link is 0: use a partition to cut it")]
fn no_bandwidth_at_all_is_refused() {
    let _ = Link::default().bandwidth(0);
}

#[test]
#[should_panic(expected = "there is a host alice already")]
fn a_second_host_of_the_same_name_is_refused() {
    let sim = Sim::new(1);
    sim.host("alice");
    sim.host("alice");
}

#[test]
fn a_reset_that_is_lost_with_its_host_leaves_no_half_open_connection_behind() {
    let sim = Sim::new(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    serve_echo(&bob);
    let (own, to) = (alice.clone(), bob.clone());
    alice.spawn("dials", async move {
        let dial = connect(&own, &to);
        let _ = own.rt().timeout(15 * MS, dial).await;
    });
    // Bob has answered, and alice has given up: she resets when the answer comes, in vain.
    sim.run_for(16 * MS);
    let cut = sim.partition_one_way(&[&alice], &[&bob]);
    sim.run_for(20 * MS);
    alice.crash();
    sim.heal(cut);
    sim.run_until_idle();
    assert_eq!(sim.census().lingering, 0, "{}", sim.census());
}
