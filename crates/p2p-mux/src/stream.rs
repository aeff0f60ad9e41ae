//! The handle of one stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::io::{AsyncRead, AsyncWrite};
use p2p_core::{BoxStream, ErrorCode, MuxedStream};

use crate::session::Shared;
use crate::{Key, Machine};

/// A stream of a [`Session`](crate::start). Dropping it tells the machine.
pub(crate) struct MuxStream<M: Machine> {
    shared: Arc<Shared<M>>,
    key: Key,
}

impl<M: Machine> MuxStream<M> {
    pub(crate) fn boxed(shared: &Arc<Shared<M>>, key: Key) -> BoxStream {
        Box::new(Self {
            shared: shared.clone(),
            key,
        })
    }
}

impl<M: Machine> AsyncRead for MuxStream<M> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let key = self.key;
        self.shared.with(|inner| {
            if let Poll::Ready(done) = inner.machine.read(key, buf) {
                return Poll::Ready(done.map_err(Into::into));
            }
            if let Some(end) = inner.ended() {
                return Poll::Ready(Err(end.clone().into()));
            }
            inner.wait_to_read(key, cx.waker());
            Poll::Pending
        })
    }
}

impl<M: Machine> AsyncWrite for MuxStream<M> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let key = self.key;
        self.shared.with(|inner| {
            if let Some(end) = inner.ended() {
                return Poll::Ready(Err(end.clone().into()));
            }
            if let Poll::Ready(done) = inner.machine.write(key, bytes) {
                return Poll::Ready(done.map_err(Into::into));
            }
            inner.wait_to_write(key, cx.waker());
            Poll::Pending
        })
    }

    /// Ready at once: the driver sends what is written without being asked.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let key = self.key;
        Poll::Ready(self.shared.with(|inner| match inner.ended() {
            Some(end) => Err(end.clone().into()),
            None => {
                inner.machine.announce(key);
                Ok(())
            }
        }))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let key = self.key;
        Poll::Ready(self.shared.with(|inner| match inner.ended() {
            Some(end) => Err(end.clone().into()),
            None => inner.machine.close(key).map_err(Into::into),
        }))
    }
}

impl<M: Machine> MuxedStream for MuxStream<M> {
    fn reset(&mut self, code: ErrorCode) {
        self.shared
            .with(|inner| inner.machine.reset(self.key, code));
    }

    fn id(&self) -> u64 {
        self.shared.lock().machine.stream_id(self.key)
    }
}

impl<M: Machine> Drop for MuxStream<M> {
    fn drop(&mut self) {
        let now = self.shared.rt.now();
        self.shared.with(|inner| {
            inner.forget_wakers(self.key);
            inner.machine.forget(self.key, now);
        });
    }
}
