//! Connections: what is on the way, what has arrived, and how they end.
//!
//! ```text
//!   end (dialer)                                             end (listener)
//!     write -> lane: flight of segments, in order -----------> inbox -> read
//!     read  <- inbox <----------- lane: flight of segments <-- write
//! ```
//!
//! Each end has a *lane*: the segments that it has sent and the other end has not received, in
//! order. A writer may have [`Tcp::buffer`](crate::Tcp::buffer) bytes outstanding; the reader
//! gives the credit back when it has read half of that. An end whose host has crashed is *gone*:
//! it answers with a reset when its host is up again.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::task::Waker;

use crate::net::Proto;
use crate::net::lane::{Lane, Payload};
use crate::net::listener::Listener;
use crate::net::tcp_connect::Dial;
use crate::slab::{Key, Slab};
use crate::trace::What;
use crate::world::{HostId, State};

/// All TCP state of all hosts.
#[derive(Default)]
pub(crate) struct Tcps {
    pub(crate) conns: Slab<Conn>,
    pub(crate) dials: Slab<Dial>,
    pub(crate) listeners: Slab<Listener>,
    /// Listeners by host and port, oldest first.
    pub(crate) listening: BTreeMap<(HostId, u16), Vec<Key>>,
    /// Who has a pair of addresses: host, local, remote.
    pub(crate) pairs: BTreeMap<(HostId, SocketAddr, SocketAddr), Pair>,
    pub(crate) next_serial: u64,
}

/// What uses a pair of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    Conn(Key),
    Dial(Key),
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Dialer,
    Listener,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// A connection.
pub(crate) struct Conn {
    pub(crate) serial: u64,
    pub(crate) dialer: End,
    pub(crate) listener: End,
    /// Who takes the listener's end once it is established.
    pub(crate) taker: Taker,
    /// The dial that waits for the dialer's end.
    pub(crate) dial: Key,
}

/// Who takes an end that the remote has opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Taker {
    Listener(Key),
    /// Both ends dialed each other.
    Dial(Key),
}

/// One end of a [`Conn`].
pub(crate) struct End {
    pub(crate) host: HostId,
    pub(crate) local: SocketAddr,
    /// The other end, as this one sees it.
    pub(crate) remote: SocketAddr,
    pub(crate) stage: Stage,
    /// Whether it keeps its local port from others.
    pub(crate) holds_port: bool,
    pub(crate) inbox: VecDeque<Chunk>,
    /// Bytes in `inbox` that were not read.
    pub(crate) unread: usize,
    /// Bytes that were read and for which the other end has no credit yet.
    pub(crate) owed: usize,
    /// The other end has sent all.
    pub(crate) eof: bool,
    pub(crate) failed: Option<Failure>,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    pub(crate) lane: Lane,
}

/// How far an end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not established.
    Embryo,
    /// In use.
    Open,
    /// Its application is done with it.
    Closed,
    /// Its host has crashed.
    Gone,
}

/// Why an end failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    AddrGone,
    Reset,
    TimedOut,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::AddrGone => Self::new(
                io::ErrorKind::ConnectionAborted,
                "the host has lost the address of this end",
            ),
            Failure::Reset => Self::new(io::ErrorKind::ConnectionReset, "reset by the remote"),
            Failure::TimedOut => Self::new(io::ErrorKind::TimedOut, "the remote does not answer"),
        }
    }
}

/// Received bytes, `read` of them read.
pub(crate) struct Chunk {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) read: usize,
}

impl End {
    pub(crate) fn new(host: HostId, local: SocketAddr, remote: SocketAddr, credit: usize) -> Self {
        Self {
            host,
            local,
            remote,
            stage: Stage::Embryo,
            holds_port: false,
            inbox: VecDeque::new(),
            unread: 0,
            owed: 0,
            eof: false,
            failed: None,
            reader: None,
            writer: None,
            lane: Lane::new(credit),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Closed | Stage::Gone)
    }

    /// Whether nothing of it can matter to the other end any more.
    fn is_silent(&self) -> bool {
        self.is_over() && self.lane.is_empty()
    }
}

impl Conn {
    pub(crate) fn end(&self, side: Side) -> &End {
        match side {
            Side::Dialer => &self.dialer,
            Side::Listener => &self.listener,
        }
    }

    pub(crate) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialer => &mut self.dialer,
            Side::Listener => &mut self.listener,
        }
    }
}

impl State {
    /// Fails one end; its application finds out.
    pub(crate) fn fail(&mut self, key: Key, side: Side, failure: Failure) {
        let discards = self.config.tcp.reset_discards;
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return;
        };
        let taker = conn.taker;
        let end = conn.end_mut(side);
        end.failed.get_or_insert(failure);
        end.lane.silence();
        if discards && failure == Failure::Reset {
            end.inbox.clear();
            end.unread = 0;
        }
        self.wakes.extend(end.reader.take());
        self.wakes.extend(end.writer.take());
        if end.stage == Stage::Embryo {
            end.stage = Stage::Closed;
            if side == Side::Listener {
                self.half_open_ends(taker);
            }
        }
    }

    /// The end at `side` receives a segment.
    pub(crate) fn receive(&mut self, key: Key, side: Side, payload: Payload) {
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return;
        };
        let end = conn.end_mut(side);
        match (payload, end.stage) {
            (Payload::Rst, Stage::Gone) => {}
            (Payload::Rst, _) => self.fail(key, side, Failure::Reset),
            (_, Stage::Gone) => self.transmit(key, side, Payload::Rst),
            (Payload::SynAck, _) => self.syn_ack_arrives(key),
            (Payload::Ack, _) => self.ack_arrives(key),
            (Payload::Credit(credit), _) => {
                end.lane.credit = end.lane.credit.saturating_add(credit);
                self.wakes.extend(end.writer.take());
            }
            (Payload::Fin, _) => {
                end.eof = true;
                self.wakes.extend(end.reader.take());
            }
            // The reset is on its way; silencing the lane again would lose it.
            (Payload::Data(_), Stage::Closed) if end.lane.rst => {}
            (Payload::Data(_), Stage::Closed) => {
                end.lane.silence();
                self.transmit(key, side, Payload::Rst);
            }
            (Payload::Data(_), _) if end.failed.is_some() => {}
            (Payload::Data(bytes), _) => {
                end.unread += bytes.len();
                end.inbox.push_back(Chunk { bytes, read: 0 });
                self.wakes.extend(end.reader.take());
            }
        }
    }

    /// The application drops its end.
    pub(crate) fn close(&mut self, key: Key, side: Side) {
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return;
        };
        let serial = conn.serial;
        let end = conn.end_mut(side);
        if end.is_over() {
            return;
        }
        end.stage = Stage::Closed;
        end.inbox = VecDeque::new();
        let unread = std::mem::take(&mut end.unread);
        self.retired.extend(end.reader.take());
        self.retired.extend(end.writer.take());
        let (host, failed, fin) = (end.host, end.failed.is_some(), end.lane.fin);
        self.note(host, What::Closed { conn: serial });
        match (failed, unread > 0) {
            (true, _) => {}
            (false, true) => self.transmit(key, side, Payload::Rst),
            (false, false) if !fin => self.transmit(key, side, Payload::Fin),
            (false, false) => {}
        }
        self.cleanup(key);
    }

    /// Resets a connection that its application never saw.
    pub(crate) fn abort(&mut self, key: Key, side: Side) {
        if let Some(conn) = self.net.tcp.conns.get_mut(key) {
            conn.end_mut(side).stage = Stage::Closed;
            conn.end_mut(side).inbox = VecDeque::new();
            self.transmit(key, side, Payload::Rst);
            self.cleanup(key);
        }
    }

    /// Forgets a connection whose ends are both done.
    pub(crate) fn cleanup(&mut self, key: Key) {
        let over = |conn: &&Conn| {
            let reset = conn.dialer.failed.is_some() || conn.listener.failed.is_some();
            let silent = conn.dialer.is_silent() && conn.listener.is_silent();
            // Nobody will ever confirm it: the dialer and what it had to say are gone.
            let embryo = conn.listener.stage == Stage::Embryo && conn.listener.lane.is_empty();
            let unborn = embryo && conn.dialer.is_silent();
            silent || unborn || (reset && conn.dialer.is_over() && conn.listener.is_over())
        };
        if self.net.tcp.conns.get(key).filter(over).is_none() {
            return;
        }
        let Some(conn) = self.net.tcp.conns.remove(key) else {
            return;
        };
        if conn.listener.stage == Stage::Embryo {
            self.half_open_ends(conn.taker);
        }
        for end in [conn.dialer, conn.listener] {
            let pair = (end.host, end.local, end.remote);
            if self.net.tcp.pairs.get(&pair) == Some(&Pair::Conn(key)) {
                self.net.tcp.pairs.remove(&pair);
            }
            if end.holds_port {
                self.port_release(Proto::Tcp, end.host, end.local.port());
            }
            self.retired.extend(end.reader);
            self.retired.extend(end.writer);
        }
    }

    /// All TCP of a host vanishes without a word.
    pub(crate) fn tcp_crash(&mut self, host: HostId) {
        let tcp = &mut self.net.tcp;
        for key in tcp.dials.keys_where(|dial| dial.host == host) {
            self.retired
                .extend(tcp.dials.remove(key).and_then(|dial| dial.waker));
        }
        for key in tcp.listeners.keys_where(|listener| listener.host == host) {
            let listener = tcp.listeners.remove(key);
            self.retired
                .extend(listener.and_then(|listener| listener.waker));
        }
        tcp.listening.retain(|(at, _), _| *at != host);
        tcp.pairs.retain(|(at, _, _), _| *at != host);
        let ours = |conn: &Conn| conn.dialer.host == host || conn.listener.host == host;
        for key in tcp.conns.keys_where(ours) {
            for side in [Side::Dialer, Side::Listener] {
                self.vanish(key, side, host);
            }
            self.cleanup(key);
        }
    }

    fn vanish(&mut self, key: Key, side: Side, host: HostId) {
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return;
        };
        let end = conn.end_mut(side);
        if end.host != host {
            return;
        }
        end.stage = Stage::Gone;
        end.holds_port = false;
        end.inbox = VecDeque::new();
        end.unread = 0;
        self.retired.extend(end.reader.take());
        self.retired.extend(end.writer.take());
        if end.lane.is_stalled() {
            end.lane.silence();
        }
    }
}
