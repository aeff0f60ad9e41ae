//! From sealed frames to plain bytes.
//!
//! ```text
//!   [ ....... | plain | frame | frame | fra ........... ]
//!        plain.start  ^       ^ sealed.start  ^ sealed.end
//! ```
//!
//! A frame is opened straight into the reader's buffer if that is large enough, and otherwise in
//! place, to be served over several reads.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::AsyncRead;

use crate::ChannelError;
use crate::buffer::{Buffer, RECEIVE_BUFFER};
use crate::cipher::{Cipher, CipherError, TAG};

/// The length prefix of a frame, in bytes.
pub(crate) const PREFIX: usize = 2;

/// A waiting channel keeps a large buffer only if at least this much is in it.
const WORTH_A_BUFFER: usize = 16 * 1024;

/// How many empty frames are skipped before other tasks get their turn.
const EMPTY_FRAMES: usize = 64;

/// Received and not yet consumed bytes.
#[derive(Default)]
pub(crate) struct Sealed {
    buffer: Buffer,
    range: Range<usize>,
}

impl Sealed {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.range.clone()).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.range.start = self.range.end.min(self.range.start + count);
    }

    /// Reads until it holds `limit` bytes at most; returns how much came. Before it waits, it
    /// gives a buffer back that is not worth keeping.
    pub(crate) fn poll_fill<Io: AsyncRead + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let room = self
            .buffer
            .get_mut(self.range.end..limit)
            .unwrap_or_default();
        let read = Pin::new(io).poll_read(cx, room);
        if let Poll::Ready(Ok(count)) = &read {
            self.range.end += count;
        } else {
            self.park();
        }
        read
    }

    /// Moves what there is to the front of a large buffer.
    fn make_room(&mut self) {
        if self.is_large() {
            self.buffer.copy_within(self.range.clone(), 0);
        } else {
            let mut large = Buffer::take(RECEIVE_BUFFER);
            let bytes = self.bytes();
            if let Some(front) = large.get_mut(..bytes.len()) {
                front.copy_from_slice(bytes);
            }
            self.buffer = large;
        }
        self.range = 0..self.range.len();
    }

    fn is_large(&self) -> bool {
        self.buffer.len() == RECEIVE_BUFFER
    }

    /// Keeps no more memory than what is in it is worth.
    pub(crate) fn park(&mut self) {
        if self.range.is_empty() {
            *self = Self::default();
        } else if self.is_large() && self.range.len() < WORTH_A_BUFFER {
            self.buffer = Buffer::small(self.bytes());
            self.range = 0..self.range.len();
        }
    }
}

/// The receiving half of a channel.
pub(crate) struct Incoming {
    cipher: Cipher,
    sealed: Sealed,
    /// Opened in place and not yet served: a part of the buffer of `sealed`, in front of its
    /// range.
    plain: Range<usize>,
}

/// What opening frames came to.
enum Opened {
    /// This many bytes were put into the reader's buffer.
    Bytes(usize),
    /// The next frame is not complete.
    NeedMore,
    /// Nothing but empty frames so far, and enough of them for now.
    OnlyEmpty,
}

impl Incoming {
    pub(crate) fn new(cipher: Cipher, sealed: Sealed) -> Self {
        Self {
            cipher,
            sealed,
            plain: 0..0,
        }
    }

    /// Fills `buf` with as many plain bytes as are at hand, or waits for some. 0: the link ended
    /// between two frames.
    pub(crate) fn poll_read<Io: AsyncRead + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match self.open(buf)? {
                Opened::Bytes(count) => {
                    if self.plain.is_empty() && self.sealed.is_empty() {
                        self.sealed.park();
                    }
                    return Poll::Ready(Ok(count));
                }
                Opened::NeedMore => {}
                Opened::OnlyEmpty => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            if ready!(self.sealed.poll_fill(io, cx, RECEIVE_BUFFER))? == 0 {
                let cut = !self.sealed.is_empty();
                self.sealed.park();
                return Poll::Ready(if cut {
                    Err(ChannelError::Truncated.into())
                } else {
                    Ok(0)
                });
            }
        }
    }

    /// Serves what was opened in place, or opens frames into `buf`.
    fn open(&mut self, buf: &mut [u8]) -> Result<Opened, ChannelError> {
        let mut filled = self.serve(buf);
        let mut empty = 0;
        while let Some(len) = self.next_frame() {
            let room = buf.get_mut(filled..).unwrap_or_default();
            match self.open_into(len, room) {
                Ok(Some(0)) => empty += 1,
                Ok(Some(count)) => filled += count,
                // What was opened before a bad frame is still good; the bad one is met again.
                Ok(None) | Err(_) if filled > 0 => break,
                Ok(None) => {
                    self.open_in_place(len)?;
                    filled = self.serve(buf);
                }
                Err(error) => return Err(error),
            }
            if empty == EMPTY_FRAMES {
                break;
            }
        }
        Ok(match filled {
            0 if empty == EMPTY_FRAMES => Opened::OnlyEmpty,
            0 => Opened::NeedMore,
            filled => Opened::Bytes(filled),
        })
    }

    fn serve(&mut self, buf: &mut [u8]) -> usize {
        let count = buf.len().min(self.plain.len());
        let from = self.plain.start..self.plain.start + count;
        if let (Some(to), Some(from)) = (buf.get_mut(..count), self.sealed.buffer.get(from)) {
            to.copy_from_slice(from);
        }
        self.plain.start += count;
        count
    }

    /// The length of the next frame without its prefix, if the frame is complete.
    fn next_frame(&self) -> Option<usize> {
        let bytes = self.sealed.bytes();
        let len = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
        (bytes.len() >= PREFIX + len).then_some(len)
    }

    /// Opens the next frame into the front of `room`; `None` if there is not enough.
    fn open_into(&mut self, len: usize, room: &mut [u8]) -> Result<Option<usize>, ChannelError> {
        let frame = self.sealed.bytes().get(PREFIX..PREFIX + len);
        let (sealed, tag) = frame
            .and_then(<[u8]>::split_last_chunk::<TAG>)
            .ok_or(ChannelError::Forged)?;
        let Some(plain) = room.get_mut(..sealed.len()) else {
            return Ok(None);
        };
        self.cipher.open_into(sealed, tag, plain)?;
        self.sealed.consume(PREFIX + len);
        Ok(Some(len - TAG))
    }

    fn open_in_place(&mut self, len: usize) -> Result<(), ChannelError> {
        let start = self.sealed.range.start + PREFIX;
        let frame = self.sealed.buffer.get_mut(start..start + len);
        let plain = self.cipher.open(&[], frame.unwrap_or_default())?;
        self.plain = start..start + plain.len();
        self.sealed.consume(PREFIX + len);
        Ok(())
    }
}

#[cfg(test)]
impl Incoming {
    pub(crate) fn held(&self) -> usize {
        self.sealed.buffer.len()
    }
}

impl From<CipherError> for ChannelError {
    fn from(error: CipherError) -> Self {
        match error {
            CipherError::Exhausted => Self::Exhausted,
            CipherError::Forged => Self::Forged,
        }
    }
}
