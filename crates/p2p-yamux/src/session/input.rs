//! What received frames do to a [`Session`].

use p2p_core::{ConnectionEnd, ErrorCode, Instant};
use p2p_mux::{Input, Key, Received};

use super::{HEADER, LocalEnd, Session, State};
use crate::PROTOCOL;
use crate::config::INITIAL_WINDOW;
use crate::windows::Windows;
use crate::wire::{Flags, HEADER_LEN, Header, Kind};

/// The go-away code of a protocol error.
const GO_AWAY_PROTOCOL_ERROR: u32 = 1;

impl Session {
    pub(super) fn handle_header(
        &mut self,
        bytes: [u8; HEADER_LEN],
        now: Instant,
    ) -> Result<(), ConnectionEnd> {
        let header = Header::decode(bytes).map_err(|error| self.broken(&error.to_string()))?;
        match header.kind {
            Kind::Data => self.handle_data(header, now),
            Kind::WindowUpdate => self.handle_window_update(header, now),
            Kind::Ping => {
                self.pings.handle_ping(header.flags, header.length, now);
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
        if let Some(stream) = stream.filter(|stream| stream.receives())
            && !stream.ext.receive(header.length, now)
        {
            return Err(self.broken("more data than the window allows"));
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

    pub(super) fn handle_body(&mut self, input: &mut Input<'_>, stream: u32, left: u32, fin: bool) {
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
    pub(super) fn acknowledge(&mut self, key: Key) {
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
}
