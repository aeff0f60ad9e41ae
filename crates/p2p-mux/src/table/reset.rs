//! Ends that come early: resets, dropped streams, and the end of the connection.

use p2p_core::{Blame, ErrorCode, Instant, StreamReset};

use super::Table;
use crate::entry::Owner;
use crate::{Key, Pending, Send};

/// The reset of a stream that ended with its connection.
const UNTOLD: StreamReset = StreamReset {
    by: Blame::Us,
    code: ErrorCode::NONE,
};

impl<X> Table<X> {
    /// Resets the stream and owes the remote the news, unless it never heard of it.
    pub fn reset(&mut self, key: Key, code: ErrorCode) {
        let Some(stream) = self.get_mut(key) else {
            return;
        };
        let over = stream.finished && stream.send == Send::Closed;
        if stream.reset.is_some() || over {
            return;
        }
        let tell = stream.announced;
        stream.owes_reset = tell.then_some(code);
        self.fail(
            key,
            StreamReset {
                by: Blame::Us,
                code,
            },
        );
        if tell {
            self.schedule(key, Pending::Now);
        }
    }

    /// The remote reset the stream. False: it does so too often.
    #[must_use]
    pub fn handle_reset(&mut self, key: Key, code: ErrorCode, now: Instant) -> bool {
        let Some(stream) = self.get_mut(key) else {
            return true;
        };
        let counts = !stream.local;
        stream.owes_reset = None;
        if stream.reset.is_none() {
            let by = Blame::Remote;
            self.fail(key, StreamReset { by, code });
        }
        self.settle(key);
        !counts || self.resets.allow(now)
    }

    fn fail(&mut self, key: Key, reset: StreamReset) {
        let Some(Some(stream)) = self.slots.get_mut(key.0 as usize) else {
            return;
        };
        stream.reset = Some(reset);
        // What arrived before the remote's FIN is whole and stays readable.
        if reset.by == Blame::Us || !stream.finished {
            stream.queue.clear(&mut self.account);
        }
        if stream.owner == Owner::Backlog {
            stream.owner = Owner::Gone;
            self.backlog.retain(|waiting| *waiting != key);
        }
        self.wake_reader(key);
        self.wake_writer(key);
        self.clear_deadline(key);
    }

    /// The application dropped the stream.
    pub fn forget(&mut self, key: Key, now: Instant) {
        let linger = now + self.limits.linger;
        let Some(Some(stream)) = self.slots.get_mut(key.0 as usize) else {
            return;
        };
        stream.owner = Owner::Gone;
        stream.reader_waits = false;
        stream.writer_waits = false;
        let unread = stream.queue.clear(&mut self.account);
        if unread > 0 {
            stream.rare().discarded = unread;
        }
        if self.ended {
            stream.reset.get_or_insert(UNTOLD);
        } else if stream.send == Send::Open {
            self.reset(key, ErrorCode::NONE);
        } else if stream.receives() {
            self.set_deadline(key, linger);
        }
        self.settle(key);
    }

    /// The connection is over: drops what would have been sent, and streams nobody holds.
    pub fn end(&mut self) {
        self.outbox.clear(&mut self.account);
        self.owed.clear();
        self.backlog.clear();
        self.control.clear();
        self.turns.clear();
        self.deadlines.clear();
        self.ended = true;
        for index in 0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX) {
            let Some(stream) = self.get_mut(Key(index)) else {
                continue;
            };
            stream.scheduled = false;
            stream.turn.waits = false;
            stream.owes_reset = None;
            if let Some(rare) = &mut stream.rare {
                rare.deadline = None;
            }
            if stream.owner != Owner::App {
                stream.owner = Owner::Gone;
                stream.reset.get_or_insert(UNTOLD);
            }
            stream.send = Send::Closed;
            self.settle(Key(index));
        }
        self.spares.trim(&mut self.account);
        self.account.trim();
    }
}
