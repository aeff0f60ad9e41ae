//! What one end of a connection sends, until it is received.
//!
//! Segments arrive in the order in which they were sent. While the path is cut, or the remote
//! host is down, or either end has lost its address, a lane is *stalled*: it tries again after 200 ms, twice that, and so on, and
//! fails its own end when it has tried long enough.

use std::collections::VecDeque;

use crate::net::tcp::{Failure, Side, Stage};
use crate::net::{Load, NetEvent, Parcel};
use crate::slab::Key;
use crate::trace::{Kind, What};
use crate::world::{HostId, Nanos, State, nanos};

/// What one end sends.
pub(crate) struct Lane {
    /// Bytes that may still be written.
    pub(crate) credit: usize,
    /// All was written; nothing but credit follows.
    pub(crate) fin: bool,
    /// The connection was reset from here; nothing follows.
    pub(crate) rst: bool,
    flight: VecDeque<Segment>,
    /// Nothing arrives before what was sent before it.
    last_arrival: Nanos,
    /// Parcels of an older epoch are void.
    epoch: u32,
    stall: Option<Stall>,
}

struct Segment {
    payload: Payload,
    /// For [`Flights`](crate::Flights).
    flight: u32,
}

/// What a segment carries.
pub(crate) enum Payload {
    Ack,
    Credit(usize),
    Data(Box<[u8]>),
    Fin,
    Rst,
    SynAck,
}

#[derive(Clone, Copy)]
struct Stall {
    since: Nanos,
    wait: Nanos,
}

/// Time until the first attempt to get through a cut path.
const FIRST_RETRY: Nanos = 200_000_000;
/// The longest time between two attempts.
const LAST_RETRY: Nanos = 60_000_000_000;
/// Bytes of the headers of a segment on the wire.
const HEADERS: usize = 52;

impl Payload {
    fn kind(&self) -> Kind {
        match self {
            Self::Ack => Kind::Ack,
            Self::Credit(_) => Kind::Credit,
            Self::Data(_) => Kind::Data,
            Self::Fin => Kind::Fin,
            Self::Rst => Kind::Rst,
            Self::SynAck => Kind::SynAck,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            Self::Ack | Self::Credit(_) | Self::Fin | Self::Rst | Self::SynAck => 0,
        }
    }

    /// Whether it counts as a flight.
    fn counts(&self) -> bool {
        !matches!(self, Self::Ack | Self::Credit(_))
    }
}

impl Lane {
    pub(crate) fn new(credit: usize) -> Self {
        Self {
            credit,
            fin: false,
            rst: false,
            flight: VecDeque::new(),
            last_arrival: 0,
            epoch: 0,
            stall: None,
        }
    }

    /// Whether everything was received.
    pub(crate) fn is_empty(&self) -> bool {
        self.flight.is_empty()
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.stall.is_some()
    }

    /// Nothing more is sent of it, and what is on the way is void.
    pub(crate) fn silence(&mut self) {
        self.flight = VecDeque::new();
        self.epoch = self.epoch.wrapping_add(1);
        self.stall = None;
    }
}

impl State {
    /// Sends a segment from `side`.
    pub(crate) fn transmit(&mut self, key: Key, side: Side, payload: Payload) {
        let Some(conn) = self.net.tcp.conns.get(key) else {
            return;
        };
        if conn.end(side).lane.rst {
            return;
        }
        let (serial, from) = (conn.serial, conn.end(side).host);
        let to = conn.end(side.other()).host;
        let (kind, len) = (
            payload.kind(),
            u32::try_from(payload.len()).unwrap_or(u32::MAX),
        );
        self.note(
            from,
            What::Sent {
                conn: serial,
                kind,
                len,
            },
        );
        if self.config.hash_contents
            && let Payload::Data(bytes) = &payload
        {
            self.log.add_contents(bytes);
        }
        let flight = match payload.counts() {
            true => self.tap_send(from, to, payload.len()),
            false => 0,
        };
        let reachable = self.carries(key, side);
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return;
        };
        let end = conn.end_mut(side);
        end.lane.fin |= matches!(payload, Payload::Fin);
        end.lane.rst |= matches!(payload, Payload::Rst);
        end.lane.flight.push_back(Segment { payload, flight });
        if end.lane.stall.is_some() {
            return;
        }
        let epoch = end.lane.epoch;
        match reachable {
            true => self.launch(parcel(key, side, epoch, from, to, len as usize)),
            false => self.stall(key, side),
        }
    }

    /// Keeps the segments of a lane in order: nothing arrives before what was sent before.
    pub(crate) fn lane_arrival(&mut self, key: Key, side: Side, epoch: u32, at: Nanos) -> Nanos {
        match self.net.tcp.conns.get_mut(key) {
            Some(conn) if conn.end(side).lane.epoch == epoch => {
                let lane = &mut conn.end_mut(side).lane;
                lane.last_arrival = lane.last_arrival.max(at);
                lane.last_arrival
            }
            _ => at,
        }
    }

    fn stall(&mut self, key: Key, side: Side) {
        let now = self.now;
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return;
        };
        let serial = conn.serial;
        let end = conn.end_mut(side);
        end.lane.epoch = end.lane.epoch.wrapping_add(1);
        end.lane.stall = Some(Stall {
            since: now,
            wait: FIRST_RETRY,
        });
        let (host, epoch) = (end.host, end.lane.epoch);
        self.note(host, What::Stalled { conn: serial });
        self.after(
            FIRST_RETRY,
            NetEvent::LaneRetry {
                conn: key,
                side,
                epoch,
            },
        );
    }

    pub(crate) fn lane_retry(&mut self, key: Key, side: Side, epoch: u32) {
        let Some(conn) = self.net.tcp.conns.get(key) else {
            return;
        };
        let (end, to) = (conn.end(side), conn.end(side.other()).host);
        let Some(stall) = end.lane.stall.filter(|_| end.lane.epoch == epoch) else {
            return;
        };
        let (from, stage) = (end.host, end.stage);
        let reachable = self.carries(key, side);
        let limit = match stage {
            Stage::Open => nanos(self.config.tcp.give_up),
            Stage::Embryo | Stage::Closed | Stage::Gone => nanos(self.config.tcp.orphan_give_up),
        };
        if stage == Stage::Gone || (!reachable && self.now - stall.since >= limit) {
            return self.give_up(key, side);
        }
        if !reachable && self.meets_a_stranger(key, side) {
            // It knows nothing of this connection, and says so.
            self.fail(key, side, Failure::Reset);
            return self.cleanup(key);
        }
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return;
        };
        let lane = &mut conn.end_mut(side).lane;
        if !reachable {
            let wait = stall.wait.saturating_mul(2).min(LAST_RETRY);
            lane.stall = Some(Stall { wait, ..stall });
            return self.after(
                wait,
                NetEvent::LaneRetry {
                    conn: key,
                    side,
                    epoch,
                },
            );
        }
        lane.stall = None;
        let lens: Vec<usize> = lane.flight.iter().map(|s| s.payload.len()).collect();
        for len in lens {
            self.launch(parcel(key, side, epoch, from, to, len));
        }
    }

    /// The path was cut for too long.
    fn give_up(&mut self, key: Key, side: Side) {
        let Some(conn) = self.net.tcp.conns.get(key) else {
            return;
        };
        let (serial, host) = (conn.serial, conn.end(side).host);
        self.note(host, What::GaveUp { conn: serial });
        self.fail(key, side, Failure::TimedOut);
        self.cleanup(key);
    }

    pub(crate) fn segment_arrives(&mut self, key: Key, side: Side, epoch: u32) {
        let Some(conn) = self.net.tcp.conns.get(key) else {
            return;
        };
        if conn.end(side).lane.epoch != epoch {
            return;
        }
        let (serial, from) = (conn.serial, conn.end(side).host);
        let other = conn.end(side.other());
        let (sender_gone, to) = (conn.end(side).stage == Stage::Gone, other.host);
        if !self.reachable(from, to) || !self.has_addr(to, other.local.ip()) {
            // What a crashed host had sent is not sent again.
            return match sender_gone {
                true => self.give_up(key, side),
                false => self.stall(key, side),
            };
        }
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return;
        };
        let Some(segment) = conn.end_mut(side).lane.flight.pop_front() else {
            return;
        };
        let (kind, len) = (
            segment.payload.kind(),
            u32::try_from(segment.payload.len()).unwrap_or(u32::MAX),
        );
        self.note(
            to,
            What::Delivered {
                conn: serial,
                kind,
                len,
            },
        );
        self.tap_receive(from, to, segment.flight);
        self.receive(key, side.other(), segment.payload);
        self.cleanup(key);
    }
}

fn parcel(conn: Key, side: Side, epoch: u32, from: HostId, to: HostId, len: usize) -> Parcel {
    Parcel {
        load: Load::Segment { conn, side, epoch },
        from,
        to,
        len: u32::try_from(len + HEADERS).unwrap_or(u32::MAX),
    }
}
