//! What a driver has taken from its machine and writes to the link.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::AsyncWrite;
use p2p_core::{BoxIo, ConnectionEnd};

/// What is written at once, in bytes. A loopback segment holds 65,483; a write of one byte more
/// costs a second segment with a wake-up of its own.
const PIECE: usize = 48 * 1024;

/// Bytes on their way to the link.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Written up to `sent`.
    bytes: Vec<u8>,
    sent: usize,
    /// Starts true: the link may hold bytes of its handshake.
    flush: bool,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            flush: true,
        }
    }
}

impl Outgoing {
    /// Whether the link has taken everything.
    pub(crate) fn is_written(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Whether there is nothing to write and nothing to flush.
    pub(crate) fn is_done(&self) -> bool {
        self.bytes.is_empty() && !self.flush
    }

    /// The emptied buffer, for the next output. Only if everything is written.
    pub(crate) fn refill(&mut self) -> &mut Vec<u8> {
        self.bytes.clear();
        self.sent = 0;
        &mut self.bytes
    }

    /// Writes one piece of the rest.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut BoxIo,
    ) -> Poll<Result<(), ConnectionEnd>> {
        let rest = self.bytes.get(self.sent..).unwrap_or_default();
        let piece = rest.get(..PIECE).unwrap_or(rest);
        match ready!(Pin::new(io).poll_write(cx, piece))? {
            0 => return Poll::Ready(Err(ConnectionEnd::Eof)),
            count => self.sent += count,
        }
        self.flush = true;
        Poll::Ready(Ok(()))
    }

    /// Flushes the link, as far as it goes, if something was written since the last time.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>, io: &mut BoxIo) -> io::Result<()> {
        if self.flush {
            self.flush = Pin::new(io).poll_flush(cx)?.is_pending();
        }
        Ok(())
    }

    /// Gives the memory back; false if there is something to write.
    pub(crate) fn trim(&mut self) -> bool {
        if !self.bytes.is_empty() {
            return false;
        }
        self.bytes = Vec::new();
        true
    }
}
