//! A stream on which a protocol was agreed, or soon will be.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use futures::io::{AsyncRead, AsyncWrite};
use futures::task::AtomicWaker;
use p2p_core::{ErrorCode, MuxedStream, Protocol};

use crate::buffer::{Inbox, Outbox};
use crate::exchange::{Expected, push_out};
use crate::wire::Token;
use crate::{Error, NegotiationError};

/// A stream from the byte after its negotiation, which may still be under way below.
///
/// ```text
///   writes:  Unsent ---- with the first write, flush, close or waiting read ----> Clear
///   reads:   Answer ---- header and echo read ----> Leftover ---- served ----> Clear
///              |                                                                 ^
///              +---- na, or something else ----> Failed        (nothing to wait for)
/// ```
///
/// `Clear` on both sides means that every call goes straight to the stream below, vectored ones
/// too, and no buffer is held.
///
/// - Reading fails with a [`NegotiationError`] inside if the remote turns out not to speak the
///   protocol; from then on writing and flushing do too.
/// - `close` never waits for the answer.
pub struct Negotiated<Io> {
    io: Io,
    outbox: Outbox,
    incoming: Incoming,
    /// Who waits to send, if the tokens could not be sent at once.
    halves: Option<Arc<Halves>>,
}

/// The two tasks of a split stream. Until our tokens are sent, the reader sends too, and the
/// stream below wakes only one task: without this, a waiting reader would take the wake-up that a
/// waiting writer needs.
#[derive(Default)]
struct Halves {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

#[derive(Clone, Copy)]
enum Half {
    Reader,
    Writer,
}

impl Halves {
    fn register(&self, half: Half, waker: &Waker) {
        match half {
            Half::Reader => self.reader.register(waker),
            Half::Writer => self.writer.register(waker),
        }
    }
}

impl Wake for Halves {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}

#[derive(Debug)]
enum Incoming {
    /// What comes belongs to the protocol.
    Clear,
    /// The answer to our optimistic proposal comes first.
    Answer(Box<Expected>),
    /// The answer was not the hoped-for one. Nothing leaves this state.
    Failed(Box<NegotiationError>),
    /// These bytes of the protocol were read ahead. Not empty.
    Leftover(Box<Inbox>),
}

impl Incoming {
    fn leftover(inbox: Inbox) -> Self {
        if inbox.is_empty() {
            Self::Clear
        } else {
            Self::Leftover(Box::new(inbox))
        }
    }
}

impl<Io> Negotiated<Io> {
    pub(crate) fn settled(io: Io, outbox: Outbox, inbox: Inbox) -> Self {
        Self {
            io,
            outbox,
            incoming: Incoming::leftover(inbox),
            halves: None,
        }
    }

    pub(crate) fn expecting(io: Io, protocol: Protocol) -> Self {
        let mut outbox = Outbox::default();
        outbox.push(Token::Header);
        outbox.push((&protocol).into());
        Self {
            io,
            outbox,
            incoming: Incoming::Answer(Box::new(Expected::new(protocol))),
            halves: None,
        }
    }

    /// The stream below. Reading or writing it directly breaks the negotiation.
    pub fn get_ref(&self) -> &Io {
        &self.io
    }

    /// The stream below, for instance to reset it. Reading or writing it directly breaks the
    /// negotiation.
    pub fn get_mut(&mut self) -> &mut Io {
        &mut self.io
    }

    /// Whether nothing of the negotiation is left to send, to read or to hand over.
    pub fn is_clear(&self) -> bool {
        self.outbox.is_clear() && matches!(self.incoming, Incoming::Clear)
    }

    /// The stream below, if nothing of the negotiation is left.
    ///
    /// # Errors
    /// The unchanged stream if [`Negotiated::is_clear`] says no.
    pub fn try_into_inner(self) -> Result<Io, Self> {
        if self.is_clear() {
            Ok(self.io)
        } else {
            Err(self)
        }
    }

    fn check(&self) -> io::Result<()> {
        match &self.incoming {
            Incoming::Failed(error) => Err(NegotiationError::clone(error).into()),
            Incoming::Clear | Incoming::Answer(_) | Incoming::Leftover(_) => Ok(()),
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Negotiated<Io> {
    /// Does `poll`, which uses the sending side of the stream below. Until our tokens are sent,
    /// whatever it waits for wakes the other half too.
    fn poll_sending<T>(
        &mut self,
        cx: &mut Context<'_>,
        half: Half,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.halves.is_none() {
            let polled = poll(self, cx);
            if polled.is_ready() || self.outbox.is_clear() {
                return polled;
            }
        }
        let halves = Arc::clone(self.halves.get_or_insert_default());
        halves.register(half, cx.waker());
        let waker = Waker::from(Arc::clone(&halves));
        let polled = poll(self, &mut Context::from_waker(&waker));
        if self.outbox.is_clear() {
            // From here on only the writer sends; it may wait for what the reader has just done.
            self.halves = None;
            if let Half::Reader = half {
                halves.writer.wake();
            }
        }
        polled
    }

    /// Sends our tokens because a read has to wait.
    fn push_out(&mut self, cx: &mut Context<'_>) {
        if !self.outbox.is_clear() {
            let _ = self.poll_sending(cx, Half::Reader, |this, cx| {
                push_out(&mut this.io, &mut this.outbox, cx);
                if this.outbox.is_clear() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            });
        }
    }

    /// Brings the reading side to `Clear`, `Leftover` or `Failed`.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.incoming, Incoming::Answer(_)) {
            return Poll::Ready(Ok(()));
        }
        // The remote answers nothing before it has our proposal.
        self.push_out(cx);
        let Incoming::Answer(expected) = &mut self.incoming else {
            return Poll::Ready(Ok(()));
        };
        match ready!(expected.poll_answer(&mut self.io, &mut Outbox::Clear, cx)) {
            Ok(()) => {
                if let Incoming::Answer(expected) =
                    std::mem::replace(&mut self.incoming, Incoming::Clear)
                {
                    self.incoming = Incoming::leftover(expected.into_inbox());
                }
                Poll::Ready(Ok(()))
            }
            Err(Error::Io(error)) => Poll::Ready(Err(error)),
            Err(Error::Negotiation(error)) => {
                self.outbox = Outbox::Clear;
                self.incoming = Incoming::Failed(Box::new(error));
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Does everything a read has to do but the read itself: afterwards, either bytes read ahead
    /// were served by `serve`, or the read belongs to the stream below.
    fn poll_before_read(
        &mut self,
        cx: &mut Context<'_>,
        serve: impl FnOnce(&mut Inbox) -> usize,
    ) -> Poll<io::Result<Option<usize>>> {
        ready!(self.poll_answer(cx))?;
        match &mut self.incoming {
            Incoming::Clear | Incoming::Answer(_) => Poll::Ready(Ok(None)),
            Incoming::Failed(error) => Poll::Ready(Err(NegotiationError::clone(error).into())),
            Incoming::Leftover(inbox) => {
                let served = serve(inbox);
                if inbox.is_empty() {
                    self.incoming = Incoming::Clear;
                }
                Poll::Ready(Ok(Some(served)))
            }
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for Negotiated<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if !matches!(this.incoming, Incoming::Clear)
            && let Some(served) = ready!(this.poll_before_read(cx, |inbox| inbox.serve(buf)))?
        {
            return Poll::Ready(Ok(served));
        }
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        if read.is_pending() {
            this.push_out(cx);
        }
        read
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if !matches!(this.incoming, Incoming::Clear) {
            let serve = |inbox: &mut Inbox| bufs.iter_mut().map(|buf| inbox.serve(buf)).sum();
            if let Some(served) = ready!(this.poll_before_read(cx, serve))? {
                return Poll::Ready(Ok(served));
            }
        }
        let read = Pin::new(&mut this.io).poll_read_vectored(cx, bufs);
        if read.is_pending() {
            this.push_out(cx);
        }
        read
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Negotiated<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check()?;
        if this.outbox.is_clear() {
            return Pin::new(&mut this.io).poll_write(cx, buf);
        }
        this.poll_sending(cx, Half::Writer, |this, cx| {
            let data = [IoSlice::new(buf)];
            match ready!(this.outbox.poll_send_with(&mut this.io, cx, &data))? {
                Some(taken) => Poll::Ready(Ok(taken)),
                None => Pin::new(&mut this.io).poll_write(cx, buf),
            }
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check()?;
        if this.outbox.is_clear() {
            return Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        }
        this.poll_sending(cx, Half::Writer, |this, cx| {
            match ready!(this.outbox.poll_send_with(&mut this.io, cx, bufs))? {
                Some(taken) => Poll::Ready(Ok(taken)),
                None => Pin::new(&mut this.io).poll_write_vectored(cx, bufs),
            }
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check()?;
        this.poll_sending(cx, Half::Writer, |this, cx| {
            ready!(this.outbox.poll_send(&mut this.io, cx))?;
            let flushed = Pin::new(&mut this.io).poll_flush(cx);
            if flushed.is_ready() {
                this.outbox = Outbox::Clear;
            }
            flushed
        })
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.poll_sending(cx, Half::Writer, |this, cx| {
            ready!(this.outbox.poll_send(&mut this.io, cx))?;
            Pin::new(&mut this.io).poll_close(cx)
        })
    }
}

impl<Io> fmt::Debug for Negotiated<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiated")
            .field("outbox", &self.outbox)
            .field("incoming", &self.incoming)
            .finish_non_exhaustive()
    }
}

impl<Io: MuxedStream> MuxedStream for Negotiated<Io> {
    fn reset(&mut self, code: ErrorCode) {
        self.io.reset(code);
    }

    fn id(&self) -> u64 {
        self.io.id()
    }
}
