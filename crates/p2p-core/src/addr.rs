//! What the stack needs to know of a [`Multiaddr`].

use std::net::{IpAddr, SocketAddr};

use multiaddr::Protocol as Part;

use crate::{Multiaddr, PeerId};

/// Questions about, and small changes to, a [`Multiaddr`].
pub trait AddrExt: Sized {
    /// The peer that the address ends with (`…/p2p/<id>`).
    fn peer(&self) -> Option<PeerId>;

    /// The address without a `/p2p/<id>` at its end.
    fn without_peer(&self) -> Self;

    /// The address with exactly one `/p2p/<peer>` at its end.
    fn with_peer(&self, peer: PeerId) -> Self;

    /// The IP address that it starts with.
    fn ip(&self) -> Option<IpAddr>;

    /// `/ip4|ip6/…/tcp/…`, with or without a `/p2p/<id>` behind it, and nothing else.
    fn tcp_socket(&self) -> Option<SocketAddr>;

    /// `/ip4|ip6/…/tcp/…` for a socket address. IPv4-mapped IPv6 addresses become IPv4.
    fn from_tcp_socket(socket: SocketAddr) -> Self;
}

/// What an address is dialed over. The least is the fastest to a secured connection, and dialed
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Carrier {
    /// QUIC: one round trip.
    Quic,
    /// WebTransport.
    WebTransport,
    /// TCP.
    Tcp,
    /// WebSocket, plain or over TLS.
    WebSocket,
    /// Something else.
    Other,
}

impl Carrier {
    /// Of the first hop: behind `/p2p-circuit` comes what the relay does.
    pub fn of(addr: &Multiaddr) -> Self {
        let mut carrier = Self::Other;
        for part in addr.iter() {
            if part == Part::P2pCircuit {
                break;
            }
            carrier = match part.tag() {
                "tcp" => Self::Tcp,
                "quic-v1" | "quic" => Self::Quic,
                "webtransport" => Self::WebTransport,
                "ws" | "wss" => Self::WebSocket,
                _ => carrier,
            };
        }
        carrier
    }
}

impl AddrExt for Multiaddr {
    fn peer(&self) -> Option<PeerId> {
        match self.iter().last() {
            Some(Part::P2p(peer)) => Some(peer),
            _ => None,
        }
    }

    fn without_peer(&self) -> Self {
        let mut addr = self.clone();
        if self.peer().is_some() {
            addr.pop();
        }
        addr
    }

    fn with_peer(&self, peer: PeerId) -> Self {
        self.without_peer().with(Part::P2p(peer))
    }

    fn ip(&self) -> Option<IpAddr> {
        match self.iter().next() {
            Some(Part::Ip4(ip)) => Some(ip.into()),
            Some(Part::Ip6(ip)) => Some(ip.into()),
            _ => None,
        }
    }

    fn tcp_socket(&self) -> Option<SocketAddr> {
        let ip = self.ip()?;
        let mut parts = self.iter().skip(1);
        let Some(Part::Tcp(port)) = parts.next() else {
            return None;
        };
        match (parts.next(), parts.next()) {
            (None | Some(Part::P2p(_)), None) => Some(SocketAddr::new(ip, port)),
            _ => None,
        }
    }

    fn from_tcp_socket(socket: SocketAddr) -> Self {
        Self::from(socket.ip().to_canonical()).with(Part::Tcp(socket.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn a_peer_at_the_end_is_found_and_replaced() {
        let addr: Multiaddr = format!("/ip4/127.0.0.1/tcp/4001/p2p/{PEER}")
            .parse()
            .unwrap();
        let peer = addr.peer().unwrap();
        assert_eq!(peer.to_string(), PEER);
        assert_eq!(addr.without_peer().to_string(), "/ip4/127.0.0.1/tcp/4001");
        assert_eq!(addr.with_peer(peer), addr);
        assert_eq!(addr.without_peer().with_peer(peer), addr);
    }

    #[test]
    fn only_plain_tcp_addresses_have_a_tcp_socket() {
        let socket = |text: &str| text.parse::<Multiaddr>().unwrap().tcp_socket();
        assert_eq!(
            socket("/ip4/1.2.3.4/tcp/5"),
            Some("1.2.3.4:5".parse().unwrap())
        );
        assert_eq!(
            socket(&format!("/ip6/::1/tcp/5/p2p/{PEER}")),
            Some("[::1]:5".parse().unwrap())
        );
        assert_eq!(socket("/ip4/1.2.3.4/tcp/5/ws"), None);
        assert_eq!(socket("/ip4/1.2.3.4/udp/5"), None);
        assert_eq!(socket("/dns4/example.com/tcp/5"), None);
    }

    #[test]
    fn mapped_addresses_are_written_as_ipv4() {
        let socket: SocketAddr = "[::ffff:1.2.3.4]:5".parse().unwrap();
        assert_eq!(
            Multiaddr::from_tcp_socket(socket).to_string(),
            "/ip4/1.2.3.4/tcp/5"
        );
    }
}
