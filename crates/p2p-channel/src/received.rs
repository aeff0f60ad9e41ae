//! Reading a link in large pieces.

use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::io::AsyncRead;

use crate::buffer::{Buffer, RECEIVE_BUFFER};

/// Who waits keeps a large buffer only if at least this much is in it.
const WORTH_A_BUFFER: usize = 16 * 1024;

/// Received and not yet consumed bytes. Holds a large buffer only while much is in it.
#[derive(Default)]
pub struct Received {
    buffer: Buffer,
    range: Range<usize>,
}

impl Received {
    /// What there is.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }

    /// What there is, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.range.clone()).unwrap_or_default()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Drops `count` bytes at the front.
    pub fn consume(&mut self, count: usize) {
        self.range.start = self.range.end.min(self.range.start + count);
    }

    /// Reads until it holds `limit` bytes at most, and never more than 128 KiB; returns how much
    /// came. Before it waits, it gives a buffer back that is not worth keeping.
    ///
    /// Cancel-safe: what came is kept.
    ///
    /// # Errors
    /// Those of `io`.
    pub fn poll_fill<Io: AsyncRead + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let room = self
            .buffer
            .get_mut(self.range.end..limit.min(RECEIVE_BUFFER))
            .unwrap_or_default();
        let read = Pin::new(io).poll_read(cx, room);
        if let Poll::Ready(Ok(count)) = &read {
            self.range.end += count;
        } else {
            self.park();
        }
        read
    }

    /// Moves what there is to the front of a large buffer.
    fn make_room(&mut self) {
        if self.is_large() {
            self.buffer.copy_within(self.range.clone(), 0);
        } else {
            let mut large = Buffer::take(RECEIVE_BUFFER);
            let bytes = self.bytes();
            if let Some(front) = large.get_mut(..bytes.len()) {
                front.copy_from_slice(bytes);
            }
            self.buffer = large;
        }
        self.range = 0..self.range.len();
    }

    /// The bytes at `range` of what there was, whatever of it has been consumed since.
    pub(crate) fn opened(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or_default()
    }

    /// Consumes `count` bytes; returns where they are, for [`Self::opened`], and they.
    pub(crate) fn take(&mut self, count: usize) -> (usize, &mut [u8]) {
        let start = self.range.start;
        self.consume(count);
        let taken = self.buffer.get_mut(start..self.range.start);
        (start, taken.unwrap_or_default())
    }

    fn is_large(&self) -> bool {
        self.buffer.len() == RECEIVE_BUFFER
    }

    /// Keeps no more memory than what is in it is worth.
    pub fn park(&mut self) {
        if self.range.is_empty() {
            *self = Self::default();
        } else if self.is_large() && self.range.len() < WORTH_A_BUFFER {
            self.buffer = Buffer::small(self.bytes());
            self.range = 0..self.range.len();
        }
    }
}

#[cfg(test)]
impl Received {
    pub(crate) fn held(&self) -> usize {
        self.buffer.len()
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Received({} bytes)", self.range.len())
    }
}
