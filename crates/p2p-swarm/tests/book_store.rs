//! When an address book cannot be stored, or not all of it read.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{builder, peer, sim};
use p2p_core::{Multiaddr, PeerId};
use p2p_swarm::{BookStore, StoreError, StoredPeer};

/// Keeps peers in memory, unless its disk is full.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    full: AtomicBool,
    peers: Mutex<BTreeMap<PeerId, StoredPeer>>,
    /// How many changes were to be saved, each time.
    asked: Mutex<Vec<usize>>,
}

impl BookStore for Disk {
    fn load(&self, max: usize) -> Result<Vec<StoredPeer>, StoreError> {
        let peers = self.0.peers.lock().unwrap();
        Ok(peers.values().take(max).cloned().collect())
    }

    fn save(&self, changes: &BTreeMap<PeerId, Option<StoredPeer>>) -> Result<(), StoreError> {
        self.0.asked.lock().unwrap().push(changes.len());
        if self.0.full.load(Ordering::Relaxed) {
            return Err(StoreError("the disk is full".to_owned()));
        }
        let mut peers = self.0.peers.lock().unwrap();
        for (peer, stored) in changes {
            match stored {
                Some(stored) => peers.insert(*peer, stored.clone()),
                None => peers.remove(peer),
            };
        }
        Ok(())
    }
}

/// So that what is due at an instant has been done.
const MOMENT: Duration = Duration::from_millis(1);

fn addr() -> Multiaddr {
    "/ip4/192.0.2.1/tcp/1".parse().unwrap()
}

#[test]
fn a_peer_that_is_forgotten_while_the_disk_is_full_does_not_come_back() {
    let sim = sim(1);
    let (alice, disk) = (sim.host("alice"), Disk::default());
    sim.block_on(async {
        let first = builder(&alice, 1).book_store(disk.clone()).build().unwrap();
        let interval = first.config().store_interval + MOMENT;
        first.add_addrs(peer(2), [addr()]);
        first.add_addrs(peer(3), [addr()]);
        first.rt().sleep(interval).await;
        disk.0.full.store(true, Ordering::Relaxed);
        first.forget_peer(&peer(2));
        first.rt().sleep(interval).await;
        disk.0.full.store(false, Ordering::Relaxed);
        first.rt().sleep(interval).await;
        first.close().await;

        let again = builder(&alice, 1).book_store(disk.clone()).build().unwrap();
        assert_eq!(again.known_peers(), [peer(3)]);
        again.close().await;
    });
}

#[test]
fn what_cannot_be_stored_stays_bounded_by_the_book_however_long_it_lasts() {
    let sim = sim(2);
    let (alice, disk) = (sim.host("alice"), Disk::default());
    let mut config = p2p_swarm::Config::default();
    config.limits.max_known_peers = 5;
    sim.block_on(async {
        let swarm = builder(&alice, 1)
            .config(config)
            .book_store(disk.clone())
            .build()
            .unwrap();
        let interval = swarm.config().store_interval + MOMENT;
        for n in 0..5 {
            swarm.add_addrs(peer(n), [addr()]);
        }
        swarm.rt().sleep(interval).await;
        disk.0.full.store(true, Ordering::Relaxed);
        for n in 10..100 {
            swarm.add_addrs(peer(n), [addr()]);
            swarm.rt().sleep(interval).await;
        }
        let most = disk.0.asked.lock().unwrap().iter().max().copied();
        assert_eq!(most, Some(10), "five that are known, five to be forgotten");
        disk.0.full.store(false, Ordering::Relaxed);
        swarm.close().await;
        let stored: Vec<PeerId> = disk.0.peers.lock().unwrap().keys().copied().collect();
        assert_eq!(stored, swarm.known_peers(), "and the store holds no more");
    });
}

#[test]
fn a_stored_peer_whose_addresses_are_too_old_is_taken_out_of_the_store() {
    let sim = sim(3);
    let (alice, disk) = (sim.host("alice"), Disk::default());
    let start = || {
        let mut config = p2p_swarm::Config::default();
        config.addr_ttl = Duration::from_secs(600);
        let new = builder(&alice, 1).config(config);
        new.book_store(disk.clone()).build().unwrap()
    };
    sim.block_on(async {
        let first = start();
        let interval = first.config().store_interval + MOMENT;
        first.learn_addrs(peer(2), [addr()]);
        first.add_addrs(peer(3), [addr()]);
        let ttl = first.config().addr_ttl;
        first.close().await;
        alice.rt().sleep(ttl + MOMENT).await;

        let late = start();
        assert_eq!(late.known_peers(), [peer(3)]);
        late.rt().sleep(interval).await;
        let stored: Vec<PeerId> = disk.0.peers.lock().unwrap().keys().copied().collect();
        assert_eq!(stored, [peer(3)]);
        late.close().await;
    });
}
