//! From plain bytes to sealed frames.
//!
//! ```text
//!   [ ..sent.. | frame | frame | len plain ............. ]
//!          sent ^               ^ open     ^ end
//! ```
//!
//! Small writes gather in an open record at the end, which is sealed in place when it is full or
//! flushed. A write that fills a whole record is sealed straight from the writer's buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::AsyncWrite;

use crate::ChannelError;
use crate::buffer::{Buffer, SEND_BUFFER};
use crate::cipher::{Cipher, TAG};
use crate::incoming::PREFIX;

/// Plain bytes in a full record. ChaCha20-Poly1305 is fastest a byte around here.
pub(crate) const RECORD: usize = 16 * 1024;

/// What is written at once at most: three full records. One byte more than 65,483 would leave a
/// tiny second segment on a loopback link, with a wake-up of its own.
pub(crate) const STAGED: usize = 3 * (PREFIX + RECORD + TAG);

/// A record is not begun with less room than this.
const WORTH_A_RECORD: usize = 1024;

/// The sending half of a channel.
pub(crate) struct Outgoing {
    cipher: Cipher,
    /// Large while anything is in it, and otherwise none.
    buffer: Buffer,
    /// What is in front of this was sent.
    sent: usize,
    /// The start of the open record, which is not sealed yet; `end` if there is none.
    open: usize,
    /// The end of everything. Invariant: `sent <= open <= end <= STAGED`.
    end: usize,
}

impl Outgoing {
    /// `frame` goes out first, in the same write as what follows.
    pub(crate) fn new(cipher: Cipher, frame: &[u8]) -> Self {
        let mut outgoing = Self {
            cipher,
            buffer: Buffer::default(),
            sent: 0,
            open: 0,
            end: 0,
        };
        if !frame.is_empty() {
            outgoing.buffer = Buffer::take(SEND_BUFFER);
            outgoing.put(frame);
            outgoing.open = outgoing.end;
        }
        outgoing
    }

    /// Takes as much of `data` as there is room for; 0 means none, and to send first.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<usize, ChannelError> {
        let mut taken = 0;
        while let Some(rest) = data.get(taken..).filter(|rest| !rest.is_empty()) {
            let count = if self.open == self.end && rest.len() >= RECORD {
                self.write_record(rest)?
            } else {
                self.gather(rest)?
            };
            if count == 0 {
                break;
            }
            taken += count;
        }
        Ok(taken)
    }

    /// Seals a record straight from `data`.
    fn write_record(&mut self, data: &[u8]) -> Result<usize, ChannelError> {
        let count = self.room().min(data.len());
        let Some(plain) = data.get(..count).filter(|plain| !plain.is_empty()) else {
            return Ok(0);
        };
        self.begin(count);
        let sealed = self.buffer.get_mut(self.end..).unwrap_or_default();
        let Some((sealed, rest)) = sealed.split_at_mut_checked(count) else {
            return Ok(0);
        };
        let tag = rest.get_mut(..TAG).unwrap_or_default();
        self.cipher.seal_into(plain, sealed, tag)?;
        self.end += count + TAG;
        self.open = self.end;
        Ok(count)
    }

    /// Adds to the open record, or begins one.
    fn gather(&mut self, data: &[u8]) -> Result<usize, ChannelError> {
        let (room, gathered) = if self.open == self.end {
            (self.room(), 0)
        } else {
            let gathered = self.end - self.open - PREFIX;
            let most = RECORD.min(STAGED - self.open - PREFIX - TAG);
            (most - gathered, gathered)
        };
        let Some(data) = data.get(..room.min(data.len())).filter(|_| room > 0) else {
            return Ok(0);
        };
        if gathered == 0 {
            let open = self.end;
            self.begin(0);
            self.open = open;
        }
        self.put(data);
        if data.len() == room {
            self.seal()?;
        }
        Ok(data.len())
    }

    /// How long a new record may be.
    fn room(&self) -> usize {
        let room = STAGED.saturating_sub(self.end + PREFIX + TAG);
        if room < WORTH_A_RECORD {
            0
        } else {
            room.min(RECORD)
        }
    }

    /// Writes the length prefix of a record of `len` plain bytes.
    fn begin(&mut self, len: usize) {
        if self.buffer.is_empty() {
            self.buffer = Buffer::take(SEND_BUFFER);
        }
        self.put(&prefix(len));
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        if let Some(place) = self.buffer.get_mut(self.end..end) {
            place.copy_from_slice(bytes);
            self.end = end;
        }
    }

    /// Seals the open record, if there is one.
    pub(crate) fn seal(&mut self) -> Result<(), ChannelError> {
        if self.open == self.end {
            return Ok(());
        }
        let record = self.buffer.get_mut(self.open..).unwrap_or_default();
        let Some((length, rest)) = record.split_at_mut_checked(PREFIX) else {
            return Ok(());
        };
        let count = self.end - self.open - PREFIX;
        let Some((plain, rest)) = rest.split_at_mut_checked(count) else {
            return Ok(());
        };
        let tag = self.cipher.seal(&[], plain)?;
        length.copy_from_slice(&prefix(count));
        if let Some(place) = rest.get_mut(..TAG) {
            place.copy_from_slice(&tag);
        }
        self.end += TAG;
        self.open = self.end;
        Ok(())
    }

    /// Seals and sends everything, and gives the buffer back.
    pub(crate) fn poll_send<Io: AsyncWrite + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.seal()?;
        while let Some(rest) = self.unsent() {
            let count = ready!(Pin::new(&mut *io).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        (self.sent, self.open, self.end) = (0, 0, 0);
        self.buffer = Buffer::default();
        Poll::Ready(Ok(()))
    }

    fn unsent(&self) -> Option<&[u8]> {
        let rest = self.buffer.get(self.sent..self.end)?;
        (!rest.is_empty()).then_some(rest)
    }
}

#[cfg(test)]
impl Outgoing {
    pub(crate) fn held(&self) -> usize {
        self.buffer.len()
    }
}

/// The length prefix of a frame that holds `len` plain bytes.
fn prefix(len: usize) -> [u8; PREFIX] {
    u16::try_from(len + TAG).unwrap_or(u16::MAX).to_be_bytes()
}
