//! From how far away an address can be reached.

use std::net::{IpAddr, Ipv6Addr};

use p2p_core::multiaddr_parts::Part;
use p2p_core::{AddrExt, Multiaddr};

/// From how far away an address can be reached, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// From nowhere: it names no host.
    Nowhere,
    /// From the same host.
    Host,
    /// From the same network.
    Network,
    /// From everywhere, or we cannot tell.
    World,
}

impl Reach {
    /// The reach of `addr`.
    ///
    /// ```
    /// use p2p_swarm::Reach;
    ///
    /// let reach = |text: &str| Reach::of(&text.parse().unwrap());
    /// assert_eq!(reach("/ip4/192.168.1.1/tcp/1"), Reach::Network);
    /// assert_eq!(reach("/dns4/example.com/tcp/1"), Reach::World);
    /// ```
    pub fn of(addr: &Multiaddr) -> Self {
        if matches!(addr.iter().next(), Some(Part::Memory(_) | Part::Unix(_))) {
            return Self::Host;
        }
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
            Some(IpAddr::V6(ip)) => Self::of_v6(ip),
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        if ip.is_unique_local() || ip.is_unicast_link_local() {
            Self::Network
        } else {
            Self::World
        }
    }

    /// Whether an address of this reach is worth telling, or dialing, when the peer concerned is
    /// itself seen at an address of reach `peer`: a public peer's private addresses would lead
    /// into our own network, and ours into its.
    pub fn useful_for(self, peer: Self) -> bool {
        self != Self::Nowhere && self >= peer
    }
}

/// Whether `addr` leads through a relay.
pub(crate) fn is_relayed(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| part == Part::P2pCircuit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_nearer_than_the_connection_are_of_no_use() {
        let reach = |text: &str| Reach::of(&text.parse().unwrap());
        let (host, network, world) = (
            reach("/ip4/127.0.0.1/tcp/1"),
            reach("/ip4/192.168.1.1/tcp/1"),
            reach("/ip4/1.2.3.4/tcp/1"),
        );
        assert!(!host.useful_for(network) && !host.useful_for(world) && host.useful_for(host));
        assert!(network.useful_for(host) && !network.useful_for(world));
        assert!(world.useful_for(host) && world.useful_for(world));
        assert_eq!(reach("/ip4/100.64.0.1/tcp/1"), Reach::Network);
        assert_eq!(reach("/ip6/fe80::1/tcp/1"), Reach::Network);
        assert_eq!(reach("/ip6/fd00::1/tcp/1"), Reach::Network);
        assert_eq!(reach("/ip6/::ffff:10.0.0.1/tcp/1"), Reach::Network);
        assert_eq!(reach("/ip6/::1/tcp/1"), Reach::Host);
        assert_eq!(reach("/memory/7"), Reach::Host);
        assert_eq!(reach("/dns4/example.com/tcp/1"), Reach::World);
        assert!(!reach("/ip4/0.0.0.0/tcp/1").useful_for(host));
    }
}
