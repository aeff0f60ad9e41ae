//! What we know of peers: addresses and protocols, bounded.

use std::collections::{BTreeMap, VecDeque};

use p2p_core::{AddrExt, Multiaddr, PeerId, Protocol};

/// Addresses and protocols per peer. The least recently changed peer is forgotten first.
pub(crate) struct AddressBook {
    /// What all entries hold, in bytes. Invariant: the sum of `Known::bytes`.
    bytes: usize,
    max_bytes: usize,
    peers: BTreeMap<PeerId, Known>,
    /// Peers, least recently changed first. Invariant: the keys of `peers`.
    order: VecDeque<PeerId>,
    max_peers: usize,
    max_addrs: usize,
}

#[derive(Default)]
struct Known {
    /// Best first.
    addrs: Vec<Multiaddr>,
    protocols: Vec<Protocol>,
    /// What this entry holds.
    bytes: usize,
}

impl AddressBook {
    pub(crate) fn new(max_peers: usize, max_addrs: usize, max_bytes: usize) -> Self {
        Self {
            bytes: 0,
            max_bytes,
            peers: BTreeMap::new(),
            order: VecDeque::new(),
            max_peers,
            max_addrs,
        }
    }

    /// Addresses of `peer`, best first, each ending in `/p2p/<peer>`.
    pub(crate) fn addrs(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let known = self.peers.get(peer);
        known.map(|known| known.addrs.clone()).unwrap_or_default()
    }

    /// Adds addresses in the order given, behind those already known. Addresses of somebody else
    /// and those beyond the limit are left out.
    pub(crate) fn add(&mut self, peer: PeerId, addrs: impl IntoIterator<Item = Multiaddr>) {
        let max = self.max_addrs;
        self.change(peer, |known| {
            for addr in addrs {
                if known.addrs.len() >= max || addr.peer().is_some_and(|other| other != peer) {
                    continue;
                }
                let addr = addr.with_peer(peer);
                if !known.addrs.contains(&addr) {
                    known.addrs.push(addr);
                }
            }
        });
    }

    /// Puts an address that just worked in front.
    pub(crate) fn confirm(&mut self, peer: PeerId, addr: &Multiaddr) {
        let max = self.max_addrs;
        self.change(peer, |known| {
            let addr = addr.with_peer(peer);
            known.addrs.retain(|other| *other != addr);
            known.addrs.insert(0, addr);
            known.addrs.truncate(max);
        });
    }

    /// Replaces the protocols that `peer` says it answers.
    pub(crate) fn set_protocols(&mut self, peer: PeerId, protocols: Vec<Protocol>) {
        self.change(peer, |known| known.protocols = protocols);
    }

    pub(crate) fn protocols(&self, peer: &PeerId) -> Vec<Protocol> {
        let known = self.peers.get(peer);
        known
            .map(|known| known.protocols.clone())
            .unwrap_or_default()
    }

    /// Changes the entry of `peer`, made if needed, and forgets others until all fits.
    fn change(&mut self, peer: PeerId, change: impl FnOnce(&mut Known)) {
        self.order.retain(|other| *other != peer);
        self.order.push_back(peer);
        let known = self.peers.entry(peer).or_default();
        let before = known.bytes;
        change(known);
        known.bytes = known.size();
        self.bytes = self.bytes - before + known.bytes;
        while self.peers.len() > self.max_peers || self.bytes > self.max_bytes {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            let forgotten = self.peers.remove(&oldest);
            self.bytes -= forgotten.map_or(0, |known| known.bytes);
        }
    }
}

impl Known {
    /// About what it holds, in bytes.
    fn size(&self) -> usize {
        let addrs: usize = self.addrs.iter().map(|addr| addr.len() + ENTRY).sum();
        let protocols = self.protocols.iter().map(|id| id.as_str().len() + ENTRY);
        PEER + addrs + protocols.sum::<usize>()
    }
}

/// What a peer takes beside its addresses and protocols, in bytes.
const PEER: usize = 256;
/// What an address or a protocol takes beside its text, in bytes.
const ENTRY: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        // An identity multihash is a valid peer id whatever its digest.
        PeerId::from_bytes(&[0, 1, n]).unwrap()
    }

    fn addr(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn peers_and_addresses_are_capped() {
        let mut book = AddressBook::new(2, 3, 1 << 20);
        for n in 0..5 {
            book.add(peer(n), (0..10).map(addr));
        }
        assert_eq!(book.peers.len(), 2);
        assert_eq!(book.order.len(), 2);
        assert!(book.addrs(&peer(2)).is_empty());
        assert_eq!(book.addrs(&peer(4)).len(), 3);
    }

    #[test]
    fn what_is_held_is_capped_in_bytes() {
        let mut book = AddressBook::new(1000, 64, 10_000);
        let long = Protocol::new(&format!("/{}", "x".repeat(900))).unwrap();
        for n in 0..50 {
            book.add(peer(n), (0..5).map(addr));
            book.set_protocols(peer(n), vec![long.clone(); 3]);
            let held: usize = book.peers.values().map(Known::size).sum();
            assert_eq!(held, book.bytes);
            assert!(held <= 10_000, "{held}");
        }
        assert!(!book.addrs(&peer(49)).is_empty());
        book.set_protocols(peer(49), vec![long; 20]);
        assert_eq!(
            (book.peers.len(), book.bytes),
            (0, 0),
            "one that is too large alone"
        );
    }

    #[test]
    fn an_address_that_worked_comes_first_and_is_kept_once() {
        let mut book = AddressBook::new(2, 3, 1 << 20);
        book.add(peer(1), [addr(1), addr(2), addr(2)]);
        book.confirm(peer(1), &addr(2));
        let expected = [addr(2), addr(1)].map(|addr| addr.with_peer(peer(1)));
        assert_eq!(book.addrs(&peer(1)), expected);
    }

    #[test]
    fn addresses_of_somebody_else_are_left_out() {
        let mut book = AddressBook::new(2, 3, 1 << 20);
        book.add(peer(1), [addr(1).with_peer(peer(2))]);
        assert!(book.addrs(&peer(1)).is_empty());
    }
}
