//! From plain bytes to sealed records.
//!
//! ```text
//!   [ ..sent.. | record | record | header plain ........... ]
//!          sent ^                 ^ open       ^ end
//! ```
//!
//! Small writes gather in an open record at the end, which is sealed in place when it is full or
//! flushed. A write that fills a whole record is sealed straight from the writer's buffer.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::AsyncWrite;

use crate::buffer::{Buffer, OVERHEAD, RECORD, SEND_BUFFER};
use crate::channel::Fault;
use crate::{NOTICE, Records};

/// A record is not begun with less room than this.
const WORTH_A_RECORD: usize = 1024;

/// The sending half of a channel.
pub(crate) struct Outgoing {
    /// Large while anything is in it, and otherwise none.
    buffer: Buffer,
    /// What is in front of this was sent.
    sent: usize,
    /// The start of the open record, which is not sealed yet; `end` if there is none.
    open: usize,
    /// The end of everything. Invariant: `sent <= open <= end <= SEND_BUFFER`.
    end: usize,
}

impl Outgoing {
    /// `unsent` goes out first, in the same write as what follows; at most 32 KiB of it.
    pub(crate) fn new(unsent: &[u8]) -> Self {
        let mut outgoing = Self {
            buffer: Buffer::default(),
            sent: 0,
            open: 0,
            end: 0,
        };
        outgoing.put_sealed(unsent);
        outgoing
    }

    /// Takes as much of `data` as there is room for; 0 means none, and to send first.
    pub(crate) fn write<R: Records>(
        &mut self,
        records: &mut R,
        data: &[u8],
    ) -> Result<usize, R::Error> {
        let mut taken = 0;
        while let Some(rest) = data.get(taken..).filter(|rest| !rest.is_empty()) {
            let count = if self.open < self.end {
                self.gather(records, rest)?
            } else if self.room() == 0 {
                0
            } else {
                self.put_due(records)?;
                if rest.len() >= RECORD {
                    self.write_record(records, rest)?
                } else {
                    self.begin::<R>();
                    self.gather(records, rest)?
                }
            };
            if count == 0 {
                break;
            }
            taken += count;
        }
        Ok(taken)
    }

    /// How many plain bytes a new record may have.
    fn room(&self) -> usize {
        let room = SEND_BUFFER.saturating_sub(self.end + NOTICE + OVERHEAD);
        if room < WORTH_A_RECORD {
            0
        } else {
            room.min(RECORD)
        }
    }

    /// What has to go out before the next record.
    fn put_due<R: Records>(&mut self, records: &mut R) -> Result<(), R::Error> {
        let mut notice = [0; NOTICE];
        let len = records.due(&mut notice)?;
        self.put_sealed(notice.get(..len).unwrap_or_default());
        Ok(())
    }

    /// Seals a record straight from `data`.
    fn write_record<R: Records>(
        &mut self,
        records: &mut R,
        data: &[u8],
    ) -> Result<usize, R::Error> {
        let count = self.room().min(data.len());
        // What was due may have taken the rest.
        if count == 0 {
            return Ok(0);
        }
        let plain = data.get(..count).unwrap_or_default();
        let end = self.end + R::HEADER + count + R::TRAILER;
        let record = self.place(self.end..end);
        records.seal_from(plain, record)?;
        (self.open, self.end) = (end, end);
        Ok(count)
    }

    /// Begins a record at the end.
    fn begin<R: Records>(&mut self) {
        self.open = self.end;
        self.end += R::HEADER;
    }

    /// Adds to the open record, and seals it when it is full.
    fn gather<R: Records>(&mut self, records: &mut R, data: &[u8]) -> Result<usize, R::Error> {
        let start = self.open + R::HEADER;
        // Room for last words is left.
        let most = RECORD.min(SEND_BUFFER.saturating_sub(start + R::TRAILER + NOTICE));
        let room = (start + most).saturating_sub(self.end);
        let count = room.min(data.len());
        self.put(data.get(..count).unwrap_or_default());
        if count == room {
            self.seal(records)?;
        }
        Ok(count)
    }

    /// A part of the buffer, which is there from now on.
    fn place(&mut self, range: Range<usize>) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.buffer = Buffer::take(SEND_BUFFER);
        }
        self.buffer.get_mut(range).unwrap_or_default()
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        let place = self.place(self.end..end);
        if place.len() == bytes.len() {
            place.copy_from_slice(bytes);
            self.end = end;
        }
    }

    /// Adds what needs no sealing, if there is room for it.
    fn put_sealed(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.put(bytes);
            self.open = self.end;
        }
    }

    /// Seals the open record, if there is one.
    fn seal<R: Records>(&mut self, records: &mut R) -> Result<(), R::Error> {
        if self.open < self.end {
            let end = self.end + R::TRAILER;
            let record = self.place(self.open..end);
            records.seal(record)?;
            (self.open, self.end) = (end, end);
        }
        Ok(())
    }

    /// Adds the last words. An open record that cannot be sealed is thrown away.
    pub(crate) fn end<R: Records>(&mut self, records: &mut R, why: Option<R::Error>) {
        if self.seal(records).is_err() {
            self.end = self.open;
        }
        let mut notice = [0; NOTICE];
        let len = records.farewell(why, &mut notice);
        self.put_sealed(notice.get(..len).unwrap_or_default());
    }

    /// Seals and sends everything, and gives the buffer back.
    pub(crate) fn poll_send<Io: AsyncWrite + Unpin, R: Records>(
        &mut self,
        records: &mut R,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault<R::Error>>> {
        self.seal(records).map_err(Fault::Broken)?;
        while let Some(rest) = self.unsent() {
            let count = ready!(Pin::new(&mut *io).poll_write(cx, rest))?;
            if count == 0 {
                let zero = io::Error::from(io::ErrorKind::WriteZero);
                return Poll::Ready(Err(zero.into()));
            }
            self.sent += count;
        }
        (self.sent, self.open, self.end) = (0, 0, 0);
        self.buffer = Buffer::default();
        Poll::Ready(Ok(()))
    }

    /// Whether everything was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.end
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
