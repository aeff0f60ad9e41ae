//! A bounded byte pipe between two tasks of one process.
//!
//! ```text
//!   a.write ──> [ lane: at most `capacity` bytes ] ──> b.read
//!   a.read  <── [ lane: at most `capacity` bytes ] <── b.write
//! ```
//!
//! Each direction is a lane of its own with a lock of its own. A lane ends in one of two ways,
//! and what was written before is delivered first: *closed* by its writer (the reader sees the
//! end of file) or *dropped* (the reader sees `ConnectionReset`). Once the reader is gone, the
//! writer sees `BrokenPipe`.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};

/// Bytes copied at a time. Larger copies become one `rep movsb`, which many AMD processors run 30
/// times slower when source and destination are 1 to 63 bytes apart modulo a page.
const PIECE: usize = 2048;

/// Two connected ends. Each direction holds at most `capacity` bytes (at least one) and takes
/// memory only as it fills.
pub fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let there = Arc::new(Lane::new(capacity));
    let back = Arc::new(Lane::new(capacity));
    let near = Pipe {
        incoming: Arc::clone(&back),
        outgoing: Arc::clone(&there),
    };
    let far = Pipe {
        incoming: there,
        outgoing: back,
    };
    (near, far)
}

/// One end of a [`pipe`].
///
/// Closing it ends the outgoing direction only; reading goes on. Dropping it without closing
/// resets the other end.
pub struct Pipe {
    incoming: Arc<Lane>,
    outgoing: Arc<Lane>,
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.incoming.poll_read(cx, &mut [IoSliceMut::new(buffer)])
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.incoming.poll_read(cx, buffers)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outgoing.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outgoing.poll_write(cx, buffers)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end(End::Closed);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.outgoing.end(End::Dropped);
        self.incoming.abandon();
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("readable", &self.incoming.lock().bytes.len())
            .field("unread", &self.outgoing.lock().bytes.len())
            .finish()
    }
}

/// One direction.
struct Lane {
    capacity: usize,
    state: Mutex<State>,
}

struct State {
    /// Written and not yet read. Invariant: at most `Lane::capacity` bytes.
    bytes: VecDeque<u8>,
    /// How the writer ended it; `None` while it may still write.
    end: Option<End>,
    /// Nobody will read again.
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// How a writer ended its lane.
#[derive(Clone, Copy)]
enum End {
    Closed,
    Dropped,
}

impl Lane {
    fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            state: Mutex::new(State {
                bytes: VecDeque::new(),
                end: None,
                abandoned: false,
                reader: None,
                writer: None,
            }),
        }
    }

    fn poll_read(
        &self,
        cx: &Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut state = self.lock();
        if state.bytes.is_empty() {
            return match state.end {
                None => {
                    remember(&mut state.reader, cx);
                    Poll::Pending
                }
                Some(End::Closed) => Poll::Ready(Ok(0)),
                Some(End::Dropped) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        let read = read_into(&mut state.bytes, buffers)?;
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Poll::Ready(Ok(read))
    }

    fn poll_write(&self, cx: &Context<'_>, buffers: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        if state.abandoned || state.end.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let room = self.capacity - state.bytes.len();
        if room == 0 {
            remember(&mut state.writer, cx);
            return Poll::Pending;
        }
        let written = write_from(&mut state.bytes, buffers, room, self.capacity);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Poll::Ready(Ok(written))
    }

    /// The writer ends it. The first end counts.
    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().for_each(wake);
    }

    /// The reader is gone: what it did not read is freed.
    fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        let unread = std::mem::take(&mut state.bytes);
        let writer = state.writer.take();
        drop(state);
        drop(unread);
        wake(writer);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves bytes from the front of `bytes` into `buffers`.
fn read_into(bytes: &mut VecDeque<u8>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let mut total = 0;
    for piece in buffers
        .iter_mut()
        .flat_map(|buffer| buffer.chunks_mut(PIECE))
    {
        if bytes.is_empty() {
            break;
        }
        // Twice: a read stops where the ring wraps around.
        let first = bytes.read(piece)?;
        let rest = piece.get_mut(first..).unwrap_or_default();
        total += first + bytes.read(rest)?;
    }
    Ok(total)
}

/// Appends at most `room` bytes of `buffers` to `bytes`, which never allocates beyond `capacity`.
fn write_from(
    bytes: &mut VecDeque<u8>,
    buffers: &[IoSlice<'_>],
    room: usize,
    capacity: usize,
) -> usize {
    let offered = buffers
        .iter()
        .fold(0usize, |sum, buffer| sum.saturating_add(buffer.len()));
    let total = offered.min(room);
    let needed = bytes.len() + total;
    if needed > bytes.capacity() {
        let doubled = bytes.capacity().saturating_mul(2).min(capacity);
        bytes.reserve_exact(needed.max(doubled) - bytes.len());
    }
    let mut left = total;
    for buffer in buffers {
        let part = buffer.get(..left.min(buffer.len())).unwrap_or_default();
        left -= part.len();
        for piece in part.chunks(PIECE) {
            bytes.extend(piece);
        }
    }
    total
}

fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
