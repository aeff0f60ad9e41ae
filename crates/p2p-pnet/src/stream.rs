//! A stream that only those with the key can read.
//!
//! ```text
//!   out: our nonce (24 bytes), then XSalsa20(key, our nonce) over everything
//!   in:  their nonce,          then XSalsa20(key, their nonce) over everything
//! ```

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use futures::io::{AsyncRead, AsyncWrite};
use futures::task::AtomicWaker;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};

use crate::PreSharedKey;

/// The length of a nonce, in bytes.
pub const NONCE: usize = 24;
/// What is encrypted at once, in bytes: this much is held for a slow link.
const STAGED: usize = 16 * 1024;

/// A byte stream within a private network.
///
/// It keeps strangers out and proves nothing: there is no check of what arrives. With another key
/// at the other end everything that is read is noise, and what is above fails.
///
/// The nonce goes out with the first write or read; no round trip is spent on it.
///
/// The two halves of a [`split`](futures::io::AsyncReadExt::split) may live in two tasks.
///
/// Closing it waits for the remote's nonce, or its end: a socket that is gone when the nonce comes
/// answers it with a reset, and what was written is lost. Who has read anything does not wait.
pub struct Protected<Io> {
    io: Io,
    key: PreSharedKey,
    outgoing: XSalsa20,
    /// Encrypted, not written yet.
    unsent: Vec<u8>,
    sent: usize,
    /// Whether a write, a flush or a close waits for room: then `io` has its waker, and sending is
    /// its business alone.
    writer_waits: bool,
    incoming: Incoming,
    waiting: Arc<Waiting>,
    closed: bool,
    /// What the remote has yet to say before anything else.
    greeting: &'static [u8],
}

/// The remote did not begin as it should, which is all that can be known: with another key
/// everything that is read is noise. Inside an [`io::Error`] of kind `InvalidData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "what arrives is noise: the other end is not in the private network, or the keys may differ"
)]
pub struct KeysMayDiffer;

impl KeysMayDiffer {
    /// Whether it, or [`HungUp`], is inside `error`.
    pub fn is_in(error: &io::Error) -> bool {
        let is =
            |inner: &(dyn std::error::Error + 'static)| inner.is::<Self>() || inner.is::<HungUp>();
        error.get_ref().is_some_and(|inner| is(inner))
    }
}

/// The remote ended the link before it had begun as it should: to it what we say is noise as well.
/// Inside an [`io::Error`] of kind `UnexpectedEof`, `ConnectionReset`, `ConnectionAborted` or, from a
/// write, `BrokenPipe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end hung up at once: it is not in the private network, or the keys may differ")]
pub struct HungUp;

enum Incoming {
    /// The remote's nonce, as far as it is here.
    Nonce([u8; NONCE], usize),
    Bytes(Box<XSalsa20>),
}

/// Who waits for the remote's nonce: the one that was here last must not be the only one to hear of
/// it.
#[derive(Default)]
struct Waiting {
    reader: AtomicWaker,
    closer: AtomicWaker,
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.reader.wake();
        self.closer.wake();
    }
}

impl<Io> Protected<Io> {
    /// Protects `io`. `nonce` must be random: with the same one twice, the two streams together
    /// tell what was said.
    pub fn new(io: Io, key: &PreSharedKey, nonce: [u8; NONCE]) -> Self {
        Self {
            io,
            key: key.clone(),
            outgoing: XSalsa20::new(key.bytes().into(), (&nonce).into()),
            unsent: nonce.to_vec(),
            sent: 0,
            writer_waits: false,
            incoming: Incoming::Nonce([0; NONCE], 0),
            waiting: Arc::default(),
            closed: false,
            greeting: b"",
        }
    }

    /// Fails reading with [`KeysMayDiffer`] if the remote's first bytes are not these, and reading
    /// or writing with [`HungUp`] if it ends the link before it has said them all.
    pub fn expect_greeting(mut self, greeting: &'static [u8]) -> Self {
        self.greeting = greeting;
        self
    }

    /// What an end of the link means to a reader.
    fn ended(&self, read: io::Result<usize>) -> io::Result<usize> {
        match read {
            Ok(0) if self.is_greeted() => Ok(0),
            Ok(0) => Err(self.failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => Ok(count),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// What `error` of the link means: nothing to wonder at once the remote has begun as it should.
    fn failed(&self, error: io::Error) -> io::Error {
        let hung_up = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        );
        if self.is_greeted() || self.closed || !hung_up {
            return error;
        }
        io::Error::new(error.kind(), HungUp)
    }

    fn is_greeted(&self) -> bool {
        self.greeting.is_empty()
    }

    /// Holds what was read against the rest of the greeting.
    fn check(&mut self, read: &[u8]) -> io::Result<()> {
        let count = self.greeting.len().min(read.len());
        let (expected, rest) = self.greeting.split_at(count);
        if !read.starts_with(expected) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, KeysMayDiffer));
        }
        self.greeting = rest;
        Ok(())
    }
}

impl<Io: AsyncWrite + Unpin> Protected<Io> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.sent += count,
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            }
        }
        self.unsent.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Sends for somebody who waits until that is done.
    fn poll_send_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.poll_send(cx);
        self.writer_waits = sent.is_pending();
        sent
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Protected<Io> {
    /// Reads the remote's nonce; false at the end of the stream before it. Wakes all that wait.
    fn poll_nonce(&mut self) -> Poll<io::Result<bool>> {
        let waker = Waker::from(Arc::clone(&self.waiting));
        let cx = &mut Context::from_waker(&waker);
        while let Incoming::Nonce(nonce, filled) = &mut self.incoming {
            let rest = nonce.get_mut(*filled..).unwrap_or_default();
            if rest.is_empty() {
                let cipher = XSalsa20::new(self.key.bytes().into(), (&*nonce).into());
                self.incoming = Incoming::Bytes(Box::new(cipher));
                break;
            }
            match ready!(Pin::new(&mut self.io).poll_read(cx, rest))? {
                0 if *filled == 0 => return Poll::Ready(Ok(false)),
                0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                count => *filled += count,
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for Protected<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // A remote that waits for our nonce before it says anything would wait for ever. What
        // goes wrong with it, reading shows too.
        if !self.writer_waits && !self.unsent.is_empty() && self.poll_send(cx).is_ready() {
            let _ = Pin::new(&mut self.io).poll_flush(cx);
        }
        if matches!(self.incoming, Incoming::Nonce(..)) {
            self.waiting.reader.register(cx.waker());
        }
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match ready!(self.poll_nonce()) {
            Ok(true) => {}
            Ok(false) => return Poll::Ready(self.ended(Ok(0))),
            Err(error) => return Poll::Ready(self.ended(Err(error))),
        }
        let this = &mut *self;
        let read = ready!(Pin::new(&mut this.io).poll_read(cx, buffer));
        let count = this.ended(read)?;
        let read = buffer.get_mut(..count).unwrap_or_default();
        if let Incoming::Bytes(cipher) = &mut this.incoming {
            cipher.apply_keystream(read);
        }
        this.check(read)?;
        Poll::Ready(Ok(count))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Protected<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.unsent.len() >= STAGED {
            ready!(this.poll_send_all(cx))?;
        }
        let room = STAGED.saturating_sub(this.unsent.len()).max(1);
        let part = bytes.get(..room).unwrap_or(bytes);
        let start = this.unsent.len();
        this.unsent.extend_from_slice(part);
        let added = this.unsent.get_mut(start..).unwrap_or_default();
        this.outgoing.apply_keystream(added);
        this.writer_waits = false;
        match this.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What did not go out now goes out with the next write or a flush.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(part.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send_all(cx))?;
        let flushed = ready!(Pin::new(&mut self.io).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.failed(error)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(self.poll_send_all(cx))?;
            let closed = ready!(Pin::new(&mut self.io).poll_close(cx));
            closed.map_err(|error| self.failed(error))?;
            self.closed = true;
        }
        self.waiting.closer.register(cx.waker());
        // That it does not come any more, reading shows too.
        self.poll_nonce().map(|_| Ok(()))
    }
}

impl<Io> fmt::Debug for Protected<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Protected").field(&self.key).finish()
    }
}
