//! The log of everything that happens, and its hash.
//!
//! Each event goes into a SHA-256 as a few bytes; the last ones are kept to be printed when a
//! test fails. Text is made only when somebody reads it.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use sha2::{Digest, Sha256};

use crate::world::{HostId, HostState, Nanos};

/// The hash over all events of a simulation up to a point. Equal hashes: the same events at the
/// same times in the same order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventHash([u8; 32]);

impl EventHash {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a segment of a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ack,
    Credit,
    Data,
    Fin,
    Rst,
    SynAck,
}

/// An event. Connections, tasks and datagrams have numbers in the order of their making.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    Accepted {
        conn: u64,
        from: SocketAddr,
    },
    ClockSet {
        ahead: i128,
    },
    Closed {
        conn: u64,
    },
    Connected {
        conn: u64,
    },
    ConnectFailed {
        to: SocketAddr,
        why: &'static str,
    },
    Connecting {
        from: SocketAddr,
        to: SocketAddr,
    },
    Crashed,
    DatagramArrived {
        from: SocketAddr,
        len: u32,
    },
    DatagramDropped {
        to: SocketAddr,
        why: &'static str,
    },
    DatagramSent {
        to: SocketAddr,
        len: u32,
    },
    Delivered {
        conn: u64,
        kind: Kind,
        len: u32,
    },
    GaveUp {
        conn: u64,
    },
    Healed,
    HostAdded {
        addr: Option<IpAddr>,
    },
    LinkSet {
        one: HostId,
        other: HostId,
    },
    Listening {
        at: SocketAddr,
    },
    NatMapped {
        inner: SocketAddr,
        outer: SocketAddr,
    },
    Partitioned,
    Restarted,
    Sent {
        conn: u64,
        kind: Kind,
        len: u32,
    },
    Stalled {
        conn: u64,
    },
    SynDropped {
        to: SocketAddr,
        why: &'static str,
    },
    TaskEnded {
        serial: u64,
        name: &'static str,
    },
    TaskSpawned {
        serial: u64,
        name: &'static str,
    },
    TimerFired,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    at: Nanos,
    host: Option<HostId>,
    what: What,
}

/// The log of a simulation.
pub(crate) struct Log {
    hasher: Sha256,
    /// Bytes that are not in the hasher yet.
    pending: Vec<u8>,
    kept: VecDeque<Record>,
    keep: usize,
    /// Print each event to standard error.
    pub(crate) print: bool,
    /// Events so far.
    pub(crate) count: u64,
}

/// Bytes handed to the hasher at once.
const BATCH: usize = 4096;

impl Log {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            hasher: Sha256::new(),
            pending: Vec::with_capacity(BATCH + 64),
            kept: VecDeque::new(),
            keep,
            print: false,
            count: 0,
        }
    }

    pub(crate) fn add(&mut self, at: Nanos, host: Option<HostId>, what: What, hosts: &[HostState]) {
        self.count += 1;
        encode(&mut self.pending, at, host, what);
        if self.pending.len() >= BATCH {
            self.flush();
        }
        let record = Record { at, host, what };
        if self.kept.len() >= self.keep {
            self.kept.pop_front();
        }
        self.kept.push_back(record);
        if self.print {
            eprintln!("{}", line(record, hosts));
        }
    }

    /// Adds bytes that were sent to the hash.
    pub(crate) fn add_contents(&mut self, bytes: &[u8]) {
        self.flush();
        self.hasher.update(bytes);
    }

    pub(crate) fn hash(&mut self) -> EventHash {
        self.flush();
        EventHash(self.hasher.clone().finalize().into())
    }

    pub(crate) fn set_keep(&mut self, keep: usize) {
        self.keep = keep.max(1);
        while self.kept.len() > self.keep {
            self.kept.pop_front();
        }
    }

    /// The kept events as text, oldest first.
    pub(crate) fn lines(&self, hosts: &[HostState]) -> Vec<String> {
        self.kept
            .iter()
            .map(|record| line(*record, hosts))
            .collect()
    }

    fn flush(&mut self) {
        self.hasher.update(&self.pending);
        self.pending.clear();
    }
}

fn encode(out: &mut Vec<u8>, at: Nanos, host: Option<HostId>, what: What) {
    out.extend(at.to_le_bytes());
    out.extend(host.map_or(u32::MAX, |host| host.0).to_le_bytes());
    let tag = |out: &mut Vec<u8>, tag: u8| out.push(tag);
    match what {
        What::Accepted { conn, from } => {
            tag(out, 0);
            number(out, conn);
            socket(out, from);
        }
        What::ClockSet { ahead } => {
            tag(out, 1);
            out.extend(ahead.to_le_bytes());
        }
        What::Closed { conn } => {
            tag(out, 2);
            number(out, conn);
        }
        What::Connected { conn } => {
            tag(out, 3);
            number(out, conn);
        }
        What::ConnectFailed { to, why } => {
            tag(out, 4);
            socket(out, to);
            text(out, why);
        }
        What::Connecting { from, to } => {
            tag(out, 5);
            socket(out, from);
            socket(out, to);
        }
        What::Crashed => tag(out, 6),
        What::DatagramArrived { from, len } => {
            tag(out, 7);
            socket(out, from);
            number(out, len.into());
        }
        What::DatagramDropped { to, why } => {
            tag(out, 8);
            socket(out, to);
            text(out, why);
        }
        What::DatagramSent { to, len } => {
            tag(out, 9);
            socket(out, to);
            number(out, len.into());
        }
        What::Delivered { conn, kind, len } => segment(out, 10, conn, kind, len),
        What::GaveUp { conn } => {
            tag(out, 11);
            number(out, conn);
        }
        What::Healed => tag(out, 12),
        What::HostAdded { addr } => {
            tag(out, 13);
            if let Some(addr) = addr {
                socket(out, SocketAddr::new(addr, 0));
            }
        }
        What::LinkSet { one, other } => {
            tag(out, 14);
            out.extend(one.0.to_le_bytes());
            out.extend(other.0.to_le_bytes());
        }
        What::Listening { at } => {
            tag(out, 15);
            socket(out, at);
        }
        What::NatMapped { inner, outer } => {
            tag(out, 16);
            socket(out, inner);
            socket(out, outer);
        }
        What::Partitioned => tag(out, 17),
        What::Restarted => tag(out, 18),
        What::Sent { conn, kind, len } => segment(out, 19, conn, kind, len),
        What::Stalled { conn } => {
            tag(out, 20);
            number(out, conn);
        }
        What::SynDropped { to, why } => {
            tag(out, 21);
            socket(out, to);
            text(out, why);
        }
        What::TaskEnded { serial, name } => {
            tag(out, 22);
            number(out, serial);
            text(out, name);
        }
        What::TaskSpawned { serial, name } => {
            tag(out, 23);
            number(out, serial);
            text(out, name);
        }
        What::TimerFired => tag(out, 24),
    }
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend(number.to_le_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend(text.as_bytes());
}

fn segment(out: &mut Vec<u8>, tag: u8, conn: u64, kind: Kind, len: u32) {
    out.push(tag);
    number(out, conn);
    out.push(kind as u8);
    out.extend(len.to_le_bytes());
}

fn socket(out: &mut Vec<u8>, socket: SocketAddr) {
    match socket.ip() {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
    out.extend(socket.port().to_le_bytes());
}

fn line(record: Record, hosts: &[HostState]) -> String {
    let name = |id: HostId| hosts.get(id.0 as usize).map_or("?", |host| &host.name);
    let mut line = format!(
        "{:>5}.{:09} {:<8} ",
        record.at / 1_000_000_000,
        record.at % 1_000_000_000,
        record.host.map_or("-", name),
    );
    // Writing to a string cannot fail.
    let _ = match record.what {
        What::Accepted { conn, from } => write!(line, "accept #{conn} from {from}"),
        What::ClockSet { ahead } => write!(line, "clock set, {ahead} ns ahead"),
        What::Closed { conn } => write!(line, "close #{conn}"),
        What::Connected { conn } => write!(line, "connected #{conn}"),
        What::ConnectFailed { to, why } => write!(line, "cannot connect to {to}: {why}"),
        What::Connecting { from, to } => write!(line, "connect {from} -> {to}"),
        What::Crashed => write!(line, "CRASH"),
        What::DatagramArrived { from, len } => write!(line, "datagram of {len} from {from}"),
        What::DatagramDropped { to, why } => write!(line, "datagram to {to} dropped: {why}"),
        What::DatagramSent { to, len } => write!(line, "datagram of {len} to {to}"),
        What::Delivered { conn, kind, len } => write!(line, "got  #{conn} {kind:?} {len}"),
        What::GaveUp { conn } => write!(line, "gave up #{conn}"),
        What::Healed => write!(line, "HEALED"),
        What::HostAdded { addr: Some(addr) } => write!(line, "host at {addr}"),
        What::HostAdded { addr: None } => write!(line, "host"),
        What::LinkSet { one, other } => write!(line, "link {} - {} set", name(one), name(other)),
        What::Listening { at } => write!(line, "listen {at}"),
        What::NatMapped { inner, outer } => write!(line, "NAT maps {inner} to {outer}"),
        What::Partitioned => write!(line, "PARTITION"),
        What::Restarted => write!(line, "RESTART"),
        What::Sent { conn, kind, len } => write!(line, "send #{conn} {kind:?} {len}"),
        What::Stalled { conn } => write!(line, "stall #{conn}: path is cut"),
        What::SynDropped { to, why } => write!(line, "SYN to {to} dropped: {why}"),
        What::TaskEnded { serial, name } => write!(line, "task {name} ({serial}) ends"),
        What::TaskSpawned { serial, name } => write!(line, "task {name} ({serial}) starts"),
        What::TimerFired => write!(line, "timer"),
    };
    line
}
