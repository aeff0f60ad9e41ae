//! A multiplexer of one's own: a toy protocol as a [`Machine`], run over a link in memory.
//!
//! ```text
//!   frame: id (1 byte) │ kind (1 byte) │ length (2 bytes) │ payload
//! ```
//!
//! Limits, queues, budgets, fair turns to write and wake-ups come from [`Table`]; what is left to
//! write is the frames. The toy has no flow control: a stream whose reader is too slow is reset.
//!
//! `cargo run -p p2p-mux --features conformance --example mux_alone`

use std::error::Error;
use std::sync::Arc;
use std::task::{Poll, ready};

use futures::executor::LocalPool;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use futures::task::LocalSpawnExt;
use p2p_core::{Budget, ConnectionEnd, ErrorCode, Instant, OpenError, Protocol, Role, Rt};
use p2p_mux::conformance::{Clock, pipe};
use p2p_mux::{Input, Key, Limits, Machine, Pending, Send, StreamError, Table, Wake};

const OPEN: u8 = 0;
const DATA: u8 = 1;
const CLOSE: u8 = 2;
const RESET: u8 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let rt: Rt = Arc::new(Clock::default());
    let memory = Budget::new("memory of the example", "none", 1024 * 1024);
    let (here, there) = pipe(64 * 1024);
    let start = |link, role| {
        let machine = Toy::new(role, &memory);
        p2p_mux::start(machine, Box::new(link), &rt, &memory, Default::default())
    };
    let (client, server) = (start(here, Role::Dialer), start(there, Role::Listener));

    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    for driver in [client.driver, server.driver] {
        spawner.spawn_local(async { println!("{}", driver.await) })?;
    }
    spawner.spawn_local(async move {
        while let Ok(stream) = server.muxer.accept().await {
            let id = stream.id();
            let (reader, mut writer) = stream.split();
            let count = futures::io::copy(reader, &mut writer).await;
            println!("stream {id}: echoed {count:?}");
            let _ = writer.close().await;
        }
    })?;
    pool.run_until(async {
        for text in ["one", "two"] {
            let mut stream = client.muxer.open().await?;
            stream.write_all(text.as_bytes()).await?;
            stream.close().await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            println!("stream {}: {answer:?}", stream.id());
        }
        client.muxer.close(ErrorCode::NONE);
        Ok::<_, Box<dyn Error>>(())
    })?;
    pool.run();
    Ok(())
}

struct Toy {
    table: Table<()>,
    next_id: u8,
    closing: bool,
    state: State,
}

/// What the next received byte is.
#[derive(Clone, Copy)]
enum State {
    Header { bytes: [u8; 4], filled: usize },
    Body { id: u8, left: usize },
}

const HEADER: State = State::Header {
    bytes: [0; 4],
    filled: 0,
};

impl Toy {
    fn new(role: Role, budget: &Budget) -> Self {
        Self {
            table: Table::new(Limits::default(), budget),
            next_id: match role {
                Role::Dialer => 1,
                Role::Listener => 2,
            },
            closing: false,
            state: HEADER,
        }
    }

    fn handle_header(&mut self, header: [u8; 4], now: Instant) -> Result<(), ConnectionEnd> {
        let [id, kind, high, low] = header;
        let known = self.table.find(id.into());
        match (kind, known) {
            (OPEN, None) if id % 2 != self.next_id % 2 => {
                self.table.offer(id.into(), ());
            }
            (DATA, _) => {
                let left = u16::from_be_bytes([high, low]).into();
                self.state = State::Body { id, left };
            }
            (CLOSE, Some(key)) => self.table.finish(key),
            (RESET, Some(key)) if !self.table.handle_reset(key, ErrorCode::NONE, now) => {
                return Err(broken("reset too often"));
            }
            (CLOSE | RESET, _) => {}
            _ => return Err(broken("unknown kind, or opened twice")),
        }
        Ok(())
    }

    fn handle_body(&mut self, input: &mut Input<'_>, id: u8, left: usize) {
        let count = input.len().min(left);
        match self.table.find(id.into()) {
            Some(key) => {
                self.table.receive(key, input, count);
            }
            None => input.skip(count),
        }
        self.state = match left - count {
            0 => HEADER,
            left => State::Body { id, left },
        };
    }

    /// Tells the remote of a stream that was opened, if it has not heard of it.
    fn send_open(&mut self, key: Key) {
        if let Some(stream) = self.table.get_mut(key)
            && !std::mem::replace(&mut stream.announced, true)
        {
            let frame = [wire_id(stream.id), OPEN, 0, 0];
            self.table.outbox.push_control(&frame);
        }
    }

    /// Whatever else a stream owes the remote.
    fn send_control(&mut self, key: Key) {
        if self.table.get(key).is_some_and(|one| one.reset.is_none()) {
            self.send_open(key);
        }
        let Some(stream) = self.table.get_mut(key) else {
            return;
        };
        let id = wire_id(stream.id);
        if stream.owes_reset.take().is_some() {
            self.table.outbox.push_control(&[id, RESET, 0, 0]);
        } else if stream.reset.is_none() && stream.send == Send::Closing {
            stream.send = Send::Closed;
            self.table.outbox.push_control(&[id, CLOSE, 0, 0]);
        }
        self.table.settle(key);
    }
}

fn wire_id(id: u64) -> u8 {
    u8::try_from(id).unwrap_or(u8::MAX)
}

fn broken(what: &str) -> ConnectionEnd {
    ConnectionEnd::Protocol {
        protocol: Protocol::from_static("/toy/1.0.0"),
        what: what.to_owned(),
    }
}

impl Machine for Toy {
    fn open(&mut self) -> Poll<Result<Key, OpenError>> {
        let next = self.next_id.checked_add(2).filter(|_| !self.closing);
        let Some(next) = next else {
            return Poll::Ready(Err(OpenError::GoneAway));
        };
        let key = self.table.open(self.next_id.into(), ())?;
        self.next_id = next;
        Poll::Ready(Ok(key))
    }

    fn accept(&mut self) -> Poll<Key> {
        self.table.accept().map_or(Poll::Pending, Poll::Ready)
    }

    fn read(&mut self, key: Key, buf: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        self.table.read(key, buf)
    }

    fn write(&mut self, key: Key, bytes: &[u8]) -> Poll<Result<usize, StreamError>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(self.table.admit(key, bytes.len().min(16 * 1024)))?;
        self.send_open(key);
        let payload = bytes.get(..room).unwrap_or(bytes);
        let id = self.table.get(key).map_or(0, |stream| wire_id(stream.id));
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        let outbox = &mut self.table.outbox;
        outbox.push(key, &[id, DATA], &length.to_be_bytes(), payload);
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
        self.table.reset(key, code);
    }

    fn forget(&mut self, key: Key, now: Instant) {
        self.table.forget(key, now);
    }

    fn handle_input(&mut self, input: &mut Input<'_>, now: Instant) -> Result<(), ConnectionEnd> {
        while !input.is_empty() && self.table.wants_input() {
            match &mut self.state {
                State::Header { bytes, filled } => {
                    *filled += input.copy_to(bytes.get_mut(*filled..).unwrap_or_default());
                    if *filled == bytes.len() {
                        let header = *bytes;
                        self.state = HEADER;
                        self.handle_header(header, now)?;
                    }
                }
                State::Body { id, left } => {
                    let (id, left) = (*id, *left);
                    self.handle_body(input, id, left);
                }
            }
        }
        Ok(())
    }

    fn wants_input(&self) -> bool {
        self.table.wants_input()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.table.deadline()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionEnd> {
        while let Some(key) = self.table.expired(now) {
            self.table.reset(key, ErrorCode::NONE);
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
        while let Some((id, _)) = self.table.next_owed() {
            let frame = [wire_id(id), RESET, 0, 0];
            self.table.outbox.push_control(&frame);
        }
        self.table.take_output(out);
    }

    fn poll_wake(&mut self) -> Option<Wake> {
        self.table.poll_wake()
    }

    /// The toy has no frame for it: the end of the link says it.
    fn go_away(&mut self, _: ErrorCode) {
        self.closing = true;
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
