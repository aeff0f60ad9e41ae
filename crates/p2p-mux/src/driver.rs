//! Moves bytes between a machine and its link.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};
use p2p_core::{BoxIo, Budget, ConnectionEnd, Instant, Timer};

use crate::inbox::Inbox;
use crate::session::Shared;
use crate::{Machine, Pending, SessionConfig};

/// What is written at once, in bytes. A loopback segment holds 65,483; a write of one byte more
/// costs a second segment with a wake-up of its own.
const PIECE: usize = 48 * 1024;
/// Writes in a row before reading, and rounds of both in one poll.
const ROUNDS: usize = 8;

/// Serves a connection until it ends; says why it did. Writes before it reads.
///
/// Dropping it ends the connection without a word to the remote.
pub(crate) struct Driver<M: Machine> {
    shared: Arc<Shared<M>>,
    io: BoxIo,
    config: SessionConfig,
    inbox: Inbox,
    /// Taken from the machine; sent up to `sent`.
    out: Vec<u8>,
    sent: usize,
    /// Starts true: the link may hold bytes of its handshake.
    flush: bool,
    /// The other ready tasks had their turn to add to lazy output.
    yielded: bool,
    phase: Phase,
    timer: Option<(Instant, Box<dyn Timer>)>,
    /// When to give buffers back if `active` is still false.
    idle_at: Option<Instant>,
    active: bool,
    wakes: Vec<Waker>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Running,
    /// The streams have failed; what is left to send is sent.
    Sending {
        until: Instant,
    },
    /// Everything is sent; waits for the remote to hang up, so that nothing we sent is lost.
    HangingUp {
        until: Instant,
    },
}

type Progress = Result<bool, ConnectionEnd>;

impl<M: Machine> Driver<M> {
    pub(crate) fn new(
        shared: Arc<Shared<M>>,
        io: BoxIo,
        budget: &Budget,
        config: SessionConfig,
    ) -> Self {
        Self {
            shared,
            io,
            config,
            inbox: Inbox::new(budget),
            out: Vec::new(),
            sent: 0,
            flush: true,
            yielded: false,
            phase: Phase::Running,
            timer: None,
            idle_at: None,
            active: false,
            wakes: Vec::new(),
        }
    }

    fn round(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress {
        if matches!(self.phase, Phase::Running) && self.shared.lock().ended().is_some() {
            let until = now + self.config.close_timeout;
            self.phase = Phase::Sending { until };
        }
        let wrote = self.write(cx, now)?;
        let read = self.read(cx, now)?;
        self.active |= wrote || read;
        Ok(wrote || read || self.advance(cx, now)?)
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress {
        if matches!(self.phase, Phase::HangingUp { .. }) {
            return Ok(false);
        }
        for round in 0..ROUNDS {
            if self.sent == self.out.len() && !self.refill(cx, now) {
                return Ok(self.flush(cx)? || round > 0);
            }
            let rest = self.out.get(self.sent..).unwrap_or_default();
            let piece = rest.get(..PIECE).unwrap_or(rest);
            match Pin::new(&mut self.io).poll_write(cx, piece)? {
                Poll::Ready(0) => return Err(ConnectionEnd::Eof),
                Poll::Ready(count) => self.sent += count,
                Poll::Pending => {
                    self.shared.lock().driver_sending = true;
                    return Ok(round > 0);
                }
            }
            self.flush = true;
        }
        Ok(true)
    }

    /// Takes the machine's output; false if there is none.
    fn refill(&mut self, cx: &Context<'_>, now: Instant) -> bool {
        self.out.clear();
        self.sent = 0;
        let mut inner = self.shared.lock();
        inner.register_driver(cx.waker());
        loop {
            match inner.machine.pending() {
                Pending::Nothing => break,
                Pending::Lazy if !self.yielded => {
                    self.yielded = true;
                    inner.driver_notified = true;
                    cx.waker().wake_by_ref();
                    break;
                }
                Pending::Lazy | Pending::Now => inner.machine.take_output(&mut self.out, now),
            }
            self.yielded = false;
            if !self.out.is_empty() {
                break;
            }
        }
        inner.collect_wakes(&mut self.wakes);
        drop(inner);
        self.wake();
        !self.out.is_empty()
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Progress {
        if self.flush {
            self.flush = Pin::new(&mut self.io).poll_flush(cx)?.is_pending();
        }
        Ok(false)
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress {
        if self.inbox.is_empty() {
            match Pin::new(&mut self.io).poll_read(cx, self.inbox.space())? {
                Poll::Ready(0) => return Err(self.shared.lock().machine.handle_eof()),
                Poll::Ready(count) => self.inbox.filled(count),
                Poll::Pending => {
                    self.inbox.release_small();
                    return Ok(false);
                }
            }
        }
        if !matches!(self.phase, Phase::Running) {
            self.inbox.handle(|input| input.skip(input.len()));
            return Ok(true);
        }
        let mut inner = self.shared.lock();
        if !inner.machine.wants_input() {
            inner.driver_paused = true;
            return Ok(false);
        }
        let result = self
            .inbox
            .handle(|input| inner.machine.handle_input(input, now));
        inner.collect_wakes(&mut self.wakes);
        drop(inner);
        self.wake();
        result.map(|()| true)
    }

    /// Nothing can be written or read: the steps of the end, and time.
    fn advance(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress {
        let sent = self.out.is_empty() && !self.flush;
        match self.phase {
            Phase::Sending { until } if sent && !self.yielded => {
                if Pin::new(&mut self.io).poll_close(cx)?.is_ready() {
                    self.phase = Phase::HangingUp { until };
                    return Ok(true);
                }
                self.wait(cx, Some(until))
            }
            Phase::Sending { until } | Phase::HangingUp { until } => self.wait(cx, Some(until)),
            Phase::Running => {
                self.rest(now);
                let next = self.shared.lock().machine.poll_timeout();
                self.wait(cx, next.into_iter().chain(self.idle_at).min())
            }
        }
    }

    /// Gives buffers back after a time without traffic.
    fn rest(&mut self, now: Instant) {
        if std::mem::take(&mut self.active) {
            self.idle_at = Some(now + self.config.idle_after);
        } else if self.idle_at.is_some_and(|at| at <= now) {
            self.idle_at = None;
            if self.out.is_empty() {
                self.out = Vec::new();
                self.wakes = Vec::new();
                self.inbox.trim();
                self.shared.lock().trim();
            }
        }
    }

    /// Waits until `at`; true if that has come.
    fn wait(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Progress {
        let Some(at) = at else {
            return Ok(false);
        };
        // A timer that fires too early is cheaper than one that is moved with every frame.
        let (armed, timer) = match &mut self.timer {
            Some((armed, timer)) if *armed > at => {
                timer.reset(at);
                *armed = at;
                (armed, timer)
            }
            Some((armed, timer)) => (armed, timer),
            none @ None => {
                let (armed, timer) = none.insert((at, self.shared.rt.timer(at)));
                (armed, timer)
            }
        };
        self.shared.lock().armed = *armed;
        if Pin::new(timer).poll(cx).is_pending() {
            return Ok(false);
        }
        *armed = Instant::FAR_FUTURE;
        let now = self.shared.rt.now();
        match self.phase {
            Phase::Sending { until } | Phase::HangingUp { until } if now >= until => {
                Err(ConnectionEnd::Dropped)
            }
            Phase::Sending { .. } | Phase::HangingUp { .. } => Ok(true),
            Phase::Running => {
                let mut inner = self.shared.lock();
                inner.machine.handle_timeout(now)?;
                inner.collect_wakes(&mut self.wakes);
                drop(inner);
                self.wake();
                Ok(true)
            }
        }
    }

    /// `end` came up. Returns how the connection ended if nothing can be sent any more.
    fn handle_end(&mut self, end: ConnectionEnd, now: Instant) -> Option<ConnectionEnd> {
        let running = matches!(self.phase, Phase::Running);
        let ours = matches!(
            end,
            ConnectionEnd::Protocol { .. } | ConnectionEnd::Limit(_)
        );
        if !running || !ours {
            return Some(self.finish(end));
        }
        self.shared.lock().end(end, &mut self.wakes);
        self.wake();
        let until = now + self.config.close_timeout;
        self.phase = Phase::Sending { until };
        None
    }

    /// Tells everybody; the first reason stands.
    fn finish(&mut self, end: ConnectionEnd) -> ConnectionEnd {
        let mut inner = self.shared.lock();
        inner.end(end.clone(), &mut self.wakes);
        inner.machine.end();
        let first = inner.ended().cloned().unwrap_or(end);
        drop(inner);
        self.wake();
        first
    }

    fn wake(&mut self) {
        for waker in self.wakes.drain(..) {
            waker.wake();
        }
    }
}

impl<M: Machine> Future for Driver<M> {
    type Output = ConnectionEnd;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let this = self.get_mut();
        let now = this.shared.rt.now();
        for _ in 0..ROUNDS {
            match this.round(cx, now) {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(end) => {
                    if let Some(end) = this.handle_end(end, now) {
                        return Poll::Ready(end);
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<M: Machine> Drop for Driver<M> {
    fn drop(&mut self) {
        self.finish(ConnectionEnd::Dropped);
    }
}
