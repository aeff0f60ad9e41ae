//! What we know of peers: addresses and protocols, bounded. Pure.
//!
//! ```text
//!   nearby (the local network) < told (anybody's word) < signed (the peer's own record)
//!     < user (the application)
//! ```
//!
//! Within a peer a stronger source is never crowded out by a weaker one. A signed record replaces
//! what was told before; what is told later does not replace it. Between peers those that the
//! application knows are forgotten last, and of the others those first that changed longest ago.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use p2p_core::{AddrExt, Instant, Multiaddr, PeerId, Protocol};

use crate::limits::Limits;

/// Where an address of a peer came from, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AddrSource {
    /// Somebody in the local network says so. Stands beside all else that is known.
    Nearby,
    /// Somebody said so: an unsigned identify message, another peer, a dial that worked.
    Told,
    /// The peer signed it.
    Signed,
    /// The application gave it. Does not expire.
    User,
}

impl fmt::Display for AddrSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nearby => "nearby",
            Self::Told => "told",
            Self::Signed => "signed",
            Self::User => "user",
        })
    }
}

/// An address of a peer, and how we know it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownAddr {
    /// The address, ending in `/p2p/<peer>`.
    pub addr: Multiaddr,
    /// Who said so.
    pub source: AddrSource,
    /// When it is forgotten; [`Instant::FAR_FUTURE`] for never.
    pub expires: Instant,
    /// Whether the last dial to it worked.
    pub worked: bool,
}

/// Addresses and protocols per peer.
pub(crate) struct AddressBook {
    /// What all entries hold, in bytes. Invariant: the sum of `Known::bytes`.
    bytes: usize,
    peers: BTreeMap<PeerId, Known>,
    /// Who is forgotten first. Invariant: one entry for each peer, `Known::place`.
    order: BTreeMap<Place, PeerId>,
    next: u64,
    caps: Caps,
    /// Peers that changed and are not yet stored. `None`: nothing is stored.
    changed: Option<BTreeSet<PeerId>>,
}

/// What an address is worth: who said it, and whether it worked.
type Rank = (AddrSource, bool);

/// Whether the application knows the peer, and how recently it changed.
type Place = (bool, u64);

#[derive(Clone, Copy)]
struct Caps {
    peers: usize,
    addrs: usize,
    protocols: usize,
    bytes: usize,
}

#[derive(Clone, Default)]
struct Known {
    /// Best first.
    addrs: Vec<KnownAddr>,
    /// The number of the newest signed record.
    seq: Option<u64>,
    protocols: Vec<Protocol>,
    /// What this entry holds.
    bytes: usize,
    place: Place,
}

/// Everything known of one peer, to be kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) addrs: Vec<KnownAddr>,
    pub(crate) seq: Option<u64>,
    pub(crate) protocols: Vec<Protocol>,
}

impl AddressBook {
    pub(crate) fn new(limits: &Limits, stored: bool) -> Self {
        Self {
            bytes: 0,
            peers: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 0,
            caps: Caps {
                peers: limits.max_known_peers,
                addrs: limits.max_addrs_per_peer,
                protocols: limits.max_protocols_per_peer,
                bytes: limits.max_known_bytes,
            },
            changed: stored.then(BTreeSet::new),
        }
    }

    /// Addresses of `peer`, best first, each ending in `/p2p/<peer>`.
    pub(crate) fn addrs(&self, peer: &PeerId, now: Instant) -> Vec<Multiaddr> {
        let known = self.known(peer, now).into_iter();
        known.map(|known| known.addr).collect()
    }

    /// The same with where they came from.
    pub(crate) fn known(&self, peer: &PeerId, now: Instant) -> Vec<KnownAddr> {
        let known = self.peers.get(peer).into_iter();
        let addrs = known.flat_map(|known| &known.addrs);
        addrs.filter(|addr| addr.expires > now).cloned().collect()
    }

    /// The peers that something is known of, in order.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    /// Adds addresses in the order given. Addresses of somebody else, and those beyond the limits
    /// that no weaker one makes room for, are left out.
    pub(crate) fn add(
        &mut self,
        peer: PeerId,
        addrs: impl IntoIterator<Item = Multiaddr>,
        source: AddrSource,
        until: Instant,
        now: Instant,
    ) {
        let max = self.caps.addrs;
        self.change(peer, |known| {
            known.forget_expired(now);
            known.add(peer, addrs, source, until, max);
        });
    }

    /// Replaces the addresses that came from `source`, except for what works. What is told while a signed record is
    /// there changes nothing.
    pub(crate) fn set(
        &mut self,
        peer: PeerId,
        addrs: impl IntoIterator<Item = Multiaddr>,
        source: AddrSource,
        until: Instant,
        now: Instant,
    ) {
        let max = self.caps.addrs;
        self.change(peer, |known| {
            known.forget_expired(now);
            let signed = |known: &Known| known.has(AddrSource::Signed);
            if source == AddrSource::Told && signed(known) {
                return;
            }
            known.remove(source);
            known.add(peer, addrs, source, until, max);
        });
    }

    /// Takes a signed record; false if a newer one is known.
    pub(crate) fn set_signed(
        &mut self,
        peer: PeerId,
        seq: u64,
        addrs: impl IntoIterator<Item = Multiaddr>,
        until: Instant,
        now: Instant,
    ) -> bool {
        let known = self.peers.get(&peer);
        if known.and_then(|known| known.seq) > Some(seq) {
            return false;
        }
        let max = self.caps.addrs;
        self.change(peer, |known| {
            known.forget_expired(now);
            known.remove(AddrSource::Told);
            known.remove(AddrSource::Signed);
            known.seq = Some(seq);
            known.add(peer, addrs, AddrSource::Signed, until, max);
        });
        true
    }

    /// Puts an address that just worked in front, for as long as it was known or `until`.
    pub(crate) fn confirm(&mut self, peer: PeerId, addr: &Multiaddr, until: Instant) {
        let max = self.caps.addrs;
        self.change(peer, |known| {
            known.confirm(addr.with_peer(peer), until, max)
        });
    }

    /// Notes that a dial failed: an address that worked before is no better than others.
    pub(crate) fn failed(&mut self, peer: PeerId, addr: &Multiaddr) {
        let addr = addr.with_peer(peer);
        let known = self.peers.get_mut(&peer);
        let known = known.and_then(|known| known.addrs.iter_mut().find(|one| one.addr == addr));
        if let Some(known) = known {
            known.worked = false;
        }
    }

    /// Forgets an address, unless the application gave it: somebody else answers there.
    pub(crate) fn disprove(&mut self, peer: PeerId, addr: &Multiaddr) {
        let addr = addr.with_peer(peer);
        if self.peers.contains_key(&peer) {
            self.change(peer, |known| {
                known
                    .addrs
                    .retain(|one| one.addr != addr || one.source == AddrSource::User);
            });
        }
    }

    /// Keeps what was learned at least `until`: we were connected until now.
    pub(crate) fn keep(&mut self, peer: PeerId, until: Instant) {
        if self.peers.contains_key(&peer) {
            self.change(peer, |known| {
                for addr in &mut known.addrs {
                    addr.expires = addr.expires.max(until);
                }
            });
        }
    }

    /// Forgets everything about `peer`; false if nothing was known.
    pub(crate) fn forget(&mut self, peer: &PeerId) -> bool {
        let Some(known) = self.peers.remove(peer) else {
            return false;
        };
        self.order.remove(&known.place);
        self.bytes -= known.bytes;
        self.note_change(*peer);
        true
    }

    /// Replaces the protocols that `peer` says it answers.
    pub(crate) fn set_protocols(&mut self, peer: PeerId, mut protocols: Vec<Protocol>) {
        protocols.truncate(self.caps.protocols);
        let known = self.peers.get(&peer);
        if known.map_or(&[][..], |known| &known.protocols) != protocols {
            self.change(peer, |known| known.protocols = protocols);
        }
    }

    pub(crate) fn protocols(&self, peer: &PeerId) -> Vec<Protocol> {
        let known = self.peers.get(peer);
        known
            .map(|known| known.protocols.clone())
            .unwrap_or_default()
    }

    /// Everything known of `peer`.
    pub(crate) fn entry(&self, peer: &PeerId) -> Option<Entry> {
        let known = self.peers.get(peer)?;
        Some(Entry {
            addrs: known.addrs.clone(),
            seq: known.seq,
            protocols: known.protocols.clone(),
        })
    }

    /// Takes back what was kept elsewhere, unless something is known already.
    pub(crate) fn restore(&mut self, peer: PeerId, entry: Entry, now: Instant) {
        if self.peers.contains_key(&peer) {
            return;
        }
        let caps = self.caps;
        self.change(peer, |known| {
            known.addrs = entry.addrs;
            known
                .addrs
                .retain(|one| one.addr.len() <= MAX_ADDR && one.addr.peer() == Some(peer));
            known.forget_expired(now);
            known.addrs.truncate(caps.addrs);
            known.seq = entry.seq;
            known.protocols = entry.protocols;
            known.protocols.truncate(caps.protocols);
        });
        if let Some(changed) = &mut self.changed {
            changed.remove(&peer);
        }
    }

    /// Peers that changed since the last call.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<PeerId> {
        self.changed
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Changes the entry of `peer`, made if needed, and forgets others until all fits. An entry in
    /// which nothing is left is none: peers that come and go take nobody's place.
    fn change(&mut self, peer: PeerId, change: impl FnOnce(&mut Known)) {
        let mut known = self.peers.remove(&peer).unwrap_or_default();
        self.order.remove(&known.place);
        self.bytes -= known.bytes;
        change(&mut known);
        if known.is_empty() {
            return self.note_change(peer);
        }
        known.bytes = known.size();
        self.next += 1;
        known.place = (known.has(AddrSource::User), self.next);
        self.bytes += known.bytes;
        self.order.insert(known.place, peer);
        self.peers.insert(peer, known);
        self.note_change(peer);
        while self.peers.len() > self.caps.peers || self.bytes > self.caps.bytes {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            let forgotten = self.peers.remove(&oldest);
            self.bytes -= forgotten.map_or(0, |known| known.bytes);
            self.note_change(oldest);
        }
    }

    fn note_change(&mut self, peer: PeerId) {
        if let Some(changed) = &mut self.changed {
            changed.insert(peer);
        }
    }
}

impl Known {
    fn is_empty(&self) -> bool {
        self.addrs.is_empty() && self.protocols.is_empty() && self.seq.is_none()
    }

    fn has(&self, source: AddrSource) -> bool {
        self.addrs.iter().any(|addr| addr.source == source)
    }

    fn forget_expired(&mut self, now: Instant) {
        self.addrs.retain(|addr| addr.expires > now);
        if !self.has(AddrSource::Signed) {
            self.seq = None;
        }
    }

    fn add(
        &mut self,
        peer: PeerId,
        addrs: impl IntoIterator<Item = Multiaddr>,
        source: AddrSource,
        until: Instant,
        max: usize,
    ) {
        for addr in addrs {
            if addr.peer().is_some_and(|other| other != peer) || addr.len() > MAX_ADDR {
                continue;
            }
            let addr = addr.with_peer(peer);
            if let Some(known) = self.addrs.iter_mut().find(|known| known.addr == addr) {
                if source > known.source {
                    known.source = source;
                }
                known.expires = known.expires.max(until);
                continue;
            }
            if !self.has_room((source, false), max) {
                continue;
            }
            self.addrs.reserve_exact(1);
            self.addrs.push(KnownAddr {
                addr,
                source,
                expires: until,
                worked: false,
            });
        }
        self.sort();
    }

    /// Makes room for one more that is worth `rank`, at the cost of a weaker one if it must.
    fn has_room(&mut self, rank: Rank, max: usize) -> bool {
        if self.addrs.len() < max {
            return true;
        }
        let all = self.addrs.iter().enumerate();
        let ranks = all.map(|(at, known)| (at, (known.source, known.worked)));
        // The last of the weakest: the worst of them.
        match ranks.rev().min_by_key(|(_, rank)| *rank) {
            Some((at, weakest)) if weakest < rank => {
                self.addrs.remove(at);
                true
            }
            _ => false,
        }
    }

    /// Removes what came from `source`. What works is more than words, and stays on its own.
    fn remove(&mut self, source: AddrSource) {
        self.addrs
            .retain(|known| known.source != source || (known.worked && source != AddrSource::User));
        for known in &mut self.addrs {
            if known.source == source {
                known.source = AddrSource::Told;
            }
        }
    }

    fn confirm(&mut self, addr: Multiaddr, until: Instant, max: usize) {
        let at = self.addrs.iter().position(|known| known.addr == addr);
        let mut known = match at {
            Some(at) => self.addrs.remove(at),
            None => KnownAddr {
                addr,
                source: AddrSource::Told,
                expires: until,
                worked: true,
            },
        };
        known.worked = true;
        // Somebody was there: that no longer depends on who said so.
        known.source = known.source.max(AddrSource::Told);
        known.expires = known.expires.max(until);
        // What works is worth more than what somebody said, but not than what the application did.
        if at.is_none() && !self.has_room((AddrSource::User, false), max) {
            return;
        }
        self.addrs.reserve_exact(1);
        self.addrs.insert(0, known);
        self.sort();
    }

    /// Best first: what worked, then the stronger source; otherwise as it came.
    fn sort(&mut self) {
        self.addrs
            .sort_by_key(|known| (!known.worked, std::cmp::Reverse(known.source)));
    }

    /// About what it holds, in bytes.
    fn size(&self) -> usize {
        let addrs: usize = self.addrs.iter().map(|one| one.addr.len() + ENTRY).sum();
        let protocols = self.protocols.iter().map(|id| id.as_str().len() + ENTRY);
        PEER + addrs + protocols.sum::<usize>()
    }
}

/// The most that one peer can make the book hold, in bytes.
pub(crate) fn most_of_one_peer(limits: &Limits) -> usize {
    let addrs = limits.max_addrs_per_peer.saturating_mul(MAX_ADDR + ENTRY);
    let protocols = limits.max_protocols_per_peer;
    let protocols = protocols.saturating_mul(Protocol::MAX_LEN + ENTRY);
    addrs.saturating_add(protocols).saturating_add(PEER)
}

/// The longest address that is remembered, in bytes; a relayed one with certificate hashes takes
/// about 300.
const MAX_ADDR: usize = 1024;
/// What a peer takes beside its addresses and protocols, in bytes.
const PEER: usize = 256;
/// What an address or a protocol takes beside its text, in bytes.
const ENTRY: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const NOW: Instant = Instant::ZERO;

    fn peer(n: u8) -> PeerId {
        // An identity multihash is a valid peer id whatever its digest.
        PeerId::from_bytes(&[0, 1, n]).unwrap()
    }

    fn addr(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    fn at(seconds: u64) -> Instant {
        NOW + Duration::from_secs(seconds)
    }

    fn book(peers: usize, addrs: usize, bytes: usize) -> AddressBook {
        let limits = Limits {
            max_known_peers: peers,
            max_addrs_per_peer: addrs,
            max_known_bytes: bytes,
            ..Limits::default()
        };
        AddressBook::new(&limits, true)
    }

    fn user(book: &mut AddressBook, peer: PeerId, addrs: impl IntoIterator<Item = Multiaddr>) {
        book.add(peer, addrs, AddrSource::User, Instant::FAR_FUTURE, NOW);
    }

    fn told(book: &mut AddressBook, peer: PeerId, addrs: impl IntoIterator<Item = Multiaddr>) {
        book.set(peer, addrs, AddrSource::Told, at(3600), NOW);
    }

    fn nearby(book: &mut AddressBook, peer: PeerId, addrs: impl IntoIterator<Item = Multiaddr>) {
        book.set(peer, addrs, AddrSource::Nearby, at(60), NOW);
    }

    fn ports(book: &AddressBook, peer: PeerId, now: Instant) -> Vec<u16> {
        let addrs = book.addrs(&peer, now).into_iter();
        addrs
            .map(|addr| addr.tcp_socket().unwrap().port())
            .collect()
    }

    #[test]
    fn peers_and_addresses_are_capped() {
        let mut book = book(2, 3, 1 << 20);
        for n in 0..5 {
            told(&mut book, peer(n), (0..10).map(addr));
        }
        assert_eq!(book.peers.len(), 2);
        assert_eq!(book.order.len(), 2);
        assert!(book.addrs(&peer(2), NOW).is_empty());
        assert_eq!(book.addrs(&peer(4), NOW).len(), 3);
    }

    #[test]
    fn what_is_held_is_capped_in_bytes() {
        let mut book = book(1000, 64, 10_000);
        let long = Protocol::new(&format!("/{}", "x".repeat(900))).unwrap();
        for n in 0..50 {
            told(&mut book, peer(n), (0..5).map(addr));
            book.set_protocols(peer(n), vec![long.clone(); 3]);
            let held: usize = book.peers.values().map(Known::size).sum();
            assert_eq!(held, book.bytes);
            assert!(held <= 10_000, "{held}");
        }
        assert!(!book.addrs(&peer(49), NOW).is_empty());
        book.set_protocols(peer(49), vec![long; 20]);
        assert_eq!(
            (book.peers.len(), book.bytes),
            (0, 0),
            "one that is too large alone"
        );
    }

    #[test]
    fn an_address_that_worked_comes_first_and_is_kept_once() {
        let mut book = book(2, 3, 1 << 20);
        told(&mut book, peer(1), [addr(1), addr(2), addr(2)]);
        book.confirm(peer(1), &addr(2), at(10));
        assert_eq!(ports(&book, peer(1), NOW), [2, 1]);
        book.failed(peer(1), &addr(2));
        told(&mut book, peer(1), [addr(1), addr(2)]);
        assert_eq!(ports(&book, peer(1), NOW), [1, 2]);
    }

    #[test]
    fn addresses_of_somebody_else_and_absurd_ones_are_left_out() {
        let mut book = book(2, 3, 1 << 20);
        let long = (0..400).fold(addr(1), |addr, _| {
            addr.with(p2p_core::multiaddr_parts::Part::Tcp(1))
        });
        told(&mut book, peer(1), [addr(1).with_peer(peer(2)), long]);
        assert!(book.addrs(&peer(1), NOW).is_empty());
    }

    #[test]
    fn what_is_learned_does_not_crowd_out_what_the_application_gave() {
        let mut book = book(2, 3, 1 << 20);
        told(&mut book, peer(1), (0..10).map(addr));
        user(&mut book, peer(1), [addr(100), addr(101)]);
        assert_eq!(ports(&book, peer(1), NOW), [100, 101, 0]);
        book.set_signed(peer(1), 1, (10..20).map(addr), at(3600), NOW);
        assert_eq!(ports(&book, peer(1), NOW), [100, 101, 10]);
        book.confirm(peer(1), &addr(30), at(10));
        assert_eq!(ports(&book, peer(1), NOW), [30, 100, 101]);

        for n in 2..20 {
            told(&mut book, peer(n), [addr(1)]);
        }
        assert!(
            ports(&book, peer(1), NOW).contains(&100),
            "nor do other peers"
        );
    }

    #[test]
    fn setting_replaces_what_came_from_the_same_source() {
        let mut book = book(2, 8, 1 << 20);
        user(&mut book, peer(1), [addr(1)]);
        told(&mut book, peer(1), [addr(2), addr(3)]);
        told(&mut book, peer(1), [addr(3), addr(4)]);
        assert_eq!(ports(&book, peer(1), NOW), [1, 3, 4]);
        book.set(
            peer(1),
            [addr(9)],
            AddrSource::User,
            Instant::FAR_FUTURE,
            NOW,
        );
        assert_eq!(ports(&book, peer(1), NOW), [9, 3, 4]);
    }

    #[test]
    fn a_signed_record_replaces_what_was_told_and_only_a_newer_one_replaces_it() {
        let mut book = book(2, 8, 1 << 20);
        told(&mut book, peer(1), [addr(1), addr(2)]);
        book.confirm(peer(1), &addr(2), at(10));
        assert!(book.set_signed(peer(1), 7, [addr(3), addr(2)], at(100), NOW));
        assert_eq!(
            ports(&book, peer(1), NOW),
            [2, 3],
            "what worked is still first"
        );
        told(&mut book, peer(1), [addr(4)]);
        assert_eq!(ports(&book, peer(1), NOW), [2, 3]);
        assert!(!book.set_signed(peer(1), 6, [addr(5)], at(100), NOW));
        assert!(book.set_signed(peer(1), 8, [addr(6)], at(100), NOW));
        assert_eq!(ports(&book, peer(1), NOW), [2, 6], "what works stays");
        // Once it has expired, words count again.
        book.set(peer(1), [addr(7)], AddrSource::Told, at(200), at(101));
        assert_eq!(ports(&book, peer(1), at(101)), [2, 7]);
        assert!(book.set_signed(peer(1), 1, [addr(8)], at(300), at(101)));
    }

    #[test]
    fn what_is_learned_expires_and_a_connection_keeps_it() {
        let mut book = book(2, 8, 1 << 20);
        user(&mut book, peer(1), [addr(1)]);
        book.add(peer(1), [addr(2)], AddrSource::Told, at(10), NOW);
        assert_eq!(ports(&book, peer(1), at(9)), [1, 2]);
        assert_eq!(ports(&book, peer(1), at(10)), [1]);
        book.keep(peer(1), at(20));
        assert_eq!(ports(&book, peer(1), at(19)), [1, 2]);
    }

    #[test]
    fn what_the_local_network_says_stands_beside_a_record_and_is_taken_back_alone() {
        let mut book = book(2, 8, 1 << 20);
        assert!(book.set_signed(peer(1), 1, [addr(1)], at(3600), NOW));
        nearby(&mut book, peer(1), [addr(2), addr(1)]);
        assert_eq!(ports(&book, peer(1), NOW), [1, 2]);
        assert!(book.set_signed(peer(1), 2, [addr(3)], at(3600), NOW));
        assert_eq!(ports(&book, peer(1), NOW), [3, 2]);
        told(&mut book, peer(1), [addr(4)]);
        nearby(&mut book, peer(1), [addr(5)]);
        assert_eq!(ports(&book, peer(1), NOW), [3, 5]);
        assert_eq!(ports(&book, peer(1), at(60)), [3], "for its own time");
        nearby(&mut book, peer(1), []);
        assert_eq!(ports(&book, peer(1), NOW), [3]);
    }

    #[test]
    fn an_address_nearby_that_worked_is_not_taken_back_by_the_next_who_says_so() {
        let mut book = book(2, 8, 1 << 20);
        nearby(&mut book, peer(1), [addr(1), addr(2)]);
        book.confirm(peer(1), &addr(2), at(3600));
        nearby(&mut book, peer(1), []);
        assert_eq!(ports(&book, peer(1), at(3599)), [2]);
        assert_eq!(
            ports(&book, peer(1), at(3600)),
            [0; 0],
            "though not for ever"
        );
    }

    #[test]
    fn neighbours_who_come_and_go_crowd_out_nobody() {
        let mut book = book(4, 8, 1 << 20);
        told(&mut book, peer(1), [addr(1)]);
        told(&mut book, peer(2), [addr(1)]);
        for n in 3..100 {
            nearby(&mut book, peer(n), [addr(1)]);
            assert_eq!(book.peers.len(), 3);
            nearby(&mut book, peer(n), []);
        }
        assert_eq!(
            book.peers().copied().collect::<Vec<_>>(),
            [peer(1), peer(2)]
        );
    }

    #[test]
    fn an_address_where_somebody_else_answers_is_forgotten() {
        let mut book = book(2, 8, 1 << 20);
        user(&mut book, peer(1), [addr(1)]);
        told(&mut book, peer(1), [addr(2)]);
        book.disprove(peer(1), &addr(1));
        book.disprove(peer(1), &addr(2));
        assert_eq!(ports(&book, peer(1), NOW), [1]);
    }

    #[test]
    fn what_was_kept_comes_back_and_changes_are_named_once() {
        let mut first = book(4, 8, 1 << 20);
        user(&mut first, peer(1), [addr(1)]);
        first.set_signed(peer(1), 5, [addr(2)], at(100), NOW);
        first.set_protocols(peer(1), vec![Protocol::from_static("/x")]);
        assert_eq!(
            first.take_changed().into_iter().collect::<Vec<_>>(),
            [peer(1)]
        );
        assert!(first.take_changed().is_empty());

        let mut second = book(4, 8, 1 << 20);
        second.restore(peer(1), first.entry(&peer(1)).unwrap(), NOW);
        assert_eq!(second.entry(&peer(1)), first.entry(&peer(1)));
        assert!(second.take_changed().is_empty());
        assert!(second.forget(&peer(1)) && !second.forget(&peer(1)));
        assert_eq!(second.bytes, 0);
    }

    proptest! {
        #[test]
        fn caps_and_sums_hold_whatever_is_done(
            ops in proptest::collection::vec((0u8..9, 0u8..6, 0u16..12, 0u64..50), 0..150)
        ) {
            let mut book = book(4, 5, 3000);
            for (op, who, port, time) in ops {
                let (who, until, now) = (peer(who), at(time + 20), at(time));
                match op {
                    0 => book.add(who, [addr(port)], AddrSource::User, Instant::FAR_FUTURE, now),
                    1 => book.set(who, (port..port + 4).map(addr), AddrSource::Told, until, now),
                    2 => { book.set_signed(who, time, (port..port + 4).map(addr), until, now); }
                    3 => book.confirm(who, &addr(port), until),
                    4 => book.disprove(who, &addr(port)),
                    5 => { book.forget(&who); }
                    6 => book.keep(who, until),
                    7 => book.set(who, (0..port / 4).map(addr), AddrSource::Nearby, until, now),
                    _ => book.set_protocols(who, vec![Protocol::from_static("/a"); usize::from(port)]),
                }
                prop_assert!(book.peers.len() <= 4 && book.bytes <= 3000);
                prop_assert_eq!(book.order.len(), book.peers.len());
                prop_assert_eq!(book.peers.values().map(Known::size).sum::<usize>(), book.bytes);
                for (peer, known) in &book.peers {
                    prop_assert!(known.addrs.len() <= 5);
                    prop_assert_eq!(book.order.get(&known.place), Some(peer));
                }
            }
        }
    }
}
