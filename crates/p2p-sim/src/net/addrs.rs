//! Hosts whose addresses come and go while they run.
//!
//! ```text
//!   one address less          its connections: cut, like a partition, until it is back or they
//!                             give up; with `abort_on_lost_addr` they fail at once on this host
//!                             its datagrams: lost
//!                             its sockets: stay, and hear nothing
//!   another host has it now   who writes to it is reset
//! ```

use std::net::IpAddr;

use crate::error::SetupError;
use crate::host::Host;
use crate::net::Proto;
use crate::net::route::Owner;
use crate::net::tcp::{Failure, Side, Stage};
use crate::sim::or_panic;
use crate::slab::Key;
use crate::trace::What;
use crate::world::{HostId, State};

impl Host {
    /// Gives it these addresses instead of those that it has, as when an interface goes up or
    /// down, or the network changes. The first of each family is what it sends from; none at all
    /// is a host without a network. A host behind a NAT stays there.
    ///
    /// Nobody is told: [`Net::interface_addrs`](p2p_core::Net::interface_addrs) answers
    /// differently from now on. Connections over an address that is gone are cut: what either end
    /// writes waits, and arrives if the address comes back before
    /// [`Tcp::give_up`](crate::Tcp::give_up) is over, with
    /// [`Tcp::abort_on_lost_addr`](crate::Tcp::abort_on_lost_addr) the end on this host fails at
    /// once; if another host takes the address, it resets whoever writes to it. Sockets that are
    /// bound to an address that is gone stay, hear nothing, and cannot send datagrams.
    ///
    /// # Panics
    /// If another host has one of the addresses, or none can have it.
    #[track_caller]
    pub fn set_addrs<A: Into<IpAddr>>(&self, addrs: impl IntoIterator<Item = A>) {
        or_panic(self.try_set_addrs(addrs.into_iter().map(Into::into).collect()));
    }

    /// The same as [`Host::set_addrs`].
    ///
    /// # Errors
    /// [`SetupError::AddressUsed`] or [`SetupError::BadAddress`]; nothing is changed.
    pub fn try_set_addrs(&self, addrs: Vec<IpAddr>) -> Result<(), SetupError> {
        self.world.with(|state| state.set_addrs(self.id, addrs))
    }
}

impl State {
    fn set_addrs(&mut self, id: HostId, addrs: Vec<IpAddr>) -> Result<(), SetupError> {
        let host = self.host(id);
        let (name, nat, old) = (host.name.clone(), host.nat, host.addrs.clone());
        for (place, addr) in addrs.iter().enumerate() {
            let mut earlier = addrs.iter().take(place);
            if !old.contains(addr) {
                self.check_addr(&name, *addr, nat, earlier)?;
            } else if earlier.any(|other| other == addr) {
                let (host, by) = (name.to_string(), name.to_string());
                let addr = *addr;
                return Err(SetupError::AddressUsed { addr, host, by });
            }
        }
        let gone: Vec<IpAddr> = old.iter().copied().filter(|a| !addrs.contains(a)).collect();
        for addr in &gone {
            self.net.addrs.remove(&(nat, *addr));
            self.note(id, What::AddrRemoved { addr: *addr });
        }
        for addr in addrs.iter().filter(|addr| !old.contains(addr)) {
            self.net.addrs.insert((nat, *addr), Owner::Host(id));
            self.note(id, What::AddrAdded { addr: *addr });
        }
        self.host_mut(id).addrs = addrs;
        if self.config.tcp.abort_on_lost_addr {
            self.abort_over(id, &gone);
        }
        Ok(())
    }

    /// Fails every end and every dial of `host` at one of the addresses.
    fn abort_over(&mut self, host: HostId, gone: &[IpAddr]) {
        for side in [Side::Dialer, Side::Listener] {
            let keys = self.net.tcp.conns.keys_where(|conn| {
                let end = conn.end(side);
                end.host == host && end.stage == Stage::Open && gone.contains(&end.local.ip())
            });
            for key in keys {
                self.fail(key, side, Failure::AddrGone);
                self.cleanup(key);
            }
        }
        let dials = self.net.tcp.dials.keys_where(|dial| {
            let local = dial.local.ip();
            dial.host == host && gone.contains(&local)
        });
        for key in dials {
            self.dial_aborted(key);
        }
    }

    /// Whether `host` has the address now.
    pub(crate) fn has_addr(&self, host: HostId, addr: IpAddr) -> bool {
        addr.is_loopback() || self.host(host).addrs.contains(&addr)
    }

    /// Whether what `side` of a connection sends now gets to the other end.
    pub(crate) fn carries(&mut self, key: Key, side: Side) -> bool {
        let Some(conn) = self.net.tcp.conns.get(key) else {
            return false;
        };
        let (end, other) = (conn.end(side), conn.end(side.other()));
        self.reachable(end.host, other.host)
            && self.has_addr(end.host, end.local.ip())
            && self.has_addr(other.host, other.local.ip())
            && self.nat_carries(key, side)
    }

    /// Whether another host answers at the address that `side` of a connection sends to.
    pub(crate) fn meets_a_stranger(&mut self, key: Key, side: Side) -> bool {
        let Some(conn) = self.net.tcp.conns.get(key) else {
            return false;
        };
        let (end, other) = (conn.end(side), conn.end(side.other()).host);
        let (host, local, remote) = (end.host, end.local, end.remote);
        if !self.has_addr(host, local.ip()) {
            return false;
        }
        let wire = self.outbound(Proto::Tcp, host, local, remote);
        let found = self.destination(Proto::Tcp, wire);
        found.is_some_and(|found| found != other && self.reachable(host, found))
    }
}
