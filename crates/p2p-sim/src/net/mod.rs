//! The simulated network: who has which address, and what is under way.

mod addrs;
pub(crate) mod lane;
pub(crate) mod link;
pub(crate) mod listener;
pub(crate) mod names;
pub(crate) mod nat;
pub(crate) mod route;
pub(crate) mod shaper;
pub(crate) mod tap;
pub(crate) mod tcp;
pub(crate) mod tcp_connect;
pub(crate) mod tcp_stream;
pub(crate) mod udp;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::rng::Rng;
use crate::slab::Key;
use crate::world::{HostId, Nanos, State};

use link::Links;
use nat::Nats;
use route::Owner;
use shaper::Shapers;
use tap::Taps;
use tcp::{Side, Tcps};
use udp::Udps;

/// An entry of the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Timer { key: Key, at: Nanos },
    Net(NetEvent),
}

/// What happens in the network.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NetEvent {
    /// Reaches the far end of its link.
    Arrive(Parcel),
    /// Sends again what could not get through.
    LaneRetry { conn: Key, side: Side, epoch: u32 },
    /// Reaches the dialer.
    Refused { dial: Key },
    /// Has sent one parcel and looks for the next.
    ShaperFree(shaper::ShaperId),
    /// Reaches the host that is dialed.
    SynArrive { dial: Key },
    /// Sends the first segment of a connection again, or gives up.
    SynRetry { dial: Key },
}

/// Something on its way between two hosts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parcel {
    pub(crate) load: Load,
    pub(crate) from: HostId,
    pub(crate) to: HostId,
    pub(crate) len: u32,
}

/// What a [`Parcel`] carries.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    Datagram(Key),
    /// The next segment that `side` sent; void if its lane has a newer epoch.
    Segment {
        conn: Key,
        side: Side,
        epoch: u32,
    },
}

/// TCP or UDP: each has its own ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proto {
    Tcp,
    Udp,
}

/// Everything between the hosts.
pub(crate) struct Network {
    pub(crate) rng: Rng,
    pub(crate) addrs: BTreeMap<(Option<nat::NatId>, IpAddr), Owner>,
    pub(crate) links: Links,
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) nats: Nats,
    /// How many sockets use a port.
    pub(crate) ports: BTreeMap<(Proto, HostId, u16), u32>,
    pub(crate) shapers: Shapers,
    pub(crate) taps: Taps,
    pub(crate) tcp: Tcps,
    pub(crate) udp: Udps,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed, "network"),
            addrs: BTreeMap::new(),
            links: Links::default(),
            names: BTreeMap::new(),
            nats: Nats::default(),
            ports: BTreeMap::new(),
            shapers: Shapers::default(),
            taps: Taps::default(),
            tcp: Tcps::default(),
            udp: Udps::default(),
        }
    }
}

impl State {
    pub(crate) fn net_event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Arrive(parcel) => self.arrive(parcel),
            NetEvent::LaneRetry { conn, side, epoch } => self.lane_retry(conn, side, epoch),
            NetEvent::Refused { dial } => self.dial_refused(dial),
            NetEvent::ShaperFree(shaper) => self.shaper_free(shaper),
            NetEvent::SynArrive { dial } => self.syn_arrives(dial),
            NetEvent::SynRetry { dial } => self.syn_retry(dial),
        }
    }

    pub(crate) fn after(&mut self, delay: Nanos, event: NetEvent) {
        let at = self.now.saturating_add(delay);
        self.queue.push(at, Event::Net(event));
    }

    /// Hands a parcel that has passed everything to its socket.
    pub(crate) fn hand_over(&mut self, parcel: Parcel) {
        match parcel.load {
            Load::Datagram(key) => self.datagram_arrives(key, parcel.from, parcel.to),
            Load::Segment { conn, side, epoch } => self.segment_arrives(conn, side, epoch),
        }
    }
}
