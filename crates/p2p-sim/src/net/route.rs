//! From an address to a host, through NATs where there are any.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::net::Proto;
use crate::net::nat::NatId;
use crate::world::{HostId, State};

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Host(HostId),
    Nat(NatId),
}

/// The addresses of a packet outside of the sender's NATs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// Where it is: in public, or behind a NAT.
    pub(crate) realm: Option<NatId>,
    /// The host, for packets of a host to itself.
    to_self: Option<HostId>,
}

impl Wire {
    /// For every member of a group in one network.
    pub(crate) fn to_group(from: SocketAddr, to: SocketAddr, realm: Option<NatId>) -> Self {
        Self {
            from,
            to,
            realm,
            to_self: None,
        }
    }
}

/// Where a packet ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) host: HostId,
    /// The sender, as the receiver sees it.
    pub(crate) from: SocketAddr,
    /// The receiver, as it sees itself.
    pub(crate) to: SocketAddr,
}

impl State {
    /// Takes a packet out of `host`, through its NATs.
    pub(crate) fn outbound(
        &mut self,
        proto: Proto,
        host: HostId,
        mut from: SocketAddr,
        to: SocketAddr,
    ) -> Wire {
        let own = self.host(host);
        let mut realm = own.nat;
        let to_self = (to.ip().is_loopback() || own.addrs.contains(&to.ip())).then_some(host);
        while let Some(nat) = realm.filter(|_| to_self.is_none()) {
            if self.net.addrs.contains_key(&(realm, to.ip())) {
                break;
            }
            match self.nat_out(proto, host, nat, from, to) {
                Some(outside) => (from, realm) = outside,
                // It stays inside, where nobody has the address that it is for.
                None => break,
            }
        }
        Wire {
            from,
            to,
            realm,
            to_self,
        }
    }

    /// Takes a packet to its host; the error says why it does not get there.
    pub(crate) fn inbound(&mut self, proto: Proto, wire: Wire) -> Result<Arrival, &'static str> {
        self.walk_in(proto, wire, true)
    }

    /// The host that a packet is probably for: filters of NATs may still stop it on arrival.
    pub(crate) fn destination(&mut self, proto: Proto, wire: Wire) -> Option<HostId> {
        self.walk_in(proto, wire, false).ok().map(|to| to.host)
    }

    fn walk_in(&mut self, proto: Proto, wire: Wire, filter: bool) -> Result<Arrival, &'static str> {
        let Wire {
            from,
            mut to,
            mut realm,
            to_self,
        } = wire;
        if let Some(host) = to_self {
            return Ok(Arrival { host, from, to });
        }
        loop {
            match self.net.addrs.get(&(realm, to.ip())).copied() {
                Some(Owner::Host(host)) => return Ok(Arrival { host, from, to }),
                Some(Owner::Nat(nat)) => {
                    to = self.nat_in(proto, nat, from, to.port(), filter)?;
                    realm = Some(nat);
                }
                None => return Err("nobody has this address"),
            }
        }
    }

    /// The address that `host` sends from when it sends to `to`.
    pub(crate) fn source_ip(&self, host: HostId, to: IpAddr) -> io::Result<IpAddr> {
        let host = self.host(host);
        if to.is_loopback() || host.addrs.contains(&to) {
            return Ok(to);
        }
        let mut addrs = host.addrs.iter().copied();
        addrs
            .find(|addr| addr.is_ipv4() == to.is_ipv4())
            .ok_or_else(|| {
                let message = format!("host {} has no address to reach {to} from", host.name);
                io::Error::new(io::ErrorKind::NetworkUnreachable, message)
            })
    }

    /// Checks that sockets of `host` can have the address `at`.
    pub(crate) fn check_local(&self, host: HostId, at: IpAddr) -> io::Result<()> {
        let host = self.host(host);
        if at.is_unspecified() || at.is_loopback() || host.addrs.contains(&at) {
            return Ok(());
        }
        let message = format!("host {} does not have the address {at}", host.name);
        Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message))
    }

    /// An error if `host` is down or `life` is over.
    pub(crate) fn check_alive(&self, host: HostId, life: u32) -> io::Result<()> {
        if self.alive(host, life) {
            return Ok(());
        }
        let message = format!("host {} has crashed", self.host(host).name);
        Err(io::Error::new(io::ErrorKind::NetworkDown, message))
    }

    /// A port of `host` that no socket uses; it counts as used from now on.
    pub(crate) fn free_port(&mut self, proto: Proto, host: HostId) -> io::Result<u16> {
        for _ in FIRST_PORT..=u16::MAX {
            let state = self.host_mut(host);
            let port = state.next_port;
            state.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            if !self.net.ports.contains_key(&(proto, host, port)) {
                self.port_use(proto, host, port);
                return Ok(port);
            }
        }
        let message = format!("host {} has no free port left", self.host(host).name);
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    }

    pub(crate) fn port_use(&mut self, proto: Proto, host: HostId, port: u16) {
        *self.net.ports.entry((proto, host, port)).or_default() += 1;
    }

    pub(crate) fn port_release(&mut self, proto: Proto, host: HostId, port: u16) {
        let key = (proto, host, port);
        match self.net.ports.get_mut(&key) {
            Some(1) => {
                self.net.ports.remove(&key);
            }
            Some(users) => *users -= 1,
            None => {}
        }
    }
}

/// The first port that the system chooses.
pub(crate) const FIRST_PORT: u16 = 49152;

/// Whether two local addresses collide: equal, or one stands for all of its family.
pub(crate) fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other
        || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

/// What connecting to `ip` means: the unspecified address is the host itself.
pub(crate) fn target(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => ip,
    }
}
