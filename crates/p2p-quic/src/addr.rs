//! `/ip4|ip6/<address>/udp/<port>/quic-v1`.

use std::net::{IpAddr, SocketAddr};

use p2p_core::multiaddr_parts::Part;
use p2p_core::{AddrExt, Multiaddr};

/// Where `addr` points, with or without a `/p2p/<id>` behind it. IPv4 written as IPv6 becomes
/// IPv4: our IPv6 sockets carry IPv6 only.
pub(crate) fn socket_addr(addr: &Multiaddr) -> Option<SocketAddr> {
    let ip = addr.ip()?.to_canonical();
    let mut parts = addr.iter().skip(1);
    let (Some(Part::Udp(port)), Some(Part::QuicV1)) = (parts.next(), parts.next()) else {
        return None;
    };
    match (parts.next(), parts.next()) {
        (None | Some(Part::P2p(_)), None) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// The address of `socket`. IPv4 written as IPv6 becomes IPv4.
pub(crate) fn multiaddr(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip().to_canonical())
        .with(Part::Udp(socket.port()))
        .with(Part::QuicV1)
}

/// Whether datagrams from a socket bound to `at` can get to `to`.
pub(crate) fn reaches(at: SocketAddr, to: IpAddr) -> bool {
    at.is_ipv4() == to.is_ipv4()
        && (at.ip().is_unspecified() || at.ip().is_loopback() == to.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn parse(text: &str) -> Option<SocketAddr> {
        socket_addr(&text.parse().unwrap())
    }

    #[test]
    fn only_complete_addresses_of_quic_version_1_are_supported() {
        let expected = "1.2.3.4:5".parse().unwrap();
        assert_eq!(parse("/ip4/1.2.3.4/udp/5/quic-v1"), Some(expected));
        let with_peer = format!("/ip4/1.2.3.4/udp/5/quic-v1/p2p/{PEER}");
        assert_eq!(parse(&with_peer), Some(expected));
        let expected = "[::1]:5".parse().unwrap();
        assert_eq!(parse("/ip6/::1/udp/5/quic-v1"), Some(expected));

        assert_eq!(parse("/ip4/1.2.3.4/udp/5/quic"), None, "draft 29");
        assert_eq!(parse("/ip4/1.2.3.4/udp/5"), None);
        assert_eq!(parse("/ip4/1.2.3.4/tcp/5/quic-v1"), None);
        assert_eq!(parse("/ip4/1.2.3.4/udp/5/quic-v1/webtransport"), None);
        assert_eq!(parse("/dns4/example.com/udp/5/quic-v1"), None);
        let relayed = format!("{with_peer}/p2p-circuit");
        assert_eq!(parse(&relayed), None);
    }

    #[test]
    fn an_address_comes_back_from_its_socket() {
        for text in ["/ip4/1.2.3.4/udp/5/quic-v1", "/ip6/::1/udp/5/quic-v1"] {
            assert_eq!(multiaddr(parse(text).unwrap()).to_string(), text);
        }
        assert_eq!(
            multiaddr("[::ffff:1.2.3.4]:5".parse().unwrap()).to_string(),
            "/ip4/1.2.3.4/udp/5/quic-v1"
        );
    }
}
