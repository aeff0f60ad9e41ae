//! A link in memory.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};

/// What is copied at once, in bytes: large blocks are slow on some processors.
const BLOCK: usize = 2 * 1024;

/// Two ends of a link that holds up to `capacity` bytes each way.
pub fn pipe(capacity: usize) -> (End, End) {
    let (there, back) = (Lane::new(capacity), Lane::new(capacity));
    let one = End {
        reads: back.clone(),
        writes: there.clone(),
    };
    let other = End {
        reads: there,
        writes: back,
    };
    (one, other)
}

/// One end of a [`pipe`]. Dropping it hangs up.
#[derive(Debug)]
pub struct End {
    reads: Lane,
    writes: Lane,
}

/// Cuts a [`pipe`].
#[derive(Clone, Debug)]
pub struct Cutter([Lane; 2]);

#[derive(Clone, Debug)]
struct Lane(Arc<Mutex<Buffer>>);

#[derive(Debug)]
struct Buffer {
    bytes: VecDeque<u8>,
    capacity: usize,
    closed: bool,
    cut: bool,
    writes: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Buffer {
            bytes: VecDeque::new(),
            capacity,
            closed: false,
            cut: false,
            writes: 0,
            reader: None,
            writer: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut buffer = self.lock();
        buffer.closed = true;
        let wakers = [buffer.reader.take(), buffer.writer.take()];
        drop(buffer);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl End {
    /// What can cut this link.
    pub fn cutter(&self) -> Cutter {
        Cutter([self.reads.clone(), self.writes.clone()])
    }

    /// Writes that this end has made.
    pub fn writes(&self) -> impl Fn() -> usize + use<> {
        let lane = self.writes.clone();
        move || lane.lock().writes
    }
}

impl Cutter {
    /// Both directions fail from now on.
    pub fn cut(&self) {
        for lane in &self.0 {
            lane.lock().cut = true;
            lane.close();
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.reads.close();
        self.writes.close();
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut lane = self.reads.lock();
        if lane.cut {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let mut count = 0;
        for block in buf.chunks_mut(BLOCK) {
            count += lane.bytes.read(block)?;
        }
        if count == 0 && !lane.closed {
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let writer = lane.writer.take();
        drop(lane);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut lane = self.writes.lock();
        if lane.cut {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if lane.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = lane.capacity - lane.bytes.len();
        if room == 0 {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = bytes.get(..room).unwrap_or(bytes);
        for block in taken.chunks(BLOCK) {
            lane.bytes.extend(block);
        }
        lane.writes += 1;
        let reader = lane.reader.take();
        drop(lane);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes.close();
        Poll::Ready(Ok(()))
    }
}
