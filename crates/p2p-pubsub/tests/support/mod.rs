//! Routers without a network: frames travel with a fixed latency, time jumps.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::result_large_err,
    clippy::wildcard_enum_match_arm,
    reason = "each test file is a crate of its own and uses a part"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::{Budget, Instant, PeerId, uvarint};
use p2p_keys::Keypair;
use p2p_pubsub::wire::{Control, Part, PeerInfo, PeerInfoView, Rpc, RpcOut, WireError, WireLimits};
use p2p_pubsub::{
    Author, GossipConfig, Gossipsub, Message, MessageId, Output, PublishError, Published, Refusal,
    Reject, Remote, Router, SignaturePolicy, Ticket, Topic, Trace, Verdict, Version,
};

/// One-way latency of every link.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);

pub(crate) fn keypair(n: usize) -> Keypair {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
    Keypair::ed25519_from_seed(seed)
}

pub(crate) fn peer(n: usize) -> PeerId {
    keypair(n).to_peer_id()
}

pub(crate) fn gossipsub(n: usize, config: GossipConfig) -> Gossipsub {
    Gossipsub::new(
        peer(n),
        config,
        Budget::unlimited(),
        n as u64,
        Instant::ZERO,
    )
    .unwrap()
}

pub(crate) fn remote(n: usize, version: Version, outbound: bool) -> Remote {
    Remote {
        peer: peer(n),
        version,
        outbound,
        ips: vec![format!("10.0.{}.{}", n / 250, n % 250 + 1).parse().unwrap()],
    }
}

/// A signed message by host `n`.
pub(crate) fn signed(n: usize, topic: &str, data: &[u8], seqno: u64) -> Message {
    let mut author = Author::signing(keypair(n));
    author
        .write(topic.into(), data, Duration::from_nanos(seqno))
        .unwrap()
}

/// An RPC of these parts, without its length.
pub(crate) fn rpc(control: Vec<Control>, messages: Vec<Message>) -> Bytes {
    let messages = messages.into_iter().map(Arc::new).collect();
    let mut bytes = Vec::new();
    RpcOut { control, messages }.encode(&mut bytes);
    bytes.into()
}

/// Whether a real check of the message accepts it.
pub(crate) fn check(message: &Message) -> Verdict {
    match SignaturePolicy::StrictSign.verify(message) {
        Ok(()) => Verdict::Accept,
        Err(error) => Verdict::BadSignature(error),
    }
}

/// One router, spoken to by hand.
pub(crate) struct Bench {
    pub(crate) router: Gossipsub,
    pub(crate) now: Instant,
    pub(crate) delivered: Vec<MessageId>,
    pub(crate) checks: usize,
    pub(crate) traces: Vec<Trace>,
    pub(crate) others: Vec<Output>,
    pub(crate) waiting: Vec<Ticket>,
    /// Leave tickets unanswered.
    pub(crate) stall: bool,
}

impl Bench {
    /// Host 0 in topic "t".
    pub(crate) fn new(mut config: GossipConfig) -> Self {
        config.base.trace = true;
        let mut bench = Self {
            router: gossipsub(0, config),
            now: Instant::ZERO,
            delivered: Vec::new(),
            checks: 0,
            traces: Vec::new(),
            others: Vec::new(),
            waiting: Vec::new(),
            stall: false,
        };
        bench.router.subscribe(&Topic::new("t"), bench.now);
        bench
    }

    /// Connects host `n`, which subscribes to "t".
    pub(crate) fn peer(&mut self, n: usize, version: Version) {
        self.router
            .handle_peer_connected(remote(n, version, false), self.now);
        self.say(n, vec![Control::Subscription(true, "t".into())]);
    }

    pub(crate) fn say(&mut self, n: usize, control: Vec<Control>) {
        self.receive(n, rpc(control, Vec::new())).unwrap();
    }

    pub(crate) fn send(&mut self, n: usize, message: Message) {
        self.receive(n, rpc(Vec::new(), vec![message])).unwrap();
    }

    pub(crate) fn receive(&mut self, n: usize, rpc: Bytes) -> Result<(), WireError> {
        self.router.handle_rpc(&peer(n), rpc, self.now)?;
        self.drain();
        Ok(())
    }

    pub(crate) fn publish(&mut self, message: Message) -> Result<Published, PublishError> {
        let published = self.router.publish(&message.into(), self.now);
        self.drain();
        published
    }

    /// Jumps from deadline to deadline.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.router.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.router.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Validate { ticket, .. } if self.stall => self.waiting.push(ticket),
                Output::Validate {
                    ticket, message, ..
                } => {
                    self.checks += 1;
                    self.router
                        .handle_verdict(ticket, check(&message), self.now);
                }
                Output::Deliver { id, .. } => self.delivered.push(id),
                Output::Trace(trace) => self.traces.push(trace),
                Output::Ready { .. } => {}
                other => self.others.push(other),
            }
        }
    }

    /// Everything that waits for host `n`: control messages, and messages as they are.
    pub(crate) fn sent(&mut self, n: usize) -> (Vec<Control>, Vec<Message>) {
        let (mut control, mut messages) = (Vec::new(), Vec::new());
        for frame in frames(&mut self.router, &peer(n)) {
            let rpc = Rpc::parse(&frame, &WireLimits::default()).unwrap();
            for part in rpc.parts() {
                match owned(part) {
                    Ok(found) => control.push(found),
                    Err(message) => messages.push(message),
                }
            }
        }
        (control, messages)
    }
}

fn owned(part: Part<'_>) -> Result<Control, Message> {
    let topic = |bytes: Option<&[u8]>| Topic::new(std::str::from_utf8(bytes.unwrap()).unwrap());
    let ids = |ids: p2p_pubsub::wire::Ids<'_>| ids.map(MessageId::new).collect::<Vec<_>>();
    Ok(match part {
        Part::Publish(view) => {
            let raw = Bytes::copy_from_slice(view.raw);
            return Err(Message::decode(raw).unwrap().unwrap());
        }
        Part::Subscription(sub) => match sub.partial_mode() {
            Some(mode) => Control::PartialSubscription(topic(sub.topic), mode),
            None => Control::Subscription(sub.subscribe, topic(sub.topic)),
        },
        Part::IHave(ihave) => Control::IHave(topic(ihave.topic), ids(ihave.ids).into()),
        Part::IWant(wanted) => Control::IWant(ids(wanted)),
        Part::Graft(name) => Control::Graft(topic(name)),
        Part::Prune(prune) => Control::Prune {
            topic: topic(prune.topic),
            peers: prune.peers().map(proposed).collect(),
            backoff: prune.backoff,
        },
        Part::IDontWant(unwanted) => Control::IDontWant(ids(unwanted)),
        Part::Extensions(extensions) => Control::Extensions(extensions),
        Part::Partial(_) | Part::Test => panic!("never sent"),
    })
}

fn proposed(info: PeerInfoView<'_>) -> PeerInfo {
    let owned = Bytes::copy_from_slice;
    PeerInfo {
        peer: info.peer.map(owned).unwrap_or_default(),
        record: info.record.map(owned),
    }
}

/// The RPCs that wait for `peer`, without their lengths.
pub(crate) fn frames(router: &mut impl Router, peer: &PeerId) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut buffer = Vec::new();
    while router.take_frame(peer, &mut buffer) {
        let (len, prefix) = uvarint::decode(&buffer).unwrap();
        assert_eq!(len as usize, buffer.len() - prefix);
        frames.push(Bytes::copy_from_slice(&buffer[prefix..]));
        buffer.clear();
    }
    frames
}

pub(crate) fn prune(topic: &str, backoff: u64) -> Control {
    Control::Prune {
        topic: topic.into(),
        peers: Vec::new(),
        backoff: Some(backoff),
    }
}

/// The gossipsub id of a message.
pub(crate) fn id_of(message: &Message) -> MessageId {
    MessageId::new(&[message.from().unwrap(), message.seqno().unwrap()].concat())
}

pub(crate) fn refused(bench: &Bench, why: Refusal) -> u64 {
    bench.router.stats().refused.get(&why).copied().unwrap_or(0)
}

pub(crate) fn rejected(bench: &Bench, why: Reject) -> u64 {
    bench
        .router
        .stats()
        .rejected
        .get(&why)
        .copied()
        .unwrap_or(0)
}

/// A new peer's message is delivered, and forwarded to another one.
pub(crate) fn honest_traffic_passes(bench: &mut Bench) {
    bench.peer(101, Version::V1_2);
    bench.peer(102, Version::V1_2);
    bench.sent(102);
    let before = bench.delivered.len();
    bench.send(101, signed(101, "t", b"honest", 1));
    assert_eq!(bench.delivered.len(), before + 1);
    assert_eq!(bench.sent(102).1.len(), 1);
}

/// Routers that talk to each other.
pub(crate) struct Net<R> {
    pub(crate) routers: Vec<R>,
    pub(crate) now: Instant,
    pub(crate) delivered: Vec<Vec<(MessageId, Instant)>>,
    /// Everything that happened, to compare two runs.
    pub(crate) log: Vec<String>,
    by_peer: BTreeMap<PeerId, usize>,
    flying: BTreeMap<(Instant, u64), (usize, usize, Bytes)>,
    sent: u64,
}

impl<R: Router> Net<R> {
    pub(crate) fn new(routers: Vec<R>) -> Self {
        Self {
            delivered: vec![Vec::new(); routers.len()],
            by_peer: (0..routers.len()).map(|n| (peer(n), n)).collect(),
            routers,
            now: Instant::ZERO,
            log: Vec::new(),
            flying: BTreeMap::new(),
            sent: 0,
        }
    }

    pub(crate) fn connect(&mut self, a: usize, b: usize, version: Version) {
        self.routers[a].handle_peer_connected(remote(b, version, true), self.now);
        self.routers[b].handle_peer_connected(remote(a, version, false), self.now);
        self.drain(a);
        self.drain(b);
    }

    pub(crate) fn disconnect(&mut self, a: usize, b: usize) {
        self.routers[a].handle_peer_disconnected(&peer(b), self.now);
        self.routers[b].handle_peer_disconnected(&peer(a), self.now);
        self.flying
            .retain(|_, (from, to, _)| !((*from, *to) == (a, b) || (*from, *to) == (b, a)));
        self.drain(a);
        self.drain(b);
    }

    pub(crate) fn subscribe(&mut self, n: usize, topic: &str) {
        self.routers[n].subscribe(&topic.into(), self.now);
        self.drain(n);
    }

    pub(crate) fn publish(&mut self, n: usize, message: Message) -> MessageId {
        let published = self.routers[n].publish(&message.into(), self.now).unwrap();
        self.drain(n);
        published.id
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timeouts = self.routers.iter().enumerate();
            let timeout = timeouts
                .filter_map(|(n, r)| Some((r.poll_timeout()?, n)))
                .min();
            let frame = self.flying.keys().next().copied();
            let frame_at = frame.map_or(Instant::FAR_FUTURE, |(at, _)| at);
            match timeout {
                Some((at, n)) if at < frame_at && at <= end => {
                    self.now = at;
                    self.routers[n].handle_timeout(at);
                    self.drain(n);
                }
                _ if frame_at <= end => {
                    self.now = frame_at;
                    let (from, to, rpc) = self.flying.remove(&frame.unwrap()).unwrap();
                    self.routers[to]
                        .handle_rpc(&peer(from), rpc, self.now)
                        .unwrap();
                    self.drain(to);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn drain(&mut self, n: usize) {
        while let Some(output) = self.routers[n].poll_output() {
            match &output {
                Output::Ready { peer } => {
                    let to = self.by_peer[peer];
                    for rpc in frames(&mut self.routers[n], peer) {
                        self.sent += 1;
                        self.flying
                            .insert((self.now + LATENCY, self.sent), (n, to, rpc));
                    }
                }
                Output::Validate { ticket, .. } => {
                    self.routers[n].handle_verdict(*ticket, Verdict::Accept, self.now);
                }
                Output::Deliver { id, .. } => self.delivered[n].push((id.clone(), self.now)),
                _ => {}
            }
            self.log.push(format!("{:?} {n} {output:?}", self.now));
        }
    }
}
