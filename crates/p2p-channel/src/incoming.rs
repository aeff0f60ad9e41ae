//! From sealed records to plain bytes.
//!
//! ```text
//!   [ ....... | plain | record | record | rec ........... ]
//!                     ^ what `received` holds
//! ```
//!
//! A record is opened straight into the reader's buffer if that is large enough, and otherwise in
//! place, to be served over several reads.

use std::ops::Range;
use std::task::{Context, Poll, ready};

use futures::io::AsyncRead;

use crate::buffer::RECEIVE_BUFFER;
use crate::channel::Fault;
use crate::{Opened, Received, Records};

/// How many records without data are taken before other tasks get their turn.
const EMPTY_RECORDS: usize = 64;

/// The receiving half of a channel.
pub(crate) struct Incoming<E> {
    received: Received,
    /// Opened in place and not yet served: in front of what `received` holds.
    plain: Range<usize>,
    /// How the records ended, to be told once everything before it was read.
    end: Option<Result<(), E>>,
    /// The link ended where it must not.
    cut: Option<E>,
}

/// What opening records came to.
enum Progress {
    /// This many bytes were put into the reader's buffer.
    Bytes(usize),
    /// The next record is not complete.
    NeedMore,
    /// No data so far, and enough records for now.
    OnlyEmpty,
    /// There will be no more.
    Ended,
}

impl<E: Copy> Incoming<E> {
    pub(crate) fn new(received: Received) -> Self {
        Self {
            received,
            plain: 0..0,
            end: None,
            cut: None,
        }
    }

    /// Fills `buf` with as many plain bytes as are at hand, or waits for some. 0: the remote said
    /// that it sends nothing more, or the link ended where it may.
    pub(crate) fn poll_read<Io: AsyncRead + Unpin, R: Records<Error = E>>(
        &mut self,
        records: &mut R,
        io: &mut Io,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<usize, Fault<E>>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // Over all that is read: a remote that sends nothing but such records, and fast, must not
        // keep others from running.
        let mut empty = 0;
        loop {
            let progress = self.open(records, buf, &mut empty);
            match progress.map_err(Fault::Broken)? {
                Progress::Bytes(count) => {
                    if self.plain.is_empty() && self.received.is_empty() {
                        self.received.park();
                    }
                    return Poll::Ready(Ok(count));
                }
                Progress::NeedMore => {}
                Progress::OnlyEmpty => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Progress::Ended => {
                    self.received = Received::default();
                    return Poll::Ready(Ok(0));
                }
            }
            if let Some(error) = self.cut {
                return Poll::Ready(Err(Fault::Cut(error)));
            }
            if ready!(self.received.poll_fill(io, cx, RECEIVE_BUFFER))? == 0 {
                let end = if self.received.is_empty() {
                    records.ended()
                } else {
                    Err(R::TRUNCATED)
                };
                self.received.park();
                self.cut = end.err();
                return Poll::Ready(end.map(|()| 0).map_err(Fault::Cut));
            }
        }
    }

    /// Serves what was opened in place, or opens records into `buf`.
    fn open<R: Records<Error = E>>(
        &mut self,
        records: &mut R,
        buf: &mut [u8],
        empty: &mut usize,
    ) -> Result<Progress, E> {
        let mut filled = self.serve(buf);
        while self.end.is_none() && *empty < EMPTY_RECORDS {
            let room = buf.get_mut(filled..).unwrap_or_default();
            match self.next(records, room, filled == 0) {
                Ok(Some(Opened::Data(0) | Opened::Control)) => *empty += 1,
                Ok(Some(Opened::Data(count))) if self.plain.is_empty() => filled += count,
                Ok(Some(Opened::Data(_))) => {
                    filled = self.serve(buf);
                    break;
                }
                Ok(Some(Opened::End)) => self.end = Some(Ok(())),
                Ok(None) => break,
                Err(error) => self.end = Some(Err(error)),
            }
        }
        match (filled, self.end) {
            (1.., _) => Ok(Progress::Bytes(filled)),
            (0, Some(end)) => end.map(|()| Progress::Ended),
            (0, None) if *empty == EMPTY_RECORDS => Ok(Progress::OnlyEmpty),
            (0, None) => Ok(Progress::NeedMore),
        }
    }

    /// Opens the next record: into `room`, or in place if it does not fit and `in_place` allows
    /// that. `None` if neither is possible, or it is not complete.
    fn next<R: Records<Error = E>>(
        &mut self,
        records: &mut R,
        room: &mut [u8],
        in_place: bool,
    ) -> Result<Option<Opened>, E> {
        let bytes = self.received.bytes();
        let Some(len) = records.measure(bytes)? else {
            return Ok(None);
        };
        let Some(record) = bytes.get(..len) else {
            return Ok(None);
        };
        if let Some(opened) = records.open_to(record, room)? {
            self.received.consume(len);
            return Ok(Some(opened));
        }
        if !in_place {
            return Ok(None);
        }
        let (start, record) = self.received.take(len);
        let opened = records.open(record)?;
        if let Opened::Data(count) = opened {
            let start = start + R::HEADER;
            self.plain = start..start + count;
        }
        Ok(Some(opened))
    }

    fn serve(&mut self, buf: &mut [u8]) -> usize {
        let count = buf.len().min(self.plain.len());
        let from = self.plain.start..self.plain.start + count;
        if let Some(to) = buf.get_mut(..count) {
            to.copy_from_slice(self.received.opened(from));
        }
        self.plain.start += count;
        count
    }
}

#[cfg(test)]
impl<E> Incoming<E> {
    pub(crate) fn held(&self) -> usize {
        self.received.held()
    }
}
