//! Messages in parts: a router of gossipsub, and peers that speak of them in any order.

use std::time::Duration;

use bytes::Bytes;
use p2p_core::{Budget, Instant};
use p2p_keys::PeerId;
use p2p_pubsub::wire::{Control, Extensions, PartialOut, RpcOut};
use p2p_pubsub::{GossipConfig, Gossipsub, Partial, PartialMode, Remote, Router, Topic, Version};

use crate::machines::{PEERS, peer, serve};

/// What the router may hold, in bytes: little, so that refusals happen.
const MEMORY: usize = 16 << 10;
/// The topic that the router is in, as long as it is.
const OURS: &str = "t";

/// A router that takes part in partial messages, and peers that say what they have, want and
/// send. A step is a byte for what happens and to whom, one for how, one for its length, and so
/// many bytes.
pub fn gossipsub_partial(bytes: &[u8]) {
    let (topic, mut now) = (Topic::new(OURS), Instant::ZERO);
    let budget = Budget::new("test", "test", MEMORY);
    let config = GossipConfig::default();
    let most = config.max_peer_groups;
    let Ok(mut router) = Gossipsub::new(peer(PEERS), config, budget.clone(), 1, now) else {
        return;
    };
    router.set_partial(&topic, Some(PartialMode::Requests));
    router.subscribe(&topic, now);
    let peers: Vec<PeerId> = (0..PEERS).map(peer).collect();
    let (mut rest, mut published) = (bytes, 0);
    while let [what, how, len, tail @ ..] = rest {
        let (said, later) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = later;
        let Some(from) = peers.get(usize::from(what / 8) % PEERS) else {
            return;
        };
        match what % 8 {
            0 => router.handle_peer_disconnected(from, now),
            1 => greet(&mut router, *from, *how, now),
            2 => {
                now += Duration::from_millis(u64::from(*len) * 40);
                router.handle_timeout(now);
            }
            3 => {
                published += 1;
                // Too long a name is an error, and so is a topic that we are not in.
                let _ = router.publish_parts(&topic, &Bits::new(said, *how));
            }
            4 => drop(router.set_partial(&topic, mode(*how))),
            5 if how % 2 == 0 => drop(router.unsubscribe(&topic, now)),
            5 => drop(router.subscribe(&topic, now)),
            _ => {
                let rpc = encoded(vec![Control::Partial(partial(*how, said))]);
                // What is wrong with it costs the peer its connection.
                let _ = router.handle_rpc(from, rpc, now);
            }
        }
        serve(&mut router, now);
        assert!(budget.used() <= MEMORY);
        // Each group may be known of every peer; the rest is what peers and topics cost.
        let groups = PEERS * most + published;
        assert!(router.entries() <= groups * (1 + PEERS) + 100, "{router:?}");
    }
    for from in &peers {
        router.handle_peer_disconnected(from, now);
    }
    serve(&mut router, now);
    drop(router);
    assert_eq!(budget.used(), 0, "what is paid for is given back");
}

/// A peer comes, and says what it can before anything else.
fn greet(router: &mut Gossipsub, peer: PeerId, how: u8, now: Instant) {
    let remote = Remote {
        peer,
        version: Version::V1_3,
        outbound: how & 4 != 0,
        ips: Vec::new(),
    };
    router.handle_peer_connected(remote, now);
    let extensions = Extensions {
        partial_messages: how & 8 == 0,
        test: false,
    };
    let mut first = vec![Control::Extensions(extensions)];
    let topic = Topic::new(OURS);
    first.push(match mode(how) {
        Some(mode) => Control::PartialSubscription(topic, mode),
        None => Control::Subscription(true, topic),
    });
    let _ = router.handle_rpc(&peer, encoded(first), now);
}

fn mode(how: u8) -> Option<PartialMode> {
    match how % 3 {
        0 => Some(PartialMode::Requests),
        1 => Some(PartialMode::Supports),
        _ => None,
    }
}

/// Parts and what a peer has of a message: `how` says which of `said` is what.
fn partial(how: u8, said: &[u8]) -> PartialOut {
    let (group, rest) = said.split_at(said.len().min(usize::from(how & 7)));
    let (metadata, parts) = rest.split_at(rest.len().min(usize::from(how >> 3 & 3)));
    let some = |is, bytes| if is { Some(bytes) } else { None };
    PartialOut {
        topic: Topic::new(if how & 0x80 == 0 { OURS } else { "another" }),
        group: Bytes::copy_from_slice(group),
        parts: some(how & 0x20 != 0, Bytes::copy_from_slice(parts)),
        metadata: some(how & 0x40 != 0, Bytes::copy_from_slice(metadata)),
    }
}

fn encoded(control: Vec<Control>) -> Bytes {
    let mut bytes = Vec::new();
    let rpc = RpcOut {
        control,
        messages: Vec::new(),
    };
    rpc.encode(&mut bytes);
    bytes.into()
}

/// A message of eight parts; which we have is a bitmap.
struct Bits {
    group: Bytes,
    have: u8,
}

impl Bits {
    fn new(group: &[u8], have: u8) -> Self {
        Self {
            group: Bytes::copy_from_slice(group),
            have,
        }
    }
}

impl Partial for Bits {
    fn group(&self) -> Bytes {
        self.group.clone()
    }

    fn metadata(&self) -> Bytes {
        Bytes::copy_from_slice(&[self.have])
    }

    fn parts_for(&self, metadata: &[u8]) -> Option<Bytes> {
        let lacking = self.have & !metadata.first()?;
        (lacking != 0).then(|| Bytes::copy_from_slice(&[lacking; 100]))
    }

    fn merge(&self, metadata: &[u8]) -> Bytes {
        Bytes::copy_from_slice(&[self.have | metadata.first().copied().unwrap_or(0)])
    }

    fn eager(&self) -> Option<Bytes> {
        (self.have & 1 != 0).then(|| Bytes::from_static(b"the first part"))
    }
}
