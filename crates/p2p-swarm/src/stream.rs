//! One conversation under one protocol.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::io::{AsyncRead, AsyncWrite, IoSlice};
use p2p_core::{BoxStream, ErrorCode, PeerId, Permit, Protocol, Timer};
use p2p_multistream::{Negotiated, NegotiationError};
use tracing::Span;

use crate::connection::Connection;
use crate::info::ConnectionInfo;
use crate::share::Serving;
use crate::weak::WeakConnection;

/// A stream to a peer under an agreed protocol.
///
/// Reading ends with `Ok(0)` only if the remote closed its side; a reset or a lost connection is
/// an error. Closing ends our side and does not wait for the remote; dropping a stream that is not
/// closed resets it. While it exists its connection is not idle.
///
/// On a stream opened without waiting for the remote's consent, a remote that does not know the
/// protocol makes reading fail with a [`p2p_multistream::NegotiationError`] inside the [`io::Error`], and a
/// remote that does not answer at all with [`io::ErrorKind::TimedOut`].
pub struct Stream(Box<Parts>);

/// In a box: an async function that takes a stream holds it twice for as long as it runs, and so
/// does each that passes it on.
struct Parts {
    io: Negotiated<BoxStream>,
    agreed: Agreed,
    connection: Keep,
    answer: Answer,
    /// What it is logged in, if anybody listens to that.
    span: Option<Box<Span>>,
}

/// What the stream is for.
enum Agreed {
    /// It is ours.
    Ours(Protocol),
    /// It is served, in its place among those of its protocol and among all of the remote's.
    Served { serving: Serving, _permit: Permit },
}

/// Whether the stream keeps its connection from being idle.
pub(crate) enum Keep {
    Alive(Connection),
    Not(WeakConnection),
}

impl From<Connection> for Keep {
    fn from(connection: Connection) -> Self {
        Self::Alive(connection)
    }
}

impl From<WeakConnection> for Keep {
    fn from(connection: WeakConnection) -> Self {
        Self::Not(connection)
    }
}

/// Waiting for the remote's consent to the protocol.
enum Answer {
    /// Nothing to wait for.
    Given,
    /// Not read from yet.
    Awaited(Duration),
    /// A reader is waiting.
    Due(Box<(Box<dyn Timer>, Duration)>),
}

impl Stream {
    /// A stream that we opened, whose answer has to come within `answer_within`.
    pub(crate) fn opened(
        io: Negotiated<BoxStream>,
        protocol: Protocol,
        connection: Keep,
        answer_within: Option<Duration>,
    ) -> Self {
        Self(Box::new(Parts {
            io,
            agreed: Agreed::Ours(protocol),
            connection,
            answer: answer_within.map_or(Answer::Given, Answer::Awaited),
            span: None,
        }))
    }

    /// A stream of the remote's.
    pub(crate) fn served(
        io: Negotiated<BoxStream>,
        serving: Serving,
        permit: Permit,
        connection: Keep,
    ) -> Self {
        let agreed = Agreed::Served {
            serving,
            _permit: permit,
        };
        Self(Box::new(Parts {
            io,
            agreed,
            connection,
            answer: Answer::Given,
            span: None,
        }))
    }

    pub(crate) fn logged_in(mut self, span: Span) -> Self {
        self.0.span = boxed(span);
        self
    }

    /// The span of this stream, which ends when the stream is dropped: work on a stream that we
    /// opened is logged in it with [`tracing::Instrument::instrument`]. Handlers run in theirs.
    /// Disabled if nobody listens to spans at debug level.
    pub fn span(&self) -> Span {
        self.0.span.as_deref().cloned().unwrap_or_else(Span::none)
    }

    /// The agreed protocol.
    pub fn protocol(&self) -> &Protocol {
        match &self.0.agreed {
            Agreed::Ours(protocol) => protocol,
            Agreed::Served { serving, .. } => serving.protocol(),
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> PeerId {
        self.info().peer
    }

    /// What is known of the connection below.
    pub fn info(&self) -> &ConnectionInfo {
        match &self.0.connection {
            Keep::Alive(connection) => connection.info(),
            Keep::Not(connection) => connection.info(),
        }
    }

    /// A handle to the connection below that does not keep it alive.
    pub fn connection(&self) -> WeakConnection {
        match &self.0.connection {
            Keep::Alive(connection) => connection.downgrade(),
            Keep::Not(connection) => connection.clone(),
        }
    }

    /// Ends both directions at once and tells the remote `code`. Unsent bytes are dropped.
    pub fn reset(&mut self, code: ErrorCode) {
        self.0.io.get_mut().reset(code);
    }

    /// Lets the connection be idle although this stream is open, for protocols that only watch
    /// the connection.
    pub fn ignore_for_keep_alive(&mut self) {
        if let Keep::Alive(connection) = &self.0.connection {
            self.0.connection = Keep::Not(connection.downgrade());
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(read) = Pin::new(&mut self.0.io).poll_read(cx, buffer) {
            if !matches!(self.0.answer, Answer::Given) {
                self.answered(read.as_ref().err());
            }
            return Poll::Ready(read);
        }
        self.poll_answer_overdue(cx)
    }
}

impl Stream {
    /// The remote has said yes or no to the protocol, or the stream failed before it could.
    fn answered(&mut self, error: Option<&io::Error>) {
        self.0.answer = Answer::Given;
        let _in_span = self.0.span.as_deref().map(Span::enter);
        let info = self.info();
        let (peer, connection, protocol) = (info.peer, info.id.0, self.protocol());
        match error {
            None => tracing::debug!(%peer, connection, %protocol, "protocol agreed"),
            Some(error) => {
                if let Some(error) = NegotiationError::of(error) {
                    tracing::debug!(%peer, connection, %protocol, %error, "protocol refused");
                }
            }
        }
    }

    /// Fails when the remote's consent does not come in time.
    fn poll_answer_overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if matches!(self.0.answer, Answer::Given) {
            return Poll::Pending;
        }
        if self.0.io.is_clear() {
            self.answered(None);
            return Poll::Pending;
        }
        if let Answer::Awaited(within) = &self.0.answer {
            let connection = self.connection();
            let rt = connection.rt();
            let timer = rt.timer(rt.now() + *within);
            self.0.answer = Answer::Due(Box::new((timer, *within)));
        }
        let Answer::Due(due) = &mut self.0.answer else {
            return Poll::Pending;
        };
        let (timer, within) = &mut **due;
        if timer.poll_unpin(cx).is_pending() {
            return Poll::Pending;
        }
        let within = *within;
        self.0.answer = Answer::Given;
        self.reset(ErrorCode::PROTOCOL_NEGOTIATION_FAILED);
        let text = unanswered(self.protocol(), within);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

/// A span, if anybody listens to it: where there is one for each stream, little must be kept.
pub(crate) fn boxed(span: Span) -> Option<Box<Span>> {
    (!span.is_disabled()).then(|| Box::new(span))
}

pub(crate) fn unanswered(protocol: &Protocol, within: Duration) -> String {
    format!(
        "the remote did not answer the proposal of {protocol} within {within:?} \
         (setting: negotiation_timeout)"
    )
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.io).poll_write_vectored(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.io).poll_close(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.info();
        write!(f, "{} to {} on {}", self.protocol(), info.peer, info.id)
    }
}
