//! One yamux session, without I/O.
//!
//! ```text
//!   input:   Header (12 bytes) ──► Body (Data only, delivered as it arrives) ──► Header
//!
//!   windows of a stream, in bytes, always:
//!     target = recv (the remote may still send) + announced or unread + consumed
//!     credit of `consumed` is sent when it is half of `target`
//! ```
//!
//! Every frame is checked before it changes anything, and payload is handed on as it arrives: a
//! frame may be as large as the window that it was granted, and costs nothing until then.
//!
//! Spec: libp2p/specs `yamux/README.md`.

use std::task::{Poll, ready};
use std::time::Duration;

use p2p_core::{Budget, ConnectionEnd, ErrorCode, Exceeded, Instant, OpenError, Role};
use p2p_mux::{Input, Key, Machine, Pending, Received, Send, Stream, StreamError, Table, Wake};

use crate::config::INITIAL_WINDOW;
use crate::wire::{Flags, HEADER_LEN, Header, Kind};
use crate::{Config, PROTOCOL};

/// The go-away code of a protocol error.
const GO_AWAY_PROTOCOL_ERROR: u32 = 1;
/// A round trip measured longer ago than this is measured again when windows are refilled.
const RTT_AGE: Duration = Duration::from_secs(10);

/// A yamux session as a state machine; [`Machine`] says how it is used.
#[derive(Debug)]
pub struct Session {
    config: Config,
    table: Table<Windows>,
    state: State,
    next_id: u32,
    /// Our streams that the remote has not acknowledged.
    unacknowledged: usize,
    ping: Option<Ping>,
    next_ping: u32,
    rtt: Option<Rtt>,
    last_input: Instant,
    /// The latest ping that we have not answered.
    pong: Option<u32>,
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

#[derive(Clone, Copy, Debug)]
struct Ping {
    value: u32,
    asked: Instant,
    sent: Option<Instant>,
}

/// The shortest round trip seen, slowly forgotten: queues only ever make it longer.
#[derive(Clone, Copy, Debug)]
struct Rtt {
    shortest: Duration,
    measured: Instant,
}

/// What yamux keeps of a stream.
#[derive(Debug)]
struct Windows {
    /// What we may send.
    send: u64,
    /// What the remote may send.
    recv: u32,
    /// What `recv` is refilled to.
    target: u32,
    /// Read by the application and not credited.
    consumed: u32,
    credited: Instant,
    /// Ours: the remote has acknowledged it. The remote's: we have.
    acknowledged: bool,
    owes_ack: bool,
}

impl Windows {
    fn new() -> Self {
        Self {
            send: u64::from(INITIAL_WINDOW),
            recv: INITIAL_WINDOW,
            target: INITIAL_WINDOW,
            consumed: 0,
            credited: Instant::ZERO,
            acknowledged: false,
            owes_ack: false,
        }
    }

    fn credit_is_due(&self) -> bool {
        self.consumed >= self.target / 2
    }
}

impl Session {
    /// A session that starts at `now`. What the remote makes us hold is taken from `budget`.
    pub fn new(config: Config, role: Role, budget: &Budget, now: Instant) -> Self {
        Self {
            table: Table::new(config.limits(), budget),
            config,
            state: HEADER,
            next_id: match role {
                Role::Dialer => 1,
                Role::Listener => 2,
            },
            unacknowledged: 0,
            ping: None,
            next_ping: 0,
            rtt: None,
            last_input: now,
            pong: None,
            local_end: LocalEnd::Open,
            remote_end: None,
        }
    }

    /// The round trip to the remote, as far as it was measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|rtt| rtt.shortest)
    }

    // ---- input ----

    fn handle_header(
        &mut self,
        bytes: [u8; HEADER_LEN],
        now: Instant,
    ) -> Result<(), ConnectionEnd> {
        let header = Header::decode(bytes).map_err(|error| self.broken(&error.to_string()))?;
        match header.kind {
            Kind::Data => self.handle_data(header, now),
            Kind::WindowUpdate => self.handle_window_update(header, now),
            Kind::Ping => {
                self.handle_ping(header, now);
                Ok(())
            }
            Kind::GoAway => self.handle_go_away(header.length),
        }
    }

    fn handle_data(&mut self, header: Header, now: Instant) -> Result<(), ConnectionEnd> {
        if header.flags.has(Flags::SYN) && header.length > INITIAL_WINDOW {
            return Err(self.broken("first frame larger than the initial window"));
        }
        let key = self.handle_stream_flags(header, now)?;
        let stream = key.and_then(|key| self.table.get_mut(key));
        if let Some(stream) = stream.filter(|stream| stream.receives()) {
            match stream.ext.recv.checked_sub(header.length) {
                Some(left) => stream.ext.recv = left,
                None => return Err(self.broken("more data than the window allows")),
            }
        }
        self.state = State::Body {
            stream: header.stream,
            left: header.length,
            fin: header.flags.has(Flags::FIN),
        };
        self.handle_end_of_body();
        Ok(())
    }

    fn handle_window_update(&mut self, header: Header, now: Instant) -> Result<(), ConnectionEnd> {
        let key = self.handle_stream_flags(header, now)?;
        let Some(key) = key else {
            return Ok(());
        };
        if header.flags.has(Flags::RST) {
            return Ok(());
        }
        if let Some(stream) = self.table.get_mut(key) {
            stream.ext.send = stream.ext.send.saturating_add(header.length.into());
            if header.length > 0 {
                self.table.wake_writer(key);
            }
        }
        if header.flags.has(Flags::FIN) {
            self.table.finish(key);
        }
        Ok(())
    }

    /// SYN, ACK and RST, before what else the frame says. The stream, if it is known.
    fn handle_stream_flags(
        &mut self,
        header: Header,
        now: Instant,
    ) -> Result<Option<Key>, ConnectionEnd> {
        if header.stream == 0 {
            return Err(self.broken("a stream's frame for the session"));
        }
        let key = if header.flags.has(Flags::SYN) {
            self.handle_syn(header.stream)?
        } else {
            self.table.find(header.stream.into())
        };
        let Some(key) = key else {
            return Ok(None);
        };
        self.acknowledge(key);
        if header.flags.has(Flags::RST) {
            let code = match header.kind {
                Kind::WindowUpdate => ErrorCode(header.length),
                Kind::Data | Kind::Ping | Kind::GoAway => ErrorCode::NONE,
            };
            if !self.table.handle_reset(key, code, now) {
                return Err(self.broken("streams opened and reset too often"));
            }
        }
        Ok(Some(key))
    }

    fn handle_syn(&mut self, id: u32) -> Result<Option<Key>, ConnectionEnd> {
        if id % 2 == self.next_id % 2 {
            return Err(self.broken("stream opened with an id of ours"));
        }
        if self.table.find(id.into()).is_some() {
            return Err(self.broken("stream opened twice"));
        }
        if self.local_end != LocalEnd::Open {
            self.table.refuse(id.into(), ErrorCode::SHUTDOWN);
            return Ok(None);
        }
        Ok(self.table.offer(id.into(), Windows::new()))
    }

    fn handle_ping(&mut self, header: Header, now: Instant) {
        if header.flags.has(Flags::SYN) {
            self.pong = Some(header.length);
            return;
        }
        let Some(Ping { value, sent, .. }) = self.ping else {
            return;
        };
        let Some(sent) = sent.filter(|_| value == header.length) else {
            return;
        };
        self.ping = None;
        let sample = now.since(sent);
        let shortest = match self.rtt {
            Some(rtt) => sample.min(rtt.shortest + rtt.shortest / 8),
            None => sample,
        };
        self.rtt = Some(Rtt {
            shortest,
            measured: now,
        });
    }

    fn handle_go_away(&mut self, code: u32) -> Result<(), ConnectionEnd> {
        let code = ErrorCode(code);
        self.remote_end = Some(code);
        self.table.wake_opener();
        if code == ErrorCode::NONE {
            Ok(())
        } else {
            Err(ConnectionEnd::Remote(code))
        }
    }

    fn handle_body(&mut self, input: &mut Input<'_>, stream: u32, left: u32, fin: bool) {
        let count = input.len().min(left as usize);
        match self.table.find(stream.into()) {
            Some(key) => {
                if self.table.receive(key, input, count) == Received::Discarded {
                    self.consume(key, count);
                }
            }
            None => input.skip(count),
        }
        let left = left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        self.state = State::Body { stream, left, fin };
        self.handle_end_of_body();
    }

    fn handle_end_of_body(&mut self) {
        let State::Body {
            stream,
            left: 0,
            fin,
        } = self.state
        else {
            return;
        };
        self.state = HEADER;
        if fin && let Some(key) = self.table.find(stream.into()) {
            self.table.finish(key);
        }
    }

    /// The remote knows of the stream, or need not any more.
    fn acknowledge(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key) else {
            return;
        };
        if stream.local && !stream.ext.acknowledged {
            stream.ext.acknowledged = true;
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            self.table.wake_opener();
        }
    }

    /// The remote broke the protocol: it is told so, and the connection ends.
    fn broken(&mut self, what: &str) -> ConnectionEnd {
        self.local_end = LocalEnd::Owed(GO_AWAY_PROTOCOL_ERROR);
        ConnectionEnd::Protocol {
            protocol: PROTOCOL,
            what: what.to_owned(),
        }
    }

    // ---- windows ----

    /// `count` received bytes are out of the way: the remote may send as many more.
    fn consume(&mut self, key: Key, count: usize) {
        let Some(stream) = self.table.get_mut(key) else {
            return;
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        stream.ext.consumed = stream.ext.consumed.saturating_add(count);
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
        let windows = &mut stream.ext;
        let credit = windows.consumed.saturating_add(growth);
        windows.recv = windows.recv.saturating_add(credit);
        windows.target = windows.target.saturating_add(growth);
        windows.consumed = 0;
        windows.credited = now;
        if self.rtt.is_none_or(|rtt| now.since(rtt.measured) > RTT_AGE) {
            self.ask_for_ping(now);
        }
        credit
    }

    /// A window used up within four round trips was too small, if the budget can pay for more.
    fn growth(&mut self, key: Key, now: Instant) -> u32 {
        let (Some(rtt), Some(stream)) = (self.rtt, self.table.get(key)) else {
            return 0;
        };
        let windows = &stream.ext;
        let most = self.config.max_window.saturating_sub(windows.target);
        let growth = windows.target.min(most);
        let fast = now.since(windows.credited) < rtt.shortest * 4;
        if growth == 0 || !fast || stream.is_gone() {
            return 0;
        }
        match self.table.reserve(key, growth as usize) {
            Ok(()) => growth,
            Err(_) => 0,
        }
    }

    fn ask_for_ping(&mut self, now: Instant) {
        if self.ping.is_none() {
            self.next_ping = self.next_ping.wrapping_add(1);
            self.ping = Some(Ping {
                value: self.next_ping,
                asked: now,
                sent: None,
            });
        }
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
        if let Some(value) = self.pong.take() {
            self.send(Kind::Ping, Flags::ACK, 0, value);
        }
        if let Some(Ping {
            value,
            sent: sent @ None,
            ..
        }) = &mut self.ping
        {
            *sent = Some(now);
            let value = *value;
            self.send(Kind::Ping, Flags::SYN, 0, value);
        }
        if let LocalEnd::Owed(code) = self.local_end {
            self.local_end = LocalEnd::Told;
            self.send(Kind::GoAway, Flags::NONE, 0, code);
        }
    }

    fn owes_session_frames(&self) -> bool {
        let asks = self.ping.is_some_and(|ping| ping.sent.is_none());
        self.pong.is_some() || asks || matches!(self.local_end, LocalEnd::Owed(_))
    }

    fn keep_alive(&self) -> Option<Instant> {
        match self.ping {
            Some(ping) => Some(ping.asked + self.config.patience),
            None => Some(self.last_input + self.config.keep_alive?),
        }
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

impl Machine for Session {
    fn open(&mut self) -> Poll<Result<Key, OpenError>> {
        if self.remote_end.is_some() || self.local_end != LocalEnd::Open {
            return Poll::Ready(Err(OpenError::GoneAway));
        }
        if self.unacknowledged >= self.config.max_unacknowledged {
            return Poll::Pending;
        }
        let Some(next) = self.next_id.checked_add(2) else {
            return Poll::Ready(Err(OpenError::Limit(Exceeded {
                name: "stream ids of a connection",
                setting: "none: a new connection starts anew",
                limit: u32::MAX as usize / 2,
                used: u32::MAX as usize / 2,
                wanted: 1,
            })));
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
        self.last_input = now;
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
        deadlines.chain(self.keep_alive()).min()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionEnd> {
        while let Some(key) = self.table.expired(now) {
            self.reset(key, ErrorCode::NONE);
        }
        if self.keep_alive().is_none_or(|at| now < at) {
            return Ok(());
        }
        match self.ping {
            Some(ping) if self.last_input < ping.asked => {
                Err(ConnectionEnd::Silent(now.since(self.last_input)))
            }
            // Busy, not dead: its answer waits behind what arrived since.
            Some(_) => {
                self.ping = None;
                Ok(())
            }
            None => {
                self.ask_for_ping(now);
                Ok(())
            }
        }
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
