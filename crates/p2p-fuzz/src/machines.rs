//! Machines: as their remotes' bytes, or as lists of operations.

use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::{Budget, Instant, Role};
use p2p_keys::{Keypair, PeerId};
use p2p_mplex::Session as Mplex;
use p2p_mux::conformance::machines::{Duo, Op};
use p2p_mux::{Input, Machine};
use p2p_ping::{Config, Liveness};
use p2p_pubsub::{
    Author, Floodsub, GossipConfig, Gossipsub, Output, PartialMode, Remote, Router,
    SignaturePolicy, Topic, Verdict, Version,
};
use p2p_yamux::Session as Yamux;

/// What a machine may hold, in bytes: little, so that refusals happen.
const MEMORY: usize = 64 << 10;
/// Operations of one list, at most: longer ones show nothing more.
const OPERATIONS: usize = 512;

/// Feeds `bytes` to a machine in pieces, serves it as a driver would, and takes its streams as an
/// application that reads half of them.
fn feed(mut machine: impl Machine, bytes: &[u8], budget: &Budget) {
    let (first, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let mut now = Instant::ZERO;
    let (mut out, mut held) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(usize::from(*first).max(1)) {
        now += Duration::from_millis(100);
        let mut input = if first % 2 == 0 {
            Input::from(piece)
        } else {
            Input::from(Bytes::copy_from_slice(piece))
        };
        let before = input.len();
        if machine.wants_input() && machine.handle_input(&mut input, now).is_err() {
            break;
        }
        assert!(input.len() <= before);
        if machine.handle_timeout(now).is_err() {
            break;
        }
        while let Poll::Ready(key) = machine.accept() {
            held.push(key);
        }
        for key in held.iter().step_by(2) {
            let mut buffer = [0; 64];
            while let Poll::Ready(Ok(1..)) = machine.read(*key, &mut buffer) {}
            let _ = machine.write(*key, b"answer");
        }
        while machine.poll_wake().is_some() {}
        out.clear();
        machine.take_output(&mut out, now);
        assert!(budget.used() <= MEMORY);
    }
    machine.end();
    for key in held {
        machine.forget(key, now);
    }
    assert_eq!(machine.streams(), 0);
    drop(machine);
    assert_eq!(budget.used(), 0);
}

/// A yamux session and a remote that says anything.
pub fn yamux(bytes: &[u8]) {
    let budget = Budget::new("test", "test", MEMORY);
    feed(yamux_session(Role::Listener, &budget), bytes, &budget);
}

/// An mplex session and a remote that says anything.
pub fn mplex(bytes: &[u8]) {
    let budget = Budget::new("test", "test", MEMORY);
    let session = Mplex::new(p2p_mplex::Config::default(), &budget);
    feed(session, bytes, &budget);
}

/// Two yamux sessions back to back, and what their applications do.
pub fn yamux_operations(bytes: &[u8]) {
    let role = |dialer| if dialer { Role::Dialer } else { Role::Listener };
    let make = |dialer, budget: &Budget| yamux_session(role(dialer), budget);
    Duo::new(make, |id| id).run(&operations(bytes));
}

/// Two mplex sessions back to back, and what their applications do.
pub fn mplex_operations(bytes: &[u8]) {
    let make = |_, budget: &Budget| Mplex::new(p2p_mplex::Config::default(), budget);
    Duo::new(make, |id| id ^ 1).run(&operations(bytes));
}

fn yamux_session(role: Role, budget: &Budget) -> Yamux {
    Yamux::new(p2p_yamux::Config::default(), role, budget, Instant::ZERO)
}

/// Five bytes are an operation.
fn operations(bytes: &[u8]) -> Vec<Op> {
    let (all, _) = bytes.as_chunks();
    let all = all.iter().take(OPERATIONS);
    all.map(|[what, side, which, low, high]| {
        (
            *what,
            side % 2 == 1,
            *which,
            u16::from_le_bytes([*low, *high]),
        )
    })
    .collect()
}

/// The liveness machine of ping: time, echoes and ends of streams in any order.
pub fn liveness(bytes: &[u8]) {
    let mut machine = Liveness::new(&Config::default(), Instant::ZERO);
    let mut now = Instant::ZERO;
    let (steps, _) = bytes.as_chunks();
    for [what, low, high] in steps {
        now += Duration::from_millis(u64::from(u16::from_le_bytes([*low, *high])));
        match what % 4 {
            0 => {
                // Echoes that nobody asked for are errors.
                let _ = machine.handle_echo(&[*low; p2p_ping::SIZE], now);
            }
            1 => machine.handle_stream_end(now),
            _ => machine.handle_timeout(now, [*what; p2p_ping::SIZE]),
        }
        while machine.poll_output().is_some() {}
        let due = machine.poll_timeout();
        assert_eq!(due.is_some() && machine.is_waiting(), machine.is_waiting());
    }
}

/// Peers of a router, by their number.
pub(crate) const PEERS: usize = 4;

fn pair(n: usize) -> Keypair {
    Keypair::ed25519_from_seed([n.to_le_bytes()[0]; 32])
}

pub(crate) fn peer(n: usize) -> PeerId {
    pair(n).to_peer_id()
}

/// A gossipsub router and peers that say anything.
pub fn gossipsub(bytes: &[u8]) {
    let budget = Budget::new("test", "test", MEMORY);
    let config = GossipConfig::default();
    let router = Gossipsub::new(peer(PEERS), config, budget.clone(), 1, Instant::ZERO);
    let Ok(mut router) = router else { return };
    router.set_partial(&Topic::new(TOPIC), Some(PartialMode::Requests));
    // An id or a name takes two bytes to say at least, and few maps know of it.
    let most = 100 + 4 * bytes.len();
    let mut router = talk(router, bytes, |router| {
        assert!(budget.used() <= MEMORY);
        assert!(router.entries() <= most, "{router:?}");
    });
    // A day later every backoff is over, and whatever was asked for is late.
    for hour in 24..24 + HEARTBEATS {
        router.handle_timeout(Instant::ZERO + Duration::from_secs(3600 * hour));
    }
    assert_eq!(router.entries(), 0, "nobody is remembered");
    drop(router);
    assert_eq!(budget.used(), 0, "what is paid for is given back");
}

/// A floodsub router and peers that say anything.
pub fn floodsub(bytes: &[u8]) {
    let budget = Budget::new("test", "test", MEMORY);
    let config = p2p_pubsub::Config::default();
    let router = Floodsub::new(peer(PEERS), config, budget.clone(), 1);
    let most = 100 + 4 * bytes.len();
    let router = talk(router, bytes, |router| {
        assert!(budget.used() <= MEMORY);
        assert!(router.entries() <= most, "{router:?}");
    });
    assert_eq!(router.entries(), 0, "nobody is remembered");
    drop(router);
    assert_eq!(budget.used(), 0, "what is paid for is given back");
}

/// More of them than a router takes to look through all that it remembers.
const HEARTBEATS: u64 = 20;
/// The topic that our router is in, as long as it is.
const TOPIC: &str = "t";

/// Lets peers come, say anything and go, and our application do what it may. A step is a byte for
/// what happens and to whom, one for its length, and so many bytes. In the end nobody is there.
fn talk<R: Router>(mut router: R, bytes: &[u8], check: impl Fn(&R)) -> R {
    let (topic, mut now) = (Topic::new(TOPIC), Instant::ZERO);
    let mut author = Author::signing(pair(PEERS));
    router.subscribe(&topic, now);
    let peers: Vec<PeerId> = (0..PEERS).map(peer).collect();
    let mut rest = bytes;
    while let [what, len, tail @ ..] = rest {
        let (said, later) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = later;
        let n = usize::from(what / 8) % PEERS;
        let Some(from) = peers.get(n) else { break };
        match what % 8 {
            0 => router.handle_peer_disconnected(from, now),
            1 => router.handle_peer_connected(remote(&router, n, *from), now),
            2 => {
                now += Duration::from_millis(u64::from(*len) * 40);
                router.handle_timeout(now);
            }
            6 if len % 2 == 0 => drop(router.unsubscribe(&topic, now)),
            6 => drop(router.subscribe(&topic, now)),
            7 => {
                if let Ok(message) = author.write(topic.clone(), said, Duration::from_secs(1)) {
                    // Nobody may be there, and nobody may have room for it.
                    let _ = router.publish(&message.into(), now);
                }
            }
            _ => {
                // What is wrong with it costs the peer its connection.
                let _ = router.handle_rpc(from, Bytes::copy_from_slice(said), now);
            }
        }
        serve(&mut router, now);
        check(&router);
    }
    for from in &peers {
        router.handle_peer_disconnected(from, now);
    }
    serve(&mut router, now);
    check(&router);
    assert!(router.topic_peers(&topic).is_empty());
    assert!(router.mesh_peers(&topic).is_empty());
    router
}

/// A peer that speaks one of the router's protocols: the n-th one the n-th best.
fn remote(router: &impl Router, n: usize, peer: PeerId) -> Remote {
    let spoken = router.protocols();
    let spoken: Vec<Version> = spoken.iter().filter_map(Version::of).collect();
    Remote {
        peer,
        version: spoken.get(n).copied().unwrap_or(Version::Floodsub),
        outbound: n.is_multiple_of(2),
        ips: Vec::new(),
    }
}

/// Checks messages and takes what is to be sent.
pub(crate) fn serve(router: &mut impl Router, now: Instant) {
    while let Some(output) = router.poll_output() {
        match output {
            Output::Validate {
                ticket, message, ..
            } => {
                let verdict = match SignaturePolicy::StrictSign.verify(&message) {
                    Ok(()) => Verdict::Accept,
                    Err(error) => Verdict::BadSignature(error),
                };
                router.handle_verdict(ticket, verdict, now);
            }
            Output::Ready { peer } => {
                let mut frame = Vec::new();
                while router.take_frame(&peer, &mut frame) {
                    frame.clear();
                }
            }
            Output::Connect { .. }
            | Output::Deliver { .. }
            | Output::Joined { .. }
            | Output::Left { .. }
            | Output::Parts(_)
            | Output::Trace(_)
            | _ => {}
        }
    }
}
