//! The same seed shows the same events, always.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_sim::{Config, EventHash, Host, Link, NatConfig, Sim};
use support::{MS, PORT, SEC, bind, connect, echo, pair, receive, send, serve_echo, sleep};

/// A bit of everything that can happen.
fn busy(sim: &Sim) -> EventHash {
    let rough = Link::new(20 * MS).jitter(15 * MS).loss(0.05);
    sim.default_link(rough.reorder(0.1).duplicate(0.1).bandwidth(200_000));
    let nat = sim.nat("nat", [192, 0, 2, 1], NatConfig::default());
    let mut hosts = sim.hosts(8);
    hosts.push(nat.host("inside"));
    for (index, host) in hosts.iter().enumerate() {
        serve_echo(host);
        gossip(host, &hosts);
        for step in 1..4 {
            let (from, to) = (host.clone(), hosts[(index + step) % 8].clone());
            host.spawn("client", async move {
                for round in 0.. {
                    sleep(&from, MS * (50 + from.rt().random::<1>()[0] as u32)).await;
                    let Ok(mut stream) = connect(&from, &to).await else {
                        continue;
                    };
                    let _ = echo(&mut stream, &vec![7; 100 * (round % 40)]).await;
                }
            });
        }
    }
    sim.run_for(SEC);
    let cut = sim.partition(&[&hosts[0], &hosts[1]], &[&hosts[2], &hosts[8]]);
    hosts[3].crash();
    sim.run_for(SEC);
    hosts[3].restart();
    serve_echo(&hosts[3]);
    sim.heal(cut);
    sim.run_for(3 * SEC);
    sim.hash()
}

fn gossip(host: &Host, hosts: &[Host]) {
    let socket = bind(host, PORT);
    let listen = socket.clone();
    host.spawn("gossip in", async move {
        while receive(&listen).await.is_ok() {}
    });
    let (own, hosts) = (host.clone(), hosts.to_vec());
    host.spawn("gossip out", async move {
        loop {
            sleep(&own, 10 * MS).await;
            let to = &hosts[usize::from(own.rt().random::<1>()[0]) % hosts.len()];
            let _ = send(&socket, to.socket(PORT), &[1; 64]).await;
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_events_and_another_seed_others() {
    let run = |seed| {
        let sim = Sim::new(seed);
        (busy(&sim), sim.stats(), sim.last_events())
    };
    let first = run(1);
    assert_eq!(first, run(1));
    assert!(first.1.events > 5_000, "{:?}", first.1);
    assert_ne!(first.0, run(2).0);
}

/// The value changes with what the simulator does, and with nothing else: not with the profile,
/// the platform, or the order of the tests. Replace it when a change is meant to change it.
#[test]
fn the_hash_is_the_same_on_every_machine_and_in_every_profile() {
    let hash = busy(&Sim::new(7)).to_string();
    assert_eq!(
        hash,
        "31c42c1b300110aa0b0109032563d75700252c8e73cfa7412c73689f77749d4b"
    );
}

#[test]
fn looking_changes_nothing() {
    let plain = busy(&Sim::new(3));
    let sim = Sim::new(3);
    sim.keep_events(5);
    let watched = busy(&sim);
    assert_eq!(sim.last_events().len(), 5);
    assert_eq!((sim.hash(), sim.census()), (sim.hash(), sim.census()));
    assert_eq!(plain, watched);
}

#[test]
fn contents_count_only_if_they_are_asked_to() {
    let run = |hash_contents, byte| {
        let mut config = Config::default();
        config.hash_contents = hash_contents;
        let sim = Sim::with_config(1, config);
        let (a, b) = (sim.host("a"), sim.host("b"));
        let (mut one, mut other) = sim.block_on(pair(&a, &b));
        sim.block_on(async {
            one.write_all(&[byte]).await.unwrap();
            other.read_exact(&mut [0]).await.unwrap();
        });
        sim.hash()
    };
    assert_eq!(run(false, 1), run(false, 2));
    assert_ne!(run(true, 1), run(true, 2));
    assert_eq!(run(true, 1), run(true, 1));
}

#[test]
fn events_read_as_text() {
    let sim = Sim::new(1);
    let (a, b) = (sim.host("alice"), sim.host("bob"));
    serve_echo(&b);
    sim.block_on(async {
        let mut stream = connect(&a, &b).await.unwrap();
        echo(&mut stream, b"hello").await.unwrap();
    });
    let log = sim.last_events().join("\n");
    for line in [
        "    0.000000000 alice    connect 10.0.0.1:49152 -> 10.0.0.2:7",
        "    0.020000000 alice    connected #0",
        "    0.020000000 alice    send #0 Data 5",
        "    0.030000000 bob      accept #0 from 10.0.0.1:49152",
        "    0.040000000 alice    got  #0 Data 5",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
}

#[test]
fn a_panic_in_a_task_reaches_who_runs_the_simulation() {
    let sim = Sim::new(1);
    let host = sim.host("a");
    host.spawn("fails", async { assert_eq!(1 + 1, 3, "arithmetic") });
    let failed = catch_unwind(AssertUnwindSafe(|| sim.run_for(SEC)));
    assert!(failed.is_err());
    drop(sim);
}

#[test]
fn seeds_are_as_many_as_asked_for_and_different() {
    // Says nothing where the variables are set: then they decide.
    if std::env::var_os("P2P_SIM_SEED").is_none() && std::env::var_os("P2P_SIM_SEEDS").is_none() {
        let seeds: Vec<u64> = p2p_sim::seeds(10).collect();
        assert_eq!(seeds.len(), 10);
        assert!(seeds.is_sorted_by(|a, b| a < b));
    }
    p2p_sim::for_each_seed(2, |sim| {
        let host = sim.host("a");
        sim.block_on(sleep(&host, SEC));
    });
}
