//! Who or what to dial.

use p2p_core::{AddrExt, Multiaddr, PeerId};

use crate::join::DialKey;

/// Who or what to dial.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Target {
    /// An address, with or without `/p2p/<id>` at its end. Without, whoever answers is fine.
    Addr(Multiaddr),
    /// A peer, at the addresses known of it.
    Peer(PeerId),
    /// A peer, at these addresses first.
    PeerAt(PeerId, Vec<Multiaddr>),
}

impl From<Multiaddr> for Target {
    fn from(addr: Multiaddr) -> Self {
        Self::Addr(addr)
    }
}

impl From<&Multiaddr> for Target {
    fn from(addr: &Multiaddr) -> Self {
        Self::Addr(addr.clone())
    }
}

impl From<PeerId> for Target {
    fn from(peer: PeerId) -> Self {
        Self::Peer(peer)
    }
}

impl From<(PeerId, Vec<Multiaddr>)> for Target {
    fn from((peer, addrs): (PeerId, Vec<Multiaddr>)) -> Self {
        Self::PeerAt(peer, addrs)
    }
}

impl Target {
    /// Who it is, if that is known.
    pub(crate) fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Addr(addr) => addr.peer(),
            Self::Peer(peer) | Self::PeerAt(peer, _) => Some(*peer),
        }
    }

    /// What to dial when no connection will do, and the addresses to try in any case. Addresses
    /// that name somebody else are left out.
    pub(crate) fn to_dial(&self) -> (DialKey, Vec<Multiaddr>) {
        let Some(peer) = self.peer() else {
            return match self {
                Self::Addr(addr) => (DialKey::Addr(addr.clone()), vec![addr.clone()]),
                // They name a peer.
                Self::Peer(peer) | Self::PeerAt(peer, _) => (DialKey::Peer(*peer), Vec::new()),
            };
        };
        let named = match self {
            Self::Addr(addr) => std::slice::from_ref(addr),
            Self::Peer(_) => &[],
            Self::PeerAt(_, addrs) => addrs,
        };
        let ours = |addr: &&Multiaddr| addr.peer().is_none_or(|other| other == peer);
        let named = named.iter().filter(ours).map(|addr| addr.with_peer(peer));
        (DialKey::Peer(peer), named.collect())
    }
}
