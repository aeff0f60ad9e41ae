//! Serves one connection: its timers, its events, and what it has to send.
//!
//! ```text
//!   Running ── closed by us ──────────────────────────────────────> Flushing
//!   Flushing ── what was written is acknowledged, or close_timeout ─> Closing
//!   Running ── the remote broke the protocol ─────────────────────> Closing
//!   Closing ── CONNECTION_CLOSE is sent ──> over; the endpoint repeats it for stragglers
//!   any ── the remote closed, or is silent ──> over
//! ```

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use p2p_core::{ConnectionEnd, Datagram, ErrorCode, Instant, Timer};
use quinn_proto::{ConnectionHandle, EndpointEvent, Transmit};

use crate::connection::{Shared, State};
use crate::endpoint::{Attached, Linger};

/// Calls of the system in one poll: the other tasks want to run.
const ROUNDS: usize = 16;
/// Bytes sent in one call.
const LARGEST_SEND: usize = 60_000;

/// Serves a connection until it ends; says why it did.
///
/// Dropping it ends the connection at once.
pub(crate) struct Driver {
    pub(crate) shared: Arc<Shared>,
    endpoint: Arc<Attached>,
    handle: ConnectionHandle,
    /// What the endpoint must know about the connection.
    told: Vec<EndpointEvent>,
    drained: bool,
    phase: Phase,
    buffer: Vec<u8>,
    /// What `buffer` holds, until it is sent.
    unsent: Option<Transmit>,
    /// The datagram that tells the end.
    last: Bytes,
    timer: Option<(Instant, Box<dyn Timer>)>,
    /// Why nothing can be sent.
    failed: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Closed by us; what was written is still delivered.
    Flushing {
        code: ErrorCode,
        until: Instant,
    },
    /// The end is on its way to the remote.
    Closing,
}

/// What a round has come to.
enum Step {
    Again,
    Over,
    Wait,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        endpoint: Arc<Attached>,
        handle: ConnectionHandle,
    ) -> Self {
        Self {
            shared,
            endpoint,
            handle,
            told: Vec::new(),
            drained: false,
            phase: Phase::Running,
            buffer: Vec::new(),
            unsent: None,
            last: Bytes::new(),
            timer: None,
            failed: None,
        }
    }

    /// Until the handshake is done.
    ///
    /// # Errors
    /// The connection ended before.
    pub(crate) fn poll_connected(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), NotConnected>> {
        let served = Pin::new(&mut *self).poll(cx);
        let (connected, lost) = self
            .shared
            .with(|state| (state.connected && state.ended.is_none(), state.lost.clone()));
        if connected {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(NotConnected::Io(error)));
        }
        match (served, lost) {
            (_, Some(lost)) => Poll::Ready(Err(NotConnected::Lost(lost))),
            (Poll::Ready(end), None) => {
                let error = io::Error::new(io::ErrorKind::ConnectionAborted, end);
                Poll::Ready(Err(NotConnected::Io(error)))
            }
            (Poll::Pending, None) => Poll::Pending,
        }
    }

    fn round(&mut self, cx: &mut Context<'_>) -> Step {
        let can_send = self.poll_send(cx).is_ready();
        let now = self.shared.rt.now();
        let shared = self.shared.clone();
        let next = shared.with(|state| {
            state.register_driver(cx.waker());
            self.advance(state, now);
            if can_send {
                self.refill(state, now);
            }
            state.quic.poll_timeout()
        });
        if self.tell_endpoint() || (can_send && self.unsent.is_some()) {
            return Step::Again;
        }
        if (can_send && self.phase == Phase::Closing) || self.drained {
            return Step::Over;
        }
        let next = next.map(|at| shared.clock.to_runtime(at));
        let until = match self.phase {
            Phase::Flushing { until, .. } => Some(until),
            Phase::Running | Phase::Closing => None,
        };
        match next.into_iter().chain(until).min() {
            Some(at) if self.poll_timer(cx, at).is_ready() => Step::Again,
            _ => Step::Wait,
        }
    }

    /// Lets time pass, takes in what has happened, and goes on to the next phase.
    fn advance(&mut self, state: &mut State, now: Instant) {
        let (config, at) = (&self.shared.config, self.shared.clock.to_std(now));
        if state.quic.poll_timeout().is_some_and(|due| due <= at) {
            state.quic.handle_timeout(at);
        }
        state.handle_events(config);
        let all_is_read = state.unread_streams == 0;
        state
            .account
            .adapt(&mut state.quic, all_is_read, config, now);
        match (self.phase, &state.ended) {
            (Phase::Running, Some(ConnectionEnd::Local(code))) => {
                self.phase = Phase::Flushing {
                    code: *code,
                    until: now + config.close_timeout,
                };
            }
            (Phase::Running, Some(_)) => self.phase = Phase::Closing,
            _ => {}
        }
        if let Phase::Flushing { code, until } = self.phase
            && (now >= until || !state.owes() || state.quic.is_closed())
        {
            state.hang_up(at, code);
            self.phase = Phase::Closing;
        }
        while let Some(event) = state.quic.poll_endpoint_events() {
            self.drained |= event.is_drained();
            self.told.push(event);
        }
    }

    /// Passes on what the endpoint must know; true if it has an answer for the connection.
    fn tell_endpoint(&mut self) -> bool {
        if self.told.is_empty() {
            return false;
        }
        let answers = self.endpoint.tell(self.handle, self.told.drain(..));
        let answered = !answers.is_empty();
        if answered {
            self.shared.with(|state| {
                for answer in answers {
                    state.quic.handle_event(answer);
                }
            });
        }
        answered
    }

    /// Sends what is unsent.
    fn poll_send(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Some(transmit) = &self.unsent else {
            return Poll::Ready(());
        };
        let datagram = datagram(transmit, &self.buffer);
        match self.endpoint.poll_send(cx, &datagram) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => {}
            // As good as lost on the way, unless it never can get there.
            Poll::Ready(Err(error)) => {
                tracing::trace!(to = %datagram.to, %error, "cannot send");
                if is_hopeless(&error) {
                    self.failed.get_or_insert(error);
                }
            }
        }
        self.unsent = None;
        self.buffer.clear();
        Poll::Ready(())
    }

    /// Takes what is to be sent next.
    fn refill(&mut self, state: &mut State, now: Instant) {
        let mtu = usize::from(state.quic.current_mtu()).max(1);
        let segments = self.endpoint.max_segments().min(LARGEST_SEND / mtu);
        let at = self.shared.clock.to_std(now);
        self.unsent = state
            .quic
            .poll_transmit(at, segments.max(1), &mut self.buffer);
        if self.phase == Phase::Closing && self.last.is_empty() {
            self.last = Bytes::copy_from_slice(&self.buffer);
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let rt = &self.shared.rt;
        let (armed, timer) = self.timer.get_or_insert_with(|| (at, rt.timer(at)));
        if *armed != at {
            timer.reset(at);
            *armed = at;
        }
        Pin::new(timer).poll(cx)
    }

    /// Nothing more to do for it. The endpoint goes on answering whoever has not heard the end.
    fn finish(&mut self) -> ConnectionEnd {
        let (end, to, rtt) = self.shared.with(|state| {
            state.end(ConnectionEnd::Dropped);
            let end = state.ended.clone().unwrap_or(ConnectionEnd::Dropped);
            (end, state.quic.remote_address(), state.quic.rtt())
        });
        if !self.drained {
            self.drained = true;
            let last = std::mem::take(&mut self.last);
            let linger = (!last.is_empty()).then(|| Linger::new(last, to, rtt));
            self.endpoint.release(self.handle, linger);
        }
        end
    }
}

impl Future for Driver {
    type Output = ConnectionEnd;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ConnectionEnd> {
        let this = self.get_mut();
        for _ in 0..ROUNDS {
            match this.round(cx) {
                Step::Again => {}
                Step::Over => return Poll::Ready(this.finish()),
                Step::Wait => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    /// As the system closes the sockets of a program that ends: the remote is told if that needs
    /// no waiting.
    fn drop(&mut self) {
        if self.drained {
            self.finish();
            return;
        }
        let at = self.shared.clock.to_std(self.shared.rt.now());
        self.buffer.clear();
        let (shared, buffer) = (self.shared.clone(), &mut self.buffer);
        let last = shared.with(|state| {
            state.end(ConnectionEnd::Dropped);
            state.hang_up(at, ErrorCode::NONE);
            state.quic.poll_transmit(at, 1, buffer)
        });
        if let Some(transmit) = last {
            let cx = &mut Context::from_waker(futures::task::noop_waker_ref());
            let _ = self
                .endpoint
                .poll_send(cx, &datagram(&transmit, &self.buffer));
        }
        self.finish();
    }
}

/// Whether a first datagram that cannot be sent for this reason means that there is no way.
fn is_hopeless(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::PermissionDenied
    )
}

/// Why there was no connection.
pub(crate) enum NotConnected {
    Io(io::Error),
    Lost(quinn_proto::ConnectionError),
}

/// `transmit` as the seam has it; its bytes are at the start of `buffer`.
pub(crate) fn datagram<'a>(transmit: &Transmit, buffer: &'a [u8]) -> Datagram<'a> {
    Datagram {
        to: transmit.destination,
        from: transmit.src_ip,
        contents: buffer.get(..transmit.size).unwrap_or(buffer),
        segment: transmit.segment_size,
        ecn: transmit.ecn.map_or(0, |ecn| ecn as u8),
    }
}
