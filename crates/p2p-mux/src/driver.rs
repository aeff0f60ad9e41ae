//! Moves bytes between a machine and its link.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::io::AsyncRead;
use p2p_core::{BoxIo, ConnectionEnd, Instant};

use crate::alarm::Alarm;
use crate::ending::Phase;
use crate::inbox::Inbox;
use crate::outgoing::Outgoing;
use crate::session::Shared;
use crate::{Machine, Pending, SessionConfig};

/// Writes in a row before reading, and rounds of both in one poll: the other tasks want to run.
const ROUNDS: usize = 8;
/// What is read in one poll, in bytes, before those run who wait for it: what they copy is then
/// still in the processor's cache.
const READ_AHEAD: usize = 128 * 1024;

/// Serves a connection until it ends; says why it did. Writes before it reads.
///
/// Dropping it ends the connection without a word to the remote.
pub(crate) struct Driver<M: Machine> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) io: BoxIo,
    pub(crate) config: SessionConfig,
    pub(crate) inbox: Inbox,
    pub(crate) outgoing: Outgoing,
    /// The other ready tasks had their turn to add to lazy output.
    pub(crate) yielded: bool,
    pub(crate) phase: Phase,
    pub(crate) alarm: Alarm,
    /// When to give buffers back if `active` is still false.
    pub(crate) idle_at: Option<Instant>,
    pub(crate) active: bool,
    pub(crate) wakes: Vec<Waker>,
    /// Read in this poll, in bytes.
    pub(crate) taken: usize,
}

/// Whether anything has moved, or how the connection ends.
pub(crate) type Progress = Result<bool, ConnectionEnd>;

impl<M: Machine> Driver<M> {
    fn round(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress {
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
            if self.outgoing.is_written() && !self.refill(cx, now) {
                self.outgoing.flush(cx, &mut self.io)?;
                return Ok(round > 0);
            }
            if self.outgoing.poll_write(cx, &mut self.io)?.is_pending() {
                self.shared.lock().driver_sending = true;
                return Ok(round > 0);
            }
        }
        Ok(true)
    }

    /// Takes the machine's output; false if there is none.
    fn refill(&mut self, cx: &Context<'_>, now: Instant) -> bool {
        let out = self.outgoing.refill();
        let mut inner = self.shared.lock();
        while out.is_empty() {
            match inner.machine.pending() {
                Pending::Nothing => break,
                Pending::Lazy if !self.yielded => {
                    self.yielded = true;
                    inner.driver_notified = true;
                    cx.waker().wake_by_ref();
                    break;
                }
                Pending::Lazy | Pending::Now => inner.machine.take_output(out, now),
            }
            self.yielded = false;
        }
        let refilled = !out.is_empty();
        inner.collect_wakes(&mut self.wakes);
        drop(inner);
        self.wake();
        refilled
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress {
        if self.inbox.is_empty() {
            match Pin::new(&mut self.io).poll_read(cx, self.inbox.space())? {
                Poll::Ready(0) => return Err(self.shared.lock().machine.handle_eof()),
                Poll::Ready(count) => {
                    self.inbox.filled(count);
                    self.taken += count;
                }
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

    pub(crate) fn wake(&mut self) {
        self.wakes.drain(..).for_each(Waker::wake);
    }
}

impl<M: Machine> Future for Driver<M> {
    type Output = ConnectionEnd;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let this = self.get_mut();
        let now = this.shared.rt.now();
        this.begin(cx, now);
        this.taken = 0;
        for _ in 0..ROUNDS {
            match this.round(cx, now) {
                Ok(true) if this.taken >= READ_AHEAD => break,
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
