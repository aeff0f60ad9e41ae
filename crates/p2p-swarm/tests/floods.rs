//! Floods: what they can take is bounded, and whoever comes honestly hardly notices.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{
    ECHO, GREETING, LATENCY, ask, builder, connect, echo, elsewhere, listen, muxed, peer, sim,
    token, visit,
};
use futures::{AsyncWriteExt, FutureExt, StreamExt};
use p2p_core::{AddrExt, ConnectionEnd, Instant, Multiaddr, PeerId, Rt};
use p2p_sim::{Host, Sim};
use p2p_swarm::{Config, Event, Events, StreamError, Swarm, UpgradeError};

/// What a flood may add to an honest visit.
const DELAY: Duration = Duration::from_millis(50);

/// How far an attacker goes before it stalls.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// The socket is open.
    Connected,
    /// It has said that it speaks multistream.
    Greeted,
    /// It has named the secure channel.
    Named,
    /// It is secured and multiplexed, and wants nothing: as many identities as connections.
    Idle,
}

/// One of many identities.
fn sybil(n: u32) -> PeerId {
    let mut bytes = vec![0, 5, 0xaa];
    bytes.extend_from_slice(&n.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

/// Connects, goes as far as `stage`, and then holds on until the other end has had enough.
async fn stall(rt: Rt, to: Multiaddr, stage: Stage, n: u32) {
    if stage == Stage::Idle {
        if let Some(muxing) = muxed(&rt, &to, sybil(n)).await {
            muxing.driver.await;
        }
        return;
    }
    let Ok(mut io) = connect(&rt, &to).await else {
        return;
    };
    let said = match stage {
        Stage::Connected => Vec::new(),
        Stage::Greeted => token(GREETING),
        Stage::Named | Stage::Idle => [token(GREETING), token("/credulous/1.0.0")].concat(),
    };
    let _ = io.write_all(&said).await;
    let _held = (io, rt.sleep(Duration::from_secs(60)).await);
}

struct Outcome {
    /// A dial with an echo, and an echo on a connection that was there before.
    idle: (Duration, Duration),
    worst: (Duration, Duration),
    server: Swarm,
    config: Config,
    peak_memory: usize,
    events: Events,
}

/// An echo on the connection that there is; how long that took.
async fn ping(friend: &Swarm, to: &Multiaddr) -> Duration {
    let start = friend.rt().now();
    let answer = ask(friend, to.clone(), b"ping").await;
    assert_eq!(answer.expect("an echo"), b"ping", "at {start:?}");
    friend.rt().now() - start
}

/// Floods a server with `count` attackers from `prefixes` networks while an honest host visits it.
fn flood(seed: u64, stage: Stage, count: u32, prefixes: u16) -> (Sim, Outcome) {
    let sim = sim(seed);
    let server = elsewhere(&sim, "server", 50_000);
    let honest = elsewhere(&sim, "honest", 50_001);
    let crowd: Vec<Host> = (0..prefixes)
        .map(|n| elsewhere(&sim, &format!("m{n}"), n))
        .collect();
    let mut config = Config::default();
    // Every event is looked at afterwards.
    config.event_backlog = 50_000;
    let swarm = builder(&server, 2).config(config.clone()).build().unwrap();
    swarm.handle(ECHO, echo).unwrap();
    let friend = builder(&honest, 3).build().unwrap();
    let events = swarm.events();

    let (idle, worst, peak_memory) = sim.block_on(async {
        let addr = listen(&swarm, &server).await;
        friend.dial(addr.clone()).await.unwrap();
        let idle = (
            visit(builder(&honest, 1), &addr).await,
            ping(&friend, &addr).await,
        );
        for (n, host) in (0..count).zip(crowd.iter().cycle()) {
            let rt = host.rt();
            // All within four seconds.
            let at = rt.now() + Duration::from_millis(u64::from(n) * 4000 / u64::from(count));
            let to = addr.clone();
            host.spawn("attacker", async move {
                rt.sleep_until(at).await;
                stall(rt, to, stage, n).await;
            });
        }
        let (mut worst, mut peak) = ((Duration::ZERO, Duration::ZERO), 0);
        let start: Instant = swarm.rt().now();
        while swarm.rt().now() - start < Duration::from_secs(8) {
            worst.0 = worst.0.max(visit(builder(&honest, 1), &addr).await);
            worst.1 = worst.1.max(ping(&friend, &addr).await);
            let usage = swarm.usage();
            peak = peak.max(usage.memory);
            assert!(usage.pending_incoming <= config.limits.max_pending_incoming);
            assert!(usage.connections <= config.limits.max_connections);
        }
        assert_eq!(friend.stats().connections_dialed, 1, "never lost");
        friend.close().await;
        (idle, worst, peak)
    });
    let outcome = Outcome {
        idle,
        worst,
        server: swarm,
        config,
        peak_memory,
        events,
    };
    (sim, outcome)
}

fn assert_harmless(outcome: &Outcome) {
    let Outcome { idle, worst, .. } = outcome;
    assert!(
        worst.0 <= idle.0 + DELAY && worst.1 <= idle.1 + DELAY,
        "idle {idle:?}, under attack {worst:?}"
    );
    assert!(outcome.peak_memory <= outcome.config.limits.memory_budget);
}

fn stalled_handshakes(seed: u64, stage: Stage, count: u32, prefixes: u16) {
    let (sim, mut outcome) = flood(seed, stage, count, prefixes);
    assert_harmless(&outcome);
    sim.run_for(outcome.config.upgrade_timeout + LATENCY * 2);
    let usage = outcome.server.usage();
    assert_eq!(
        (usage.pending_incoming, usage.memory),
        (0, 0),
        "everything stalled is gone"
    );
    // Each of them is an event with its cause: its time was up, or a limit that is named.
    let mut causes: BTreeMap<String, u32> = BTreeMap::new();
    for event in pending(&mut outcome.events) {
        if let Event::IncomingFailed { error, .. } = event {
            let cause = if let UpgradeError::Limit(exceeded) = &*error {
                exceeded.setting.to_owned()
            } else {
                assert!(matches!(*error, UpgradeError::Timeout { .. }), "{error}");
                error.step().to_string()
            };
            *causes.entry(cause).or_default() += 1;
        }
    }
    assert_eq!(causes.values().sum::<u32>(), count, "{causes:?}");
    assert!(causes.contains_key("security"), "{causes:?}");
    assert!(causes.contains_key("max_pending_per_prefix") || prefixes > 1);
}

fn pending(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

#[test]
fn five_thousand_handshakes_that_stall_after_the_socket_delay_nobody() {
    stalled_handshakes(1, Stage::Connected, 5000, 60);
}

#[test]
fn five_thousand_handshakes_that_stall_after_the_greeting_delay_nobody() {
    stalled_handshakes(2, Stage::Greeted, 5000, 60);
}

#[test]
fn five_thousand_handshakes_that_stall_before_the_secure_channel_delay_nobody() {
    stalled_handshakes(3, Stage::Named, 5000, 60);
}

#[test]
fn ten_thousand_half_open_connects_delay_nobody() {
    stalled_handshakes(4, Stage::Connected, 10_000, 200);
}

#[test]
fn handshakes_stalled_by_one_network_delay_nobody() {
    stalled_handshakes(5, Stage::Named, 5000, 1);
}

#[test]
fn five_thousand_identities_that_want_nothing_keep_nobody_out() {
    let (sim, mut outcome) = flood(6, Stage::Idle, 5000, 60);
    assert_harmless(&outcome);
    let limits = &outcome.config.limits;
    let server = &outcome.server;
    // All networks have the same: who comes from elsewhere takes a place, more of them do not.
    let stats = server.stats();
    assert!(stats.connections_trimmed >= 1, "{stats:?}");
    assert!(stats.limits_hit["max_connections"] > 3000, "{stats:?}");
    let events = pending(&mut outcome.events);
    let evicted = events.iter().filter(|event| {
        matches!(event, Event::Disconnected { end: ConnectionEnd::Limit(exceeded), .. }
            if exceeded.setting == "max_connections")
    });
    assert!(evicted.count() >= 1, "and who had to go is told of");
    for n in 0..60 {
        // No network has more than twice a fair share.
        let network = format!("/ip4/203.0.{n}.1");
        let snapshot = server.snapshot();
        let held = snapshot.connections.iter();
        let held = held
            .filter(|one| one.info.remote.to_string().starts_with(&network))
            .count();
        assert!(
            held <= limits.max_connections / 60 * 2 + 2,
            "{network}: {held}"
        );
    }
    sim.run_for(Duration::from_secs(200));
    let (low, _) = outcome.config.water();
    let left = server.usage().connections;
    assert!(left <= low, "nobody used the others: {left}");
}

#[test]
fn many_peers_of_one_network_get_its_share_and_no_more() {
    let (_sim, outcome) = flood(7, Stage::Idle, 1000, 1);
    assert_harmless(&outcome);
    let limits = &outcome.config.limits;
    assert!(outcome.server.peers().len() <= limits.max_connections_per_prefix);
    let hits = outcome.server.stats().limits_hit;
    assert!(hits["max_connections_per_prefix"] > 700, "{hits:?}");
}

#[test]
fn a_flood_of_streams_that_name_no_protocol_delays_only_its_own_connection() {
    let sim = sim(8);
    let server = elsewhere(&sim, "server", 50_000);
    let honest = elsewhere(&sim, "honest", 50_001);
    let mallory = elsewhere(&sim, "mallory", 1);
    let swarm = builder(&server, 2).build().unwrap();
    swarm.handle(ECHO, echo).unwrap();
    let mut events = swarm.events();

    sim.block_on(async {
        let addr = listen(&swarm, &server).await;
        let idle = visit(builder(&honest, 1), &addr).await;
        let to = addr.clone();
        let rt = mallory.rt();
        mallory.spawn("attacker", async move { open_streams(rt, to, 5000).await });
        let start = swarm.rt().now();
        while swarm.rt().now() - start < Duration::from_secs(5) {
            let took = visit(builder(&honest, 1), &addr).await;
            assert!(took <= idle + DELAY, "idle {idle:?}, under attack {took:?}");
            let limits = &swarm.config().limits;
            assert!(swarm.usage().streams <= limits.max_streams_per_connection + 1);
            let negotiating = swarm
                .census()
                .tasks
                .iter()
                .filter(|name| **name == "stream")
                .count();
            assert!(
                negotiating <= limits.max_negotiating_streams + 2,
                "{negotiating}"
            );
        }
    });
    // Sixty-four at a time, each for ten seconds.
    sim.run_for(Duration::from_secs(900));

    assert_eq!(swarm.usage().streams, 0, "everything stalled is gone");
    let (mut timed_out, mut refused) = (0, 0);
    for event in pending(&mut events) {
        if let Event::StreamFailed { error, times, .. } = event {
            assert!(matches!(error, StreamError::Timeout(_)), "{error}");
            timed_out += times;
        } else if let Event::LimitHit { times, .. } = event {
            refused += times;
        }
    }
    assert!(timed_out > 1000, "{timed_out} timed out, {refused} refused");
    // The last batch may come within a second of the one before.
    let counted = swarm.stats().streams_failed;
    assert!((timed_out..timed_out + 64).contains(&counted), "{counted}");
}

/// Opens streams as fast as they are taken and says nothing on them.
async fn open_streams(rt: Rt, to: Multiaddr, count: usize) {
    let muxing = muxed(&rt, &to, peer(9)).await.unwrap();
    let muxer = muxing.muxer;
    let flood = async move {
        let mut held = Vec::new();
        for _ in 0..count {
            let Ok(mut stream) = muxer.open().await else {
                break;
            };
            // One byte each, so that it is really opened.
            let _ = stream.write_all(&[0x13]).await;
            let _ = stream.flush().await;
            held.push(stream);
        }
        std::future::pending::<()>().await;
        drop(held);
    };
    futures::future::select(Box::pin(flood), muxing.driver).await;
}

#[test]
fn whoever_is_evicted_is_told_of_with_the_setting_that_did_it() {
    let sim = sim(9);
    let server = elsewhere(&sim, "server", 50_000);
    let mut config = Config::default();
    config.limits.max_pending_incoming = 4;
    let swarm = builder(&server, 2).config(config).build().unwrap();
    let mut events = swarm.events();
    let crowd: Vec<Host> = (0..6)
        .map(|n| elsewhere(&sim, &format!("m{n}"), n))
        .collect();

    let evicted = sim.block_on(async {
        let addr = listen(&swarm, &server).await;
        for (n, host) in (0..).zip(&crowd) {
            let (rt, to) = (host.rt(), addr.clone());
            host.spawn(
                "attacker",
                async move { stall(rt, to, Stage::Greeted, n).await },
            );
            server.rt().sleep(LATENCY).await;
        }
        server.rt().sleep(LATENCY * 4).await;
        let mut evicted = Vec::new();
        for event in pending(&mut events) {
            if let Event::IncomingFailed { remote, error, .. } = event {
                assert!(matches!(*error, UpgradeError::Limit(_)), "{error}");
                assert!(
                    error.to_string().contains("max_pending_incoming"),
                    "{error}"
                );
                evicted.push(remote.ip().unwrap());
            }
        }
        evicted
    });

    assert_eq!(
        evicted,
        [crowd[0].ip(), crowd[1].ip()],
        "the oldest of equals"
    );
}
