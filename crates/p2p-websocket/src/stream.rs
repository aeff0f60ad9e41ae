//! Binary messages as a stream of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::{Bytes, Error, Message};
use futures::io::{AsyncRead, AsyncWrite};
use futures::{Sink, Stream};

use crate::error::to_io;

/// The longest message that we send, in bytes: what others are known to take.
const MAX_SENT: usize = 64 * 1024;

/// The bytes of the binary messages of a WebSocket.
///
/// Message borders mean nothing: what is written at once may be read in parts, and the other way
/// round. `close` sends the closing frame, after which the remote writes nothing more either.
pub(crate) struct ByteStream<Io> {
    inner: WebSocketStream<Io>,
    /// The rest of a message that is being read.
    unread: Bytes,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Reading goes on.
    Open,
    /// The remote closed in order; nothing leaves this state.
    Closed,
}

impl<Io> ByteStream<Io> {
    pub(crate) fn new(inner: WebSocketStream<Io>) -> Self {
        Self {
            inner,
            unread: Bytes::new(),
            end: End::Open,
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> ByteStream<Io> {
    /// The next bytes that are not read yet; empty at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() && self.end == End::Open {
            match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // Answered, or an answer, below us.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed)) | None => {
                    self.end = End::Closed;
                }
                Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                    let what = "a message that is not binary";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
                }
                Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_fill(cx))?;
        let count = self.unread.len().min(buffer.len());
        let part = self.unread.split_to(count);
        if let Some(to) = buffer.get_mut(..count) {
            to.copy_from_slice(&part);
        }
        Poll::Ready(Ok(count))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut inner = Pin::new(&mut self.inner);
        ready!(inner.as_mut().poll_ready(cx)).map_err(to_io)?;
        let part = bytes.get(..MAX_SENT).unwrap_or(bytes);
        let message = Message::Binary(Bytes::copy_from_slice(part));
        inner.start_send(message).map_err(to_io)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(to_io)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = ready!(Sink::poll_close(Pin::new(&mut self.inner), cx));
        Poll::Ready(match closed {
            // It was closed before, by whichever end.
            Err(Error::AlreadyClosed) => Ok(()),
            Err(error) => Err(to_io(error)),
            Ok(()) => Ok(()),
        })
    }
}
