//! One yamux session, without I/O.
//!
//! ```text
//!   Header (12 bytes) ──► Body (Data only, delivered as it arrives) ──► Header
//! ```
//!
//! Every frame is checked before it changes anything, and payload is handed on as it arrives: a
//! frame may be as large as the window that it was granted, and costs nothing until then.
//!
//! Spec: libp2p/specs `yamux/README.md`.

mod input;

use std::task::{Poll, ready};
use std::time::Duration;

use p2p_core::{Budget, ConnectionEnd, ErrorCode, Exceeded, Instant, OpenError, Role};
use p2p_mux::{Input, Key, Machine, Pending, Send, Stream, StreamError, Table, Wake};

use crate::Config;
use crate::config::INITIAL_WINDOW;
use crate::ping::Pings;
use crate::windows::Windows;
use crate::wire::{Flags, HEADER_LEN, Header, Kind};

/// A yamux session as a state machine; [`Machine`] says how it is used.
#[derive(Debug)]
pub struct Session {
    config: Config,
    table: Table<Windows>,
    state: State,
    next_id: u32,
    /// Our streams that the remote has not acknowledged.
    unacknowledged: usize,
    pings: Pings,
    /// The largest window that a stream has earned.
    earned: u32,
    local_end: LocalEnd,
    remote_end: Option<ErrorCode>,
}

/// What the next received byte is.
#[derive(Clone, Copy, Debug)]
enum State {
    Header {
        bytes: [u8; HEADER_LEN],
        filled: usize,
    },
    Body {
        stream: u32,
        left: u32,
        fin: bool,
    },
}

const HEADER: State = State::Header {
    bytes: [0; HEADER_LEN],
    filled: 0,
};

/// Whether we have said that we take no more streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LocalEnd {
    Open,
    Owed(u32),
    Told,
}

impl Session {
    /// A session that starts at `now`. What the remote makes us hold is taken from `budget`.
    pub fn new(config: Config, role: Role, budget: &Budget, now: Instant) -> Self {
        Self {
            table: Table::new(config.limits(), budget),
            pings: Pings::new(&config, now),
            config,
            state: HEADER,
            next_id: match role {
                Role::Dialer => 1,
                Role::Listener => 2,
            },
            unacknowledged: 0,
            earned: INITIAL_WINDOW,
            local_end: LocalEnd::Open,
            remote_end: None,
        }
    }

    /// The round trip to the remote, as far as it was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.pings.rtt()
    }

    // ---- windows ----

    /// `count` received bytes are out of the way: the remote may send as many more.
    fn consume(&mut self, key: Key, count: usize) {
        let Some(stream) = self.table.get_mut(key) else {
            return;
        };
        stream.ext.consume(count);
        if stream.ext.credit_is_due() && stream.receives() {
            self.table.schedule(key, Pending::Now);
        }
    }

    /// The credit to send to the remote, with what the window grows by.
    fn take_credit(&mut self, key: Key, now: Instant) -> u32 {
        let growth = self.growth(key, now);
        let Some(stream) = self.table.get_mut(key) else {
            return 0;
        };
        let credit = stream.ext.take_credit(growth);
        self.earned = self.earned.max(stream.ext.target());
        self.pings.refresh_rtt(now);
        credit
    }

    /// What the window grows by, if the budget can pay for it.
    fn growth(&mut self, key: Key, now: Instant) -> u32 {
        let (Some(rtt), Some(stream)) = (self.pings.rtt(), self.table.get_mut(key)) else {
            return 0;
        };
        let max = self.config.max_window;
        let wanted = stream.ext.growth(rtt, self.earned, max, now);
        if wanted == 0 || stream.is_gone() {
            return 0;
        }
        let growth = self.room_to_grow().min(wanted);
        match self.table.reserve(key, growth as usize) {
            Ok(()) => growth,
            Err(_) => 0,
        }
    }

    /// What windows may grow by: the other streams' first windows have to be paid for as well.
    fn room_to_grow(&mut self) -> u32 {
        let budget = self.table.account().budget();
        let spared = self.config.spared.min(budget.limit() / 2);
        let room = budget.available().saturating_sub(spared);
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    // ---- output ----

    fn send_control(&mut self, key: Key, now: Instant) {
        let Some(stream) = self.table.get_mut(key) else {
            return;
        };
        let id = wire_id(stream);
        if let Some(code) = stream.owes_reset.take() {
            self.send(Kind::WindowUpdate, Flags::RST, id, code.0);
            return self.table.settle(key);
        }
        if stream.reset.is_some() {
            return self.table.settle(key);
        }
        let flags = opening_flags(stream);
        let fin = stream.send == Send::Closing;
        if fin {
            stream.send = Send::Closed;
        }
        let due = stream.ext.credit_is_due() && stream.receives();
        let credit = if due { self.take_credit(key, now) } else { 0 };
        if credit > 0 || flags != Flags::NONE {
            self.send(Kind::WindowUpdate, flags, id, credit);
        }
        if fin {
            self.send(Kind::Data, Flags::FIN, id, 0);
        }
        self.table.settle(key);
    }

    fn send(&mut self, kind: Kind, flags: Flags, stream: u32, length: u32) {
        let header = Header {
            kind,
            flags,
            stream,
            length,
        };
        self.table.outbox.push_control(&header.encode());
    }

    fn send_session_frames(&mut self, now: Instant) {
        while let Some((flags, value)) = self.pings.next_frame(now) {
            self.send(Kind::Ping, flags, 0, value);
        }
        if let LocalEnd::Owed(code) = self.local_end {
            self.local_end = LocalEnd::Told;
            self.send(Kind::GoAway, Flags::NONE, 0, code);
        }
    }

    fn owes_session_frames(&self) -> bool {
        self.pings.owes_frame() || matches!(self.local_end, LocalEnd::Owed(_))
    }
}

/// The stream's id on the wire.
fn wire_id(stream: &Stream<Windows>) -> u32 {
    u32::try_from(stream.id).unwrap_or(u32::MAX)
}

/// SYN or ACK, if the remote has not had it.
fn opening_flags(stream: &mut Stream<Windows>) -> Flags {
    let mut flags = Flags::NONE;
    if !std::mem::replace(&mut stream.announced, true) {
        flags |= Flags::SYN;
    }
    if std::mem::take(&mut stream.ext.owes_ack) {
        stream.ext.acknowledged = true;
        flags |= Flags::ACK;
    }
    flags
}

pub(crate) fn no_id_left() -> Exceeded {
    Exceeded {
        name: "stream ids of a connection",
        setting: "none; a new connection starts anew",
        limit: u32::MAX as usize / 2,
        used: u32::MAX as usize / 2,
        wanted: 1,
    }
}

impl Machine for Session {
    fn open(&mut self) -> Poll<Result<Key, OpenError>> {
        if self.remote_end.is_some() || self.local_end != LocalEnd::Open {
            return Poll::Ready(Err(OpenError::GoneAway));
        }
        if self.unacknowledged >= self.config.max_unacknowledged {
            return Poll::Pending;
        }
        let Some(next) = self.next_id.checked_add(2) else {
            return Poll::Ready(Err(no_id_left().into()));
        };
        let key = self.table.open(self.next_id.into(), Windows::new())?;
        self.next_id = next;
        self.unacknowledged += 1;
        Poll::Ready(Ok(key))
    }

    fn accept(&mut self) -> Poll<Key> {
        let Some(key) = self.table.accept() else {
            return Poll::Pending;
        };
        if let Some(stream) = self.table.get_mut(key) {
            stream.ext.owes_ack = true;
        }
        self.table.schedule(key, Pending::Lazy);
        Poll::Ready(key)
    }

    fn read(&mut self, key: Key, buf: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        let result = self.table.read(key, buf);
        match &result {
            Poll::Ready(Ok(count)) => self.consume(key, *count),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.announce(key),
        }
        result
    }

    fn write(&mut self, key: Key, bytes: &[u8]) -> Poll<Result<usize, StreamError>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let credit = self.table.get(key).map_or(0, |stream| stream.ext.send);
        let wanted = bytes
            .len()
            .min(usize::try_from(credit).unwrap_or(usize::MAX));
        if wanted == 0 {
            self.table.sendable(key)?;
            self.table.block_writer(key);
            return Poll::Pending;
        }
        let room = ready!(self.table.admit(key, wanted.min(self.config.max_frame)))?;
        let payload = bytes.get(..room).unwrap_or(bytes);
        let Some(stream) = self.table.get_mut(key) else {
            return Poll::Ready(Err(StreamError::Closed));
        };
        stream.ext.send -= payload.len() as u64;
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
        let frame = self.table.outbox.tail(key);
        match frame.map(|frame| frame + payload.len()) {
            Some(sum) if sum <= self.config.max_frame => {
                self.table.outbox.extend_tail(&length(sum), payload);
            }
            Some(_) | None => {
                let Some(stream) = self.table.get_mut(key) else {
                    return Poll::Ready(Err(StreamError::Closed));
                };
                let header = Header {
                    kind: Kind::Data,
                    flags: opening_flags(stream),
                    stream: wire_id(stream),
                    length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
                };
                let header = header.encode();
                let (prefix, length) = header.split_at(HEADER_LEN - 4);
                self.table.outbox.push(key, prefix, length, payload);
            }
        }
        Poll::Ready(Ok(payload.len()))
    }

    fn announce(&mut self, key: Key) {
        if self.table.get(key).is_some_and(|stream| !stream.announced) {
            self.table.schedule(key, Pending::Lazy);
        }
    }

    fn close(&mut self, key: Key) -> Result<(), StreamError> {
        self.table.close(key)
    }

    fn reset(&mut self, key: Key, code: ErrorCode) {
        self.acknowledge(key);
        self.table.reset(key, code);
    }

    fn forget(&mut self, key: Key, now: Instant) {
        if self.table.sendable(key).is_ok() {
            self.acknowledge(key);
        }
        self.table.forget(key, now);
        let discarded = self.table.get(key).map(Stream::discarded);
        self.consume(key, discarded.unwrap_or(0));
    }

    fn handle_input(&mut self, input: &mut Input<'_>, now: Instant) -> Result<(), ConnectionEnd> {
        self.pings.handle_input(now);
        while !input.is_empty() && self.table.wants_input() {
            match &mut self.state {
                State::Header { bytes, filled } => {
                    *filled += input.copy_to(bytes.get_mut(*filled..).unwrap_or_default());
                    if *filled == HEADER_LEN {
                        let bytes = *bytes;
                        self.state = HEADER;
                        self.handle_header(bytes, now)?;
                    }
                }
                State::Body { stream, left, fin } => {
                    let (stream, left, fin) = (*stream, *left, *fin);
                    self.handle_body(input, stream, left, fin);
                }
            }
        }
        Ok(())
    }

    fn handle_eof(&mut self) -> ConnectionEnd {
        match self.remote_end {
            Some(code) => ConnectionEnd::Remote(code),
            None => ConnectionEnd::Eof,
        }
    }

    fn wants_input(&self) -> bool {
        self.table.wants_input()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = self.table.deadline().into_iter();
        deadlines.chain(self.pings.poll_timeout()).min()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionEnd> {
        while let Some(key) = self.table.expired(now) {
            self.reset(key, ErrorCode::NONE);
        }
        self.pings.handle_timeout(now)
    }

    fn pending(&self) -> Pending {
        if self.owes_session_frames() {
            Pending::Now
        } else {
            self.table.pending()
        }
    }

    fn take_output(&mut self, out: &mut Vec<u8>, now: Instant) {
        while let Some(key) = self.table.next_control() {
            self.send_control(key, now);
        }
        while let Some((id, code)) = self.table.next_owed() {
            let id = u32::try_from(id).unwrap_or(u32::MAX);
            self.send(Kind::WindowUpdate, Flags::RST, id, code.0);
        }
        self.send_session_frames(now);
        self.table.take_output(out);
    }

    fn poll_wake(&mut self) -> Option<Wake> {
        self.table.poll_wake()
    }

    fn go_away(&mut self, code: ErrorCode) {
        if self.local_end == LocalEnd::Open {
            self.local_end = LocalEnd::Owed(code.0);
        }
    }

    fn end(&mut self) {
        self.table.end();
    }

    fn trim(&mut self) {
        self.table.trim();
    }

    fn streams(&self) -> usize {
        self.table.len()
    }

    fn stream_id(&self, key: Key) -> u64 {
        self.table.get(key).map_or(0, |stream| stream.id)
    }
}
