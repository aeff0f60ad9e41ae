//! What a multiplexer refuses to a peer is told of like any other limit.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{listen, peer, sim, swarm, swarm_with};
use futures::{AsyncWriteExt, FutureExt, StreamExt, future};
use p2p_swarm::{Config, Event};

#[test]
fn data_that_finds_no_room_is_told_of_with_the_setting() {
    let sim = sim(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mut config = Config::default();
    config.limits.memory_budget = 1 << 20;
    config.limits.peer_memory = 1 << 20;
    config.limits.connection_memory = 1 << 20;
    let (a, b) = (swarm(&alice, 1), swarm_with(&bob, 2, config));
    let deaf = |stream| async move {
        let _unread = stream;
        future::pending::<()>().await;
    };
    b.handle("/deaf", deaf).unwrap();
    let mut events = b.events();

    sim.block_on(async {
        let addr = listen(&b, &bob).await;
        let mut held = Vec::new();
        for _ in 0..32 {
            let mut stream = a.open(addr.clone(), "/deaf").await.unwrap();
            let fill = async {
                stream.write_all(&[1; 200_000]).await?;
                stream.flush().await
            };
            // More than a window waits, and then there is no room for a window: either is fine.
            let _ = a.rt().timeout(Duration::from_secs(2), fill).await;
            held.push(stream);
        }
        let hits = b.stats().limits_hit;
        assert!(hits.contains_key("connection_memory"), "{hits:?}");
    });

    let mut told = BTreeSet::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let Event::LimitHit { exceeded, peer, .. } = event {
            told.insert((exceeded.setting, peer));
        }
    }
    assert!(
        told.contains(&("connection_memory", Some(peer(1)))),
        "{told:?}"
    );
}
