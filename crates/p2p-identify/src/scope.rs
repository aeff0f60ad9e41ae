//! From how far away an address can be reached.

use std::net::IpAddr;

use p2p_core::{AddrExt, Multiaddr};

/// From how far away an address can be reached, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// From nowhere: it names no host.
    Nowhere,
    /// From the same host.
    Host,
    /// From the same network.
    Network,
    /// From everywhere, or we cannot tell.
    World,
}

impl Scope {
    pub(crate) fn of(addr: &Multiaddr) -> Self {
        match addr.ip().map(|ip| ip.to_canonical()) {
            None => Self::World,
            Some(ip) if ip.is_unspecified() || ip.is_multicast() => Self::Nowhere,
            Some(ip) if ip.is_loopback() => Self::Host,
            Some(IpAddr::V4(ip)) => {
                let [first, second, ..] = ip.octets();
                let shared = first == 100 && (64..128).contains(&second);
                if ip.is_private() || ip.is_link_local() || shared {
                    Self::Network
                } else if ip.is_broadcast() {
                    Self::Nowhere
                } else {
                    Self::World
                }
            }
            Some(IpAddr::V6(ip)) => {
                if ip.is_unique_local() || ip.is_unicast_link_local() {
                    Self::Network
                } else {
                    Self::World
                }
            }
        }
    }

    /// Whether an address of this scope is worth dialing for a peer that we are connected with
    /// at an address of scope `peer`: a public peer's private addresses would lead into our own
    /// network.
    pub(crate) fn useful_for(self, peer: Self) -> bool {
        self != Self::Nowhere && self >= peer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_nearer_than_the_connection_are_of_no_use() {
        let scope = |text: &str| Scope::of(&text.parse().unwrap());
        let (host, network, world) = (
            scope("/ip4/127.0.0.1/tcp/1"),
            scope("/ip4/192.168.1.1/tcp/1"),
            scope("/ip4/1.2.3.4/tcp/1"),
        );
        assert!(!host.useful_for(network) && !host.useful_for(world) && host.useful_for(host));
        assert!(network.useful_for(host) && !network.useful_for(world));
        assert!(world.useful_for(host) && world.useful_for(world));
        assert_eq!(scope("/ip4/100.64.0.1/tcp/1"), Scope::Network);
        assert_eq!(scope("/ip6/fe80::1/tcp/1"), Scope::Network);
        assert_eq!(scope("/ip6/fd00::1/tcp/1"), Scope::Network);
        assert_eq!(scope("/ip6/::ffff:10.0.0.1/tcp/1"), Scope::Network);
        assert_eq!(scope("/ip6/::1/tcp/1"), Scope::Host);
        assert_eq!(scope("/dns4/example.com/tcp/1"), Scope::World);
        assert!(!scope("/ip4/0.0.0.0/tcp/1").useful_for(host));
    }
}
