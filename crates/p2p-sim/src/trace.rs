//! The log of everything that happens, and its hash.
//!
//! Each event goes into a SHA-256 as a few bytes, settings with their values; the last ones are
//! kept to be printed when a test fails. Text is made only when somebody reads it.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use sha2::{Digest, Sha256};

use crate::world::{HostId, HostState, Nanos};

/// The hash over the log of a simulation up to a point. Equal hashes: the same events in the log,
/// at the same times, in the same order.
///
/// In the log is what the owner of the simulation sets and does, what tasks and sockets begin and
/// end, and everything that is sent, arrives or is lost. Not in it: the [`Config`](crate::Config),
/// the contents of what is sent unless they are asked for, and what a task does within itself.
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

/// Bytes of a name that the log can show: few names are longer, and events stay small.
const NAME_ROOM: usize = 47;

/// The beginning of a name in the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Name {
    bytes: [u8; NAME_ROOM],
    len: u8,
}

impl Name {
    pub(crate) fn new(name: &str) -> Self {
        let mut end = name.len().min(NAME_ROOM);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; NAME_ROOM];
        for (to, from) in bytes.iter_mut().zip(name.bytes().take(end)) {
            *to = from;
        }
        let len = u8::try_from(end).unwrap_or(u8::MAX);
        Self { bytes, len }
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len.into()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// An event. Connections, tasks, datagrams and partitions have numbers in the order of their
/// making.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    AddrAdded {
        addr: IpAddr,
    },
    AddrRemoved {
        addr: IpAddr,
    },
    Accepted {
        conn: u64,
        from: SocketAddr,
    },
    Bound {
        at: SocketAddr,
    },
    CardSet,
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
    CutOff {
        cut: u32,
        first: bool,
    },
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
    DefaultLinkSet,
    Delivered {
        conn: u64,
        kind: Kind,
        len: u32,
    },
    GaveUp {
        conn: u64,
    },
    Healed {
        cut: u32,
    },
    HealedAll,
    HostAdded {
        addr: Option<IpAddr>,
    },
    LinkSet {
        one: HostId,
        other: HostId,
    },
    ListenEnded {
        at: SocketAddr,
    },
    Listening {
        at: SocketAddr,
    },
    NameSet {
        name: Name,
        addrs: u32,
    },
    NatForgets {
        outer: IpAddr,
    },
    NatForwards {
        outer: SocketAddr,
        inner: SocketAddr,
    },
    NatMade {
        outer: IpAddr,
    },
    NatMapped {
        inner: SocketAddr,
        outer: SocketAddr,
    },
    Partitioned {
        cut: u32,
        both_ways: bool,
    },
    Resolved {
        name: Name,
        addrs: u32,
    },
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
    Unbound {
        at: SocketAddr,
    },
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

    /// Adds the values of what the last event has set.
    pub(crate) fn add_numbers(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let out = Bytes(&mut self.pending);
        let _ = numbers.into_iter().fold(out, Bytes::number);
    }

    /// Adds the addresses of what the last event has set.
    pub(crate) fn add_addrs(&mut self, addrs: &[IpAddr]) {
        let out = Bytes(&mut self.pending);
        let _ = addrs.iter().fold(out, |out, addr| out.ip(*addr));
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
    let host = host.map_or(u32::MAX, |host| host.0);
    let out = Bytes(out).number(at).number(host.into());
    let _ = match what {
        What::Accepted { conn, from } => out.tag(0).number(conn).socket(from),
        What::ClockSet { ahead } => out.tag(1).put(&ahead.to_le_bytes()),
        What::Closed { conn } => out.tag(2).number(conn),
        What::Connected { conn } => out.tag(3).number(conn),
        What::ConnectFailed { to, why } => out.tag(4).socket(to).text(why),
        What::Connecting { from, to } => out.tag(5).socket(from).socket(to),
        What::Crashed => out.tag(6),
        What::DatagramArrived { from, len } => out.tag(7).socket(from).number(len.into()),
        What::DatagramDropped { to, why } => out.tag(8).socket(to).text(why),
        What::DatagramSent { to, len } => out.tag(9).socket(to).number(len.into()),
        What::Delivered { conn, kind, len } => out.tag(10).segment(conn, kind, len),
        What::GaveUp { conn } => out.tag(11).number(conn),
        What::Healed { cut } => out.tag(12).number(cut.into()),
        What::HostAdded { addr: Some(addr) } => out.tag(13).ip(addr),
        What::HostAdded { addr: None } => out.tag(14),
        What::LinkSet { one, other } => out.tag(15).number(one.0.into()).number(other.0.into()),
        What::Listening { at } => out.tag(16).socket(at),
        What::NatMapped { inner, outer } => out.tag(17).socket(inner).socket(outer),
        What::Partitioned { cut, both_ways } => {
            out.tag(18).number(cut.into()).tag(both_ways.into())
        }
        What::Restarted => out.tag(19),
        What::Sent { conn, kind, len } => out.tag(20).segment(conn, kind, len),
        What::Stalled { conn } => out.tag(21).number(conn),
        What::SynDropped { to, why } => out.tag(22).socket(to).text(why),
        What::TaskEnded { serial, name } => out.tag(23).number(serial).text(name),
        What::TaskSpawned { serial, name } => out.tag(24).number(serial).text(name),
        What::TimerFired => out.tag(25),
        What::AddrAdded { addr } => out.tag(26).ip(addr),
        What::AddrRemoved { addr } => out.tag(27).ip(addr),
        What::Bound { at } => out.tag(28).socket(at),
        What::CardSet => out.tag(29),
        What::CutOff { cut, first } => out.tag(30).number(cut.into()).tag(first.into()),
        What::DefaultLinkSet => out.tag(31),
        What::HealedAll => out.tag(32),
        What::ListenEnded { at } => out.tag(33).socket(at),
        What::NameSet { name, addrs } => out.tag(34).text(name.as_str()).number(addrs.into()),
        What::NatForgets { outer } => out.tag(35).ip(outer),
        What::NatForwards { outer, inner } => out.tag(36).socket(outer).socket(inner),
        What::NatMade { outer } => out.tag(37).ip(outer),
        What::Resolved { name, addrs } => out.tag(38).text(name.as_str()).number(addrs.into()),
        What::Unbound { at } => out.tag(39).socket(at),
    };
}

/// Writes the parts of an event one behind the other.
struct Bytes<'a>(&'a mut Vec<u8>);

impl Bytes<'_> {
    fn put(self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn tag(self, tag: u8) -> Self {
        self.put(&[tag])
    }

    fn number(self, number: u64) -> Self {
        self.put(&number.to_le_bytes())
    }

    fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).put(text.as_bytes())
    }

    fn segment(self, conn: u64, kind: Kind, len: u32) -> Self {
        self.number(conn).tag(kind as u8).number(len.into())
    }

    fn ip(self, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => self.tag(4).put(&ip.octets()),
            IpAddr::V6(ip) => self.tag(6).put(&ip.octets()),
        }
    }

    fn socket(self, socket: SocketAddr) -> Self {
        self.ip(socket.ip()).put(&socket.port().to_le_bytes())
    }
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
    let _ = write_what(&mut line, record.what, name);
    line
}

fn write_what<'a>(line: &mut String, what: What, name: impl Fn(HostId) -> &'a str) -> fmt::Result {
    match what {
        What::AddrAdded { addr } => write!(line, "has the address {addr} now"),
        What::AddrRemoved { addr } => write!(line, "has LOST the address {addr}"),
        What::Accepted { conn, from } => write!(line, "accept #{conn} from {from}"),
        What::Bound { at } => write!(line, "bind {at}"),
        What::CardSet => write!(line, "network card set"),
        What::ClockSet { ahead } => write!(line, "clock set, {ahead} ns ahead"),
        What::Closed { conn } => write!(line, "close #{conn}"),
        What::Connected { conn } => write!(line, "connected #{conn}"),
        What::ConnectFailed { to, why } => write!(line, "cannot connect to {to}: {why}"),
        What::Connecting { from, to } => write!(line, "connect {from} -> {to}"),
        What::Crashed => write!(line, "CRASH"),
        What::CutOff { cut, first: true } => write!(line, "on one side of partition {cut}"),
        What::CutOff { cut, first: false } => write!(line, "on the other side of partition {cut}"),
        What::DatagramArrived { from, len } => write!(line, "datagram of {len} from {from}"),
        What::DatagramDropped { to, why } => write!(line, "datagram to {to} dropped: {why}"),
        What::DatagramSent { to, len } => write!(line, "datagram of {len} to {to}"),
        What::DefaultLinkSet => write!(line, "all other links set"),
        What::Delivered { conn, kind, len } => write!(line, "got  #{conn} {kind:?} {len}"),
        What::GaveUp { conn } => write!(line, "gave up #{conn}"),
        What::Healed { cut } => write!(line, "HEALED partition {cut}"),
        What::HealedAll => write!(line, "HEALED all partitions"),
        What::HostAdded { addr: Some(addr) } => write!(line, "host at {addr}"),
        What::HostAdded { addr: None } => write!(line, "host"),
        What::LinkSet { one, other } => write!(line, "link {} - {} set", name(one), name(other)),
        What::ListenEnded { at } => write!(line, "listen {at} ends"),
        What::Listening { at } => write!(line, "listen {at}"),
        What::NameSet { name, addrs } => {
            write!(line, "the name {} has {addrs} addresses", name.as_str())
        }
        What::NatForgets { outer } => write!(line, "NAT at {outer} forgets all"),
        What::NatForwards { outer, inner } => write!(line, "NAT forwards {outer} to {inner}"),
        What::NatMade { outer } => write!(line, "NAT at {outer}"),
        What::NatMapped { inner, outer } => write!(line, "NAT maps {inner} to {outer}"),
        What::Partitioned {
            cut,
            both_ways: true,
        } => write!(line, "PARTITION {cut}"),
        What::Partitioned {
            cut,
            both_ways: false,
        } => write!(line, "PARTITION {cut}, one way"),
        What::Resolved { name, addrs } => {
            write!(line, "resolved {}: {addrs} addresses", name.as_str())
        }
        What::Restarted => write!(line, "RESTART"),
        What::Sent { conn, kind, len } => write!(line, "send #{conn} {kind:?} {len}"),
        What::Stalled { conn } => write!(line, "stall #{conn}: path is cut"),
        What::SynDropped { to, why } => write!(line, "SYN to {to} dropped: {why}"),
        What::TaskEnded { serial, name } => write!(line, "task {name} ({serial}) ends"),
        What::TaskSpawned { serial, name } => write!(line, "task {name} ({serial}) starts"),
        What::TimerFired => write!(line, "timer"),
        What::Unbound { at } => write!(line, "unbind {at}"),
    }
}
