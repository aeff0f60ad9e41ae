//! What a message costs in memory, counted by the allocator. One test: the count is that of the
//! whole process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use p2p_core::{Instant, PeerId};
use p2p_pubsub::wire::Control;
use p2p_pubsub::{GossipConfig, Gossipsub, Message, Output, Router, Verdict, Version};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{gossipsub, peer, remote, rpc, signed};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 64;
/// Queues, caches and maps have their size by then.
const WARM: usize = 2 * ROUNDS;

#[test]
fn bytes_allocated_for_a_message_do_not_grow_with_the_number_of_peers() {
    let all: Vec<(usize, usize, usize)> = [8, 64, 512]
        .into_iter()
        .map(|peers| (peers, published(peers), forwarded(peers)))
        .collect();
    println!("peers, bytes for each message published, and for each forwarded: {all:?}");

    let [(_, few, few_forwarded), .., (_, many, many_forwarded)] = *all else {
        panic!("three sizes");
    };
    // 512 entries in queues are no allocations: what is left is noise of growing tables.
    assert!(many <= few + 64, "published: {all:?}");
    assert!(many_forwarded <= few_forwarded + 64, "forwarded: {all:?}");
    // A message of 1 KiB is written once. Encoding it is not counted: the author does that.
    assert!(many < 512, "published: {all:?}");
    assert!(many_forwarded < 1024 + 1536, "forwarded: {all:?}");
}

/// Bytes allocated for each message of our own that goes to `peers`.
fn published(peers: usize) -> usize {
    let (mut router, ids, mut buffer) = router(peers);
    let messages = messages(0).into_iter().map(Arc::new).collect();
    measure(messages, |message| {
        let sent = router.publish(&message, Instant::ZERO).unwrap();
        assert_eq!(sent.sent, peers);
        send_all(&mut router, &ids, &mut buffer);
    })
}

/// Bytes allocated for each message of the first peer that goes to all others.
fn forwarded(peers: usize) -> usize {
    let (mut router, ids, mut buffer) = router(peers);
    let first = peer(1);
    let frames = messages(peers + 1)
        .into_iter()
        .map(|message| rpc(Vec::new(), vec![message]));
    measure(frames.collect(), |frame| {
        router.handle_rpc(&first, frame, Instant::ZERO).unwrap();
        send_all(&mut router, &ids, &mut buffer);
    })
}

/// `ROUNDS` to measure, behind those that warm up.
fn messages(author: usize) -> Vec<Message> {
    let message = |seqno| signed(author, "t", &[7; 1024], seqno);
    (1..=(WARM + ROUNDS) as u64).map(message).collect()
}

fn measure<T>(items: Vec<T>, mut step: impl FnMut(T)) -> usize {
    let mut region = None;
    for (n, item) in items.into_iter().enumerate() {
        if n == WARM {
            region = Some(Region::new(ALLOCATOR));
        }
        step(item);
    }
    region.unwrap().change().bytes_allocated / ROUNDS
}

/// A router in topic "t" whose peers are all in its mesh.
fn router(peers: usize) -> (Gossipsub, Vec<PeerId>, Vec<u8>) {
    let mut config = GossipConfig::default();
    (config.d, config.d_low, config.d_high) = (1024, 1000, 2048);
    // Large enough for nothing to be thrown out, and nothing held back.
    config.stagger = None;
    config.idontwant_threshold = usize::MAX;
    let mut router = gossipsub(0, config);
    router.subscribe(&"t".into(), Instant::ZERO);
    for n in 1..=peers {
        router.handle_peer_connected(remote(n, Version::V1_1, true), Instant::ZERO);
        let hello = vec![Control::Subscription(true, "t".into())];
        let hello = rpc(hello, Vec::new());
        router.handle_rpc(&peer(n), hello, Instant::ZERO).unwrap();
    }
    router.handle_timeout(Instant::ZERO + Duration::from_millis(100));
    let ids: Vec<PeerId> = (1..=peers).map(peer).collect();
    let mut buffer = Vec::with_capacity(64 * 1024);
    send_all(&mut router, &ids, &mut buffer);
    (router, ids, buffer)
}

/// Accepts what must be checked, and writes what waits, into one buffer.
fn send_all(router: &mut Gossipsub, peers: &[PeerId], buffer: &mut Vec<u8>) {
    while let Some(output) = router.poll_output() {
        if let Output::Validate { ticket, .. } = output {
            router.handle_verdict(ticket, Verdict::Accept, Instant::ZERO);
        }
    }
    for peer in peers {
        while router.take_frame(peer, buffer) {
            buffer.clear();
        }
    }
}
