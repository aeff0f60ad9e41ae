//! Who is in the local network, on one link.
//!
//! ```text
//!   start ── ask at once, after 1 s, after 2 s more, and so on, at last every query_interval
//!   question came ── answer after a random 20 to 120 ms, at most once in answer_interval
//!   answer came ── Found, Kept if it was known; remembered until its time is over: Lost
//! ```
//!
//! [`Discovery`] is pure: packets and time come in as arguments, packets and news go out as values.
//!
//! Spec: libp2p/specs `discovery/mdns.md`; RFC 6762, sections 5.2, 6 and 10.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use p2p_core::multiaddr_parts::Part;
use p2p_core::{AddrExt, Instant, Multiaddr, PeerId};
use p2p_swarm::Reach;

use crate::Config;
use crate::wire::{self, Found, Message};

/// From the first question to the second.
const SECOND_QUESTION: Duration = Duration::from_secs(1);
/// The shortest wait before an answer, so that not all answer at once; up to 100 ms more.
const ANSWER_DELAY: Duration = Duration::from_millis(20);
/// Packets that wait to be sent; further ones are dropped.
const MAX_OUTPUTS: usize = 1024;

/// What the owner must do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A peer has this address, which it had not before.
    Found {
        /// The peer.
        peer: PeerId,
        /// Its address, with `/p2p/<peer>`.
        addr: Multiaddr,
    },
    /// A peer has repeated what was known: [`Discovery::addrs_of`] says how long it holds now.
    Kept {
        /// The peer.
        peer: PeerId,
    },
    /// A peer has not repeated this address in time, or has taken it back.
    Lost {
        /// The peer.
        peer: PeerId,
        /// The address, with `/p2p/<peer>`.
        addr: Multiaddr,
    },
    /// Send this to the group.
    Send(Bytes),
}

/// Asks, answers and remembers.
#[derive(Debug)]
pub struct Discovery {
    config: Config,
    local: PeerId,
    service: String,
    instance: String,
    /// What we answer, each with `/p2p/<local>`.
    addrs: Vec<Multiaddr>,
    ask_at: Instant,
    /// From the next question to the one after it.
    pause: Duration,
    answer: Answer,
    /// State of the generator for delays.
    random: u64,
    /// Invariant: at most `max_peers`, each with 1 to `max_addrs` addresses, and until when.
    peers: BTreeMap<PeerId, BTreeMap<Multiaddr, Instant>>,
    /// The same by time. Invariant: one entry for each address of `peers`.
    by_time: BTreeSet<(Instant, PeerId, Multiaddr)>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    /// Nobody has asked. Not again before `earliest`.
    Idle { earliest: Instant },
    /// Due at that instant.
    Due(Instant),
}

impl Discovery {
    /// For the peer `local`; `seed` makes its name on the link and its delays. The settings are
    /// taken as they are: it is [`Mdns::new`](crate::Mdns::new) that checks them.
    pub fn new(local: PeerId, config: Config, seed: [u8; 32], now: Instant) -> Self {
        let mut random = u64::from_le_bytes([7; 8]);
        for byte in seed {
            random = next(random ^ u64::from(byte));
        }
        Self {
            service: wire::service_name(config.private_network.as_deref()),
            // The spec's 32 random characters; not the peer id, which the addresses tell anyway.
            instance: seed.iter().map(|byte| letter(*byte)).collect(),
            config,
            local,
            addrs: Vec::new(),
            ask_at: now,
            pause: SECOND_QUESTION,
            answer: Answer::Idle { earliest: now },
            random,
            peers: BTreeMap::new(),
            by_time: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    /// From now on these addresses reach us. Those that are of no use to others on the link are
    /// left out: loopback, Unix sockets, names, relays. New ones are told without being asked, and
    /// so is that the others do not reach us any more (RFC 6762, section 10.1).
    pub fn set_addrs(&mut self, addrs: impl IntoIterator<Item = Multiaddr>, now: Instant) {
        let addrs = addrs.into_iter().map(|addr| addr.with_peer(self.local));
        let mut addrs: Vec<_> = addrs.filter(reaches_others).collect();
        addrs.truncate(self.config.max_addrs);
        let is_new = addrs.iter().any(|addr| !self.addrs.contains(addr));
        let old = std::mem::replace(&mut self.addrs, addrs);
        let gone: Vec<_> = old
            .into_iter()
            .filter(|addr| !self.addrs.contains(addr))
            .collect();
        if !gone.is_empty() {
            let packets =
                wire::encode_answers(&self.service, &self.instance, &gone, Duration::ZERO);
            packets
                .into_iter()
                .for_each(|packet| self.send(Some(packet)));
        }
        if is_new {
            self.handle_question(now);
        }
    }

    /// Asks at once: the network may have changed.
    pub fn ask(&mut self, now: Instant) {
        self.ask_at = now;
        self.pause = SECOND_QUESTION;
    }

    /// When to call [`Discovery::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Instant {
        let answer = match self.answer {
            Answer::Idle { .. } => Instant::FAR_FUTURE,
            Answer::Due(at) => at,
        };
        let expiry = self.by_time.first().map(|(until, ..)| *until);
        self.ask_at
            .min(answer)
            .min(expiry.unwrap_or(Instant::FAR_FUTURE))
    }

    /// Moves the schedule to `now`. Early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.ask_at {
            let question = wire::encode_question(&self.service);
            self.send(question);
            // Ever more rarely (RFC 6762, section 5.2): what an interface that has just come up is
            // given to send may be lost for seconds.
            let pause = self.pause.min(self.config.query_interval);
            self.ask_at = now + pause;
            self.pause = pause * 2;
        }
        if let Answer::Due(at) = self.answer
            && now >= at
        {
            let earliest = now + self.config.answer_interval;
            self.answer = Answer::Idle { earliest };
            let ttl = self.config.ttl;
            for packet in wire::encode_answers(&self.service, &self.instance, &self.addrs, ttl) {
                self.send(Some(packet));
            }
        }
        self.expire(now);
    }

    /// Takes a packet of the group in. What is not for us is ignored.
    pub fn handle_packet(&mut self, packet: &[u8], now: Instant) {
        match wire::decode(packet, &self.service, &self.instance) {
            None => {}
            Some(Message::Question) => self.handle_question(now),
            Some(Message::Services) => {
                let answer = wire::encode_services(&self.service, self.config.ttl);
                if matches!(self.answer, Answer::Idle { earliest } if now >= earliest) {
                    self.answer = Answer::Idle {
                        earliest: now + self.config.answer_interval,
                    };
                    self.send(answer);
                }
            }
            Some(Message::Answer(found)) => {
                let repeated: BTreeSet<PeerId> = found
                    .into_iter()
                    .filter_map(|one| self.handle_found(one, now))
                    .collect();
                self.expire(now);
                for peer in repeated {
                    if self.peers.contains_key(&peer) {
                        self.outputs.push_back(Output::Kept { peer });
                    }
                }
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Everybody who is known, with their addresses.
    pub fn peers(&self) -> impl Iterator<Item = (&PeerId, Vec<&Multiaddr>)> {
        self.peers
            .iter()
            .map(|(peer, addrs)| (peer, addrs.keys().collect()))
    }

    /// The addresses of `peer`, each with when it is forgotten unless it is repeated.
    pub fn addrs_of(&self, peer: &PeerId) -> impl Iterator<Item = (&Multiaddr, Instant)> {
        let addrs = self.peers.get(peer).into_iter().flatten();
        addrs.map(|(addr, until)| (addr, *until))
    }

    fn handle_question(&mut self, now: Instant) {
        if let Answer::Idle { earliest } = self.answer {
            self.random = next(self.random);
            let delay = ANSWER_DELAY + Duration::from_millis(self.random % 100);
            self.answer = Answer::Due((now + delay).max(earliest));
        }
    }

    /// Takes one address in; the peer if it was known.
    fn handle_found(&mut self, found: Found, now: Instant) -> Option<PeerId> {
        let Found { peer, addr, ttl } = found;
        if peer == self.local || !reaches_others(&addr) {
            return None;
        }
        let until = now + ttl.min(self.config.max_ttl);
        let known = self.peers.get(&peer);
        let old = known.and_then(|addrs| addrs.get(&addr)).copied();
        match old {
            Some(old) => {
                self.by_time.remove(&(old, peer, addr.clone()));
            }
            None => {
                let has_room = match known {
                    None => self.peers.len() < self.config.max_peers,
                    Some(addrs) => addrs.len() < self.config.max_addrs,
                };
                if ttl.is_zero() || !has_room {
                    return None;
                }
                let addr = addr.clone();
                self.outputs.push_back(Output::Found { peer, addr });
            }
        }
        self.by_time.insert((until, peer, addr.clone()));
        self.peers.entry(peer).or_default().insert(addr, until);
        old.map(|_| peer)
    }

    fn expire(&mut self, now: Instant) {
        while self.by_time.first().is_some_and(|(at, ..)| *at <= now)
            && let Some((_, peer, addr)) = self.by_time.pop_first()
        {
            if let Some(addrs) = self.peers.get_mut(&peer) {
                addrs.remove(&addr);
                if addrs.is_empty() {
                    self.peers.remove(&peer);
                }
            }
            self.outputs.push_back(Output::Lost { peer, addr });
        }
    }

    fn send(&mut self, packet: Option<Vec<u8>>) {
        if let Some(packet) = packet.filter(|_| self.outputs.len() < MAX_OUTPUTS) {
            self.outputs.push_back(Output::Send(packet.into()));
        }
    }
}

/// Whether others on the link can use it: nothing that is ours alone, no name that another network
/// answers for, and no way through somebody else.
fn reaches_others(addr: &Multiaddr) -> bool {
    let is_relayed = addr.iter().any(|part| part == Part::P2pCircuit);
    addr.ip().is_some() && Reach::of(addr) >= Reach::Network && !is_relayed
}

/// A step of a small generator (splitmix64): delays need no more.
fn next(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn letter(byte: u8) -> char {
    char::from(b'a'.saturating_add(byte % 26))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEC: Duration = Duration::from_secs(1);

    fn peer(n: u8) -> PeerId {
        // An identity multihash is a valid peer id whatever its digest.
        PeerId::from_bytes(&[0, 1, n]).unwrap()
    }

    fn machine(n: u8) -> Discovery {
        let mut machine = Discovery::new(peer(n), Config::default(), [n; 32], Instant::ZERO);
        let addr = format!("/ip4/10.0.0.{n}/udp/4001/quic-v1").parse().unwrap();
        let loopback = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        machine.set_addrs([addr, loopback], Instant::ZERO);
        machine
    }

    fn sent(machine: &mut Discovery) -> Vec<Bytes> {
        let mut sent = Vec::new();
        while let Some(output) = machine.poll_output() {
            if let Output::Send(packet) = output {
                sent.push(packet);
            }
        }
        sent
    }

    #[test]
    fn it_asks_at_once_and_then_ever_more_rarely_down_to_every_five_minutes() {
        let mut machine = Discovery::new(peer(1), Config::default(), [1; 32], Instant::ZERO);
        let mut asked = Vec::new();
        for _ in 0..12 {
            let at = machine.poll_timeout();
            machine.handle_timeout(at);
            assert_eq!(sent(&mut machine).len(), 1);
            asked.push((at - Instant::ZERO).as_secs());
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111]);
    }

    #[test]
    fn two_find_each_other_and_lose_who_falls_silent() {
        let (mut one, mut two) = (machine(1), machine(2));
        let now = Instant::ZERO + SEC / 2;
        one.handle_timeout(now);
        for packet in sent(&mut one) {
            one.handle_packet(&packet, now);
            two.handle_packet(&packet, now);
        }
        assert_eq!(one.peers().count(), 0, "its own answer is no peer");
        let (found, addrs) = two.peers().next().unwrap();
        assert_eq!((*found, addrs.len()), (peer(1), 1), "without loopback");

        let gone = now + Config::default().ttl;
        two.handle_timeout(gone);
        assert!(
            two.poll_output()
                .is_some_and(|output| matches!(output, Output::Found { .. }))
        );
        let mut outputs = std::iter::from_fn(|| two.poll_output());
        assert!(
            outputs
                .any(|output| matches!(output, Output::Lost { peer: lost, .. } if lost == peer(1)))
        );
    }

    #[test]
    fn who_leaves_says_goodbye() {
        let (mut one, mut two) = (machine(1), machine(2));
        let now = Instant::ZERO + SEC / 2;
        one.handle_timeout(now);
        for packet in sent(&mut one) {
            two.handle_packet(&packet, now);
        }
        assert_eq!(two.peers().count(), 1);
        one.set_addrs([], now + SEC);
        for packet in sent(&mut one) {
            two.handle_packet(&packet, now + SEC);
        }
        assert_eq!(two.peers().count(), 0);
        one.set_addrs([], now + SEC);
        assert_eq!(sent(&mut one).len(), 0, "once");
    }

    #[test]
    fn what_is_repeated_is_kept_for_longer_and_told_once_a_packet() {
        let (mut one, mut two) = (machine(1), machine(2));
        let addrs = ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/2"];
        one.set_addrs(addrs.map(|addr| addr.parse().unwrap()), Instant::ZERO);
        let ttl = Config::default().ttl;
        for secs in [1, 3] {
            let now = Instant::ZERO + SEC * secs;
            one.handle_question(now);
            one.handle_timeout(now + SEC);
            for packet in sent(&mut one) {
                two.handle_packet(&packet, now);
            }
            let untils: Vec<_> = two.addrs_of(&peer(1)).map(|(_, until)| until).collect();
            assert_eq!(untils, [now + ttl; 2]);
        }
        let outputs: Vec<_> = std::iter::from_fn(|| two.poll_output()).collect();
        let found = |output: &&Output| matches!(output, Output::Found { .. });
        assert_eq!(outputs.iter().filter(found).count(), 2);
        assert_eq!(outputs.last(), Some(&Output::Kept { peer: peer(1) }));
        assert_eq!(outputs.len(), 3);
        assert_eq!(two.addrs_of(&peer(2)).count(), 0);
    }

    #[test]
    fn addresses_of_no_use_to_others_are_neither_told_nor_taken() {
        let useless = [
            "/unix/%2Frun%2Fdocker.sock",
            "/memory/1",
            "/dns4/localhost/tcp/1",
            "/dnsaddr/example.com",
            "/ip4/127.0.0.1/tcp/1",
            "/ip6/::ffff:127.0.0.1/tcp/1",
            "/ip4/224.0.0.251/udp/5353/quic-v1",
            "/ip4/255.255.255.255/udp/1/quic-v1",
            &format!("/ip4/10.0.0.9/tcp/1/p2p/{}/p2p-circuit", peer(9)),
        ];
        let useless = useless.map(|addr| addr.parse::<Multiaddr>().unwrap());
        let mut one = machine(1);
        one.set_addrs(useless.clone(), Instant::ZERO);
        assert_eq!(one.addrs, []);

        let claims = useless.map(|addr| addr.with_peer(peer(3)));
        let ttl = Config::default().ttl;
        for packet in wire::encode_answers("_p2p._udp.local", "x", &claims, ttl) {
            assert!(wire::decode(&packet, "_p2p._udp.local", "y").is_some());
            one.handle_packet(&packet, Instant::ZERO);
        }
        assert_eq!(one.peers().count(), 0);
    }

    #[test]
    fn who_asks_for_our_port_by_name_is_answered_in_time() {
        let mut machine = machine(1);
        let asked = Instant::ZERO + SEC * 10;
        machine.handle_timeout(asked);
        machine.handle_timeout(asked + SEC * 2);
        sent(&mut machine);
        let name = format!("{}._p2p._udp.local", machine.instance);
        let mut question = wire::encode_question(&name).unwrap();
        // The type: SRV.
        let at = question.len() - 3;
        question[at] = 33;
        let now = asked + SEC * 5;
        machine.handle_packet(&question, now);
        let at = machine.poll_timeout();
        assert!(at <= now + Duration::from_millis(120), "{:?}", at - now);
        machine.handle_timeout(at);
        assert_eq!(sent(&mut machine).len(), 1);
    }

    #[test]
    fn a_flood_of_questions_makes_one_answer_a_second() {
        let mut machine = machine(1);
        let question = wire::encode_question("_p2p._udp.local").unwrap();
        let mut answers = 0;
        for ms in 0..10_000u32 {
            let now = Instant::ZERO + Duration::from_millis(ms.into());
            machine.handle_packet(&question, now);
            machine.handle_timeout(now);
            answers += sent(&mut machine).len();
        }
        // Four questions of its own are among them.
        assert!((12..=14).contains(&answers), "{answers}");
    }

    proptest! {
        #[test]
        fn a_hostile_link_is_remembered_within_bounds(
            claims in proptest::collection::vec((0u8..30, 0u8..30, 0u32..100_000), 0..100),
        ) {
            let mut config = Config::default();
            (config.max_peers, config.max_addrs) = (5, 3);
            let mut machine = Discovery::new(peer(200), config.clone(), [0; 32], Instant::ZERO);
            for (at, (who, port, secs)) in claims.into_iter().enumerate() {
                let addr = format!("/ip4/10.0.0.1/tcp/{port}/p2p/{}", peer(who));
                let ttl = Duration::from_secs(secs.into());
                let packets = wire::encode_answers("_p2p._udp.local", "x", &[addr.parse().unwrap()], ttl);
                let now = Instant::ZERO + SEC * at as u32;
                machine.handle_packet(&packets[0], now);
                prop_assert!(machine.peers().count() <= 5);
                prop_assert!(machine.peers().all(|(_, addrs)| (1..=3).contains(&addrs.len())));
                prop_assert!(machine.poll_timeout() <= now + config.max_ttl);
                let by_time: BTreeSet<_> = machine
                    .peers
                    .iter()
                    .flat_map(|(peer, addrs)| {
                        addrs.iter().map(|(addr, until)| (*until, *peer, addr.clone()))
                    })
                    .collect();
                prop_assert_eq!(&by_time, &machine.by_time);
                while machine.poll_output().is_some() {}
            }
        }
    }
}
