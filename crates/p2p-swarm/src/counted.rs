//! A link whose bytes are counted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite, IoSlice};
use p2p_core::BoxIo;

use crate::stats::Traffic;

/// Counts what goes through: for its connection, and for all of them together.
pub(crate) struct Counted {
    pub(crate) io: BoxIo,
    pub(crate) own: Arc<Traffic>,
    pub(crate) all: Arc<Traffic>,
}

fn count(result: &Poll<io::Result<usize>>, own: &AtomicU64, all: &AtomicU64) {
    if let Poll::Ready(Ok(n)) = result {
        let n = u64::try_from(*n).unwrap_or(u64::MAX);
        own.fetch_add(n, Ordering::Relaxed);
        all.fetch_add(n, Ordering::Relaxed);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        count(&read, &self.own.read, &self.all.read);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, data);
        count(&written, &self.own.written, &self.all.written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, data);
        count(&written, &self.own.written, &self.all.written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
