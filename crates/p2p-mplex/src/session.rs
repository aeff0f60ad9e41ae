//! One mplex session, without I/O.
//!
//! ```text
//!   input:   Header ──► Body (delivered as it arrives) ──► Header
//!
//!   unread bytes of a stream:
//!     0 ....... receive_queue ─────────────► full ── patience over ──► reset
//!     full streams share `overflow`; when that is used up, input stops until a
//!     full stream is read down to half of its queue, or reset
//! ```
//!
//! Mplex has no flow control. A stream that nobody reads must neither fill the memory nor stop the
//! others for long: it is full first, then holds a part of a bounded overflow, then stops the
//! connection, and after [`Config::patience`] it is reset.
//!
//! Spec: libp2p/specs `mplex/README.md`.

use std::task::{Poll, ready};

use p2p_core::{Budget, ConnectionEnd, ErrorCode, Exceeded, Instant, OpenError, uvarint};
use p2p_mux::{Input, Key, Machine, Pending, Send, StreamError, Table, Wake};

use crate::wire::{Header, Kind, MAX_HEADER, MAX_ID, MAX_LEN};
use crate::{Config, PROTOCOL};

/// An mplex session as a state machine; [`Machine`] says how it is used.
#[derive(Debug)]
pub struct Session {
    config: Config,
    table: Table<Excess>,
    state: State,
    next_id: u64,
    /// What full streams hold beyond their queues. The sum of all [`Excess`].
    overflow: usize,
    went_away: bool,
}

/// What a stream holds unread beyond its queue, in bytes.
#[derive(Debug, Default)]
struct Excess(usize);

/// What the next received byte is.
#[derive(Clone, Copy, Debug)]
enum State {
    Header {
        bytes: [u8; MAX_HEADER],
        filled: usize,
    },
    /// Payload of this stream; of none if nobody wants it.
    Body { stream: Option<u64>, left: usize },
}

const HEADER: State = State::Header {
    bytes: [0; MAX_HEADER],
    filled: 0,
};

/// A stream's number within the connection: both sides count from zero.
fn number(id: u64, local: bool) -> u64 {
    id << 1 | u64::from(local)
}

impl Session {
    /// A session. What the remote makes us hold is taken from `budget`. Both roles are the same.
    pub fn new(config: Config, budget: &Budget) -> Self {
        Self {
            table: Table::new(config.limits(), budget),
            config,
            state: HEADER,
            next_id: 0,
            overflow: 0,
            went_away: false,
        }
    }

    // ---- input ----

    /// Reads a header that may begin in earlier input. `None`: more is needed.
    fn read_header(&mut self, input: &mut Input<'_>) -> Result<Option<Header>, ConnectionEnd> {
        let State::Header { bytes, filled } = &mut self.state else {
            return Ok(None);
        };
        // Nearly always the whole header is there.
        if *filled == 0
            && let Some((header, used)) = Header::decode(input.as_slice()).map_err(broken)?
        {
            input.skip(used);
            return Ok(Some(header));
        }
        while !input.is_empty() {
            let next = bytes.get_mut(*filled..=*filled).unwrap_or_default();
            *filled += input.copy_to(next);
            let so_far = bytes.get(..*filled).unwrap_or_default();
            if let Some((header, _)) = Header::decode(so_far).map_err(broken)? {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn handle_header(&mut self, header: Header, now: Instant) -> Result<(), ConnectionEnd> {
        let stream = number(header.id, !header.by_initiator);
        let key = self.table.find(stream);
        let mut payload = None;
        match (header.kind, key) {
            (Kind::NewStream, Some(_)) => return Err(broken("stream opened twice")),
            (Kind::NewStream, None) if self.went_away => {
                self.table.refuse(stream, ErrorCode::SHUTDOWN);
            }
            (Kind::NewStream, None) => {
                self.table.offer(stream, Excess::default());
            }
            (Kind::Message, Some(key)) => {
                let receives = self.table.get(key).is_some_and(|stream| stream.receives());
                payload = receives.then_some(stream);
            }
            (Kind::Close, Some(key)) => self.table.finish(key),
            (Kind::Reset, Some(key)) => self.handle_reset(key, now)?,
            // Late frames of streams that are over.
            (Kind::Message | Kind::Close | Kind::Reset, None) => {}
        }
        self.state = match header.len {
            0 => HEADER,
            left => State::Body {
                stream: payload,
                left,
            },
        };
        Ok(())
    }

    fn handle_reset(&mut self, key: Key, now: Instant) -> Result<(), ConnectionEnd> {
        self.forgive(key);
        if self.table.handle_reset(key, ErrorCode::NONE, now) {
            self.weigh(key, None);
            Ok(())
        } else {
            Err(broken("streams opened and reset too often"))
        }
    }

    fn handle_body(&mut self, input: &mut Input<'_>, now: Instant) {
        let State::Body { stream, left } = self.state else {
            return;
        };
        let count = input.len().min(left);
        match stream.and_then(|stream| self.table.find(stream)) {
            Some(key) => {
                self.table.receive(key, input, count);
                self.weigh(key, Some(now));
            }
            None => input.skip(count),
        }
        self.state = match left - count {
            0 => HEADER,
            left => State::Body { stream, left },
        };
    }

    // ---- full streams ----

    /// Updates what the stream holds beyond its queue. A stream that becomes full at `now` has
    /// until the end of its patience to be read.
    fn weigh(&mut self, key: Key, now: Option<Instant>) {
        let Some(stream) = self.table.get_mut(key) else {
            return;
        };
        let unread = stream.unread();
        let excess = unread.saturating_sub(self.config.receive_queue);
        let before = std::mem::replace(&mut stream.ext.0, excess);
        let gone = stream.is_gone();
        self.overflow = (self.overflow + excess).saturating_sub(before);
        if gone {
            return;
        }
        match now {
            Some(now) if excess > 0 && !self.table.has_deadline(key) => {
                self.table.set_deadline(key, now + self.config.patience);
            }
            Some(_) | None => {
                if unread <= self.config.receive_queue / 2 && self.table.has_deadline(key) {
                    self.table.clear_deadline(key);
                }
            }
        }
    }

    /// The stream is about to lose its queue.
    fn forgive(&mut self, key: Key) {
        if let Some(stream) = self.table.get_mut(key) {
            let excess = std::mem::take(&mut stream.ext.0);
            self.overflow = self.overflow.saturating_sub(excess);
        }
    }

    // ---- output ----

    fn send_control(&mut self, key: Key) {
        let Some(stream) = self.table.get_mut(key) else {
            return;
        };
        let (id, local) = (stream.id >> 1, stream.local);
        let resets = stream.owes_reset.take().is_some();
        let opens = stream.reset.is_none() && !std::mem::replace(&mut stream.announced, true);
        let closes = stream.reset.is_none() && stream.send == Send::Closing;
        if closes {
            stream.send = Send::Closed;
        }
        if opens {
            self.send(id, Kind::NewStream, local);
        }
        if closes {
            self.send(id, Kind::Close, local);
        }
        if resets {
            self.send(id, Kind::Reset, local);
        }
        self.table.settle(key);
    }

    fn send(&mut self, id: u64, kind: Kind, by_initiator: bool) {
        let flag = Header::encode_flag(id, kind, by_initiator);
        self.table.outbox.push_control(flag.as_slice());
        self.table.outbox.push_control(&[0]);
    }

    /// Puts a frame into the outbox, or extends the last one.
    fn send_message(&mut self, key: Key, payload: &[u8]) {
        let max = self
            .config
            .max_frame
            .min(usize::try_from(MAX_LEN).unwrap_or(usize::MAX));
        let outbox = &mut self.table.outbox;
        if let Some(sum) = outbox.tail(key).map(|frame| frame + payload.len())
            && sum <= max
        {
            return outbox.extend_tail(uvarint::encode(sum as u64).as_slice(), payload);
        }
        let Some(stream) = self.table.get_mut(key) else {
            return;
        };
        let (id, local) = (stream.id >> 1, stream.local);
        if !std::mem::replace(&mut stream.announced, true) {
            self.send(id, Kind::NewStream, local);
        }
        let flag = Header::encode_flag(id, Kind::Message, local);
        let length = uvarint::encode(payload.len() as u64);
        self.table
            .outbox
            .push(key, flag.as_slice(), length.as_slice(), payload);
    }
}

/// The remote broke the protocol.
fn broken(what: impl ToString) -> ConnectionEnd {
    ConnectionEnd::Protocol {
        protocol: PROTOCOL,
        what: what.to_string(),
    }
}

pub(crate) fn no_id_left() -> Exceeded {
    Exceeded {
        name: "stream ids of a connection",
        setting: "none; a new connection starts anew",
        limit: usize::MAX,
        used: usize::MAX,
        wanted: 1,
    }
}

impl Machine for Session {
    fn open(&mut self) -> Poll<Result<Key, OpenError>> {
        if self.went_away {
            return Poll::Ready(Err(OpenError::GoneAway));
        }
        if self.next_id > MAX_ID {
            return Poll::Ready(Err(no_id_left().into()));
        }
        let key = self
            .table
            .open(number(self.next_id, true), Excess::default())?;
        self.next_id += 1;
        Poll::Ready(Ok(key))
    }

    fn accept(&mut self) -> Poll<Key> {
        self.table.accept().map_or(Poll::Pending, Poll::Ready)
    }

    fn read(&mut self, key: Key, buf: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        let result = self.table.read(key, buf);
        match &result {
            Poll::Ready(Ok(_)) => self.weigh(key, None),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.announce(key),
        }
        result
    }

    fn write(&mut self, key: Key, bytes: &[u8]) -> Poll<Result<usize, StreamError>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let wanted = bytes.len().min(self.config.max_frame.max(1));
        let room = ready!(self.table.admit(key, wanted))?;
        let payload = bytes.get(..room).unwrap_or(bytes);
        self.send_message(key, payload);
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
        self.forgive(key);
        self.table.reset(key, code);
        self.weigh(key, None);
    }

    fn forget(&mut self, key: Key, now: Instant) {
        self.forgive(key);
        self.table.forget(key, now);
    }

    fn handle_input(&mut self, input: &mut Input<'_>, now: Instant) -> Result<(), ConnectionEnd> {
        while !input.is_empty() && self.wants_input() {
            match self.state {
                State::Header { .. } => {
                    if let Some(header) = self.read_header(input)? {
                        self.handle_header(header, now)?;
                    }
                }
                State::Body { .. } => self.handle_body(input, now),
            }
        }
        Ok(())
    }

    fn wants_input(&self) -> bool {
        self.overflow <= self.config.overflow && self.table.wants_input()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.table.deadline()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionEnd> {
        while let Some(key) = self.table.expired(now) {
            self.reset(key, ErrorCode::RESOURCE_LIMIT_EXCEEDED);
        }
        Ok(())
    }

    fn pending(&self) -> Pending {
        self.table.pending()
    }

    fn take_output(&mut self, out: &mut Vec<u8>, _: Instant) {
        while let Some(key) = self.table.next_control() {
            self.send_control(key);
        }
        while let Some((stream, _)) = self.table.next_owed() {
            self.send(stream >> 1, Kind::Reset, false);
        }
        self.table.take_output(out);
    }

    fn poll_wake(&mut self) -> Option<Wake> {
        self.table.poll_wake()
    }

    fn go_away(&mut self, _: ErrorCode) {
        self.went_away = true;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_end_before_2_to_the_60_and_are_never_used_again() {
        let mut session = Session::new(Config::default(), &Budget::unlimited());
        session.next_id = MAX_ID;
        let Poll::Ready(Ok(last)) = session.open() else {
            panic!("the last id opens");
        };
        assert_eq!(session.write(last, b"x"), Poll::Ready(Ok(1)));
        let mut out = Vec::new();
        session.take_output(&mut out, Instant::ZERO);
        assert_eq!(Header::decode(&out).unwrap().unwrap().0.id, MAX_ID);
        assert!(matches!(
            session.open(),
            Poll::Ready(Err(OpenError::Limit(_)))
        ));
    }
}
