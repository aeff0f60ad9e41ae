//! Datagrams.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use p2p_core::{Datagram, Received, UdpSocket};

use crate::net::link::Fate;
use crate::net::route::{Wire, overlap, target};
use crate::net::{Load, NetEvent, Parcel, Proto};
use crate::slab::{Key, Slab};
use crate::trace::What;
use crate::world::{HostId, State, World};

/// The largest datagram in bytes.
const LARGEST: usize = 65_507;
/// Bytes of IPv4 and UDP headers.
const HEADERS_4: usize = 28;
/// Bytes of IPv6 and UDP headers.
const HEADERS_6: usize = 48;
/// Bytes that a datagram costs its receiver beside its contents.
const OVERHEAD: usize = 64;

/// Wakers that a socket holds before it wakes them all for nothing: those that still care come
/// back, the others are forgotten.
const MAX_READERS: usize = 32;

/// All datagram sockets, and the datagrams on their way.
#[derive(Default)]
pub(crate) struct Udps {
    sockets: Slab<Socket>,
    /// Sockets by host and port.
    bound: BTreeMap<(HostId, u16), Vec<Key>>,
    flying: Slab<Flying>,
}

struct Socket {
    host: HostId,
    at: SocketAddr,
    inbox: VecDeque<Letter>,
    /// Bytes in `inbox`, with [`OVERHEAD`].
    waiting: usize,
    /// The multicast group that it is a member of, which lets it share its port.
    group: Option<IpAddr>,
    /// Who waits: the socket may be shared by several tasks.
    readers: Vec<Waker>,
}

impl Socket {
    /// Whether it gets what is sent to the group `to`.
    fn is_member(&self, to: SocketAddr) -> bool {
        self.group == Some(to.ip()) && self.at.port() == to.port()
    }
}

/// A datagram that has arrived.
struct Letter {
    from: SocketAddr,
    to: IpAddr,
    bytes: Box<[u8]>,
    ecn: u8,
}

/// A datagram on its way.
#[derive(Clone)]
struct Flying {
    wire: Wire,
    bytes: Box<[u8]>,
    ecn: u8,
    flight: u32,
}

impl Udps {
    /// Hosts of all sockets.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = HostId> {
        self.sockets.iter().map(|(_, socket)| socket.host)
    }
}

impl State {
    fn udp_bind(
        &mut self,
        host: HostId,
        life: u32,
        at: SocketAddr,
        group: Option<IpAddr>,
    ) -> io::Result<(Key, SocketAddr)> {
        self.check_alive(host, life)?;
        self.check_local(host, at.ip())?;
        let port = match at.port() {
            0 => self.free_port(Proto::Udp, host)?,
            port => {
                let keys = self.net.udp.bound.get(&(host, port)).into_iter().flatten();
                let mut sockets = keys.filter_map(|key| self.net.udp.sockets.get(*key));
                let shared = |other: &Socket| group.is_some() && other.group.is_some();
                if sockets.any(|other| overlap(other.at.ip(), at.ip()) && !shared(other)) {
                    let message = format!("{at} of host {} is in use", self.host(host).name);
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
                }
                self.port_use(Proto::Udp, host, port);
                port
            }
        };
        let at = SocketAddr::new(at.ip(), port);
        let key = self.net.udp.sockets.insert(Socket {
            host,
            at,
            inbox: VecDeque::new(),
            waiting: 0,
            group,
            readers: Vec::new(),
        });
        self.net
            .udp
            .bound
            .entry((host, port))
            .or_default()
            .push(key);
        self.note(host, What::Bound { at });
        Ok((key, at))
    }

    fn udp_close(&mut self, key: Key) {
        let Some(socket) = self.net.udp.sockets.remove(key) else {
            return;
        };
        let at = (socket.host, socket.at.port());
        if let Some(keys) = self.net.udp.bound.get_mut(&at) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.net.udp.bound.remove(&at);
            }
        }
        self.port_release(Proto::Udp, socket.host, socket.at.port());
        let at = socket.at;
        self.note(socket.host, What::Unbound { at });
        self.retired.extend(socket.readers);
    }

    /// All datagram sockets of a host vanish.
    pub(crate) fn udp_crash(&mut self, host: HostId) {
        let udp = &mut self.net.udp;
        for key in udp.sockets.keys_where(|socket| socket.host == host) {
            let socket = udp.sockets.remove(key);
            self.retired
                .extend(socket.into_iter().flat_map(|s| s.readers));
        }
        udp.bound.retain(|(at, _), _| *at != host);
    }

    fn udp_send(&mut self, key: Key, datagram: &Datagram<'_>) -> io::Result<()> {
        let Some(socket) = self.net.udp.sockets.get(key) else {
            return Err(crashed());
        };
        let (host, at) = (socket.host, socket.at);
        let to = SocketAddr::new(target(datagram.to.ip()), datagram.to.port());
        if at.is_ipv4() != to.is_ipv4() || to.port() == 0 {
            let message = format!("cannot send from {at} to {to}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let from = match datagram.from {
            Some(from) => {
                self.check_local(host, from)?;
                from
            }
            None if at.ip().is_unspecified() => self.source_ip(host, to.ip())?,
            None => {
                // It may be lost by now.
                self.check_local(host, at.ip())?;
                at.ip()
            }
        };
        let from = SocketAddr::new(from, at.port());
        let size = datagram.segment.unwrap_or(datagram.contents.len()).max(1);
        if size.min(datagram.contents.len()) > LARGEST {
            let message = format!("a datagram holds at most {LARGEST} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if datagram.contents.is_empty() {
            self.datagram_leaves(host, from, to, &[], datagram.ecn);
        }
        for contents in datagram.contents.chunks(size) {
            self.datagram_leaves(host, from, to, contents, datagram.ecn);
        }
        Ok(())
    }

    fn datagram_leaves(
        &mut self,
        host: HostId,
        from: SocketAddr,
        to: SocketAddr,
        contents: &[u8],
        ecn: u8,
    ) {
        let len = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        self.note(host, What::DatagramSent { to, len });
        if self.config.hash_contents {
            self.log.add_contents(contents);
        }
        let headers = if to.is_ipv4() { HEADERS_4 } else { HEADERS_6 };
        if to.ip().is_multicast() {
            return self.datagram_leaves_for_group(host, from, to, contents, ecn);
        }
        let wire = self.outbound(Proto::Udp, host, from, to);
        let why = match self.destination(Proto::Udp, wire) {
            None => "nobody has this address",
            Some(there) if !self.reachable(host, there) => "the path is cut or the host down",
            Some(there) => {
                let flight = self.tap_send(host, there, contents.len());
                let key = self.net.udp.flying.insert(Flying {
                    wire,
                    bytes: contents.into(),
                    ecn,
                    flight,
                });
                return self.launch(Parcel {
                    load: Load::Datagram(key),
                    from: host,
                    to: there,
                    len: u32::try_from(contents.len() + headers).unwrap_or(u32::MAX),
                });
            }
        };
        self.note(host, What::DatagramDropped { to, why });
    }

    /// One copy for each host of the same network that is a member.
    fn datagram_leaves_for_group(
        &mut self,
        host: HostId,
        from: SocketAddr,
        to: SocketAddr,
        contents: &[u8],
        ecn: u8,
    ) {
        let realm = self.host(host).nat;
        let members = self.net.udp.sockets.iter().map(|(_, socket)| socket);
        let members = members.filter(|socket| socket.is_member(to));
        let mut hosts: Vec<HostId> = members.map(|socket| socket.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.retain(|there| self.host(*there).nat == realm);
        if hosts.is_empty() {
            let why = "nobody of this network is in the group";
            self.note(host, What::DatagramDropped { to, why });
        }
        for there in hosts {
            if !self.reachable(host, there) {
                let why = "the path is cut or the host down";
                self.note(there, What::DatagramDropped { to, why });
                continue;
            }
            let flight = self.tap_send(host, there, contents.len());
            let key = self.net.udp.flying.insert(Flying {
                wire: Wire::to_group(from, to, realm),
                bytes: contents.into(),
                ecn,
                flight,
            });
            self.launch(Parcel {
                load: Load::Datagram(key),
                from: host,
                to: there,
                len: u32::try_from(contents.len() + HEADERS_6).unwrap_or(u32::MAX),
            });
        }
    }

    /// A datagram enters its link, which decides.
    pub(crate) fn datagram_fate(&mut self, key: Key, parcel: Parcel, fate: Fate) {
        match fate.first {
            Ok(delay) => {
                if let Some(delay) = fate.second
                    && let Some(copy) = self.net.udp.flying.get(key).cloned()
                {
                    let load = Load::Datagram(self.net.udp.flying.insert(copy));
                    self.after(delay, NetEvent::Arrive(Parcel { load, ..parcel }));
                }
                self.after(delay, NetEvent::Arrive(parcel));
            }
            Err(why) => self.datagram_drop(key, parcel.from, why),
        }
    }

    /// Sender and receiver of a datagram, as they are on the wire.
    pub(crate) fn datagram_ends(&self, key: Key) -> Option<(SocketAddr, SocketAddr)> {
        let flying = self.net.udp.flying.get(key)?;
        Some((flying.wire.from, flying.wire.to))
    }

    /// A datagram comes to nothing.
    pub(crate) fn datagram_drop(&mut self, key: Key, host: HostId, why: &'static str) {
        if let Some(flying) = self.net.udp.flying.remove(key) {
            let to = flying.wire.to;
            self.note(host, What::DatagramDropped { to, why });
        }
    }

    pub(crate) fn datagram_arrives(&mut self, key: Key, from_host: HostId, to_host: HostId) {
        let Some(wire) = self.net.udp.flying.get(key).map(|flying| flying.wire) else {
            return;
        };
        if wire.to.ip().is_multicast() {
            return self.datagram_arrives_for_group(key, wire, from_host, to_host);
        }
        let arrival = match self.inbound(Proto::Udp, wire) {
            Ok(arrival) if arrival.host == to_host && self.reachable(from_host, to_host) => arrival,
            Ok(_) => return self.datagram_drop(key, to_host, "the path is cut or the host down"),
            Err(why) => return self.datagram_drop(key, to_host, why),
        };
        let keys = self.net.udp.bound.get(&(to_host, arrival.to.port()));
        let mut keys = keys.into_iter().flatten().copied();
        let sockets = &self.net.udp.sockets;
        let found = keys.find(|key| {
            let socket = sockets.get(*key);
            socket.is_some_and(|socket| overlap(socket.at.ip(), arrival.to.ip()))
        });
        let Some(socket) = found.and_then(|key| self.net.udp.sockets.get_mut(key)) else {
            return self.datagram_drop(key, to_host, "no socket is bound there");
        };
        if socket.waiting >= self.config.udp_buffer {
            return self.datagram_drop(key, to_host, "the socket's buffer is full");
        }
        let Some(flying) = self.net.udp.flying.remove(key) else {
            return;
        };
        socket.waiting += flying.bytes.len() + OVERHEAD;
        let len = u32::try_from(flying.bytes.len()).unwrap_or(u32::MAX);
        socket.inbox.push_back(Letter {
            from: arrival.from,
            to: arrival.to.ip(),
            bytes: flying.bytes,
            ecn: flying.ecn,
        });
        self.wakes.append(&mut socket.readers);
        let from = arrival.from;
        self.note(to_host, What::DatagramArrived { from, len });
        self.tap_receive(from_host, to_host, flying.flight);
    }

    /// Every member on the host gets it.
    fn datagram_arrives_for_group(
        &mut self,
        key: Key,
        wire: Wire,
        from_host: HostId,
        to_host: HostId,
    ) {
        if !self.reachable(from_host, to_host) {
            return self.datagram_drop(key, to_host, "the path is cut or the host down");
        }
        let Some(flying) = self.net.udp.flying.remove(key) else {
            return;
        };
        let limit = self.config.udp_buffer;
        let keys = self
            .net
            .udp
            .bound
            .get(&(to_host, wire.to.port()))
            .cloned()
            .unwrap_or_default();
        let (from, to) = (wire.from, wire.to);
        let (mut heard, mut full) = (false, false);
        for key in keys {
            let socket = self.net.udp.sockets.get_mut(key);
            let Some(socket) = socket.filter(|socket| socket.is_member(to)) else {
                continue;
            };
            if socket.waiting >= limit {
                full = true;
                continue;
            }
            heard = true;
            socket.waiting += flying.bytes.len() + OVERHEAD;
            socket.inbox.push_back(Letter {
                from,
                to: to.ip(),
                bytes: flying.bytes.clone(),
                ecn: flying.ecn,
            });
            self.wakes.append(&mut socket.readers);
        }
        if full || !heard {
            let full = full.then_some("the socket's buffer is full");
            let why = full.unwrap_or("no socket is bound there");
            self.note(to_host, What::DatagramDropped { to, why });
        }
        if !heard {
            return;
        }
        let len = u32::try_from(flying.bytes.len()).unwrap_or(u32::MAX);
        self.note(to_host, What::DatagramArrived { from, len });
        self.tap_receive(from_host, to_host, flying.flight);
    }

    fn udp_receive(
        &mut self,
        key: Key,
        buffer: &mut [u8],
        waker: &Waker,
    ) -> Poll<io::Result<Received>> {
        let Some(socket) = self.net.udp.sockets.get_mut(key) else {
            return Poll::Ready(Err(crashed()));
        };
        let Some(letter) = socket.inbox.pop_front() else {
            if !socket.readers.iter().any(|other| other.will_wake(waker)) {
                if socket.readers.len() >= MAX_READERS {
                    self.wakes.append(&mut socket.readers);
                }
                socket.readers.push(waker.clone());
            }
            return Poll::Pending;
        };
        socket.waiting -= letter.bytes.len() + OVERHEAD;
        // As with every datagram socket: what does not fit is lost.
        let len = letter.bytes.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..len), letter.bytes.get(..len)) {
            to.copy_from_slice(from);
        }
        Poll::Ready(Ok(Received {
            from: letter.from,
            to: Some(letter.to),
            len,
            segment: len,
            ecn: letter.ecn,
        }))
    }
}

fn crashed() -> io::Error {
    io::Error::new(io::ErrorKind::NetworkDown, "the host has crashed")
}

/// The handle of a datagram socket.
pub(crate) struct SimUdpSocket {
    world: Arc<World>,
    key: Key,
    at: SocketAddr,
}

impl SimUdpSocket {
    pub(crate) fn bind(
        world: Arc<World>,
        host: HostId,
        life: u32,
        at: SocketAddr,
        group: Option<IpAddr>,
    ) -> io::Result<Self> {
        let (key, at) = world.with(|state| state.udp_bind(host, life, at, group))?;
        Ok(Self { world, key, at })
    }
}

impl UdpSocket for SimUdpSocket {
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        self.world
            .with(|state| state.udp_receive(self.key, buffer, cx.waker()))
    }

    fn poll_send(&self, _: &mut Context<'_>, datagram: &Datagram<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.world.with(|state| state.udp_send(self.key, datagram)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}

impl Drop for SimUdpSocket {
    fn drop(&mut self) {
        self.world.with(|state| state.udp_close(self.key));
    }
}

impl fmt::Debug for SimUdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "datagram socket at {}", self.at)
    }
}
