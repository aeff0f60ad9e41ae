//! Reading a link in large pieces.
//!
//! rustls asks for 4 KiB at a time, which makes several system calls of a record. What is read
//! ahead here is handed over from memory.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite, IoSlice};

/// What is read at once, in bytes: four of the longest records.
const SIZE: usize = 64 * 1024;

thread_local! {
    /// The buffer of whoever had one last, so that a busy thread works in one that stays in the
    /// cache and was zeroed once.
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// A link that is read in pieces of up to 64 KiB. Holds a buffer only while something is in it.
#[derive(Debug)]
pub struct ReadAhead<Io> {
    io: Io,
    /// Empty unless `at < end`.
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
}

impl<Io> ReadAhead<Io> {
    /// Reads `io` ahead.
    pub(crate) fn new(io: Io) -> Self {
        Self {
            io,
            buffer: Box::default(),
            at: 0,
            end: 0,
        }
    }

    /// Gives back the buffer, in which nothing is left.
    fn release(&mut self) {
        (self.at, self.end) = (0, 0);
        let buffer = std::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            // The spare of an ending thread is gone: then the buffer is freed.
            let _ = SPARE.try_with(|spare| spare.set(Some(buffer)));
        }
    }
}

fn buffer() -> Box<[u8]> {
    let spare = SPARE.try_with(Cell::take).ok().flatten();
    spare.unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
}

impl<Io: AsyncRead + Unpin> AsyncRead for ReadAhead<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.at == this.end {
            if buf.len() >= SIZE {
                return Pin::new(&mut this.io).poll_read(cx, buf);
            }
            if this.buffer.is_empty() {
                this.buffer = buffer();
            }
            let read = Pin::new(&mut this.io).poll_read(cx, &mut this.buffer);
            if !matches!(read, Poll::Ready(Ok(1..))) {
                this.release();
            }
            (this.at, this.end) = (0, ready!(read)?);
        }
        let ahead = this.buffer.get(this.at..this.end).unwrap_or_default();
        let count = ahead.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), ahead.get(..count)) {
            to.copy_from_slice(from);
        }
        this.at += count;
        if this.at == this.end {
            this.release();
        }
        Poll::Ready(Ok(count))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for ReadAhead<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;
    use futures::{AsyncReadExt, FutureExt};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_came_in_pieces_of_any_size(
            len in 0..3 * SIZE,
            sizes in prop::collection::vec(1..2 * SIZE, 1..8),
        ) {
            let sent: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
            let mut link = ReadAhead::new(Cursor::new(sent.clone()));
            let mut read = Vec::new();
            for size in sizes.iter().cycle() {
                let mut piece = vec![0; *size];
                let count = block_on(link.read(&mut piece)).unwrap();
                prop_assert_eq!(link.buffer.is_empty(), link.at == link.end);
                if count == 0 {
                    break;
                }
                read.extend_from_slice(&piece[..count]);
            }
            prop_assert!(read == sent);
        }
    }

    #[test]
    fn a_link_that_waits_or_fails_holds_no_buffer() {
        let mut link = ReadAhead::new(Waits);
        assert!(link.read(&mut [0; 8]).now_or_never().is_none());
        assert!(link.buffer.is_empty());
    }

    /// Never has anything to read.
    struct Waits;

    impl AsyncRead for Waits {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }
}
