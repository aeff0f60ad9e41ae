//! One connection: what its streams, its handle and its driver share.
//!
//! ```text
//!   streams, muxer ──┐                               ┌── endpoint: datagrams that came
//!                    ├──> Mutex<State> { quinn } <───┤
//!   driver: timers, ─┘                               └── wakers, called after it is unlocked
//!           events, datagrams to send
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use futures::future::{BoxFuture, FutureExt, poll_fn};
use p2p_core::{
    Blame, BoxStream, Budget, ConnectionEnd, ErrorCode, Exceeded, Muxer, OpenError, Rt, StreamReset,
};
use quinn_proto::{Connection, ConnectionError, Dir, Event, StreamEvent, StreamId, VarInt};

use crate::account::Account;
use crate::clock::Clock;
use crate::error;
use crate::stream::QuicStream;
use crate::{Config, stream};

/// Tasks that wait for one thing; beyond these all are woken for nothing, and those that still
/// care come back.
const MAX_WAITING: usize = 64;

/// A connection, shared by everybody who has to do with it.
pub(crate) struct Shared {
    pub(crate) rt: Rt,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    state: Mutex<State>,
}

/// What [`Shared`] protects.
pub(crate) struct State {
    pub(crate) quic: Connection,
    pub(crate) account: Account,
    pub(crate) streams: BTreeMap<StreamId, stream::Entry>,
    /// Streams that are not in `streams` any more.
    pub(crate) lingering: stream::Lingering,
    /// Streams in `streams` that may hold what is not read.
    pub(crate) unread_streams: usize,
    /// Streams of ours in `streams`.
    outbound: usize,
    /// Streams of the remote's that were ever accepted: those with a lower index.
    accepted: u64,
    /// Writes so far.
    pub(crate) writes: u64,
    /// The handshake is done.
    pub(crate) connected: bool,
    /// Why the connection is over. Streams may still hold what arrived before.
    pub(crate) ended: Option<ConnectionEnd>,
    /// The same in QUIC's words.
    pub(crate) lost: Option<ConnectionError>,
    opening: Waiting,
    accepting: Waiting,
    driver: Option<Waker>,
    driver_has_work: bool,
    /// To be woken when the lock is released.
    wakes: Vec<Waker>,
}

impl Shared {
    pub(crate) fn new(rt: Rt, clock: Clock, config: Arc<Config>, quic: Connection) -> Arc<Self> {
        let account = Account::new(&config, rt.now());
        let lingering = stream::Lingering::new(&config);
        Arc::new(Self {
            rt,
            clock,
            config,
            state: Mutex::new(State {
                quic,
                account,
                streams: BTreeMap::new(),
                lingering,
                unread_streams: 0,
                outbound: 0,
                accepted: 0,
                writes: 0,
                connected: false,
                ended: None,
                lost: None,
                opening: Waiting::default(),
                accepting: Waiting::default(),
                driver: None,
                driver_has_work: false,
                wakes: Vec::new(),
            }),
        })
    }

    /// Runs `work` under the lock; wakes whom it concerns afterwards.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut state);
        let driver = if mem::take(&mut state.driver_has_work) {
            state.driver.take()
        } else {
            None
        };
        let wakes = mem::take(&mut state.wakes);
        drop(state);
        driver.into_iter().chain(wakes).for_each(Waker::wake);
        done
    }

    fn poll_open(self: &Arc<Self>, waker: &Waker) -> Poll<Result<BoxStream, OpenError>> {
        let opened = self.with(|state| {
            if let Some(end) = &state.ended {
                return Poll::Ready(Err(end.clone().into()));
            }
            check_outbound(&self.config, state.outbound)?;
            match state.quic.streams().open(Dir::Bi) {
                Some(id) => {
                    state.outbound += 1;
                    state.streams.insert(id, stream::Entry::default());
                    Poll::Ready(Ok(id))
                }
                None => {
                    state.opening.add(waker, &mut state.wakes);
                    Poll::Pending
                }
            }
        });
        opened.map_ok(|id| QuicStream::boxed(self, id))
    }

    fn poll_accept(self: &Arc<Self>, waker: &Waker) -> Poll<Result<BoxStream, ConnectionEnd>> {
        let accepted = self.with(|state| {
            if let Some(end @ ConnectionEnd::Local(_)) = &state.ended {
                return Poll::Ready(Err(end.clone()));
            }
            // What the remote said before it left is still to be heard.
            if let Some(id) = state.quic.streams().accept(Dir::Bi) {
                state.accepted = id.index() + 1;
                state.streams.insert(id, stream::Entry::default());
                state.note_unread(id);
                return Poll::Ready(Ok(id));
            }
            if let Some(end) = &state.ended {
                return Poll::Ready(Err(end.clone()));
            }
            state.accepting.add(waker, &mut state.wakes);
            Poll::Pending
        });
        accepted.map_ok(|id| QuicStream::boxed(self, id))
    }
}

impl State {
    /// The driver has to look: something may be to be sent.
    pub(crate) fn notify_driver(&mut self) {
        self.driver_has_work = true;
    }

    pub(crate) fn register_driver(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Takes in what quinn reports.
    pub(crate) fn handle_events(&mut self, config: &Config) {
        let mut writable = Vec::new();
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { reason } => {
                    let end = error::end(&reason, config);
                    self.lost.get_or_insert(reason);
                    self.end(end);
                }
                Event::Stream(StreamEvent::Writable { id }) => {
                    writable.extend(self.streams.get(&id).map(|entry| (entry.wrote, id)));
                }
                Event::Stream(event) => self.handle_stream_event(event),
                Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {
                }
            }
        }
        // Whoever wrote last waits longest: quinn names first who was refused last.
        writable.sort_unstable();
        for (_, id) in writable {
            self.wake_writer(id);
        }
    }

    fn handle_stream_event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir: Dir::Bi } => self.accepting.wake(&mut self.wakes),
            StreamEvent::Available { dir: Dir::Bi } => self.opening.wake(&mut self.wakes),
            StreamEvent::Opened { .. } | StreamEvent::Available { .. } => {}
            StreamEvent::Readable { id } => match self.streams.get_mut(&id) {
                Some(entry) => {
                    self.wakes.extend(entry.reader.take());
                    self.note_unread(id);
                }
                None => self.throw_away(id),
            },
            StreamEvent::Writable { id } => self.wake_writer(id),
            StreamEvent::Finished { id: _ } => {}
            StreamEvent::Stopped { id, error_code } => {
                // RFC 9000, section 3.5: a stopped stream is reset with the same code. One that waits
                // to be accepted is when somebody writes to it: quinn counts it from then on only.
                if self.is_counted(id) {
                    let _ = self.quic.send_stream(id).reset(error_code);
                }
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.handle_stopped(StreamReset {
                        by: Blame::Remote,
                        code: error::code(error_code),
                    });
                    self.wakes.extend(entry.writer.take());
                }
            }
        }
    }

    /// Whether a stream is ours or was accepted.
    fn is_counted(&self, id: StreamId) -> bool {
        id.initiator() == self.quic.side() || id.index() < self.accepted
    }

    /// The connection is over; the first reason stands.
    pub(crate) fn end(&mut self, end: ConnectionEnd) {
        self.ended.get_or_insert(end);
        self.opening.wake(&mut self.wakes);
        self.accepting.wake(&mut self.wakes);
        for entry in self.streams.values_mut() {
            self.wakes.extend(entry.reader.take());
            self.wakes.extend(entry.writer.take());
        }
        self.notify_driver();
    }

    fn wake_writer(&mut self, id: StreamId) {
        if let Some(entry) = self.streams.get_mut(&id) {
            self.wakes.extend(entry.writer.take());
        }
    }

    /// Both halves of a stream have to look.
    pub(crate) fn wake_stream(&mut self, id: StreamId) {
        if let Some(entry) = self.streams.get_mut(&id) {
            self.wakes.extend(entry.reader.take());
            self.wakes.extend(entry.writer.take());
        }
    }

    /// A stream may hold what is not read.
    fn note_unread(&mut self, id: StreamId) {
        if let Some(entry) = self.streams.get_mut(&id)
            && !mem::replace(&mut entry.unread, true)
        {
            self.unread_streams += 1;
        }
    }

    /// All that came on a stream is read.
    pub(crate) fn note_read(&mut self, id: StreamId) {
        if let Some(entry) = self.streams.get_mut(&id)
            && mem::take(&mut entry.unread)
        {
            self.unread_streams -= 1;
        }
    }

    /// The handle of a stream is gone.
    pub(crate) fn forget(&mut self, id: StreamId) {
        self.note_read(id);
        if self.streams.remove(&id).is_some() && id.initiator() == self.quic.side() {
            self.outbound -= 1;
        }
    }

    /// Whether something that was written and ended in order is not yet acknowledged.
    pub(crate) fn owes(&mut self) -> bool {
        let open = self.streams.values().filter(|entry| entry.is_writing());
        let open = open.count();
        self.quic.streams().send_streams() > open
    }

    /// Ends the connection in QUIC's terms; the remote is told `code`.
    pub(crate) fn hang_up(&mut self, now: std::time::Instant, code: ErrorCode) {
        let code = VarInt::from_u32(code.0);
        self.quic.close(now, code, bytes::Bytes::new());
    }
}

/// The [`Muxer`] of a connection.
pub(crate) struct Handle(pub(crate) Arc<Shared>);

impl Muxer for Handle {
    fn open(&self) -> BoxFuture<'static, Result<BoxStream, OpenError>> {
        let shared = self.0.clone();
        poll_fn(move |cx| shared.poll_open(cx.waker())).boxed()
    }

    fn accept(&self) -> BoxFuture<'static, Result<BoxStream, ConnectionEnd>> {
        let shared = self.0.clone();
        poll_fn(move |cx| shared.poll_accept(cx.waker())).boxed()
    }

    fn close(&self, code: ErrorCode) {
        self.0.with(|state| state.end(ConnectionEnd::Local(code)));
    }

    fn streams(&self) -> usize {
        self.0.with(|state| state.streams.len())
    }

    fn charge(&self, budget: &Budget) -> Result<(), Exceeded> {
        self.0.with(|state| state.account.charge(budget))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remote = self.0.with(|state| state.quic.remote_address());
        write!(f, "QUIC connection with {remote}")
    }
}

/// Tasks that wait for one thing.
#[derive(Default)]
pub(crate) struct Waiting(Vec<Waker>);

impl Waiting {
    /// One more; `wakes` takes what is too many.
    pub(crate) fn add(&mut self, waker: &Waker, wakes: &mut Vec<Waker>) {
        if self.0.iter().any(|known| known.will_wake(waker)) {
            return;
        }
        if self.0.len() >= MAX_WAITING {
            self.wake(wakes);
        }
        self.0.push(waker.clone());
    }

    fn wake(&mut self, wakes: &mut Vec<Waker>) {
        wakes.append(&mut self.0);
    }
}

/// Whether we may open one more stream where `open` are ours.
pub(crate) fn check_outbound(config: &Config, open: usize) -> Result<(), Exceeded> {
    let name = "streams of ours in a connection";
    Exceeded::check_one_more(name, "max_outbound", config.max_outbound, open)
}
