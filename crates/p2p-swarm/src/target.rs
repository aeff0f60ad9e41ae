//! Who or what to dial.

use std::convert::Infallible;
use std::str::FromStr;

use p2p_core::{AddrExt, Multiaddr, PeerId};

use crate::join::DialKey;

/// How much of a refused text an error shows, in characters.
const SHOWN: usize = 64;

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

/// Why a text is not a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is neither an address, such as /ip4/127.0.0.1/tcp/4001, nor a peer id, such as \
     12D3Koo...: {reason}"
)]
#[non_exhaustive]
pub struct InvalidTarget {
    /// The refused text, cut to its first 64 characters.
    pub text: String,
    /// What the parser says.
    pub reason: String,
}

impl From<Infallible> for InvalidTarget {
    /// For callers that take anything that can become a [`Target`], one included.
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    /// An address if it starts with `/`, a peer id otherwise.
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let refused = |reason: &dyn std::error::Error| InvalidTarget {
            text: text.chars().take(SHOWN).collect(),
            // It repeats the text, which may hold anything.
            reason: reason.to_string().escape_debug().take(SHOWN).collect(),
        };
        if text.starts_with('/') {
            text.parse()
                .map(Self::Addr)
                .map_err(|error| refused(&error))
        } else {
            let peer = text.parse::<PeerId>();
            peer.map(Self::Peer).map_err(|error| refused(&error))
        }
    }
}

impl TryFrom<&str> for Target {
    type Error = InvalidTarget;

    fn try_from(text: &str) -> Result<Self, InvalidTarget> {
        text.parse()
    }
}

impl TryFrom<&String> for Target {
    type Error = InvalidTarget;

    fn try_from(text: &String) -> Result<Self, InvalidTarget> {
        text.parse()
    }
}

/// Whatever can become a [`Target`]: an address, a peer id, both, or the text of either.
pub trait IntoTarget {
    /// The target.
    ///
    /// # Errors
    /// [`InvalidTarget`] if a text is none.
    fn into_target(self) -> Result<Target, InvalidTarget>;
}

impl<T: TryInto<Target, Error: Into<InvalidTarget>>> IntoTarget for T {
    fn into_target(self) -> Result<Target, InvalidTarget> {
        self.try_into().map_err(Into::into)
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

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWRYFzri8v5VuABR2EFftUrPFN4arCfoV84AzheTbYkLkX";

    #[test]
    fn the_text_of_an_address_or_a_peer_id_is_a_target() {
        let addr = format!("/ip4/127.0.0.1/tcp/4001/p2p/{PEER}");

        let by_addr = addr.as_str().into_target().unwrap();
        let by_peer = PEER.into_target().unwrap();

        assert!(matches!(&by_addr, Target::Addr(it) if it.to_string() == addr));
        assert!(matches!(by_peer, Target::Peer(_)));
        assert_eq!(by_addr.peer(), by_peer.peer());
    }

    #[test]
    fn a_text_that_is_neither_is_named_in_the_error() {
        let texts = ["/ip4/nonsense", "12D3Koo", "", "example.org:80"];

        let errors = texts.map(|text| text.into_target().unwrap_err().to_string());

        for (text, error) in texts.iter().zip(errors) {
            let (start, _) = error.split_once(": ").unwrap();
            assert_eq!(
                start,
                format!(
                    "{text:?} is neither an address, such as /ip4/127.0.0.1/tcp/4001, nor a peer id, \
                     such as 12D3Koo..."
                )
            );
        }
    }
}
