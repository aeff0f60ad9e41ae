//! Who is in the local network, on one link.
//!
//! ```text
//!   start ── ask at once, again after 1 s, then every query_interval
//!   question came ── answer after a random 20 to 120 ms, at most once in answer_interval
//!   answer came ── Found; remembered until its time is over: Lost
//! ```
//!
//! [`Discovery`] is pure: packets and time come in as arguments, packets and news go out as values.
//!
//! Spec: libp2p/specs `discovery/mdns.md`; RFC 6762, sections 5.2, 6 and 10.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use p2p_core::{AddrExt, Instant, Multiaddr, PeerId};

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
    /// Questions asked so far, at most two are counted.
    asked: u8,
    answer: Answer,
    /// State of the generator for delays.
    random: u64,
    /// Invariant: at most `max_peers`, each with 1 to `max_addrs` addresses, and until when.
    peers: BTreeMap<PeerId, BTreeMap<Multiaddr, Instant>>,
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
    /// For the peer `local`; `seed` makes its name on the link and its delays.
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
            asked: 0,
            answer: Answer::Idle { earliest: now },
            random,
            peers: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// From now on these addresses reach us. Loopback addresses are left out. New ones are told
    /// without being asked, and so is that the others do not reach us any more (RFC 6762,
    /// section 10.1).
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
        self.asked = 0;
    }

    /// When to call [`Discovery::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Instant {
        let answer = match self.answer {
            Answer::Idle { .. } => Instant::FAR_FUTURE,
            Answer::Due(at) => at,
        };
        let expiry = self.peers.values().flat_map(BTreeMap::values).min();
        let expiry = expiry.copied().unwrap_or(Instant::FAR_FUTURE);
        self.ask_at.min(answer).min(expiry)
    }

    /// Moves the schedule to `now`. Early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.ask_at {
            let question = wire::encode_question(&self.service);
            self.send(question);
            let first = self.asked == 0;
            self.asked = 1;
            self.ask_at = now
                + if first {
                    SECOND_QUESTION
                } else {
                    self.config.query_interval
                };
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
        match wire::decode(packet, &self.service) {
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
                for one in found {
                    self.handle_found(one, now);
                }
                self.expire(now);
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

    fn handle_question(&mut self, now: Instant) {
        if let Answer::Idle { earliest } = self.answer {
            self.random = next(self.random);
            let delay = ANSWER_DELAY + Duration::from_millis(self.random % 100);
            self.answer = Answer::Due((now + delay).max(earliest));
        }
    }

    fn handle_found(&mut self, found: Found, now: Instant) {
        let Found { peer, addr, ttl } = found;
        if peer == self.local || !reaches_others(&addr) {
            return;
        }
        let full = self.peers.len() >= self.config.max_peers;
        let until = now + ttl.min(self.config.max_ttl);
        match self.peers.get_mut(&peer) {
            None if full || ttl.is_zero() => return,
            None => {
                self.peers
                    .entry(peer)
                    .or_default()
                    .insert(addr.clone(), until);
            }
            Some(known) => {
                if let Some(old) = known.get_mut(&addr) {
                    *old = until;
                    return;
                }
                if known.len() >= self.config.max_addrs || ttl.is_zero() {
                    return;
                }
                known.insert(addr.clone(), until);
            }
        }
        self.outputs.push_back(Output::Found { peer, addr });
    }

    fn expire(&mut self, now: Instant) {
        let outputs = &mut self.outputs;
        self.peers.retain(|peer, addrs| {
            addrs.retain(|addr, until| {
                let lives = now < *until;
                if !lives {
                    let (peer, addr) = (*peer, addr.clone());
                    outputs.push_back(Output::Lost { peer, addr });
                }
                lives
            });
            !addrs.is_empty()
        });
    }

    fn send(&mut self, packet: Option<Vec<u8>>) {
        if let Some(packet) = packet.filter(|_| self.outputs.len() < MAX_OUTPUTS) {
            self.outputs.push_back(Output::Send(packet.into()));
        }
    }
}

/// Whether others on the link can use it.
fn reaches_others(addr: &Multiaddr) -> bool {
    addr.ip()
        .is_none_or(|ip| !ip.is_loopback() && !ip.is_unspecified())
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
    use p2p_keys::Keypair;
    use proptest::prelude::*;

    const SEC: Duration = Duration::from_secs(1);

    fn peer(n: u8) -> PeerId {
        Keypair::ed25519_from_seed([n; 32]).to_peer_id()
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
    fn it_asks_at_once_again_after_a_second_and_then_every_five_minutes() {
        let mut machine = Discovery::new(peer(1), Config::default(), [1; 32], Instant::ZERO);
        let mut asked = Vec::new();
        for _ in 0..4 {
            let at = machine.poll_timeout();
            machine.handle_timeout(at);
            assert_eq!(sent(&mut machine).len(), 1);
            asked.push((at - Instant::ZERO).as_secs());
        }
        assert_eq!(asked, [0, 1, 301, 601]);
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
        // Two questions of its own are among them.
        assert!((10..=12).contains(&answers), "{answers}");
    }

    proptest! {
        #[test]
        fn a_hostile_link_is_remembered_within_bounds(
            claims in proptest::collection::vec((0u8..30, 0u8..30, 0u32..100_000), 0..300),
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
                while machine.poll_output().is_some() {}
            }
        }
    }
}
