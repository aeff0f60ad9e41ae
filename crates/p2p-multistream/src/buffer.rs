//! What has arrived and is not read yet, and what is to be sent and not sent yet.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

use crate::wire::{self, Token};

/// Enough for both tokens of nearly every answer.
const FIRST_SIZE: usize = 256;

/// How many bytes of the application travel with a token in one write. They are copied once.
const SHARED_WRITE: usize = 16 * 1024;

/// Bytes read ahead.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Moves bytes to `buf`; returns how many.
    pub(crate) fn serve(&mut self, buf: &mut [u8]) -> usize {
        let count = buf.len().min(self.end - self.start);
        if let (Some(to), Some(from)) = (buf.get_mut(..count), self.unread().get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        count
    }

    /// Reads once; returns how many bytes came. Holds at most `max` bytes (`OutOfMemory` beyond).
    pub(crate) fn poll_fill<Io: AsyncRead + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<io::Result<usize>> {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() {
            let size = FIRST_SIZE.max(self.bytes.len() * 2).min(max);
            if size <= self.end {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
            self.bytes.resize(size, 0);
        }
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        let count = ready!(Pin::new(io).poll_read(cx, room))?;
        self.end += count;
        Poll::Ready(Ok(count))
    }
}

/// Tokens on their way out.
#[derive(Debug, Default)]
pub(crate) enum Outbox {
    /// Nothing to do.
    #[default]
    Clear,
    /// Not, or only in part, taken by the stream below; the taken part is cut off.
    Unsent(Vec<u8>),
    /// Taken by the stream below, which may still hold it back.
    Unflushed,
}

impl Outbox {
    pub(crate) fn push(&mut self, token: Token<'_>) {
        self.append(|bytes| wire::encode(token, bytes));
    }

    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Self::Unsent(bytes) => write(bytes),
            Self::Clear | Self::Unflushed => {
                let mut bytes = Vec::with_capacity(64);
                write(&mut bytes);
                *self = Self::Unsent(bytes);
            }
        }
    }

    pub(crate) fn is_clear(&self) -> bool {
        matches!(self, Self::Clear)
    }

    /// Sends everything and flushes. After an error there is nothing left to send.
    pub(crate) fn poll_flush<Io: AsyncWrite + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_send(io, cx))?;
        if matches!(self, Self::Unflushed) {
            let flushed = ready!(Pin::new(io).poll_flush(cx));
            *self = Self::Clear;
            flushed?;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends everything. After an error there is nothing left to send.
    pub(crate) fn poll_send<Io: AsyncWrite + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Self::Unsent(bytes) = self {
            let written = ready!(Pin::new(&mut *io).poll_write(cx, bytes));
            match at_least_one(written) {
                Ok(count) if count < bytes.len() => drop(bytes.drain(..count)),
                Ok(_) => *self = Self::Unflushed,
                Err(error) => {
                    *self = Self::Clear;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is unsent and `data` behind it, in one write if the stream below takes it.
    ///
    /// Returns how much of `data` was taken; `None` if none of it was, because nothing is unsent
    /// any more: `data` can go straight to the stream below.
    pub(crate) fn poll_send_with<Io: AsyncWrite + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<Option<usize>>> {
        while let Self::Unsent(bytes) = self {
            let own = bytes.len();
            append_start(bytes, data);
            let written = Pin::new(&mut *io).poll_write(cx, bytes);
            bytes.truncate(own);
            match at_least_one(ready!(written)) {
                Ok(count) if count < own => drop(bytes.drain(..count)),
                Ok(count) => {
                    // The flush is up to whoever wrote `data`.
                    *self = Self::Clear;
                    if count > own {
                        return Poll::Ready(Ok(Some(count - own)));
                    }
                }
                Err(error) => {
                    *self = Self::Clear;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(None))
    }
}

/// Appends the first bytes of `data` to `bytes`.
fn append_start(bytes: &mut Vec<u8>, data: &[IoSlice<'_>]) {
    let mut room = SHARED_WRITE;
    for slice in data {
        let part = slice.get(..room).unwrap_or(slice);
        bytes.extend_from_slice(part);
        room -= part.len();
    }
}

fn at_least_one(written: io::Result<usize>) -> io::Result<usize> {
    match written {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        written => written,
    }
}
