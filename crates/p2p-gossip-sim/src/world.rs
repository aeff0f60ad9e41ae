//! Routers, links and time.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::{Budget, Instant, PeerId, uvarint};
use p2p_keys::{Keypair, PeerIdExt};
use p2p_pubsub::{
    Config, Draft, Floodsub, GossipConfig, Gossipsub, Message, Output, Remote, Router, Topic,
    Verdict, Version,
};

use crate::calendar::Calendar;
use crate::frames::Frames;
use crate::measure::{Meter, Totals};
use crate::report::{RouterKind, Row};
use crate::rng::{Rng, mix};
use crate::sybil::{self, Conduct, Say, Sybil};

/// How the links are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    /// The shortest one-way latency.
    pub(crate) min: Duration,
    /// The longest.
    pub(crate) max: Duration,
    /// What a node can send, in bits a second. 0: no limit.
    pub(crate) uplink: u64,
}

enum Node {
    Honest(Box<Honest>),
    Sybil(Box<Sybil>),
}

pub(crate) struct Honest {
    pub(crate) router: Box<dyn Router>,
    /// Peers with something to be sent, in turn.
    ready: VecDeque<usize>,
    /// The uplink is in use.
    busy: bool,
    /// The wake-up that is scheduled.
    wake: Option<Instant>,
}

enum Event {
    Frame { from: usize, to: usize, rpc: Bytes },
    Graft { sybil: usize, to: usize },
    Offer(usize),
    Timeout(usize),
    Uplink(usize),
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) honest: usize,
    pub(crate) kind: RouterKind,
    /// How many addresses the Sybils share. `None`: each has its own.
    pub(crate) sybil_addrs: Option<usize>,
    links: Links,
    nodes: Vec<Node>,
    peers: Vec<PeerId>,
    /// Whom each node is connected with.
    pub(crate) edges: Vec<Vec<usize>>,
    calendar: Calendar<Event>,
    topic: Topic,
    meter: Meter,
    buffer: Vec<u8>,
    frames: Frames,
}

impl World {
    /// `honest` routers made by `router`, then `sybils`; nobody is connected.
    pub(crate) fn new(
        kind: RouterKind,
        honest: usize,
        sybils: usize,
        links: Links,
        seed: u64,
        config: &GossipConfig,
    ) -> Self {
        let peers: Vec<PeerId> = (0..honest + sybils).map(peer_id).collect();
        let mut nodes = Vec::new();
        for (n, peer) in peers.iter().enumerate() {
            nodes.push(if n < honest {
                Node::Honest(Box::new(Honest {
                    router: router(kind, *peer, config, seed ^ n as u64),
                    ready: VecDeque::new(),
                    busy: false,
                    wake: None,
                }))
            } else {
                Node::Sybil(Box::new(Sybil::new(Conduct::Drop, true)))
            });
        }
        Self {
            now: Instant::ZERO,
            rng: Rng::new(seed),
            honest,
            kind,
            sybil_addrs: None,
            links,
            nodes,
            edges: vec![Vec::new(); peers.len()],
            peers,
            calendar: Calendar::new(),
            topic: Topic::new("t"),
            meter: Meter::new(honest),
            buffer: Vec::new(),
            frames: Frames::default(),
        }
    }

    /// Nodes can send only so much.
    pub(crate) fn is_narrow(&self) -> bool {
        self.links.uplink > 0
    }

    pub(crate) fn is_connected(&self, n: usize) -> bool {
        self.edges.get(n).is_some_and(|edges| !edges.is_empty())
    }

    /// Messages published so far.
    pub(crate) fn written(&self) -> usize {
        usize::try_from(self.meter.next_number()).unwrap_or(usize::MAX)
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn sybil(&mut self, n: usize) -> Option<&mut Sybil> {
        match self.nodes.get_mut(n) {
            Some(Node::Sybil(sybil)) => Some(sybil),
            Some(Node::Honest(_)) | None => None,
        }
    }

    fn honest_node(&mut self, n: usize) -> Option<&mut Honest> {
        match self.nodes.get_mut(n) {
            Some(Node::Honest(node)) => Some(node),
            Some(Node::Sybil(_)) | None => None,
        }
    }

    pub(crate) fn subscribe_all(&mut self) {
        let (topic, now) = (self.topic.clone(), self.now);
        for n in 0..self.honest {
            if let Some(node) = self.honest_node(n) {
                node.router.subscribe(&topic, now);
            }
            self.drain(n);
        }
    }

    /// Connects two nodes; `from` dials. Sybils say at once that they are in the topic.
    pub(crate) fn connect(&mut self, from: usize, to: usize) {
        if from == to
            || self
                .edges
                .get(from)
                .is_some_and(|known| known.contains(&to))
        {
            return;
        }
        for (at, other, outbound) in [(from, to, true), (to, from, false)] {
            if let Some(edges) = self.edges.get_mut(at) {
                edges.push(other);
            }
            let now = self.now;
            let remote = Remote {
                peer: self
                    .peers
                    .get(other)
                    .copied()
                    .unwrap_or_else(|| peer_id(other)),
                version: self.version(),
                // 1.0 knows no difference, and takes everybody that asks into its mesh.
                outbound: outbound || self.kind == RouterKind::Gossip1_0,
                ips: vec![self.ip_of(other)],
            };
            if let Some(node) = self.honest_node(at) {
                node.router.handle_peer_connected(remote, now);
                self.drain(at);
            }
        }
        for (sybil, honest) in [(from, to), (to, from)] {
            if self.sybil(sybil).is_some() {
                let hello = sybil::hello(&self.topic);
                self.send(sybil, honest, hello);
                if self.sybil(sybil).is_some_and(|it| it.grafts) {
                    self.graft(sybil, honest);
                }
            }
        }
    }

    pub(crate) fn disconnect(&mut self, a: usize, b: usize) {
        for (at, other) in [(a, b), (b, a)] {
            if let Some(edges) = self.edges.get_mut(at) {
                edges.retain(|edge| *edge != other);
            }
            let (now, peer) = (self.now, self.peers.get(other).copied());
            if let (Some(peer), Some(node)) = (peer, self.honest_node(at)) {
                node.router.handle_peer_disconnected(&peer, now);
                self.drain(at);
            }
        }
    }

    /// A Sybil asks into a mesh, and takes it that it is in.
    pub(crate) fn graft(&mut self, sybil: usize, to: usize) {
        let graft = sybil::graft(&self.topic);
        if let Some(it) = self.sybil(sybil) {
            it.mesh.insert(to);
        }
        self.send(sybil, to, graft);
    }

    /// All Sybils begin to offer what they have heard of, each at another time of the second.
    pub(crate) fn start_offers(&mut self) {
        for sybil in self.honest..self.nodes() {
            let wait = Duration::from_micros(self.rng.below(1_000_000) as u64);
            self.schedule(self.now + wait, Event::Offer(sybil));
        }
    }

    fn offer(&mut self, sybil: usize) {
        let topic = self.topic.clone();
        if let Some(rpc) = self.sybil(sybil).and_then(|it| it.offer(&topic)) {
            for to in self.edges.get(sybil).cloned().unwrap_or_default() {
                self.send(sybil, to, rpc.clone());
            }
        }
        self.schedule(self.now + Duration::from_secs(1), Event::Offer(sybil));
    }

    /// An address of its own for each node; Sybils share theirs if the experiment says so.
    fn ip_of(&self, n: usize) -> IpAddr {
        let shared = self.sybil_addrs.filter(|_| n >= self.honest);
        let n = shared.map_or(n, |addrs| self.honest + n % addrs.max(1));
        let [a, b, c, d] = u32::try_from(n).unwrap_or(0).to_be_bytes();
        Ipv4Addr::new(a.saturating_add(10), b, c, d).into()
    }

    fn version(&self) -> Version {
        match self.kind {
            RouterKind::Floodsub => Version::Floodsub,
            RouterKind::Gossip1_0 => Version::V1_0,
            RouterKind::Gossip1_1 => Version::V1_1,
            RouterKind::Gossip1_2 | RouterKind::Staggered | RouterKind::Ours => Version::V1_2,
        }
    }

    /// Publishes `len` bytes at an honest node; false if it has nobody to send them to.
    pub(crate) fn publish(&mut self, n: usize, len: usize) -> bool {
        let number = self.meter.next_number();
        let data = vec![b'x'; len];
        let from = self.peers.get(n).map(|peer| peer.to_bytes());
        let from = from.unwrap_or_default();
        let draft = Draft {
            from: Some(&from),
            data: &data,
            seqno: Some(&number.to_be_bytes()),
            signature: Some(&[7; 64]),
            ..Draft::default()
        };
        let message = Arc::new(Message::encode(self.topic.clone(), &draft));
        let now = self.now;
        let Some(node) = self.honest_node(n) else {
            return false;
        };
        let published = node.router.publish(&message, now).is_ok();
        if published {
            self.meter.published(n, now);
        }
        self.drain(n);
        published
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, event)) = self.calendar.pop(end) {
            self.now = at;
            match event {
                Event::Frame { from, to, rpc } => self.arrive(from, to, rpc),
                Event::Graft { sybil, to } => self.graft(sybil, to),
                Event::Offer(sybil) => self.offer(sybil),
                Event::Timeout(n) => {
                    if self.honest_node(n).is_some_and(|it| it.wake == Some(at)) {
                        self.timeout(n);
                    }
                }
                Event::Uplink(n) => {
                    if let Some(node) = self.honest_node(n) {
                        node.busy = false;
                    }
                    self.transmit(n);
                }
            }
        }
        self.now = end;
    }

    fn arrive(&mut self, from: usize, to: usize, rpc: Bytes) {
        let (now, peer) = (self.now, self.peers.get(from).copied());
        let mut rng = self.rng.clone();
        match (self.nodes.get_mut(to), peer) {
            (Some(Node::Honest(node)), Some(peer)) => {
                // Our own routers write what they can read.
                let _read = node.router.handle_rpc(&peer, rpc, now);
                self.drain(to);
            }
            (Some(Node::Sybil(node)), _) => {
                let chance = || rng.below(1_000_000) as f64 / 1e6;
                let said = node.receive(from, &rpc, chance);
                self.rng = rng;
                for say in said {
                    match say {
                        Say::Now(honest, rpc) => self.send(to, honest, rpc),
                        Say::GraftLater(honest) => {
                            let wait = 60_000 + self.rng.below(15_000) as u64;
                            let at = self.now + Duration::from_millis(wait);
                            let (sybil, to) = (to, honest);
                            self.schedule(at, Event::Graft { sybil, to });
                        }
                    }
                }
            }
            (Some(_), None) | (None, _) => {}
        }
    }

    fn timeout(&mut self, n: usize) {
        let now = self.now;
        if let Some(node) = self.honest_node(n) {
            node.wake = None;
            node.router.handle_timeout(now);
        }
        self.drain(n);
    }

    /// Does what a router asks for.
    fn drain(&mut self, n: usize) {
        let now = self.now;
        loop {
            let Some(node) = self.honest_node(n) else {
                return;
            };
            let Some(output) = node.router.poll_output() else {
                break;
            };
            match output {
                Output::Validate { ticket, .. } => {
                    node.router.handle_verdict(ticket, Verdict::Accept, now);
                }
                Output::Deliver { message, .. } => {
                    let number = sybil::number_of(message.seqno());
                    self.meter.delivered(n, number, now);
                }
                Output::Ready { peer } => {
                    node.ready.push_back(number_in(&peer));
                }
                Output::Connect { .. }
                | Output::Joined { .. }
                | Output::Left { .. }
                | Output::Parts(_)
                | Output::Trace(_) => {}
                _other => {}
            }
        }
        self.transmit(n);
        let Some(node) = self.honest_node(n) else {
            return;
        };
        if let Some(due) = node.router.poll_timeout()
            && node.wake.is_none_or(|wake| due < wake)
        {
            let due = due.max(now);
            node.wake = Some(due);
            self.schedule(due, Event::Timeout(n));
        }
    }

    /// Sends what waits at an honest node, as fast as its uplink takes it, peers in turn.
    fn transmit(&mut self, n: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let uplink = self.links.uplink;
            let peers = &self.peers;
            let Some(Node::Honest(node)) = self.nodes.get_mut(n) else {
                break;
            };
            if node.busy {
                break;
            }
            let Some(to) = node.ready.pop_front() else {
                break;
            };
            let Some(peer) = peers.get(to) else { continue };
            buffer.clear();
            if !node.router.take_frame(peer, &mut buffer) {
                continue;
            }
            // Without a limit nobody waits for anybody, and it is quicker to stay with one peer.
            match uplink {
                0 => node.ready.push_front(to),
                _limit => node.ready.push_back(to),
            }
            let mut sent = self.now;
            let bits = (buffer.len() as u64 + OVERHEAD) * 8;
            if let Some(nanos) = bits.saturating_mul(1_000_000_000).checked_div(uplink) {
                node.busy = true;
                sent += Duration::from_nanos(nanos);
                self.schedule(sent, Event::Uplink(n));
            }
            let rpc = without_length(&buffer);
            if self.sybil(to).is_none_or(|sybil| sybil.minds(rpc)) {
                let rpc = self.frames.share(rpc);
                let at = sent + self.latency(n, to);
                self.schedule(at, Event::Frame { from: n, to, rpc });
            }
        }
        self.buffer = buffer;
    }

    fn send(&mut self, from: usize, to: usize, rpc: Bytes) {
        if self.sybil(to).is_some_and(|sybil| !sybil.minds(&rpc)) {
            return;
        }
        let at = self.now + self.latency(from, to);
        self.schedule(at, Event::Frame { from, to, rpc });
    }

    /// One way, the same in both directions.
    fn latency(&self, a: usize, b: usize) -> Duration {
        let pair = (a.min(b) as u64) << 32 | a.max(b) as u64;
        let span = self.links.max.saturating_sub(self.links.min);
        let part = mix(pair) % 1000;
        self.links.min + span * u32::try_from(part).unwrap_or(0) / 1000
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.calendar.add(at, event);
    }

    /// Honest peers in the mesh of an honest node.
    pub(crate) fn honest_mesh(&mut self, n: usize) -> usize {
        let (topic, honest) = (self.topic.clone(), self.honest);
        let mesh = self
            .honest_node(n)
            .map(|node| node.router.mesh_peers(&topic));
        let mesh = mesh.unwrap_or_default();
        mesh.iter().filter(|peer| number_in(peer) < honest).count()
    }

    /// The honest nodes' routers.
    fn routers(&self) -> impl Iterator<Item = &dyn Router> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Honest(node) => Some(&*node.router),
            Node::Sybil(_) => None,
        })
    }

    pub(crate) fn set_online(&mut self, n: usize, online: bool) {
        self.meter.set_online(n, online, self.now);
    }

    /// Lets time pass until all that is expected was delivered and copies that are under way have
    /// come, at most `time`.
    pub(crate) fn settle(&mut self, time: Duration) {
        let (step, mut left) = (Duration::from_millis(500), time);
        while !left.is_zero() {
            let done = self.meter.is_complete();
            self.run(step);
            left = left.saturating_sub(step);
            if done {
                return;
            }
        }
    }

    /// Forgets what was measured so far. `at`: only deliveries to this node count.
    pub(crate) fn start_measuring(&mut self, at: Option<usize>) {
        let totals = Totals::of(self.routers());
        self.meter.start(at, totals);
    }

    /// What was measured.
    pub(crate) fn row(&mut self, scenario: &str, messages: usize) -> Row {
        let totals = Totals::of(self.routers());
        self.meter.row(scenario, self.kind, messages, totals)
    }
}

fn router(kind: RouterKind, peer: PeerId, config: &GossipConfig, seed: u64) -> Box<dyn Router> {
    let budget = Budget::unlimited();
    if kind == RouterKind::Floodsub {
        return Box::new(Floodsub::new(peer, config.base.clone(), budget, seed));
    }
    match Gossipsub::new(peer, config.clone(), budget, seed, Instant::ZERO) {
        Ok(router) => Box::new(router),
        // The configurations are those of this crate, and its tests build them all.
        Err(_) => Box::new(Floodsub::new(peer, roomy(), Budget::unlimited(), seed)),
    }
}

/// Room for the bursts of an experiment.
pub(crate) fn roomy() -> Config {
    let mut config = Config::default();
    config.queue.own_bytes = 64 << 20;
    config.queue.forwarded_bytes = 64 << 20;
    config
}

/// A peer id with the node's number in it: nobody has its key, and nobody asks.
fn peer_id(n: usize) -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend_from_slice(&(n as u64).to_be_bytes());
    bytes.extend_from_slice(&mix(n as u64).to_be_bytes());
    bytes.extend_from_slice(&[0; 16]);
    let parsed = PeerId::parse_bytes(&bytes);
    parsed.unwrap_or_else(|_| Keypair::generate_ed25519().to_peer_id())
}

/// The number of the node with this id.
fn number_in(peer: &PeerId) -> usize {
    let digest = peer.as_ref().digest();
    let number = digest.first_chunk().copied().map(u64::from_be_bytes);
    number.map_or(usize::MAX, |number| {
        usize::try_from(number).unwrap_or(usize::MAX)
    })
}

fn without_length(frame: &[u8]) -> &[u8] {
    match uvarint::decode(frame) {
        Ok((_, used)) => frame.get(used..).unwrap_or_default(),
        Err(_) => frame,
    }
}

/// Bytes that noise, yamux and TCP add to a frame, roughly.
const OVERHEAD: u64 = 80;
