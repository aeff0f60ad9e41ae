//! Rate limits that are shared fairly.
//!
//! Each flow has a queue. Whichever flow has been served least goes next, counted in bytes from
//! the time that it last had something to send (start-time fair queueing; Goyal, Vin and Cheng,
//! 1996). A flow is one direction of a connection, or the datagrams from one socket to another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroU64;

use crate::net::link::Stage;
use crate::net::tcp::Side;
use crate::net::{Load, NetEvent, Parcel};
use crate::slab::{Key, Slab};
use crate::world::{Nanos, State};

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShaperId(Key);

/// All rate limits.
#[derive(Debug, Default)]
pub(crate) struct Shapers(Slab<Shaper>);

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flow {
    Connection(Key, Side),
    Datagrams(SocketAddr, SocketAddr),
}

#[derive(Debug)]
struct Shaper {
    rate: NonZeroU64,
    /// What is being sent now.
    current: Option<(Parcel, Stage)>,
    flows: BTreeMap<Flow, Queue>,
    /// Flows that wait, by the service they have had.
    turns: BTreeSet<(u64, Flow)>,
    /// The service that the flow which is sending had when its turn came.
    clock: u64,
}

#[derive(Debug, Default)]
struct Queue {
    parcels: VecDeque<(Parcel, Stage)>,
    bytes: usize,
    /// The service that it will have had after what it sent last.
    served: u64,
}

impl Shapers {
    pub(crate) fn add(&mut self, rate: NonZeroU64) -> ShaperId {
        ShaperId(self.0.insert(Shaper {
            rate,
            current: None,
            flows: BTreeMap::new(),
            turns: BTreeSet::new(),
            clock: 0,
        }))
    }
}

impl Shaper {
    /// Queues a parcel. Returns false, and takes nothing, if the flow has `limit` bytes waiting.
    fn push(&mut self, flow: Flow, parcel: Parcel, stage: Stage, limit: usize) -> bool {
        let queue = self.flows.entry(flow).or_default();
        if queue.bytes >= limit {
            return false;
        }
        queue.bytes += parcel.len as usize;
        if queue.parcels.is_empty() {
            queue.served = queue.served.max(self.clock);
            self.turns.insert((queue.served, flow));
        }
        queue.parcels.push_back((parcel, stage));
        true
    }

    /// Takes the parcel whose turn it is; returns how long it takes to send.
    fn next(&mut self) -> Option<Nanos> {
        let (served, flow) = self.turns.pop_first()?;
        self.clock = served;
        let queue = self.flows.get_mut(&flow)?;
        let (parcel, stage) = queue.parcels.pop_front()?;
        queue.bytes -= parcel.len as usize;
        queue.served = served.saturating_add(u64::from(parcel.len));
        if !queue.parcels.is_empty() {
            self.turns.insert((queue.served, flow));
        }
        self.current = Some((parcel, stage));
        self.forget_idle();
        let nanos = u128::from(parcel.len) * 1_000_000_000;
        let takes = nanos.div_ceil(u128::from(self.rate.get()));
        Some(Nanos::try_from(takes).unwrap_or(Nanos::MAX))
    }

    /// Flows that wait for nothing and have had no more than others need not be remembered.
    fn forget_idle(&mut self) {
        if self.flows.len() > 2 * self.turns.len() + 16 {
            let clock = self.clock;
            self.flows
                .retain(|_, queue| !queue.parcels.is_empty() || queue.served > clock);
        }
    }
}

impl State {
    /// Lets a parcel wait for its turn at `id`.
    pub(crate) fn shape(&mut self, id: ShaperId, parcel: Parcel, stage: Stage) {
        let (flow, limit) = match parcel.load {
            Load::Segment { conn, side, .. } => (Flow::Connection(conn, side), usize::MAX),
            Load::Datagram(key) => match self.datagram_ends(key) {
                Some((from, to)) => (Flow::Datagrams(from, to), self.config.datagram_queue),
                None => return,
            },
        };
        let Some(shaper) = self.net.shapers.0.get_mut(id.0) else {
            return self.shaped(parcel, stage);
        };
        let taken = shaper.push(flow, parcel, stage, limit);
        let idle = shaper.current.is_none();
        if let (false, Load::Datagram(key)) = (taken, parcel.load) {
            self.datagram_drop(key, parcel.from, "the queue of a rate limit is full");
        }
        if idle {
            self.shaper_next(id);
        }
    }

    fn shaper_next(&mut self, id: ShaperId) {
        let shaper = self.net.shapers.0.get_mut(id.0);
        if let Some(takes) = shaper.and_then(Shaper::next) {
            self.after(takes, NetEvent::ShaperFree(id));
        }
    }

    /// A parcel was sent.
    pub(crate) fn shaper_free(&mut self, id: ShaperId) {
        let shaper = self.net.shapers.0.get_mut(id.0);
        if let Some((parcel, stage)) = shaper.and_then(|shaper| shaper.current.take()) {
            self.shaper_next(id);
            self.shaped(parcel, stage);
        }
    }

    /// A rate limit ends: what waits goes on at once.
    pub(crate) fn shaper_retire(&mut self, id: Option<ShaperId>) {
        let Some(mut shaper) = id.and_then(|id| self.net.shapers.0.remove(id.0)) else {
            return;
        };
        loop {
            if let Some((parcel, stage)) = shaper.current.take() {
                self.shaped(parcel, stage);
            }
            if shaper.next().is_none() {
                return;
            }
        }
    }
}
