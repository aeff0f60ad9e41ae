//! The task that receives what comes to a socket.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures::future::poll_fn;
use p2p_core::{Instant, Received, Timer};
use quinn_proto::ConnectionEvent;

use crate::connection::Shared;
use crate::endpoint::Endpoint;

/// The largest receive: the system may join datagrams up to this.
const BUFFER: usize = 64 << 10;
/// Receive calls in one poll: the other tasks want to run.
const RECEIVES: usize = 16;
/// How long to rest after the socket failed, which is about resources.
const REST: Duration = Duration::from_millis(100);

/// Whether the socket reports that a datagram of ours found nobody, as Windows does on the next
/// receive. That is no reason to let the others wait: anybody can bring it about.
fn is_about_one_remote(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

/// Hands datagrams over to the connections of a socket.
pub(crate) struct Receiver {
    endpoint: Arc<Endpoint>,
    buffer: Vec<u8>,
    /// What one receive call brought for connections.
    events: Vec<(Arc<Shared>, ConnectionEvent)>,
    answer: Vec<u8>,
    /// Until the socket is tried again.
    rest: Option<Box<dyn Timer>>,
    /// Until the endpoint forgets a connection.
    expiry: Option<(Instant, Box<dyn Timer>)>,
}

impl Receiver {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            buffer: vec![0; BUFFER],
            events: Vec::new(),
            answer: Vec::new(),
            rest: None,
            expiry: None,
        }
    }

    /// Until nobody needs the socket any more.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..RECEIVES {
            let now = self.endpoint.rt.now();
            let Ok(expires) = self.endpoint.attend(cx.waker(), now) else {
                return Poll::Ready(());
            };
            if let Some(rest) = &mut self.rest {
                if Pin::new(rest).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.rest = None;
            }
            match self.endpoint.socket.poll_recv(cx, &mut self.buffer) {
                Poll::Ready(Ok(received)) => self.handle(&received, now),
                Poll::Ready(Err(error)) if is_about_one_remote(&error) => {
                    tracing::trace!(at = %self.endpoint.at, %error, "somebody is gone");
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(at = %self.endpoint.at, %error, "cannot receive");
                    self.rest = Some(self.endpoint.rt.timer(now + REST));
                }
                Poll::Pending => match expires {
                    Some(at) if self.poll_expiry(cx, at).is_ready() => {}
                    _ => return Poll::Pending,
                },
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_expiry(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let rt = &self.endpoint.rt;
        let (armed, timer) = self.expiry.get_or_insert_with(|| (at, rt.timer(at)));
        if *armed != at {
            timer.reset(at);
            *armed = at;
        }
        Pin::new(timer).poll(cx)
    }

    fn handle(&mut self, received: &Received, now: Instant) {
        let now = self.endpoint.clock.to_std(now);
        // One allocation for all: each datagram is a part of it.
        let mut rest = BytesMut::from(self.buffer.get(..received.len).unwrap_or_default());
        while !rest.is_empty() {
            let one = rest.split_to(received.segment.clamp(1, rest.len()));
            self.endpoint
                .handle(received, one, now, &mut self.events, &mut self.answer);
        }
        let mut events = self.events.drain(..).peekable();
        while let Some((shared, first)) = events.next() {
            shared.with(|state| {
                state.quic.handle_event(first);
                while let Some((_, next)) = events.next_if(|(to, _)| Arc::ptr_eq(to, &shared)) {
                    state.quic.handle_event(next);
                }
                state.notify_driver();
            });
        }
    }
}
