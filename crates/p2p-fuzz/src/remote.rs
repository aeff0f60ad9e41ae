//! A remote that has said everything it will ever say.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use futures::io::{AsyncRead, AsyncWrite};

/// Polls without an end after which an exchange counts as stuck.
const PATIENCE: usize = 1_000_000;

/// Says `said` in pieces, then hangs up; takes everything that is written.
#[derive(Debug)]
pub(crate) struct Remote {
    said: Bytes,
    piece: usize,
    /// Every other read has to wait first.
    waits: bool,
}

impl Remote {
    /// The first byte of `input` says how large the pieces are.
    pub(crate) fn new(input: &[u8]) -> Self {
        let (first, said) = input.split_first().unwrap_or((&0, &[]));
        Self {
            said: Bytes::copy_from_slice(said),
            piece: usize::from(*first),
            waits: false,
        }
    }
}

impl AsyncRead for Remote {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.waits = !self.waits && self.piece % 2 == 1;
        if self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = self.piece.max(1);
        let count = self.said.len().min(buffer.len()).min(piece);
        if let Some(room) = buffer.get_mut(..count) {
            self.said.copy_to_slice(room);
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Remote {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs an exchange with a [`Remote`] to its end. There is nothing to wait for, so it has one.
pub(crate) fn finish<T>(exchange: impl Future<Output = T>) -> T {
    let mut exchange = pin!(exchange);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..PATIENCE {
        if let Poll::Ready(result) = exchange.as_mut().poll(&mut cx) {
            return result;
        }
    }
    panic!("waits for a remote that has hung up");
}
