//! Discovery as a service of a swarm: sockets, interfaces, and whom to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::stream::StreamExt;
use futures::task::noop_waker_ref;
use p2p_core::{
    Datagram, Group, Instant, Interface, Multiaddr, PeerId, Rt, Timer, UdpOptions, UdpSocket,
};
use p2p_swarm::{Lag, Publisher, Subscription, Swarm, WeakSwarm};

use crate::dials::Dials;
use crate::{Config, Discovery, Output, SetupError};

/// The groups of multicast DNS (RFC 6762, section 3).
const GROUP_4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const PORT: u16 = 5353;
/// Links that are served; further ones are ignored.
const MAX_LINKS: usize = 64;
/// Packets read from one link in a row: the others want their turn.
const MAX_READS: usize = 16;
/// What one call may receive: sockets that say where a packet was sent to pass several at once.
const BUFFER: usize = 64 << 10;

/// What happens in the local network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer says that it has this address, which was not known.
    Found {
        /// The peer.
        peer: PeerId,
        /// Its address, with `/p2p/<peer>`.
        addr: Multiaddr,
    },
    /// This subscriber did not read fast enough; so many of the oldest events are lost. Ask
    /// [`Mdns::peers`] for what is known.
    Lagged(u64),
    /// A peer does not say any more that it has this address.
    Lost {
        /// The peer.
        peer: PeerId,
        /// The address, with `/p2p/<peer>`.
        addr: Multiaddr,
    },
}

impl Lag for Event {
    fn lagged(lost: u64) -> Self {
        Self::Lagged(lost)
    }
}

/// A subscription to [`Event`]s: a stream that ends with the service.
pub type Events = Subscription<Event>;

/// The service. Cheap to clone; does not keep its swarm alive.
#[derive(Clone)]
pub struct Mdns(Arc<Shared>);

struct Shared {
    config: Config,
    events: Publisher<Event>,
    known: Mutex<Known>,
}

/// Addresses, and on how many links they are known. Bounded by the machines'.
type Known = BTreeMap<PeerId, BTreeMap<Multiaddr, usize>>;

impl Mdns {
    /// Starts to discover; ends with `swarm`.
    ///
    /// Interfaces that cannot be used are left out, and tried again when they are looked at the
    /// next time.
    ///
    /// # Errors
    /// [`SetupError`] if the settings make no sense.
    pub fn new(swarm: &Swarm, config: Config) -> Result<Self, SetupError> {
        config.check()?;
        let dials = Dials::new(config.max_dials, config.max_peers);
        let shared = Arc::new(Shared {
            config,
            events: Publisher::default(),
            known: Mutex::default(),
        });
        let task = Task {
            rt: Rt::clone(swarm.rt()),
            swarm: swarm.downgrade(),
            local: swarm.local_peer(),
            shared: Arc::clone(&shared),
            links: BTreeMap::new(),
            look_at: swarm.rt().now(),
            timer: None,
            buffer: vec![0; BUFFER],
            dials,
        };
        let events = swarm.events();
        swarm.spawn("mdns", task.run(events));
        Ok(Self(shared))
    }

    /// What happens from now on. Bounded: see [`Event::Lagged`].
    pub fn events(&self) -> Events {
        self.0.events.subscribe(self.0.config.event_backlog)
    }

    /// Everybody in the local network, with their addresses.
    pub fn peers(&self) -> BTreeMap<PeerId, Vec<Multiaddr>> {
        let known = self.0.known();
        let peers = known.iter();
        peers
            .map(|(peer, addrs)| (*peer, addrs.keys().cloned().collect()))
            .collect()
    }
}

impl fmt::Debug for Mdns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mdns")
            .field("known", &self.0.known().len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows(&self, peer: &PeerId) -> bool {
        self.known().contains_key(peer)
    }

    /// One more link says it; true if none did.
    fn add(&self, peer: PeerId, addr: &Multiaddr) -> bool {
        let mut known = self.known();
        let addrs = known.entry(peer).or_default();
        let links = addrs.entry(addr.clone()).or_default();
        *links += 1;
        *links == 1
    }

    /// One link fewer says it; true if it was the last.
    fn remove(&self, peer: &PeerId, addr: &Multiaddr) -> bool {
        let mut known = self.known();
        let Some(addrs) = known.get_mut(peer) else {
            return false;
        };
        let Some(links) = addrs.get_mut(addr) else {
            return false;
        };
        *links -= 1;
        if *links > 0 {
            return false;
        }
        addrs.remove(addr);
        if addrs.is_empty() {
            known.remove(peer);
        }
        true
    }
}

/// One family of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LinkId {
    interface: u32,
    /// The interface's first address of the family.
    source: IpAddr,
}

struct Link {
    socket: Arc<dyn UdpSocket>,
    group: SocketAddr,
    machine: Discovery,
}

struct Task {
    rt: Rt,
    swarm: WeakSwarm,
    local: PeerId,
    shared: Arc<Shared>,
    links: BTreeMap<LinkId, Link>,
    /// When to look at the interfaces.
    look_at: Instant,
    timer: Option<Box<dyn Timer>>,
    buffer: Vec<u8>,
    dials: Dials,
}

impl Task {
    async fn run(mut self, mut events: p2p_swarm::Events) {
        poll_fn(|cx| {
            // Only that something happened counts: addresses are asked for below.
            while let Poll::Ready(event) = events.poll_next_unpin(cx) {
                match event {
                    None => return Poll::Ready(()),
                    Some(p2p_swarm::Event::ListenAddr(_) | p2p_swarm::Event::ListenAddrGone(_)) => {
                        self.set_addrs();
                    }
                    Some(_) => {}
                }
            }
            self.poll(cx)
        })
        .await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = self.rt.now();
            if now >= self.look_at {
                self.look(now);
                self.look_at = now + self.shared.config.interface_interval;
            }
            let mut next = self.look_at;
            let mut news = Vec::new();
            let mut busy = false;
            for link in self.links.values_mut() {
                busy |= link.receive(cx, &mut self.buffer, now);
                link.machine.handle_timeout(now);
                while let Some(output) = link.machine.poll_output() {
                    match output {
                        Output::Send(packet) => link.send(cx, &packet),
                        one
                        @ (Output::Found { .. } | Output::Kept { .. } | Output::Lost { .. }) => {
                            news.push(one)
                        }
                    }
                }
                next = next.min(link.machine.poll_timeout());
            }
            self.tell(news);
            let shared = &self.shared;
            self.dials.poll(cx, &self.swarm, |peer| shared.knows(peer));
            if busy {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let rt = &self.rt;
            let timer = self.timer.get_or_insert_with(|| rt.timer(next));
            timer.reset(next);
            if Pin::new(timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Serves the interfaces that are there, and no others.
    fn look(&mut self, now: Instant) {
        let interfaces = match self.rt.net().interfaces() {
            Ok(interfaces) => interfaces,
            Err(error) => {
                tracing::debug!(%error, "cannot look at the interfaces");
                return;
            }
        };
        let wanted: Vec<LinkId> = interfaces.iter().flat_map(links).take(MAX_LINKS).collect();
        let gone: Vec<LinkId> = self
            .links
            .keys()
            .filter(|id| !wanted.contains(id))
            .copied()
            .collect();
        for id in gone {
            if let Some(link) = self.links.remove(&id) {
                self.forget(link);
            }
        }
        for id in wanted {
            if self.links.contains_key(&id) {
                continue;
            }
            match self.open(id, now) {
                Ok(link) => {
                    tracing::debug!(?id, "discovering");
                    self.links.insert(id, link);
                }
                Err(error) => tracing::debug!(?id, %error, "cannot discover on this interface"),
            }
        }
        self.set_addrs();
    }

    fn open(&self, id: LinkId, now: Instant) -> io::Result<Link> {
        let (group, any): (IpAddr, IpAddr) = match id.source {
            IpAddr::V4(_) => (GROUP_4.into(), Ipv4Addr::UNSPECIFIED.into()),
            IpAddr::V6(_) => (GROUP_6.into(), Ipv6Addr::UNSPECIFIED.into()),
        };
        let mut options = UdpOptions::default();
        // It tells where a packet was sent to.
        options.bulk = true;
        options.group = Some(Group {
            addr: group,
            interface: id.interface,
            source: id.source,
        });
        let socket = self
            .rt
            .net()
            .udp_open(SocketAddr::new(any, PORT), &options)?;
        let config = self.shared.config.clone();
        Ok(Link {
            socket,
            group: SocketAddr::new(group, PORT),
            machine: Discovery::new(self.local, config, self.rt.random(), now),
        })
    }

    /// Tells the links where we can be reached.
    fn set_addrs(&mut self) {
        let Some(swarm) = self.swarm.upgrade() else {
            return;
        };
        let (addrs, now) = (swarm.listen_addrs(), self.rt.now());
        for link in self.links.values_mut() {
            link.machine.set_addrs(addrs.iter().cloned(), now);
        }
    }

    /// A link is gone with all that was known from it.
    fn forget(&mut self, link: Link) {
        let mut news = Vec::new();
        for (&peer, addrs) in link.machine.peers() {
            for addr in addrs {
                let addr = addr.clone();
                news.push(Output::Lost { peer, addr });
            }
        }
        self.tell(news);
    }

    /// Passes news on: to the swarm, then to whoever may ask the swarm about them.
    fn tell(&mut self, news: Vec<Output>) {
        let shared = &self.shared;
        let (mut peers, mut events) = (BTreeSet::new(), Vec::new());
        for one in news {
            match one {
                Output::Found { peer, addr } => {
                    peers.insert(peer);
                    if shared.add(peer, &addr) {
                        tracing::debug!(%peer, %addr, "found");
                        events.push(Event::Found { peer, addr });
                    }
                }
                Output::Kept { peer } => {
                    peers.insert(peer);
                }
                Output::Lost { peer, addr } => {
                    peers.insert(peer);
                    if shared.remove(&peer, &addr) {
                        events.push(Event::Lost { peer, addr });
                    }
                }
                Output::Send(_) => {}
            }
        }
        if let Some(swarm) = self.swarm.upgrade() {
            for peer in peers {
                self.learn(&swarm, peer);
            }
        }
        for event in events {
            if let Event::Found { peer, .. } = event
                && shared.config.dial
            {
                self.dials.add(peer, |peer| shared.knows(peer));
            }
            shared.events.publish(&event);
        }
    }

    /// Tells the swarm what the links say of `peer`, and until when unless they repeat it.
    fn learn(&self, swarm: &Swarm, peer: PeerId) {
        let (mut addrs, mut last) = (BTreeSet::new(), Instant::ZERO);
        for link in self.links.values() {
            for (addr, until) in link.machine.addrs_of(&peer) {
                addrs.insert(addr.clone());
                last = last.max(until);
            }
        }
        swarm.learn_nearby_addrs(peer, addrs, last);
    }
}

impl Drop for Task {
    /// Says goodbye, so that others need not wait until they forget us.
    fn drop(&mut self) {
        let cx = &mut Context::from_waker(noop_waker_ref());
        let now = self.rt.now();
        for link in self.links.values_mut() {
            link.machine.set_addrs([], now);
            while let Some(output) = link.machine.poll_output() {
                if let Output::Send(packet) = output {
                    link.send(cx, &packet);
                }
            }
        }
    }
}

impl Link {
    /// Takes in what came; true if there may be more.
    fn receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8], now: Instant) -> bool {
        for _ in 0..MAX_READS {
            match self.socket.poll_recv(cx, buffer) {
                Poll::Pending => return false,
                Poll::Ready(Err(error)) => {
                    // About the interface: it is looked at again soon.
                    tracing::debug!(%error, "cannot receive");
                    return false;
                }
                Poll::Ready(Ok(received)) => {
                    // What was sent to us alone may come from anywhere (RFC 6762, section 11).
                    // The port that it comes from says nothing: not all answer from 5353.
                    let packets = buffer.get(..received.len).unwrap_or_default();
                    if received.to == Some(self.group.ip()) {
                        for packet in packets.chunks(received.segment.max(1)) {
                            self.machine.handle_packet(packet, now);
                        }
                    }
                }
            }
        }
        true
    }

    /// Sends if that needs no waiting: what is lost is repeated.
    fn send(&self, cx: &mut Context<'_>, packet: &[u8]) {
        let datagram = Datagram::new(self.group, packet);
        if let Poll::Ready(Err(error)) = self.socket.poll_send(cx, &datagram) {
            tracing::debug!(%error, "cannot send");
        }
    }
}

/// One link for each family of an interface.
fn links(interface: &Interface) -> impl Iterator<Item = LinkId> {
    let index = interface.index;
    let first = |wanted: fn(&&IpAddr) -> bool| interface.addrs.iter().find(wanted).copied();
    let sources = [first(|ip| ip.is_ipv4()), first(|ip| ip.is_ipv6())];
    sources.into_iter().flatten().map(move |source| LinkId {
        interface: index,
        source,
    })
}
