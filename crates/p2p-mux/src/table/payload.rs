//! Payload in and out: what the streams of a [`Table`] read and write.

use std::task::Poll;

use p2p_core::{Blame, ErrorCode};

use super::Table;
use crate::entry::Owner;
use crate::{Input, Key, Pending, Received, Send, StreamError, Wake};

/// Less room than this is not worth a frame of its own, in bytes.
const SLIVER: usize = 4 * 1024;
/// Room for a frame's header, in bytes.
const HEADROOM: usize = 32;

impl<X> Table<X> {
    // ---- reading ----

    /// Moves received bytes into `buf`; see [`Machine::read`](crate::Machine::read).
    pub fn read(&mut self, key: Key, buf: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        let Some(Some(stream)) = self.slots.get_mut(key.0 as usize) else {
            return Poll::Ready(Ok(0));
        };
        let count = stream.queue.read(buf, &mut self.spares, &mut self.account);
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        // The remote's end of its direction stands even if it reset the stream later.
        if stream.finished && stream.reset.is_none_or(|reset| reset.by == Blame::Remote) {
            return Poll::Ready(Ok(0));
        }
        if let Some(reset) = stream.reset {
            return Poll::Ready(Err(reset.into()));
        }
        stream.reader_waits = true;
        Poll::Pending
    }

    /// Takes `count` bytes of payload off the front of `input`. Without room in the budget the
    /// stream is reset.
    pub fn receive(&mut self, key: Key, input: &mut Input<'_>, count: usize) -> Received {
        let count = count.min(input.len());
        let Some(Some(stream)) = self.slots.get_mut(key.0 as usize) else {
            input.skip(count);
            return Received::Discarded;
        };
        if stream.owner == Owner::Gone || stream.reset.is_some() {
            let discarded = &mut stream.rare().discarded;
            *discarded = discarded.saturating_add(count);
            let spent = *discarded > self.limits.discard && stream.reset.is_none();
            input.skip(count);
            if spent {
                self.reset(key, ErrorCode::NONE);
            }
            return Received::Discarded;
        }
        let (spares, account) = (&mut self.spares, &mut self.account);
        if let Err(exceeded) = stream.queue.push(input, count, spares, account) {
            self.account.budget().refused(&exceeded);
            input.skip(count);
            self.reset(key, ErrorCode::RESOURCE_LIMIT_EXCEEDED);
            return Received::Discarded;
        }
        if std::mem::take(&mut stream.reader_waits) {
            self.wakes.push_back(Wake::Reader(key));
        }
        Received::Queued
    }

    /// The remote closed its direction.
    pub fn finish(&mut self, key: Key) {
        if let Some(stream) = self.get_mut(key) {
            stream.finished = true;
            self.wake_reader(key);
            self.settle(key);
        }
    }

    // ---- writing ----

    /// Whether the stream takes bytes to send.
    ///
    /// # Errors
    /// [`StreamError`] says why not.
    pub fn sendable(&self, key: Key) -> Result<(), StreamError> {
        let stream = self.get(key).ok_or(StreamError::Closed)?;
        if let Some(reset) = stream.reset {
            return Err(reset.into());
        }
        if stream.send != Send::Open {
            return Err(StreamError::Closed);
        }
        Ok(())
    }

    /// How many of `wanted` bytes the stream may send now.
    ///
    /// # Errors
    /// [`StreamError`] if it cannot send.
    pub fn admit(&mut self, key: Key, wanted: usize) -> Poll<Result<usize, StreamError>> {
        self.sendable(key)?;
        let Some(Some(stream)) = self.slots.get_mut(key.0 as usize) else {
            return Poll::Ready(Err(StreamError::Closed));
        };
        // A sliver is not worth a frame: wait for a buffer that takes it all.
        let share = self.turns.share(&stream.turn, wanted);
        if share > 0 && self.outbox.room() >= share.min(SLIVER) {
            let granted = self.outbox.reserve(share + HEADROOM, &mut self.account);
            let granted = granted.saturating_sub(HEADROOM).min(share);
            if granted > 0 {
                stream.turn.spend(granted);
                return Poll::Ready(Ok(granted));
            }
        }
        stream.writer_waits = true;
        self.turns.wait(key, &mut stream.turn, wanted);
        Poll::Pending
    }

    /// The writer has to wait for the remote.
    pub fn block_writer(&mut self, key: Key) {
        if let Some(stream) = self.get_mut(key) {
            stream.writer_waits = true;
        }
    }

    /// The writer can go on.
    pub fn wake_writer(&mut self, key: Key) {
        if let Some(stream) = self.get_mut(key)
            && std::mem::take(&mut stream.writer_waits)
        {
            self.wakes.push_back(Wake::Writer(key));
        }
    }

    pub(super) fn wake_reader(&mut self, key: Key) {
        if let Some(stream) = self.get_mut(key)
            && std::mem::take(&mut stream.reader_waits)
        {
            self.wakes.push_back(Wake::Reader(key));
        }
    }

    /// Ends our direction; the machine sends what is owed.
    ///
    /// # Errors
    /// [`StreamError::Reset`] if the stream was reset before.
    pub fn close(&mut self, key: Key) -> Result<(), StreamError> {
        let Some(stream) = self.get_mut(key) else {
            return Ok(());
        };
        if stream.send != Send::Open {
            return Ok(());
        }
        if let Some(reset) = stream.reset {
            return Err(reset.into());
        }
        stream.send = Send::Closing;
        self.schedule(key, Pending::Now);
        self.wake_writer(key);
        Ok(())
    }
}
