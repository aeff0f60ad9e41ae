//! A secure channel after its handshake.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures::io::{AsyncRead, AsyncWrite, IoSlice, IoSliceMut};

use crate::incoming::Incoming;
use crate::outgoing::Outgoing;
use crate::{Received, Records};

/// An encrypted and authenticated byte stream over `Io`, out of the records of `R`.
///
/// - Written bytes are gathered, and go out on a flush or when about 48 KiB have come together;
///   `poll_write` waits while the stream below takes nothing. At most 48 KiB are staged.
/// - At most 128 KiB that were received are held, and none while the channel is idle: buffers are
///   borrowed from the thread and given back when they are empty.
/// - Reading ends with `Ok(0)` where the protocol allows an end: see [`Records::ended`]. An end
///   inside a record is [`Records::TRUNCATED`].
/// - An error of the protocol is inside an [`io::Error`]. It ends the channel: from then on, every
///   read and every write fails with it. A link that only ended too early fails reads alone.
/// - `close` flushes, says farewell where the protocol has a word for it, and closes the stream
///   below; reading goes on. It fails if the channel did before everything was sent.
/// - A read may change bytes of its buffer behind those that it says it has read.
pub struct Channel<Io, R: Records> {
    io: Io,
    records: R,
    incoming: Incoming<R::Error>,
    outgoing: Outgoing,
    health: Health<R::Error>,
    /// Who waits to write. It has to hear of a failure that a reader finds.
    writer: Option<Waker>,
}

/// What keeps a call from its end.
pub(crate) enum Fault<E> {
    /// The channel failed.
    Broken(E),
    /// The link ended where it must not: nothing more can be read.
    Cut(E),
    /// The link failed.
    Link(io::Error),
}

impl<E> From<io::Error> for Fault<E> {
    fn from(error: io::Error) -> Self {
        Self::Link(error)
    }
}

#[derive(Clone, Copy)]
enum Health<E> {
    Sound,
    /// We have said farewell, and may write nothing more.
    Closing,
    /// Nothing leaves this state.
    Failed(E),
}

impl<Io, R: Records> Channel<Io, R> {
    /// `received`: bytes behind the last message of the handshake. `unsent`: the last message of
    /// the handshake, to go out with the first write; at most 32 KiB.
    pub fn new(io: Io, records: R, mut received: Received, unsent: &[u8]) -> Self {
        received.park();
        Self {
            io,
            records,
            incoming: Incoming::new(received),
            outgoing: Outgoing::new(unsent),
            health: Health::Sound,
            writer: None,
        }
    }

    /// The stream below. Reading or writing it directly breaks the channel.
    pub fn get_ref(&self) -> &Io {
        &self.io
    }

    /// How the channel ended, if it failed.
    pub fn failure(&self) -> Option<R::Error> {
        match self.health {
            Health::Failed(error) => Some(error),
            Health::Sound | Health::Closing => None,
        }
    }

    fn check(&self) -> io::Result<()> {
        self.failure().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Remembers a failure that no later call can recover from.
    fn note<T>(&mut self, result: Result<T, Fault<R::Error>>) -> io::Result<T> {
        result.map_err(|fault| match fault {
            Fault::Broken(error) => {
                self.health = Health::Failed(error);
                error.into()
            }
            Fault::Cut(error) => error.into(),
            Fault::Link(error) => error,
        })
    }

    /// Remembers who waits to write.
    fn waits<T>(&mut self, cx: &Context<'_>, done: Poll<T>) -> Poll<T> {
        if done.is_ready() {
            self.writer = None;
        } else if !self
            .writer
            .as_ref()
            .is_some_and(|it| it.will_wake(cx.waker()))
        {
            self.writer = Some(cx.waker().clone());
        }
        done
    }
}

impl<Io: AsyncWrite + Unpin, R: Records> Channel<Io, R> {
    /// Tells the remote why the channel failed, if its link takes that at once.
    fn complain(&mut self, cx: &mut Context<'_>, error: R::Error) {
        self.outgoing.end(&mut self.records, Some(error));
        let records = &mut self.records;
        let _ = self.outgoing.poll_send(records, &mut self.io, cx);
        // The link may know of us instead of the writer now, and there is news for it anyway.
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let records = &mut self.records;
        let sent = self.outgoing.poll_send(records, &mut self.io, cx);
        let sent = ready!(self.waits(cx, sent));
        Poll::Ready(self.note(sent))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin, R: Records> AsyncRead for Channel<Io, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check()?;
        let read = ready!(
            this.incoming
                .poll_read(&mut this.records, &mut this.io, cx, buf)
        );
        let read = this.note(read);
        if let Some(error) = this.failure() {
            this.complain(cx, error);
        }
        Poll::Ready(read)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let buf = bufs.iter_mut().find(|buf| !buf.is_empty());
        self.poll_read(cx, buf.map_or(&mut [], |buf| &mut **buf))
    }
}

impl<Io: AsyncWrite + Unpin, R: Records> AsyncWrite for Channel<Io, R> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.health {
            Health::Sound => {}
            Health::Closing => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Health::Failed(error) => return Poll::Ready(Err(error.into())),
        }
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let mut taken = 0;
            for buf in bufs {
                let written = this.outgoing.write(&mut this.records, buf);
                let count = this.note(written.map_err(Fault::Broken))?;
                taken += count;
                if count < buf.len() {
                    break;
                }
            }
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            ready!(this.poll_send(cx))?;
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check()?;
        ready!(this.poll_send(cx))?;
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.waits(cx, flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Health::Sound = this.health {
            ready!(this.poll_send(cx))?;
            this.outgoing.end(&mut this.records, None);
            this.health = Health::Closing;
        }
        if let Health::Closing = this.health {
            ready!(this.poll_send(cx))?;
        }
        let closed = Pin::new(&mut this.io).poll_close(cx);
        ready!(this.waits(cx, closed))?;
        if this.outgoing.is_empty() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Ready(this.check())
        }
    }
}

impl<Io, R: Records> fmt::Debug for Channel<Io, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Channel");
        if let Some(error) = self.failure() {
            shown.field("failed", &error);
        }
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
impl<Io, R: Records> Channel<Io, R> {
    pub(crate) fn records_mut(&mut self) -> &mut R {
        &mut self.records
    }

    /// Bytes of memory in buffers.
    pub(crate) fn held(&self) -> usize {
        self.incoming.held() + self.outgoing.held()
    }
}
