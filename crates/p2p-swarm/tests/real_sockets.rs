//! What needs real threads: a task that blocks one.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{Credulous, peer};
use futures::AsyncWriteExt;
use p2p_core::Rt;
use p2p_memory::{Hub, Memory};
use p2p_swarm::{Config, Swarm};
use p2p_yamux::Yamux;

fn swarm(rt: &Rt, hub: &Hub, n: u8, config: Config) -> Swarm {
    Swarm::builder(rt.clone(), peer(n))
        .transport(Memory::new(hub.clone(), p2p_memory::Config::default()))
        .security(Credulous(peer(n)))
        .muxer(Yamux::default())
        .config(config)
        .build()
        .unwrap()
}

#[test]
fn closing_does_not_wait_for_ever_for_a_handler_that_blocks_its_thread() {
    let (rt, hub) = (p2p_runtime::default_runtime(), Hub::new());
    let mut config = Config::default();
    config.shutdown_timeout = Duration::from_millis(100);
    let (a, b) = (
        swarm(&rt, &hub, 1, Config::default()),
        swarm(&rt, &hub, 2, config),
    );
    let (entered, is_in) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let released = std::sync::Arc::new(released);
    b.handle("/block", move |stream| {
        let (entered, released) = (entered.clone(), released.clone());
        async move {
            entered.send(()).unwrap();
            let _ = released.lock().unwrap().recv();
            drop(stream);
        }
    })
    .unwrap();

    p2p_runtime::block_on(async {
        let addr = b
            .listen("/memory/0".parse().unwrap())
            .await
            .unwrap()
            .remove(0);
        let mut stream = a.open(addr, "/block").await.unwrap();
        stream.write_all(b"x").await.unwrap();
        is_in.recv().unwrap();
        b.close().await;
        assert_eq!(b.census().tasks, ["stream"]);
        // As soon as it lets go of its thread it is gone.
        release.send(()).unwrap();
        while !b.census().tasks.is_empty() {
            b.close().await;
        }
    });
}
