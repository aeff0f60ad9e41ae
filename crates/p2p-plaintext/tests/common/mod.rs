//! An in-memory link that records every write and can be made awkward.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};

/// One end of a link. Dropping it closes its direction.
pub(crate) struct End {
    out: Arc<Mutex<Direction>>,
    inn: Arc<Mutex<Direction>>,
}

/// One direction of a link.
pub(crate) struct Direction {
    bytes: VecDeque<u8>,
    closed: bool,
    broken: bool,
    /// The most bytes that a write or read moves.
    step: usize,
    /// The most bytes in flight.
    capacity: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Every write that was taken, as it was taken.
    pub(crate) writes: Vec<Vec<u8>>,
}

/// A link without quirks.
pub(crate) fn link() -> (End, End) {
    narrow_link(usize::MAX, usize::MAX)
}

/// A link that moves at most `step` bytes a call and holds at most `capacity`.
pub(crate) fn narrow_link(step: usize, capacity: usize) -> (End, End) {
    let direction = || {
        Arc::new(Mutex::new(Direction {
            bytes: VecDeque::new(),
            closed: false,
            broken: false,
            step,
            capacity,
            reader: None,
            writer: None,
            writes: Vec::new(),
        }))
    };
    let (there, back) = (direction(), direction());
    let near = End {
        out: there.clone(),
        inn: back.clone(),
    };
    (
        near,
        End {
            out: back,
            inn: there,
        },
    )
}

impl End {
    /// What this end has written; keeps counting after the end was given away.
    pub(crate) fn writes(&self) -> Writes {
        Writes(self.out.clone())
    }

    /// Makes every further write of this end fail.
    #[allow(dead_code, reason = "not every test file uses every helper")]
    pub(crate) fn break_writes(&self) {
        self.out.lock().unwrap().broken = true;
    }
}

/// The writes of one end.
pub(crate) struct Writes(Arc<Mutex<Direction>>);

#[allow(dead_code, reason = "not every test file uses every helper")]
impl Writes {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().writes.len()
    }

    pub(crate) fn all(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().writes.clone()
    }

    pub(crate) fn closed(&self) -> bool {
        self.0.lock().unwrap().closed
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.out.lock().unwrap().close();
    }
}

impl Direction {
    fn close(&mut self) {
        self.closed = true;
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut direction = self.inn.lock().unwrap();
        if direction.bytes.is_empty() {
            if direction.closed {
                return Poll::Ready(Ok(0));
            }
            direction.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = buf.len().min(direction.step).min(direction.bytes.len());
        for (to, from) in buf.iter_mut().zip(direction.bytes.drain(..count)) {
            *to = from;
        }
        if let Some(waker) = direction.writer.take() {
            waker.wake();
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut direction = self.out.lock().unwrap();
        if direction.broken || direction.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = direction.capacity - direction.bytes.len();
        if room == 0 && !buf.is_empty() {
            direction.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = &buf[..buf.len().min(direction.step).min(room)];
        direction.bytes.extend(taken);
        direction.writes.push(taken.to_vec());
        if let Some(waker) = direction.reader.take() {
            waker.wake();
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.lock().unwrap().close();
        Poll::Ready(Ok(()))
    }
}
