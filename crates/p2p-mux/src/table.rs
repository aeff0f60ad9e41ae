//! The streams of one connection: what yamux and mplex have in common.
//!
//! ```text
//!              announce                    close            (FIN sent)
//!   send:  Open ---------------------> Open -----> Closing ------------> Closed
//!   recv:  Open -- remote's FIN --> Finished
//!   owner: Backlog -- accept --> App -- forget --> Gone
//!   either end: reset (final)
//! ```
//!
//! An entry lives until the application is `Gone`, nothing is owed to the remote, and the stream
//! is reset or over in both directions. So everything that is owed for a stream counts against
//! the limits, and what is not a stream (refusals) has a list of its own that stops the input
//! when it is full: a remote that does not read cannot make us owe without bound.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::Poll;

use p2p_core::{Blame, Budget, ErrorCode, Exceeded, Instant, OpenError, StreamReset};

use crate::entry::Owner;
use crate::{
    Account, Input, Key, Limits, Meter, Outbox, Pending, Received, Send, Stream, StreamError, Wake,
};

/// What an entry and its control frames are charged, in bytes.
const STREAM_COST: usize = 512;
/// Refusals that may be owed before input stops.
const MAX_OWED: usize = 256;
/// What a writer may send at a time while others wait, in bytes.
const QUANTUM: usize = 16 * 1024;
/// Less room than this is not worth a frame of its own, in bytes.
const SLIVER: usize = 4 * 1024;
/// Room for a frame's header, in bytes.
const HEADROOM: usize = 32;

/// The reset of a stream that ended with its connection.
const UNTOLD: StreamReset = StreamReset {
    by: Blame::Us,
    code: ErrorCode::NONE,
};

/// The streams of one connection, the queues between them, and what they cost.
#[derive(Debug)]
pub struct Table<X> {
    /// Frames to send.
    pub outbox: Outbox,
    limits: Limits,
    slots: Vec<Option<Stream<X>>>,
    free: Vec<u32>,
    ids: BTreeMap<u64, Key>,
    /// The last lookup: frames of a stream come in a row.
    recent: Option<(u64, Key)>,
    inbound: usize,
    outbound: usize,
    backlog: VecDeque<Key>,
    /// Streams with control frames to send.
    control: VecDeque<Key>,
    urgent: bool,
    /// Refusals to send.
    owed: VecDeque<(u64, ErrorCode)>,
    /// Writers that wait for room in the outbox, the longest first.
    writers: VecDeque<Key>,
    deadlines: BTreeSet<(Instant, Key)>,
    resets: Meter,
    wakes: VecDeque<Wake>,
    account: Account,
    ended: bool,
}

impl<X> Table<X> {
    /// An empty table that pays with `budget`.
    pub fn new(limits: Limits, budget: &Budget) -> Self {
        Self {
            outbox: Outbox::new(limits.send_buffer),
            resets: Meter::new(limits.resets_per_second),
            limits,
            slots: Vec::new(),
            free: Vec::new(),
            ids: BTreeMap::new(),
            recent: None,
            inbound: 0,
            outbound: 0,
            backlog: VecDeque::new(),
            control: VecDeque::new(),
            urgent: false,
            owed: VecDeque::new(),
            writers: VecDeque::new(),
            deadlines: BTreeSet::new(),
            wakes: VecDeque::new(),
            account: Account::new(budget),
            ended: false,
        }
    }

    // ---- streams ----

    /// The stream behind `key`.
    pub fn get(&self, key: Key) -> Option<&Stream<X>> {
        self.slots.get(key.0 as usize)?.as_ref()
    }

    /// The stream behind `key`.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Stream<X>> {
        self.slots.get_mut(key.0 as usize)?.as_mut()
    }

    /// The stream with this id.
    pub fn find(&mut self, id: u64) -> Option<Key> {
        match self.recent {
            Some((recent, key)) if recent == id => Some(key),
            Some(_) | None => {
                let key = *self.ids.get(&id)?;
                self.recent = Some((id, key));
                Some(key)
            }
        }
    }

    /// Entries in the table, in both directions together.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// What all of this costs, in bytes.
    pub fn account(&mut self) -> &mut Account {
        &mut self.account
    }

    /// Adds a stream of ours.
    ///
    /// # Errors
    /// [`OpenError::Limit`]; nothing has changed.
    pub fn open(&mut self, id: u64, ext: X) -> Result<Key, OpenError> {
        if self.outbound >= self.limits.max_outbound {
            return Err(OpenError::Limit(Exceeded {
                name: "outbound streams of a connection",
                setting: "max_outbound",
                limit: self.limits.max_outbound,
                used: self.outbound,
                wanted: 1,
            }));
        }
        self.account.charge(STREAM_COST)?;
        self.outbound += 1;
        Ok(self.insert(id, true, Owner::App, ext))
    }

    /// Adds a stream of the remote to the backlog; `None` if it was refused, which the remote
    /// will be told. `id` must not be in the table.
    pub fn offer(&mut self, id: u64, ext: X) -> Option<Key> {
        let full = self.inbound >= self.limits.max_inbound;
        let full = full || self.backlog.len() >= self.limits.backlog;
        if full || self.account.charge(STREAM_COST).is_err() {
            self.refuse(id, ErrorCode::RESOURCE_LIMIT_EXCEEDED);
            return None;
        }
        self.inbound += 1;
        let key = self.insert(id, false, Owner::Backlog, ext);
        self.backlog.push_back(key);
        self.wakes.push_back(Wake::Acceptor);
        Some(key)
    }

    /// The next stream of the backlog.
    pub fn accept(&mut self) -> Option<Key> {
        let key = self.backlog.pop_front()?;
        self.get_mut(key)?.owner = Owner::App;
        Some(key)
    }

    /// Owes the remote a reset for a stream that is not in the table.
    pub fn refuse(&mut self, id: u64, code: ErrorCode) {
        self.owed.push_back((id, code));
    }

    fn insert(&mut self, id: u64, local: bool, owner: Owner, ext: X) -> Key {
        let stream = Stream::new(id, local, owner, ext);
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let key = Key(index);
        if let Some(slot) = self.slots.get_mut(index as usize) {
            *slot = Some(stream);
        }
        self.ids.insert(id, key);
        key
    }

    /// Removes the stream if nobody needs it any more. To be called when something has ended.
    pub fn settle(&mut self, key: Key) {
        if !self.get(key).is_some_and(Stream::is_over) {
            return;
        }
        let Some(mut stream) = self.slots.get_mut(key.0 as usize).and_then(Option::take) else {
            return;
        };
        stream.queue.clear(&mut self.account);
        self.account.refund(STREAM_COST + stream.reserved);
        self.ids.remove(&stream.id);
        self.recent = None;
        if let Some(at) = stream.deadline {
            self.deadlines.remove(&(at, key));
        }
        self.free.push(key.0);
        if stream.local {
            self.outbound -= 1;
            self.wakes.push_back(Wake::Opener);
        } else {
            self.inbound -= 1;
        }
    }

    /// Pays for `bytes` more that the stream may come to hold, for as long as it lives.
    ///
    /// # Errors
    /// [`Exceeded`]; nothing has changed.
    pub fn reserve(&mut self, key: Key, bytes: usize) -> Result<(), Exceeded> {
        let Some(Some(stream)) = self.slots.get_mut(key.0 as usize) else {
            return Ok(());
        };
        self.account.charge(bytes)?;
        stream.reserved += bytes;
        Ok(())
    }

    // ---- reading ----

    /// Moves received bytes into `buf`; see [`Machine::read`](crate::Machine::read).
    pub fn read(&mut self, key: Key, buf: &mut [u8]) -> Poll<Result<usize, StreamError>> {
        let Some(Some(stream)) = self.slots.get_mut(key.0 as usize) else {
            return Poll::Ready(Ok(0));
        };
        let count = stream.queue.read(buf, &mut self.account);
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
            stream.discarded = stream.discarded.saturating_add(count);
            let spent = stream.discarded > self.limits.discard && stream.reset.is_none();
            input.skip(count);
            if spent {
                self.reset(key, ErrorCode::NONE);
            }
            return Received::Discarded;
        }
        if stream.queue.push(input, count, &mut self.account).is_err() {
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
        let others = !self.writers.is_empty();
        self.sendable(key)?;
        let Some(Some(stream)) = self.slots.get_mut(key.0 as usize) else {
            return Poll::Ready(Err(StreamError::Closed));
        };
        // A sliver is not worth a frame: wait for a buffer that takes it all.
        let share = if others {
            wanted.min(stream.turn)
        } else {
            wanted
        };
        if share > 0 && self.outbox.room() >= share.min(SLIVER) {
            let granted = self.outbox.reserve(share + HEADROOM, &mut self.account);
            let granted = granted.saturating_sub(HEADROOM).min(share);
            if granted > 0 {
                stream.turn -= granted.min(stream.turn);
                return Poll::Ready(Ok(granted));
            }
        }
        stream.writer_waits = true;
        if !std::mem::replace(&mut stream.queued, true) {
            if stream.turn > 0 {
                // Woken too early: others were faster, but it was before them.
                self.writers.push_front(key);
            } else {
                self.writers.push_back(key);
            }
            let used_up = stream.turn == 0 && stream.wanted > 0;
            stream.wanted = if used_up {
                QUANTUM
            } else {
                wanted.min(QUANTUM)
            };
        }
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

    fn wake_reader(&mut self, key: Key) {
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

    // ---- ending ----

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
        stream.discarded = stream.queue.clear(&mut self.account);
        if self.ended {
            stream.reset.get_or_insert(UNTOLD);
        } else if stream.send == Send::Open {
            self.reset(key, ErrorCode::NONE);
        } else if stream.receives() {
            self.set_deadline(key, linger);
        }
        self.settle(key);
    }

    // ---- time ----

    /// Calls [`Table::expired`] to return `key` at `at`. A stream has one deadline.
    pub fn set_deadline(&mut self, key: Key, at: Instant) {
        self.clear_deadline(key);
        if let Some(stream) = self.get_mut(key) {
            stream.deadline = Some(at);
            self.deadlines.insert((at, key));
        }
    }

    /// Forgets the stream's deadline, unless it is lingering.
    pub fn clear_deadline(&mut self, key: Key) {
        if let Some(at) = self.get_mut(key).and_then(|stream| stream.deadline.take()) {
            self.deadlines.remove(&(at, key));
        }
    }

    /// Whether the stream has a deadline.
    pub fn has_deadline(&self, key: Key) -> bool {
        self.get(key)
            .is_some_and(|stream| stream.deadline.is_some())
    }

    /// The next deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A stream whose deadline has passed.
    pub fn expired(&mut self, now: Instant) -> Option<Key> {
        let &(at, key) = self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.clear_deadline(key);
        Some(key)
    }

    // ---- output ----

    /// The stream has control frames to send.
    pub fn schedule(&mut self, key: Key, urgency: Pending) {
        self.urgent |= urgency == Pending::Now;
        if let Some(stream) = self.get_mut(key)
            && !stream.scheduled
        {
            stream.scheduled = true;
            self.control.push_back(key);
        }
    }

    /// A stream with control frames to send; [`Table::settle`] it then.
    pub fn next_control(&mut self) -> Option<Key> {
        while let Some(key) = self.control.pop_front() {
            if let Some(stream) = self.get_mut(key) {
                stream.scheduled = false;
                return Some(key);
            }
        }
        self.urgent = false;
        None
    }

    /// A refusal to send.
    pub fn next_owed(&mut self) -> Option<(u64, ErrorCode)> {
        self.owed.pop_front()
    }

    /// Whether few enough refusals are owed to take more input.
    pub fn wants_input(&self) -> bool {
        self.owed.len() < MAX_OWED
    }

    /// How urgent the output is.
    pub fn pending(&self) -> Pending {
        if !self.outbox.is_empty() || !self.owed.is_empty() || self.urgent {
            Pending::Now
        } else if !self.control.is_empty() || !self.writers.is_empty() {
            Pending::Lazy
        } else {
            Pending::Nothing
        }
    }

    /// Swaps the outbox into `out` and lets the next writers in. The machine has put its control
    /// frames into the outbox before.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        self.outbox.swap(out);
        let mut expected = 0;
        while expected < self.limits.send_buffer {
            let Some(key) = self.writers.pop_front() else {
                break;
            };
            if let Some(stream) = self.get_mut(key) {
                stream.queued = false;
                stream.turn = QUANTUM;
                expected += stream.wanted;
            }
            self.wake_writer(key);
            self.settle(key);
        }
    }

    /// Who can go on.
    pub fn poll_wake(&mut self) -> Option<Wake> {
        self.wakes.pop_front()
    }

    /// Wakes who waits to open a stream.
    pub fn wake_opener(&mut self) {
        self.wakes.push_back(Wake::Opener);
    }

    /// The connection is over: drops what would have been sent, and streams nobody holds.
    pub fn end(&mut self) {
        self.outbox.clear(&mut self.account);
        self.owed.clear();
        self.backlog.clear();
        self.control.clear();
        self.writers.clear();
        self.deadlines.clear();
        self.ended = true;
        for index in 0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX) {
            let Some(stream) = self.get_mut(Key(index)) else {
                continue;
            };
            stream.scheduled = false;
            stream.queued = false;
            stream.owes_reset = None;
            stream.deadline = None;
            if stream.owner != Owner::App {
                stream.owner = Owner::Gone;
                stream.reset.get_or_insert(UNTOLD);
            }
            stream.send = Send::Closed;
            self.settle(Key(index));
        }
        self.account.trim();
    }

    /// Gives spare memory back.
    pub fn trim(&mut self) {
        for stream in self.slots.iter_mut().flatten() {
            stream.queue.trim(&mut self.account);
        }
        if self.ids.is_empty() {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
        self.backlog.shrink_to_fit();
        self.control.shrink_to_fit();
        self.writers.shrink_to_fit();
        self.owed.shrink_to_fit();
        self.wakes.shrink_to_fit();
        self.outbox.trim(&mut self.account);
        self.account.trim();
    }
}
