//! Floods while honest peers need the round trips of a real handshake.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::time::Duration;

use common::{ECHO, LATENCY, connect, echo, elsewhere, listen, sim, visit};
use futures::AsyncWriteExt;
use p2p_core::{Multiaddr, Rt};
use p2p_keys::Keypair;
use p2p_sim::Host;
use p2p_swarm::{Swarm, SwarmBuilder};

/// What a flood may add to an honest visit.
const DELAY: Duration = Duration::from_millis(50);
/// How long attackers keep coming.
const FLOOD: Duration = Duration::from_secs(4);
/// They come from so many networks.
const PREFIXES: u16 = 200;

/// What the dialer says before its first Noise message is complete.
const NAMED: &[u8] = b"\x13/multistream/1.0.0\n\x07/noise\n";

/// TCP, Noise and yamux.
fn builder(host: &Host, n: u8) -> SwarmBuilder {
    let rt = host.rt();
    let keys = Keypair::ed25519_from_seed([n; 32]);
    Swarm::builder(rt.clone(), keys.to_peer_id())
        .transport(p2p_tcp::Tcp::new(rt, p2p_tcp::Config::default()))
        .security(p2p_noise::Noise::new(&keys).unwrap())
        .muxer(p2p_yamux::Yamux::default())
}

/// Connects, says `said`, and then holds on until the other end has had enough.
async fn stall(rt: Rt, to: Multiaddr, said: Vec<u8>) {
    let Ok(mut io) = connect(&rt, &to).await else {
        return;
    };
    let _ = io.write_all(&said).await;
    let _held = (io, rt.sleep(Duration::from_secs(60)).await);
}

/// Honest visits take no longer while `count` attackers come and stall after `said`.
fn nobody_is_delayed(seed: u64, count: u32, said: &[u8]) {
    let sim = sim(seed);
    let server = elsewhere(&sim, "server", 50_000);
    let honest = elsewhere(&sim, "honest", 50_001);
    let crowd: Vec<Host> = (0..PREFIXES)
        .map(|n| elsewhere(&sim, &format!("m{n}"), n))
        .collect();
    let swarm = builder(&server, 2).build().unwrap();
    swarm.handle(ECHO, echo).unwrap();

    sim.block_on(async {
        let addr = listen(&swarm, &server).await;
        let idle = visit(builder(&honest, 1), &addr).await;
        for (n, host) in (0..count).zip(crowd.iter().cycle()) {
            let (rt, to, said) = (host.rt(), addr.clone(), said.to_vec());
            let at = rt.now() + FLOOD * n / count;
            host.spawn("attacker", async move {
                rt.sleep_until(at).await;
                stall(rt, to, said).await;
            });
        }
        let start = swarm.rt().now();
        let mut worst = Duration::ZERO;
        while swarm.rt().now() - start < FLOOD {
            worst = worst.max(visit(builder(&honest, 1), &addr).await);
        }
        assert!(worst <= idle + DELAY, "{worst:?} instead of {idle:?}");
        let evicted = swarm.stats().limits_hit;
        assert!(evicted.contains_key("max_pending_incoming"), "{evicted:?}");
        assert!(swarm.usage().pending_incoming > 0, "they do stall");
    });
    // The last of them is accepted when its third packet comes.
    sim.run_for(swarm.config().upgrade_timeout + LATENCY * 4);
    let usage = swarm.usage();
    assert_eq!(
        (usage.pending_incoming, usage.memory),
        (0, 0),
        "everything stalled is gone"
    );
}

#[test]
fn ten_thousand_half_open_connects_keep_no_handshake_out() {
    nobody_is_delayed(1, 10_000, b"");
}

#[test]
fn five_thousand_stalled_before_the_first_message_of_noise_keep_no_handshake_out() {
    nobody_is_delayed(2, 5000, NAMED);
}

#[test]
fn five_thousand_stalled_after_the_first_message_of_noise_keep_no_handshake_out() {
    // Any 32 bytes are a key.
    let said = [NAMED, &[0, 32], &[9; 32]].concat();
    nobody_is_delayed(3, 5000, &said);
}
