//! Which address of a peer to try first. Pure.
//!
//! ```text
//!   not relayed, then relayed
//!     private (this host, this network), then public
//!       QUIC (one round trip to a secured connection), then WebTransport, TCP, WebSocket, the rest
//!         IPv6 and IPv4 in turns, IPv6 first (RFC 8305 §4)
//!           as they came: what worked last comes first
//! ```
//!
//! Each address starts one stagger after the one before, so the order is also the head start.

use std::collections::VecDeque;

use p2p_core::multiaddr_parts::Part;
use p2p_core::{Carrier, Multiaddr};

use crate::reach::{Reach, is_relayed};

/// Orders the addresses of one peer, best first.
///
/// ```
/// use p2p_swarm::rank_addrs;
///
/// let addrs = ["/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/udp/1/quic-v1", "/ip4/10.0.0.1/tcp/1"];
/// let ranked = rank_addrs(addrs.map(|text| text.parse().unwrap()));
/// assert_eq!(ranked[0].to_string(), "/ip4/10.0.0.1/tcp/1");
/// assert_eq!(ranked[1].to_string(), "/ip4/1.2.3.4/udp/1/quic-v1");
/// ```
pub fn rank_addrs(addrs: impl IntoIterator<Item = Multiaddr>) -> Vec<Multiaddr> {
    let mut groups: Vec<(Class, Group)> = Vec::new();
    for addr in addrs {
        let class = Class::of(&addr);
        let at = groups.iter().position(|(other, _)| *other == class);
        let at = at.unwrap_or_else(|| {
            groups.push((class, Group::default()));
            groups.len() - 1
        });
        if let Some((_, group)) = groups.get_mut(at) {
            group.push(addr);
        }
    }
    groups.sort_by_key(|(class, _)| *class);
    groups
        .into_iter()
        .flat_map(|(_, group)| group.in_turns())
        .collect()
}

/// What decides before the address family does; the least is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    relayed: bool,
    public: bool,
    carrier: Carrier,
}

impl Class {
    fn of(addr: &Multiaddr) -> Self {
        Self {
            relayed: is_relayed(addr),
            public: Reach::of(addr) == Reach::World,
            carrier: Carrier::of(addr),
        }
    }
}

/// Addresses of one class.
#[derive(Default)]
struct Group {
    v6: VecDeque<Multiaddr>,
    others: VecDeque<Multiaddr>,
}

impl Group {
    fn push(&mut self, addr: Multiaddr) {
        let is_v6 = matches!(addr.iter().next(), Some(Part::Ip6(_) | Part::Dns6(_)));
        let list = if is_v6 {
            &mut self.v6
        } else {
            &mut self.others
        };
        list.push_back(addr);
    }

    fn in_turns(mut self) -> Vec<Multiaddr> {
        let mut all = Vec::with_capacity(self.v6.len() + self.others.len());
        while !(self.v6.is_empty() && self.others.is_empty()) {
            all.extend(self.v6.pop_front());
            all.extend(self.others.pop_front());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn the_vectors_are_ranked_as_they_say() {
        let text = include_str!("../tests/vectors/dial_ranking.json");
        let vectors: Value = serde_json::from_str(text).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() >= 8);
        for case in cases {
            let list = |key: &str| -> Vec<Multiaddr> {
                let texts = case[key].as_array().unwrap().iter();
                texts
                    .map(|text| text.as_str().unwrap().parse().unwrap())
                    .collect()
            };
            assert_eq!(
                rank_addrs(list("addrs")),
                list("ranked"),
                "{}",
                case["name"]
            );
        }
    }

    const KINDS: [&str; 8] = [
        "/ip4/1.2.3.4/tcp/1",
        "/ip4/1.2.3.4/udp/1/quic-v1",
        "/ip6/2001:db8::1/tcp/1",
        "/ip6/2001:db8::1/udp/1/quic-v1",
        "/ip4/10.0.0.1/tcp/1",
        "/ip4/1.2.3.4/tcp/1/ws",
        "/memory/1",
        "/ip4/1.2.3.4/tcp/2/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit",
    ];

    proptest! {
        #[test]
        fn nothing_is_lost_or_made_and_ranking_again_changes_nothing(
            kinds in proptest::collection::vec(0usize..8, 0..20)
        ) {
            let addrs: Vec<Multiaddr> = kinds.iter().map(|at| KINDS[*at].parse().unwrap()).collect();
            let ranked = rank_addrs(addrs.clone());
            let sorted = |mut list: Vec<Multiaddr>| { list.sort(); list };
            prop_assert_eq!(sorted(ranked.clone()), sorted(addrs));
            prop_assert_eq!(rank_addrs(ranked.clone()), ranked);
        }
    }
}
