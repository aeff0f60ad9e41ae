//! A machine shared by its driver, its streams, and whoever opens and accepts.
//!
//! ```text
//!   MuxStream ──┐                       ┌── open / accept futures
//!               ├─ Mutex<machine+wakers>┤
//!   MuxStream ──┘          │            └── Driver ── io
//! ```
//!
//! A stream locks, copies, unlocks; wakers are called after the lock is released. There is no
//! channel anywhere: bytes go from the application into the staging buffer and from the receive
//! queue to the application.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::FutureExt;
use futures::future::BoxFuture;
use p2p_core::{
    BoxIo, BoxStream, Budget, ConnectionEnd, ErrorCode, Instant, Muxer, Muxing, OpenError, Rt,
};

use crate::driver::Driver;
use crate::stream::MuxStream;
use crate::{Key, Machine, Pending, SessionConfig, Wake};

/// Starts a session of `machine` over `io`.
///
/// The machine has its own share of `budget`; the read buffers are taken from it here.
pub fn start<M: Machine>(
    machine: M,
    io: BoxIo,
    rt: &Rt,
    budget: &Budget,
    config: SessionConfig,
) -> Muxing {
    let shared = Arc::new(Shared {
        inner: Mutex::new(Inner {
            machine,
            state: State::Open,
            wakers: Vec::new(),
            driver: None,
            driver_notified: true,
            driver_sending: false,
            driver_paused: false,
            armed: Instant::FAR_FUTURE,
            openers: Queue::default(),
            acceptors: Queue::default(),
        }),
        rt: rt.clone(),
    });
    Muxing {
        driver: Driver::new(shared.clone(), io, budget, config).boxed(),
        muxer: Arc::new(Session { shared }),
    }
}

/// What everyone who has to do with a connection shares.
pub(crate) struct Shared<M> {
    inner: Mutex<Inner<M>>,
    pub(crate) rt: Rt,
}

/// How far the end of the connection has come.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// Streams open and close.
    Open,
    /// Streams have failed with this; the driver sends what is left.
    Ended(ConnectionEnd),
}

pub(crate) struct Inner<M> {
    pub(crate) machine: M,
    pub(crate) state: State,
    /// By [`Key`].
    wakers: Vec<Halves>,
    driver: Option<Waker>,
    /// The driver will look at the machine without being woken again.
    pub(crate) driver_notified: bool,
    /// The driver waits for the link to take its output and has no use for more.
    pub(crate) driver_sending: bool,
    /// The driver reads nothing until the machine wants input again.
    pub(crate) driver_paused: bool,
    /// When the driver looks at the time next.
    pub(crate) armed: Instant,
    openers: Queue,
    acceptors: Queue,
}

#[derive(Default)]
struct Halves {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<M: Machine> Shared<M> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        // A panic under the lock is a bug of ours; the other streams need not pay for it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` under the lock and wakes whom it concerns after it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Inner<M>) -> T) -> T {
        let mut wakes = Vec::new();
        let mut inner = self.lock();
        let result = act(&mut inner);
        inner.collect_wakes(&mut wakes);
        let driver = inner.driver_to_wake();
        drop(inner);
        for waker in wakes {
            waker.wake();
        }
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }
}

impl<M: Machine> Inner<M> {
    /// Why the connection is over, if it is.
    pub(crate) fn ended(&self) -> Option<&ConnectionEnd> {
        match &self.state {
            State::Open => None,
            State::Ended(end) => Some(end),
        }
    }

    /// Ends every stream and every wait with `end`, unless that has happened.
    pub(crate) fn end(&mut self, end: ConnectionEnd, wakes: &mut Vec<Waker>) {
        if self.ended().is_some() {
            return;
        }
        self.state = State::Ended(end);
        for halves in &mut self.wakers {
            wakes.extend(halves.reader.take());
            wakes.extend(halves.writer.take());
        }
        wakes.extend(self.openers.take_all());
        wakes.extend(self.acceptors.take_all());
    }

    /// Translates the machine's wake-ups into wakers.
    pub(crate) fn collect_wakes(&mut self, wakes: &mut Vec<Waker>) {
        while let Some(wake) = self.machine.poll_wake() {
            let waker = match wake {
                Wake::Acceptor => self.acceptors.take_first(),
                Wake::Opener => self.openers.take_first(),
                Wake::Reader(key) => self.halves(key).and_then(|halves| halves.reader.take()),
                Wake::Writer(key) => self.halves(key).and_then(|halves| halves.writer.take()),
            };
            wakes.extend(waker);
        }
    }

    /// The driver's waker, if it waits and there is something for it to do.
    fn driver_to_wake(&mut self) -> Option<Waker> {
        if self.driver_notified {
            return None;
        }
        let sends = !self.driver_sending && self.machine.pending() != Pending::Nothing;
        let reads = self.driver_paused && self.machine.wants_input();
        let sooner = self
            .machine
            .poll_timeout()
            .is_some_and(|at| at < self.armed);
        if !sends && !reads && !sooner && self.ended().is_none() {
            return None;
        }
        self.driver_notified = true;
        self.driver.clone()
    }

    /// From now on the driver is woken through `waker`.
    pub(crate) fn register_driver(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(known) => known.clone_from(waker),
            None => self.driver = Some(waker.clone()),
        }
        self.driver_notified = false;
        self.driver_sending = false;
        self.driver_paused = false;
    }

    pub(crate) fn wait_to_read(&mut self, key: Key, waker: &Waker) {
        store(&mut self.halves_mut(key).reader, waker);
    }

    pub(crate) fn wait_to_write(&mut self, key: Key, waker: &Waker) {
        store(&mut self.halves_mut(key).writer, waker);
    }

    fn halves(&mut self, key: Key) -> Option<&mut Halves> {
        self.wakers.get_mut(key.0 as usize)
    }

    fn halves_mut(&mut self, key: Key) -> &mut Halves {
        let index = key.0 as usize;
        if self.wakers.len() <= index {
            self.wakers.resize_with(index + 1, Halves::default);
        }
        // Just made, if it was not there.
        #[expect(clippy::indexing_slicing, reason = "resized to hold the index above")]
        &mut self.wakers[index]
    }

    /// Drops the wakers of a stream that is gone; its key may be used again.
    pub(crate) fn forget_wakers(&mut self, key: Key) {
        if let Some(halves) = self.halves(key) {
            *halves = Halves::default();
        }
    }

    pub(crate) fn trim(&mut self) {
        self.machine.trim();
        if self.machine.streams() == 0 {
            self.wakers = Vec::new();
        }
    }
}

fn store(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(known) => known.clone_from(waker),
        None => *slot = Some(waker.clone()),
    }
}

/// Futures that wait their turn, first come, first served. One that was woken but is dropped
/// instead of polled passes the turn on.
#[derive(Default)]
struct Queue {
    /// By ticket, in ascending order.
    waiting: VecDeque<(u64, Waker)>,
    next: u64,
}

impl Queue {
    fn wait(&mut self, ticket: &mut Option<u64>, waker: &Waker) {
        let ticket = *ticket.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        match self.find(ticket) {
            Ok(at) => {
                if let Some((_, known)) = self.waiting.get_mut(at) {
                    known.clone_from(waker);
                }
            }
            Err(at) => self.waiting.insert(at, (ticket, waker.clone())),
        }
    }

    fn find(&self, ticket: u64) -> Result<usize, usize> {
        self.waiting.binary_search_by_key(&ticket, |(known, _)| *known)
    }

    fn take_first(&mut self) -> Option<Waker> {
        self.waiting.pop_front().map(|(_, waker)| waker)
    }

    fn take_all(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().map(|(_, waker)| waker)
    }

    /// The future with `ticket` is done or dropped. Returns whom to wake in its place.
    fn leave(&mut self, ticket: u64, served: bool) -> Option<Waker> {
        let was_woken = match self.find(ticket) {
            Ok(at) => self.waiting.remove(at).is_none(),
            Err(_) => true,
        };
        // A served future passes on too: several may fit where one wake-up was given.
        if was_woken || served {
            self.take_first()
        } else {
            None
        }
    }
}

/// The handle of a running session.
struct Session<M> {
    shared: Arc<Shared<M>>,
}

impl<M: Machine> Muxer for Session<M> {
    fn open(&self) -> BoxFuture<'static, Result<BoxStream, OpenError>> {
        Box::pin(Open(Turn::new(self.shared.clone(), |inner| {
            &mut inner.openers
        })))
    }

    fn accept(&self) -> BoxFuture<'static, Result<BoxStream, ConnectionEnd>> {
        Box::pin(Accept(Turn::new(self.shared.clone(), |inner| {
            &mut inner.acceptors
        })))
    }

    fn close(&self, code: ErrorCode) {
        let mut wakes = Vec::new();
        self.shared.with(|inner| {
            if inner.ended().is_none() {
                inner.machine.go_away(code);
                inner.end(ConnectionEnd::Local(code), &mut wakes);
            }
        });
        for waker in wakes {
            waker.wake();
        }
    }

    fn streams(&self) -> usize {
        self.shared.lock().machine.streams()
    }
}

impl<M> fmt::Debug for Session<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// A place in one of the queues, held by a future.
struct Turn<M: Machine> {
    shared: Arc<Shared<M>>,
    queue: fn(&mut Inner<M>) -> &mut Queue,
    ticket: Option<u64>,
}

impl<M: Machine> Turn<M> {
    fn new(shared: Arc<Shared<M>>, queue: fn(&mut Inner<M>) -> &mut Queue) -> Self {
        Self {
            shared,
            queue,
            ticket: None,
        }
    }

    /// Tries `act` until it is ready, in turn.
    fn poll<T>(&mut self, cx: &Context<'_>, act: impl FnOnce(&mut Inner<M>) -> Poll<T>) -> Poll<T> {
        let queue = self.queue;
        let ticket = &mut self.ticket;
        let (result, next) = self.shared.with(|inner| match act(inner) {
            Poll::Ready(result) => {
                let next = ticket
                    .take()
                    .and_then(|held| queue(inner).leave(held, true));
                (Poll::Ready(result), next)
            }
            Poll::Pending => {
                queue(inner).wait(ticket, cx.waker());
                (Poll::Pending, None)
            }
        });
        if let Some(next) = next {
            next.wake();
        }
        result
    }
}

impl<M: Machine> Drop for Turn<M> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let queue = self.queue;
            let next = self.shared.with(|inner| queue(inner).leave(ticket, false));
            if let Some(next) = next {
                next.wake();
            }
        }
    }
}

struct Open<M: Machine>(Turn<M>);

impl<M: Machine> Future for Open<M> {
    type Output = Result<BoxStream, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let opened = self.0.poll(cx, |inner| match inner.ended() {
            Some(end) => Poll::Ready(Err(end.clone().into())),
            None => inner.machine.open(),
        });
        opened.map_ok(|key| MuxStream::boxed(&self.0.shared, key))
    }
}

struct Accept<M: Machine>(Turn<M>);

impl<M: Machine> Future for Accept<M> {
    type Output = Result<BoxStream, ConnectionEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let accepted = self.0.poll(cx, |inner| match inner.machine.accept() {
            Poll::Ready(key) => Poll::Ready(Ok(key)),
            Poll::Pending => match inner.ended() {
                Some(end) => Poll::Ready(Err(end.clone())),
                None => Poll::Pending,
            },
        });
        accepted.map_ok(|key| MuxStream::boxed(&self.0.shared, key))
    }
}
