//! A link in memory that records, changes and cuts what passes, and a thread to run both ends on.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::executor::LocalPool;
use futures::io::{AsyncRead, AsyncWrite};
use futures::task::LocalSpawnExt;

use crate::Role;

/// One end of a link. Dropping it hangs up.
pub(super) struct End {
    reads: Lane,
    writes: Lane,
}

/// Sees and changes what passes.
#[derive(Clone)]
pub(super) struct Tap {
    from_dialer: Lane,
    from_listener: Lane,
}

#[derive(Clone)]
struct Lane(Arc<Mutex<Buffer>>);

struct Buffer {
    bytes: VecDeque<u8>,
    /// Everything that was written, as it was written.
    sent: Vec<u8>,
    taken: usize,
    /// The most bytes under way, and the most that one call moves.
    capacity: usize,
    step: usize,
    flip: Option<(usize, u8)>,
    cut: Option<usize>,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The dialer's end, the listener's, and what stands between them.
pub(super) fn wire(capacity: usize, step: usize) -> (End, End, Tap) {
    let lane = || {
        Lane(Arc::new(Mutex::new(Buffer {
            bytes: VecDeque::new(),
            sent: Vec::new(),
            taken: 0,
            capacity,
            step,
            flip: None,
            cut: None,
            closed: false,
            reader: None,
            writer: None,
        })))
    };
    let tap = Tap {
        from_dialer: lane(),
        from_listener: lane(),
    };
    let dialer = End {
        reads: tap.from_listener.clone(),
        writes: tap.from_dialer.clone(),
    };
    let listener = End {
        reads: tap.from_dialer.clone(),
        writes: tap.from_listener.clone(),
    };
    (dialer, listener, tap)
}

impl Tap {
    fn of(&self, sender: Role) -> MutexGuard<'_, Buffer> {
        match sender {
            Role::Dialer => self.from_dialer.lock(),
            Role::Listener => self.from_listener.lock(),
        }
    }

    /// What `sender` has written.
    pub(super) fn sent(&self, sender: Role) -> Vec<u8> {
        self.of(sender).sent.clone()
    }

    /// How much of that was read.
    pub(super) fn taken(&self, sender: Role) -> usize {
        self.of(sender).taken
    }

    /// Changes the byte at `at` of what `sender` writes.
    pub(super) fn flip(&self, sender: Role, at: usize, bits: u8) {
        self.of(sender).flip = Some((at, bits));
    }

    /// Ends what `sender` writes after `at` bytes.
    pub(super) fn cut(&self, sender: Role, at: usize) {
        let mut buffer = self.of(sender);
        buffer.cut = Some(at);
        buffer.closed |= buffer.sent.len() >= at;
    }
}

impl Lane {
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

impl Buffer {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let at = self.sent.len();
            self.sent.push(*byte);
            let bits = self.flip.filter(|(flipped, _)| *flipped == at);
            if self.cut.is_none_or(|cut| at < cut) {
                self.bytes
                    .push_back(byte ^ bits.map_or(0, |(_, bits)| bits));
            }
            self.closed |= self.cut.is_some_and(|cut| at + 1 >= cut);
        }
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut lane = self.reads.lock();
        let count = buffer.len().min(lane.step).min(lane.bytes.len());
        if count == 0 && !lane.closed && !buffer.is_empty() {
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for (to, from) in buffer.iter_mut().zip(lane.bytes.drain(..count)) {
            *to = from;
        }
        lane.taken += count;
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
        if lane.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = lane.capacity.saturating_sub(lane.bytes.len());
        if room == 0 && !bytes.is_empty() {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = bytes.len().min(room).min(lane.step);
        lane.push(bytes.get(..count).unwrap_or_default());
        let reader = lane.reader.take();
        drop(lane);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.writes.close();
        self.reads.close();
    }
}

/// Runs `future` as far as it gets. `None`: it waits for what never comes.
pub(super) fn settle<T: 'static>(future: impl Future<Output = T> + 'static) -> Option<T> {
    let output = Rc::new(RefCell::new(None));
    let slot = output.clone();
    let mut pool = LocalPool::new();
    let run = async move {
        let done = future.await;
        *slot.borrow_mut() = Some(done);
    };
    pool.spawner().spawn_local(run).ok()?;
    pool.run_until_stalled();
    drop(pool);
    output.take()
}
