//! The secure channel after the handshake.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

use crate::ChannelError;
use crate::handshake::Session;
use crate::incoming::{Incoming, Sealed};
use crate::outgoing::Outgoing;

/// An encrypted and authenticated byte stream over `Io`.
///
/// - Written bytes are gathered, and go out on a flush or when about 48 KiB have come together;
///   `poll_write` waits while the stream below takes nothing. At most 48 KiB are staged.
/// - At most 128 KiB that were received are held, and none while the channel is idle: buffers are
///   borrowed from the thread and given back when they are empty.
/// - Reading ends with `Ok(0)` when the stream below ends between two records. Whether the remote
///   wanted to end there, only the protocol above can know. An end inside a record is
///   [`ChannelError::Truncated`].
/// - A record that cannot be opened is [`ChannelError::Forged`], inside an [`io::Error`]. It ends
///   the channel: from then on, every read and every write fails.
/// - `close` flushes, and closes the stream below.
pub struct Channel<Io> {
    io: Io,
    incoming: Incoming,
    outgoing: Outgoing,
    health: Health,
}

#[derive(Clone, Copy)]
enum Health {
    Sound,
    /// Nothing leaves this state.
    Failed(ChannelError),
}

impl<Io> Channel<Io> {
    /// `received`: bytes behind the last handshake message. `unsent`: a frame of the handshake
    /// that is to go out with the first write.
    pub(crate) fn new(io: Io, session: Session, received: Sealed, unsent: &[u8]) -> Self {
        Self {
            io,
            incoming: Incoming::new(session.receive, received),
            outgoing: Outgoing::new(session.send, unsent),
            health: Health::Sound,
        }
    }

    /// The stream below. Reading or writing it directly breaks the channel.
    pub fn get_ref(&self) -> &Io {
        &self.io
    }

    fn check(&self) -> io::Result<()> {
        match self.health {
            Health::Sound => Ok(()),
            Health::Failed(error) => Err(error.into()),
        }
    }

    /// Remembers a failure that no later call can recover from.
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && let Some(error) = ChannelError::of(error)
        {
            self.health = Health::Failed(error);
        }
        result
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Channel<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check()?;
        let read = ready!(this.incoming.poll_read(&mut this.io, cx, buf));
        Poll::Ready(this.note(read))
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

impl<Io: AsyncWrite + Unpin> AsyncWrite for Channel<Io> {
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
        this.check()?;
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let mut taken = 0;
            for buf in bufs {
                let written = this.outgoing.write(buf).map_err(io::Error::from);
                let count = this.note(written)?;
                taken += count;
                if count < buf.len() {
                    break;
                }
            }
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            let sent = ready!(this.outgoing.poll_send(&mut this.io, cx));
            this.note(sent)?;
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check()?;
        let sent = ready!(this.outgoing.poll_send(&mut this.io, cx));
        this.note(sent)?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Health::Sound = this.health {
            let sent = ready!(this.outgoing.poll_send(&mut this.io, cx));
            this.note(sent)?;
        }
        Pin::new(&mut this.io).poll_close(cx)
    }
}

impl<Io> fmt::Debug for Channel<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("noise::Channel")
    }
}
