//! Things with one fault each, to see that a suite notices.
//!
//! ```text
//!   what keeps every rule ──> Faulty { fault } ──> the suite ──> "broken rule: …"
//! ```
//!
//! A rule that nothing can break proves nothing. [`Faulty`] is a byte stream or a stream of a
//! multiplexer that is right but for one [`Fault`]; [`broken`] holds that a rule finds it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use futures::io::{AsyncRead, AsyncWrite};

use crate::{BoxStream, ErrorCode, MuxedStream};

/// What is wrong with a [`Faulty`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The byte read at this place is another one.
    ChangesByte(usize),
    /// Reading ends with our own close.
    CloseEndsBoth,
    /// Closing forgets what was not flushed.
    CloseForgets,
    /// A failed write waits, for ever.
    ErrorHangs,
    /// A failed read is a clean end.
    ErrorIsEnd,
    /// Nothing is read while a write waits.
    HalfDuplex,
    /// Takes whatever is written, and sends it when there is room.
    Hoards,
    /// Says that a write was whole when it was not.
    IgnoresCounts,
    /// Whoever waits to read is not woken.
    NeverWakes,
    /// Nothing.
    Nothing,
    /// Resetting a stream closes it.
    ResetIsClose,
    /// Of a longer write this many bytes are sent; it says that all were.
    Shortens(usize),
    /// What is written behind a close is taken, and forgotten.
    WritesAfterClose,
}

/// `T` with a [`Fault`].
pub struct Faulty<T> {
    /// Invariant: there until it is dropped.
    inner: Option<T>,
    fault: Fault,
    on_drop: fn(T),
    /// Written, not sent.
    held: Vec<u8>,
    /// How much was read.
    read: usize,
    closed: bool,
    /// Who waits to read until the writer need not wait any more.
    behind: Option<Waker>,
    writer_waits: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Faulty<T> {
    /// `inner` with this fault.
    pub fn new(inner: T, fault: Fault) -> Self {
        Self {
            inner: Some(inner),
            fault,
            on_drop: drop,
            held: Vec::new(),
            read: 0,
            closed: false,
            behind: None,
            writer_waits: false,
        }
    }

    /// Does `on_drop` with what is inside when it is dropped: `std::mem::forget` hangs up on nobody.
    pub fn on_drop(mut self, on_drop: fn(T)) -> Self {
        self.on_drop = on_drop;
        self
    }

    fn inner(&mut self) -> Pin<&mut T> {
        Pin::new(self.inner.as_mut().expect("there until it is dropped"))
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let sent = self.inner().poll_write(cx, &held);
            self.held = held;
            let count = ready!(sent)?;
            self.held.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    fn holds_back(&self) -> bool {
        [Fault::CloseForgets, Fault::Hoards].contains(&self.fault)
    }
}

impl<T> Drop for Faulty<T> {
    fn drop(&mut self) {
        self.inner.take().into_iter().for_each(self.on_drop);
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Faulty<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.fault == Fault::CloseEndsBoth && self.closed {
            return Poll::Ready(Ok(0));
        }
        if self.fault == Fault::HalfDuplex && self.writer_waits {
            self.behind = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut deaf = Context::from_waker(Waker::noop());
        let cx = match self.fault == Fault::NeverWakes {
            true => &mut deaf,
            false => cx,
        };
        let read = ready!(self.inner().poll_read(cx, buffer));
        if self.fault == Fault::ErrorIsEnd && read.is_err() {
            return Poll::Ready(Ok(0));
        }
        let count = read?;
        if let Fault::ChangesByte(at) = self.fault {
            let at = at.checked_sub(self.read).filter(|at| *at < count);
            if let Some(byte) = at.and_then(|at| buffer.get_mut(at)) {
                *byte ^= 1;
            }
        }
        self.read += count;
        Poll::Ready(Ok(count))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Faulty<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.holds_back() {
            self.held.extend_from_slice(bytes);
            if self.fault == Fault::Hoards {
                let _later = self.poll_held(cx);
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        if self.fault == Fault::WritesAfterClose && self.closed {
            return Poll::Ready(Ok(bytes.len()));
        }
        if let Fault::Shortens(to) = self.fault
            && let Some(start) = bytes.get(..to)
        {
            ready!(self.inner().poll_write(cx, start))?;
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = self.inner().poll_write(cx, bytes);
        if self.fault == Fault::ErrorHangs && matches!(written, Poll::Ready(Err(_))) {
            return Poll::Pending;
        }
        if self.fault == Fault::IgnoresCounts && matches!(written, Poll::Ready(Ok(_))) {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.writer_waits = written.is_pending();
        if !self.writer_waits {
            self.behind.take().into_iter().for_each(Waker::wake);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        self.inner().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fault == Fault::CloseForgets {
            self.held.clear();
        }
        ready!(self.poll_held(cx))?;
        self.closed = true;
        self.inner().poll_close(cx)
    }
}

impl MuxedStream for Faulty<BoxStream> {
    fn reset(&mut self, code: ErrorCode) {
        if self.fault == Fault::ResetIsClose {
            close_at_once(&mut self.inner());
        } else {
            self.inner().reset(code);
        }
    }

    fn id(&self) -> u64 {
        self.inner.as_ref().map_or(0, |stream| stream.id())
    }
}

/// Closes as far as that goes without waiting.
pub fn close_at_once(io: &mut (impl AsyncWrite + Unpin)) {
    let mut cx = Context::from_waker(Waker::noop());
    let _waits = Pin::new(io).poll_close(&mut cx);
}

/// Runs `check`, which must find that the rule `name` of `spec` is broken; returns what it saw.
///
/// # Panics
/// If it finds nothing, or something else.
pub fn broken(name: &str, spec: &str, check: impl FnOnce()) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(check)) else {
        panic!("{name}: nothing is noticed");
    };
    let text = panic.downcast_ref::<String>().map_or("", String::as_str);
    let seen = text.strip_prefix(&format!("broken rule: {name}\n  of: {spec}\n  seen: "));
    seen.unwrap_or_else(|| panic!("{name} of {spec}: {text}"))
        .to_owned()
}
