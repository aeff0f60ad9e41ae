//! The address book outlives its process, and a damaged file costs nothing else.
#![cfg(feature = "redb")]
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use common::{builder, listen, peer, sim, swarm};
use p2p_core::{Multiaddr, Protocol};
use p2p_swarm::{AddrSource, Config, RedbStore};

/// A directory of its own for each test, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("p2p-book-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("book.redb")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_restarted_host_finds_its_peers_again() {
    let dir = Dir::new("restart");
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let b = swarm(&bob, 2);
    let mine: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let opened = RedbStore::open(dir.file()).unwrap();
        assert_eq!(opened.moved_aside, None);
        let first = builder(&alice, 1).book_store(opened.store).build().unwrap();
        first.dial(addr.clone()).await.unwrap();
        first.set_protocols_of(peer(2), vec![Protocol::from_static("/echo/1.0.0")]);
        first.add_addrs(peer(3), [mine.clone()]);
        first.add_addrs(peer(4), [mine.clone()]);
        first.rt().sleep(first.config().store_interval).await;
        first.forget_peer(&peer(4));
        first.close().await;
        drop(first);

        let opened = RedbStore::open(dir.file()).unwrap();
        let again = builder(&alice, 1).book_store(opened.store).build().unwrap();
        assert_eq!(again.known_peers(), [peer(2), peer(3)]);
        assert_eq!(again.protocols_of(&peer(2)).len(), 1);
        let known = again.known_addrs(&peer(3));
        assert_eq!(known[0].source, AddrSource::User);
        assert!(again.known_addrs(&peer(2))[0].worked);
        again.dial(peer(2)).await.unwrap();
        again.close().await;
    });

    sim.run_for(Duration::from_secs(3601));
    let opened = RedbStore::open(dir.file()).unwrap();
    let late = builder(&alice, 1).book_store(opened.store).build().unwrap();
    assert!(late.addrs(&peer(2)).is_empty(), "only learned, and old");
    assert_eq!(late.addrs(&peer(3)).len(), 1, "given by the application");
}

#[test]
fn of_more_peers_than_fit_those_are_taken_whose_addresses_expire_last() {
    let dir = Dir::new("more");
    let sim = sim(4);
    let alice = sim.host("alice");
    let mine: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
    sim.block_on(async {
        let store = RedbStore::open(dir.file()).unwrap().store;
        let swarm = builder(&alice, 1).book_store(store).build().unwrap();
        for n in 10..30 {
            swarm.learn_addrs(peer(n), [mine.clone()]);
            swarm.rt().sleep(Duration::from_secs(10)).await;
        }
        swarm.close().await;
        drop(swarm);

        let store = RedbStore::open(dir.file()).unwrap().store;
        let mut config = Config::default();
        config.limits.max_known_peers = 5;
        let swarm = builder(&alice, 1).config(config).book_store(store);
        let known = swarm.build().unwrap().known_peers();
        assert_eq!(known, [25, 26, 27, 28, 29].map(peer));
    });
}

#[test]
fn a_damaged_file_is_moved_aside_and_the_host_starts_fresh() {
    let sim = sim(2);
    let alice = sim.host("alice");
    for (n, damage) in [&b"this is no database"[..], &[0; 5000], &[0xff; 100_000]]
        .iter()
        .enumerate()
    {
        let dir = Dir::new(&format!("damaged-{n}"));
        fs::write(dir.file(), damage).unwrap();
        let opened = RedbStore::open(dir.file()).unwrap();
        let aside = opened.moved_aside.unwrap();
        assert_eq!(aside, dir.0.join("book.redb.damaged"));
        assert!(
            fs::read(&aside).unwrap() == *damage,
            "nothing of it is lost"
        );
        let swarm = builder(&alice, 1).book_store(opened.store).build().unwrap();
        assert!(swarm.known_peers().is_empty());
        drop(swarm);
    }
}

#[test]
fn a_file_that_was_cut_or_scribbled_over_never_keeps_a_host_from_starting() {
    let dir = Dir::new("scribbled");
    let sim = sim(3);
    let alice = sim.host("alice");
    sim.block_on(async {
        let store = RedbStore::open(dir.file()).unwrap().store;
        let swarm = builder(&alice, 1).book_store(store).build().unwrap();
        for n in 0..200 {
            let addr = format!("/ip4/192.0.2.{n}/tcp/1").parse().unwrap();
            swarm.add_addrs(peer(n), [addr]);
        }
        swarm.close().await;
    });
    // A handle may live until the tasks of the closed swarm are dropped.
    sim.run_for(Duration::from_secs(1));
    let good = fs::read(dir.file()).unwrap();
    let mut moved = 0;
    for n in 0..60 {
        let mut bad = good.clone();
        if n % 2 == 0 {
            bad.truncate(good.len() / 60 * n);
        } else {
            let at = good.len() / 60 * n;
            bad[at..at + 300].fill(0xa5);
        }
        fs::write(dir.file(), &bad).unwrap();
        let opened = RedbStore::open(dir.file()).unwrap();
        if let Some(aside) = &opened.moved_aside {
            fs::remove_file(aside).unwrap();
            moved += 1;
        }
        let swarm = builder(&alice, 1).book_store(opened.store).build().unwrap();
        drop(swarm);
        sim.run_for(Duration::from_millis(1));
    }
    assert!(moved > 0, "some damage was noticed");
}

#[test]
fn a_file_that_cannot_be_made_is_a_clear_error() {
    let dir = Dir::new("nowhere");
    let error = RedbStore::open(dir.0.join("no/such/dir/book.redb")).unwrap_err();
    assert!(error.to_string().starts_with("address book: "), "{error}");
    assert!(error.to_string().contains("no/such/dir"), "{error}");
}
