//! A secure channel after its handshake.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

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
///   read and every write fails with it.
/// - `close` flushes, says farewell where the protocol has a word for it, and closes the stream
///   below; reading goes on.
pub struct Channel<Io, R: Records> {
    io: Io,
    records: R,
    incoming: Incoming<R::Error>,
    outgoing: Outgoing,
    health: Health<R::Error>,
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
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref())
        {
            self.health = Health::Failed(*error);
        }
        result
    }
}

impl<Io: AsyncWrite + Unpin, R: Records> Channel<Io, R> {
    /// Tells the remote why the channel failed, if its link takes that at once.
    fn complain(&mut self, cx: &mut Context<'_>, error: R::Error) {
        self.outgoing.end(&mut self.records, Some(error));
        let _ = self.outgoing.poll_send(&mut self.records, &mut self.io, cx);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = ready!(self.outgoing.poll_send(&mut self.records, &mut self.io, cx));
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
                let count = this.note(written.map_err(Into::into))?;
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
        Pin::new(&mut this.io).poll_flush(cx)
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
        Pin::new(&mut this.io).poll_close(cx)
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
