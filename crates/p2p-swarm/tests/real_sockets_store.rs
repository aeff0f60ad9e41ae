//! What needs real threads: a disk that hangs.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use common::{Credulous, peer};
use p2p_core::PeerId;
use p2p_memory::{Hub, Memory};
use p2p_swarm::{BookStore, Config, StoreError, StoredPeer, Swarm};
use p2p_yamux::Yamux;

/// Saves nothing until it is released.
struct Hanging(Mutex<mpsc::Receiver<()>>);

impl fmt::Debug for Hanging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hanging")
    }
}

impl BookStore for Hanging {
    fn load(&self, _: usize) -> Result<Vec<StoredPeer>, StoreError> {
        Ok(Vec::new())
    }

    fn save(&self, _: &BTreeMap<PeerId, Option<StoredPeer>>) -> Result<(), StoreError> {
        let _ = self.0.lock().unwrap().recv();
        Ok(())
    }
}

#[test]
fn closing_does_not_wait_for_ever_for_a_disk_that_hangs() {
    let rt = p2p_runtime::default_runtime();
    let (release, released) = mpsc::channel::<()>();
    let mut config = Config::default();
    config.shutdown_timeout = Duration::from_millis(100);
    let swarm = Swarm::builder(rt, peer(1))
        .transport(Memory::new(Hub::new(), p2p_memory::Config::default()))
        .security(Credulous(peer(1)))
        .muxer(Yamux::default())
        .config(config)
        .book_store(Hanging(Mutex::new(released)))
        .build()
        .unwrap();
    swarm.add_addrs(peer(2), ["/ip4/192.0.2.1/tcp/1".parse().unwrap()]);
    let (closed, is_closed) = mpsc::channel();
    let closing = std::thread::spawn(move || {
        futures::executor::block_on(swarm.close());
        closed.send(()).unwrap();
    });
    let in_time = is_closed.recv_timeout(Duration::from_secs(30));
    drop(release);
    closing.join().unwrap();
    in_time.unwrap();
}
