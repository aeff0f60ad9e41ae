//! What we know of peers: addresses and protocols, bounded.

use std::collections::{BTreeMap, VecDeque};

use p2p_core::{AddrExt, Multiaddr, PeerId, Protocol};

/// Addresses and protocols per peer. The least recently changed peer is forgotten first.
pub(crate) struct AddressBook {
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
}

impl AddressBook {
    pub(crate) fn new(max_peers: usize, max_addrs: usize) -> Self {
        Self {
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
        let Some(known) = self.touch(peer) else {
            return;
        };
        for addr in addrs {
            if known.addrs.len() >= max || addr.peer().is_some_and(|other| other != peer) {
                continue;
            }
            let addr = addr.with_peer(peer);
            if !known.addrs.contains(&addr) {
                known.addrs.push(addr);
            }
        }
    }

    /// Puts an address that just worked in front.
    pub(crate) fn confirm(&mut self, peer: PeerId, addr: &Multiaddr) {
        let max = self.max_addrs;
        let Some(known) = self.touch(peer) else {
            return;
        };
        let addr = addr.with_peer(peer);
        known.addrs.retain(|other| *other != addr);
        known.addrs.insert(0, addr);
        known.addrs.truncate(max);
    }

    /// Replaces the protocols that `peer` says it answers.
    pub(crate) fn set_protocols(&mut self, peer: PeerId, protocols: Vec<Protocol>) {
        if let Some(known) = self.touch(peer) {
            known.protocols = protocols;
        }
    }

    pub(crate) fn protocols(&self, peer: &PeerId) -> Vec<Protocol> {
        let known = self.peers.get(peer);
        known
            .map(|known| known.protocols.clone())
            .unwrap_or_default()
    }

    /// The entry of `peer`, made if needed and moved to the end of the order.
    fn touch(&mut self, peer: PeerId) -> Option<&mut Known> {
        if self.max_peers == 0 {
            return None;
        }
        if self.peers.contains_key(&peer) {
            self.order.retain(|other| *other != peer);
        } else if self.peers.len() >= self.max_peers
            && let Some(oldest) = self.order.pop_front()
        {
            self.peers.remove(&oldest);
        }
        self.order.push_back(peer);
        Some(self.peers.entry(peer).or_default())
    }
}

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
        let mut book = AddressBook::new(2, 3);
        for n in 0..5 {
            book.add(peer(n), (0..10).map(addr));
        }
        assert_eq!(book.peers.len(), 2);
        assert_eq!(book.order.len(), 2);
        assert!(book.addrs(&peer(2)).is_empty());
        assert_eq!(book.addrs(&peer(4)).len(), 3);
    }

    #[test]
    fn an_address_that_worked_comes_first_and_is_kept_once() {
        let mut book = AddressBook::new(2, 3);
        book.add(peer(1), [addr(1), addr(2), addr(2)]);
        book.confirm(peer(1), &addr(2));
        let expected = [addr(2), addr(1)].map(|addr| addr.with_peer(peer(1)));
        assert_eq!(book.addrs(&peer(1)), expected);
    }

    #[test]
    fn addresses_of_somebody_else_are_left_out() {
        let mut book = AddressBook::new(2, 3);
        book.add(peer(1), [addr(1).with_peer(peer(2))]);
        assert!(book.addrs(&peer(1)).is_empty());
    }
}
