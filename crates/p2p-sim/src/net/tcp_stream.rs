//! The handle of one end of a connection.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};
use p2p_core::TcpStream;

use crate::net::lane::Payload;
use crate::net::tcp::{Chunk, Side, Stage};
use crate::slab::Key;
use crate::world::{State, World, register};

/// Bytes in one segment, at most.
const SEGMENT: usize = 16 << 10;

impl State {
    fn tcp_read(
        &mut self,
        key: Key,
        side: Side,
        buffer: &mut [u8],
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let half = self.config.tcp.buffer.get().div_ceil(2);
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return Poll::Ready(Err(crashed()));
        };
        let end = conn.end_mut(side);
        if end.stage == Stage::Gone {
            return Poll::Ready(Err(crashed()));
        }
        if end.unread == 0 {
            return match (end.eof, end.failed) {
                (true, _) => Poll::Ready(Ok(0)),
                (false, Some(failure)) => Poll::Ready(Err(failure.into())),
                (false, None) if buffer.is_empty() => Poll::Ready(Ok(0)),
                (false, None) => {
                    let old = register(&mut end.reader, waker);
                    self.retired.extend(old);
                    Poll::Pending
                }
            };
        }
        let read = take(&mut end.inbox, buffer);
        end.unread -= read;
        end.owed += read;
        if end.owed >= half && !end.eof && end.failed.is_none() {
            let owed = std::mem::take(&mut end.owed);
            self.transmit(key, side, Payload::Credit(owed));
        }
        Poll::Ready(Ok(read))
    }

    fn tcp_write(
        &mut self,
        key: Key,
        side: Side,
        parts: &[IoSlice<'_>],
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let Some(conn) = self.net.tcp.conns.get_mut(key) else {
            return Poll::Ready(Err(crashed()));
        };
        let end = conn.end_mut(side);
        if end.stage == Stage::Gone {
            return Poll::Ready(Err(crashed()));
        }
        if let Some(failure) = end.failed {
            return Poll::Ready(Err(failure.into()));
        }
        if end.lane.fin {
            let message = "written after close";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, message)));
        }
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let taken = total.min(end.lane.credit);
        if taken == 0 && total > 0 {
            let old = register(&mut end.writer, waker);
            self.retired.extend(old);
            return Poll::Pending;
        }
        end.lane.credit -= taken;
        for bytes in segments(parts, taken) {
            self.transmit(key, side, Payload::Data(bytes));
        }
        Poll::Ready(Ok(taken))
    }

    fn tcp_close(&mut self, key: Key, side: Side) -> io::Result<()> {
        let Some(conn) = self.net.tcp.conns.get(key) else {
            return Err(crashed());
        };
        let end = conn.end(side);
        if end.stage == Stage::Gone {
            return Err(crashed());
        }
        if let Some(failure) = end.failed {
            return Err(failure.into());
        }
        if !end.lane.fin {
            self.transmit(key, side, Payload::Fin);
        }
        Ok(())
    }
}

/// Moves bytes from `inbox` to `buffer`; returns how many.
fn take(inbox: &mut VecDeque<Chunk>, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while let Some(chunk) = inbox.front_mut() {
        let rest = chunk.bytes.get(chunk.read..).unwrap_or_default();
        let room = buffer.get_mut(filled..).unwrap_or_default();
        let count = rest.len().min(room.len());
        for (to, from) in [(room, rest)] {
            if let (Some(to), Some(from)) = (to.get_mut(..count), from.get(..count)) {
                to.copy_from_slice(from);
            }
        }
        filled += count;
        chunk.read += count;
        if chunk.read < chunk.bytes.len() {
            break;
        }
        inbox.pop_front();
    }
    filled
}

/// The first `total` bytes of `parts`, copied into segments.
fn segments(parts: &[IoSlice<'_>], total: usize) -> Vec<Box<[u8]>> {
    let mut segments = Vec::with_capacity(total.div_ceil(SEGMENT));
    let mut current = Vec::with_capacity(total.min(SEGMENT));
    let mut left = total;
    for part in parts {
        let mut part = part.get(..left.min(part.len())).unwrap_or_default();
        left -= part.len();
        while !part.is_empty() {
            let room = SEGMENT - current.len();
            let (now, later) = part.split_at(room.min(part.len()));
            current.extend_from_slice(now);
            part = later;
            if current.len() == SEGMENT {
                segments.push(std::mem::take(&mut current).into_boxed_slice());
            }
        }
    }
    if !current.is_empty() {
        segments.push(current.into_boxed_slice());
    }
    segments
}

fn crashed() -> io::Error {
    io::Error::new(io::ErrorKind::NetworkDown, "the host has crashed")
}

/// One end of a connection.
pub(crate) struct SimTcpStream {
    world: Arc<World>,
    conn: Key,
    side: Side,
    local: SocketAddr,
    remote: SocketAddr,
}

impl SimTcpStream {
    pub(crate) fn new(
        world: Arc<World>,
        conn: Key,
        side: Side,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Self {
        Self {
            world,
            conn,
            side,
            local,
            remote,
        }
    }
}

impl AsyncRead for SimTcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let (conn, side) = (self.conn, self.side);
        self.world
            .with(|state| state.tcp_read(conn, side, buffer, cx.waker()))
    }
}

impl AsyncWrite for SimTcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buffer)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (conn, side) = (self.conn, self.side);
        self.world
            .with(|state| state.tcp_write(conn, side, buffers, cx.waker()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (conn, side) = (self.conn, self.side);
        Poll::Ready(self.world.with(|state| state.tcp_close(conn, side)))
    }
}

impl TcpStream for SimTcpStream {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.remote)
    }
}

impl Drop for SimTcpStream {
    fn drop(&mut self) {
        let (conn, side) = (self.conn, self.side);
        self.world.with(|state| state.close(conn, side));
    }
}

impl fmt::Debug for SimTcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.local, self.remote)
    }
}
