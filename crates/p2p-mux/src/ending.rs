//! What a driver does when nothing moves: time, idleness, and the end.
//!
//! ```text
//!   Running ── closed by us, or the remote broke the protocol ──► Sending
//!   Sending ── all sent, the link's writing side closed ────────► HangingUp
//!   HangingUp ── the remote hangs up ───────────────────────────► over
//!   any ── the link fails, or it takes longer than `close_timeout` ──► over
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;

use futures::io::AsyncWrite;
use p2p_core::{BoxIo, Budget, ConnectionEnd, Instant};

use crate::alarm::Alarm;
use crate::driver::{Driver, Progress};
use crate::inbox::Inbox;
use crate::outgoing::Outgoing;
use crate::session::Shared;
use crate::{Machine, SessionConfig};

/// How far the connection is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
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
            outgoing: Outgoing::default(),
            yielded: false,
            phase: Phase::Running,
            alarm: Alarm::default(),
            idle_at: None,
            active: false,
            wakes: Vec::new(),
            taken: 0,
        }
    }

    /// At the start of a poll: from now on whatever changes wakes the driver again.
    pub(crate) fn begin(&mut self, cx: &Context<'_>, now: Instant) {
        let mut inner = self.shared.lock();
        inner.register_driver(cx.waker());
        if matches!(self.phase, Phase::Running) && inner.ended().is_some() {
            let until = now + self.config.close_timeout;
            self.phase = Phase::Sending { until };
        }
    }

    /// Nothing can be written or read.
    pub(crate) fn advance(&mut self, cx: &mut Context<'_>, now: Instant) -> Progress {
        let sent = self.outgoing.is_done() && !self.yielded;
        match self.phase {
            Phase::Running => {
                self.rest(now);
                let next = self.shared.lock().machine.poll_timeout();
                match next.into_iter().chain(self.idle_at).min() {
                    Some(at) => self.wait(cx, at),
                    None => {
                        self.shared.lock().armed = Instant::FAR_FUTURE;
                        Ok(false)
                    }
                }
            }
            Phase::Sending { until } if sent => {
                if Pin::new(&mut self.io).poll_close(cx)?.is_ready() {
                    self.phase = Phase::HangingUp { until };
                    return Ok(true);
                }
                self.wait(cx, until)
            }
            Phase::Sending { until } | Phase::HangingUp { until } => self.wait(cx, until),
        }
    }

    /// Gives buffers back after a time without traffic.
    fn rest(&mut self, now: Instant) {
        if std::mem::take(&mut self.active) {
            self.idle_at = Some(now + self.config.idle_after);
        } else if self.idle_at.is_some_and(|at| at <= now) {
            self.idle_at = None;
            if self.outgoing.trim() {
                self.wakes = Vec::new();
                self.inbox.trim();
                self.shared.lock().trim();
            }
        }
    }

    /// Waits until `at`; true if that has come.
    fn wait(&mut self, cx: &mut Context<'_>, at: Instant) -> Progress {
        if let Some(armed) = self.alarm.poll_at(cx, at, &self.shared.rt) {
            self.shared.lock().armed = armed;
            return Ok(false);
        }
        let now = self.shared.rt.now();
        match self.phase {
            Phase::Sending { until } | Phase::HangingUp { until } if now >= until => {
                // The reason that the streams were given stands.
                Err(ConnectionEnd::Dropped)
            }
            Phase::Sending { .. } | Phase::HangingUp { .. } => Ok(true),
            Phase::Running => {
                let mut inner = self.shared.lock();
                let result = inner.machine.handle_timeout(now);
                inner.collect_wakes(&mut self.wakes);
                drop(inner);
                self.wake();
                self.rest(now);
                result.map(|()| true)
            }
        }
    }

    /// `end` came up. Returns how the connection ended if nothing more can be sent.
    pub(crate) fn handle_end(&mut self, end: ConnectionEnd, now: Instant) -> Option<ConnectionEnd> {
        let running = matches!(self.phase, Phase::Running);
        let can_tell = matches!(
            end,
            ConnectionEnd::Protocol { .. } | ConnectionEnd::Limit(_)
        );
        if !running || !can_tell {
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
}

impl<M: Machine> Drop for Driver<M> {
    fn drop(&mut self) {
        self.finish(ConnectionEnd::Dropped);
    }
}
