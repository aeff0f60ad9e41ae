//! Network address translators, after RFC 4787 (UDP) and RFC 5382 (TCP).
//!
//! A NAT has one outer address and hosts behind it. What leaves gets an outer port, a *mapping*;
//! what comes in for that port gets to the inner socket if the *filter* lets it. Both are
//! independent of the remote endpoint, or depend on its address, or on address and port. Unused
//! mappings expire.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::Host;
use crate::error::SetupError;
use crate::net::Proto;
use crate::net::route::Owner;
use crate::net::tcp::Side;
use crate::sim::or_panic;
use crate::slab::Key;
use crate::trace::What;
use crate::world::{HostId, Nanos, State, World, nanos};

/// What of the remote endpoint a NAT looks at (RFC 4787, sections 4.1 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatRule {
    /// Nothing: one mapping for all remotes; everybody may send to it.
    EndpointIndependent,
    /// The address.
    AddressDependent,
    /// The address and the port.
    AddressAndPortDependent,
}

/// How a NAT behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NatConfig {
    /// For which remotes an inner socket keeps its outer port.
    /// Default: [`NatRule::EndpointIndependent`].
    pub mapping: NatRule,
    /// Which remotes may send to a mapping: those that it has sent to, or everybody.
    /// Default: [`NatRule::AddressAndPortDependent`].
    pub filtering: NatRule,
    /// How long a UDP mapping lives without use. Default: 2 min.
    pub udp_expiry: Duration,
    /// How long a TCP mapping lives without use. Default: 2 h 4 min.
    pub tcp_expiry: Duration,
    /// Whether what comes in counts as use, too. Default: false.
    pub inbound_refreshes: bool,
    /// Whether the outer port is the same as the inner one if it is free. Default: true.
    pub preserves_ports: bool,
    /// Whether hosts behind it reach each other by its outer address. Default: false.
    pub hairpins: bool,
}

impl Default for NatConfig {
    fn default() -> Self {
        Self::new(
            NatRule::EndpointIndependent,
            NatRule::AddressAndPortDependent,
        )
    }
}

impl NatConfig {
    /// A NAT with these rules, everything else as by default.
    pub const fn new(mapping: NatRule, filtering: NatRule) -> Self {
        Self {
            mapping,
            filtering,
            udp_expiry: Duration::from_secs(120),
            tcp_expiry: Duration::from_secs(7440),
            inbound_refreshes: false,
            preserves_ports: true,
            hairpins: false,
        }
    }
}

/// A NAT, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NatId(u32);

/// All NATs.
#[derive(Debug, Default)]
pub(crate) struct Nats(Vec<NatState>);

#[derive(Debug)]
struct NatState {
    name: String,
    config: NatConfig,
    outer: IpAddr,
    /// Where its outer address is: in public, or behind another NAT.
    realm: Option<NatId>,
    by_inner: BTreeMap<Inner, u16>,
    by_port: BTreeMap<(Proto, u16), Mapping>,
    next_port: u16,
}

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Inner {
    proto: Proto,
    socket: SocketAddr,
    /// What of the remote the mapping depends on.
    ip: Option<IpAddr>,
    port: Option<u16>,
}

#[derive(Debug)]
struct Mapping {
    inner: Inner,
    /// Whom it has sent to.
    contacted: BTreeSet<SocketAddr>,
    used: Nanos,
    /// Made by hand: never expires, lets everybody in.
    forwarded: bool,
}

impl Inner {
    fn new(proto: Proto, socket: SocketAddr, rule: NatRule, to: SocketAddr) -> Self {
        let (ip, port) = match rule {
            NatRule::EndpointIndependent => (None, None),
            NatRule::AddressDependent => (Some(to.ip()), None),
            NatRule::AddressAndPortDependent => (Some(to.ip()), Some(to.port())),
        };
        Self {
            proto,
            socket,
            ip,
            port,
        }
    }
}

impl Mapping {
    fn admits(&self, from: SocketAddr, rule: NatRule) -> bool {
        self.forwarded
            || match rule {
                NatRule::EndpointIndependent => true,
                NatRule::AddressDependent => self.contacted.iter().any(|to| to.ip() == from.ip()),
                NatRule::AddressAndPortDependent => self.contacted.contains(&from),
            }
    }
}

impl NatState {
    fn expired(&self, mapping: &Mapping, now: Nanos) -> bool {
        let expiry = match mapping.inner.proto {
            Proto::Tcp => self.config.tcp_expiry,
            Proto::Udp => self.config.udp_expiry,
        };
        !mapping.forwarded && now.saturating_sub(mapping.used) >= nanos(expiry)
    }

    /// Drops the mapping of `port` if it has expired.
    fn sweep(&mut self, proto: Proto, port: u16, now: Nanos) {
        let mapping = self.by_port.get(&(proto, port));
        if mapping.is_some_and(|mapping| self.expired(mapping, now)) {
            self.unmap(proto, port);
        }
    }

    /// Drops the mapping of `port`. Its inner socket may have been given another port since, which
    /// stays.
    fn unmap(&mut self, proto: Proto, port: u16) {
        if let Some(mapping) = self.by_port.remove(&(proto, port))
            && self.by_inner.get(&mapping.inner) == Some(&port)
        {
            self.by_inner.remove(&mapping.inner);
        }
    }

    /// A free port for `inner`: its own one, or the next.
    fn choose_port(&mut self, inner: Inner, now: Nanos) -> Option<u16> {
        if self.config.preserves_ports {
            let port = inner.socket.port();
            self.sweep(inner.proto, port, now);
            if !self.by_port.contains_key(&(inner.proto, port)) {
                return Some(port);
            }
        }
        for _ in FIRST_PORT..=u16::MAX {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            self.sweep(inner.proto, port, now);
            if !self.by_port.contains_key(&(inner.proto, port)) {
                return Some(port);
            }
        }
        None
    }

    /// The outer port for a packet, and whether it is new.
    fn map(&mut self, inner: Inner, to: SocketAddr, now: Nanos) -> Option<(u16, bool)> {
        let forwarded = Inner {
            ip: None,
            port: None,
            ..inner
        };
        for known in [forwarded, inner] {
            let Some(&port) = self.by_inner.get(&known) else {
                continue;
            };
            self.sweep(inner.proto, port, now);
            if let Some(mapping) = self.by_port.get_mut(&(inner.proto, port)) {
                mapping.used = now;
                mapping.contacted.insert(to);
                return Some((port, false));
            }
        }
        let port = self.choose_port(inner, now)?;
        self.by_inner.insert(inner, port);
        let mapping = Mapping {
            inner,
            contacted: BTreeSet::from([to]),
            used: now,
            forwarded: false,
        };
        self.by_port.insert((inner.proto, port), mapping);
        Some((port, true))
    }
}

/// The first outer port that is chosen.
const FIRST_PORT: u16 = 20000;

impl State {
    fn nat(&mut self, nat: NatId) -> &mut NatState {
        let state = self.net.nats.0.get_mut(nat.0 as usize);
        state.expect("ids are made with their NATs, which stay")
    }

    pub(crate) fn nat_name(&self, nat: NatId) -> String {
        let nat = self.net.nats.0.get(nat.0 as usize);
        nat.map_or_else(String::new, |nat| format!("NAT {}", nat.name))
    }

    /// A packet from inside leaves: its new sender, and where it is then. `None` if it cannot.
    pub(crate) fn nat_out(
        &mut self,
        proto: Proto,
        host: HostId,
        nat: NatId,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<(SocketAddr, Option<NatId>)> {
        let now = self.now;
        let state = self.nat(nat);
        if state.outer.is_ipv4() != to.is_ipv4() {
            return None;
        }
        let inner = Inner::new(proto, from, state.config.mapping, to);
        let (port, new) = state.map(inner, to, now)?;
        let (outer, realm) = (SocketAddr::new(state.outer, port), state.realm);
        if new {
            self.note(host, What::NatMapped { inner: from, outer });
        }
        Some((outer, realm))
    }

    /// A packet from outside for `port`: whom it gets to, or why it does not. Without `filter`
    /// whom it would get to.
    pub(crate) fn nat_in(
        &mut self,
        proto: Proto,
        nat: NatId,
        from: SocketAddr,
        port: u16,
        filter: bool,
    ) -> Result<SocketAddr, &'static str> {
        let now = self.now;
        let state = self.nat(nat);
        state.sweep(proto, port, now);
        let (outer, config) = (state.outer, &state.config);
        let mapping = state.by_port.get_mut(&(proto, port));
        let mapping = mapping.ok_or("the NAT has no mapping for it")?;
        if filter {
            if from.ip() == outer && !config.hairpins {
                return Err("the NAT does not hairpin");
            }
            if !mapping.admits(from, config.filtering) {
                return Err("the NAT filters it");
            }
            if config.inbound_refreshes {
                mapping.used = now;
            }
        }
        Ok(mapping.inner.socket)
    }

    /// Whether the NATs on the way let a segment of an established connection pass.
    pub(crate) fn nat_carries(&mut self, conn: Key, side: Side) -> bool {
        let Some(conn) = self.net.tcp.conns.get(conn) else {
            return false;
        };
        let (end, other) = (conn.end(side), conn.end(side.other()));
        let (from, there) = (end.host, other.host);
        if self.host(from).nat.is_none() && self.host(there).nat.is_none() {
            return true;
        }
        let (local, remote) = (end.local, end.remote);
        let (seen, to) = (other.remote, other.local);
        let wire = self.outbound(Proto::Tcp, from, local, remote);
        let arrival = self.inbound(Proto::Tcp, wire);
        arrival
            .is_ok_and(|arrival| arrival.host == there && arrival.from == seen && arrival.to == to)
    }
}

/// A handle to a NAT.
#[derive(Clone)]
pub struct Nat {
    world: Arc<World>,
    id: NatId,
}

impl Nat {
    pub(crate) fn new(
        world: Arc<World>,
        name: &str,
        outer: IpAddr,
        config: NatConfig,
        realm: Option<NatId>,
    ) -> Result<Self, SetupError> {
        let mut state = world.lock();
        state.check_addr(name, outer, realm, std::iter::empty())?;
        let index = u32::try_from(state.net.nats.0.len()).expect("fewer than 2^32 NATs");
        let id = NatId(index);
        state.net.nats.0.push(NatState {
            name: name.to_owned(),
            config,
            outer,
            realm,
            by_inner: BTreeMap::new(),
            by_port: BTreeMap::new(),
            next_port: FIRST_PORT,
        });
        state.net.addrs.insert((realm, outer), Owner::Nat(id));
        state.note_world(What::NatMade { outer });
        drop(state);
        Ok(Self { world, id })
    }

    /// Its outer address.
    pub fn outer(&self) -> IpAddr {
        self.world.lock().nat(self.id).outer
    }

    /// Adds a host behind it, with an address as by [`Sim::host`](crate::Sim::host), of the
    /// family of the outer address.
    ///
    /// # Panics
    /// If there is a host with this name.
    #[track_caller]
    pub fn host(&self, name: &str) -> Host {
        or_panic(self.try_host(name, None))
    }

    /// Adds a host behind it with these addresses. Behind different NATs they may be the same.
    ///
    /// # Panics
    /// If there is a host with this name, or one behind this NAT that has one of the addresses.
    #[track_caller]
    pub fn host_at<A: Into<IpAddr>>(&self, name: &str, addrs: impl IntoIterator<Item = A>) -> Host {
        let addrs = addrs.into_iter().map(Into::into).collect();
        or_panic(self.try_host(name, Some(addrs)))
    }

    fn try_host(&self, name: &str, addrs: Option<Vec<IpAddr>>) -> Result<Host, SetupError> {
        let world = &self.world;
        let id = world.with(|state| {
            let outer = state.nat(self.id).outer;
            let addrs = addrs.unwrap_or_else(|| {
                let mut addrs = state.default_addrs();
                addrs.retain(|addr| addr.is_ipv4() == outer.is_ipv4());
                addrs
            });
            state.add_host(world.seed, name, Some(addrs), Some(self.id))
        })?;
        Ok(Host::new(world.clone(), id))
    }

    /// Adds a NAT behind this one.
    ///
    /// # Panics
    /// If somebody behind this one has the address.
    #[track_caller]
    pub fn nat(&self, name: &str, outer: impl Into<IpAddr>, config: NatConfig) -> Self {
        let world = self.world.clone();
        or_panic(Self::new(world, name, outer.into(), config, Some(self.id)))
    }

    /// Sends everything that comes for `port`, TCP and UDP, to `inner`, until
    /// [`Nat::forget`].
    pub fn forward(&self, port: u16, inner: SocketAddr) {
        let mut world = self.world.lock();
        let now = world.now;
        let state = world.nat(self.id);
        let outer = SocketAddr::new(state.outer, port);
        for proto in [Proto::Tcp, Proto::Udp] {
            let inner = Inner::new(proto, inner, NatRule::EndpointIndependent, inner);
            state.unmap(proto, port);
            state.by_inner.insert(inner, port);
            let mapping = Mapping {
                inner,
                contacted: BTreeSet::new(),
                used: now,
                forwarded: true,
            };
            state.by_port.insert((proto, port), mapping);
        }
        world.note_world(What::NatForwards { outer, inner });
    }

    /// Forgets all mappings and forwarded ports, as after a reboot.
    pub fn forget(&self) {
        let mut world = self.world.lock();
        let state = world.nat(self.id);
        state.by_inner.clear();
        state.by_port.clear();
        let outer = state.outer;
        world.note_world(What::NatForgets { outer });
    }

    /// Mappings that have not expired, forwarded ports included.
    pub fn mappings(&self) -> usize {
        let mut world = self.world.lock();
        let now = world.now;
        let state = world.nat(self.id);
        let mappings = state.by_port.values();
        mappings
            .filter(|mapping| !state.expired(mapping, now))
            .count()
    }
}

impl fmt::Debug for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.world.lock().nat_name(self.id);
        write!(f, "{name}")
    }
}
