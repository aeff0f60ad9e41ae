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

mod payload;
mod reset;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2p_core::{Budget, ErrorCode, Exceeded, Instant, OpenError};

use crate::entry::Owner;
use crate::turns::Turns;
use crate::{Account, Key, Limits, Meter, Outbox, Pending, Spares, Stream, Wake};

/// What an entry and its control frames are charged, in bytes.
const STREAM_COST: usize = 512;
/// Refusals that may be owed before input stops.
const MAX_OWED: usize = 256;

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
    turns: Turns,
    deadlines: BTreeSet<(Instant, Key)>,
    resets: Meter,
    wakes: VecDeque<Wake>,
    account: Account,
    spares: Spares,
    ended: bool,
}

/// Makes room for one more by less than `Vec` would: most connections have a stream or two.
fn reserve_one<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 2);
    }
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
            turns: Turns::default(),
            deadlines: BTreeSet::new(),
            wakes: VecDeque::new(),
            account: Account::new(budget),
            spares: Spares::default(),
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
        let name = "outbound streams of a connection";
        Exceeded::check_one_more(
            name,
            "max_outbound",
            self.limits.max_outbound,
            self.outbound,
        )?;
        self.account.charge(STREAM_COST)?;
        self.outbound += 1;
        Ok(self.insert(id, true, Owner::App, ext))
    }

    /// Adds a stream of the remote to the backlog; `None` if it was refused, which the remote
    /// will be told. `id` must not be in the table.
    pub fn offer(&mut self, id: u64, ext: X) -> Option<Key> {
        let room = self.has_room();
        if let Err(exceeded) = room.and_then(|()| self.account.charge(STREAM_COST)) {
            self.account.budget().refused(&exceeded);
            self.refuse(id, ErrorCode::RESOURCE_LIMIT_EXCEEDED);
            return None;
        }
        self.inbound += 1;
        let key = self.insert(id, false, Owner::Backlog, ext);
        self.backlog.push_back(key);
        self.wakes.push_back(Wake::Acceptor);
        Some(key)
    }

    /// Whether the remote may have one more stream.
    fn has_room(&self) -> Result<(), Exceeded> {
        let name = "incoming streams of a connection";
        Exceeded::check_one_more(name, "max_inbound", self.limits.max_inbound, self.inbound)?;
        let name = "incoming streams that nobody has accepted";
        Exceeded::check_one_more(name, "backlog", self.limits.backlog, self.backlog.len())
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
            reserve_one(&mut self.slots);
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
        stream.queue.forgo(&mut self.account);
        self.account.refund(STREAM_COST);
        self.ids.remove(&stream.id);
        self.recent = None;
        self.outbox.forget(key);
        if let Some(at) = stream.deadline() {
            self.deadlines.remove(&(at, key));
        }
        self.free.push(key.0);
        if stream.local {
            self.outbound -= 1;
            self.wakes.push_back(Wake::Opener);
        } else {
            self.inbound -= 1;
        }
        if self.ended {
            // Nothing comes any more that the rest could be kept for.
            self.account.trim();
        }
    }

    /// Pays in advance for `bytes` more that the stream may come to hold, for as long as it lives.
    ///
    /// # Errors
    /// [`Exceeded`]; nothing has changed.
    pub fn reserve(&mut self, key: Key, bytes: usize) -> Result<(), Exceeded> {
        let Some(Some(stream)) = self.slots.get_mut(key.0 as usize) else {
            return Ok(());
        };
        stream.queue.prepay(bytes, &mut self.account)
    }

    // ---- time ----

    /// Calls [`Table::expired`] to return `key` at `at`. A stream has one deadline.
    pub fn set_deadline(&mut self, key: Key, at: Instant) {
        self.clear_deadline(key);
        if let Some(stream) = self.get_mut(key) {
            stream.rare().deadline = Some(at);
            self.deadlines.insert((at, key));
        }
    }

    /// Forgets the stream's deadline, unless it is lingering.
    pub fn clear_deadline(&mut self, key: Key) {
        let rare = self.get_mut(key).and_then(|stream| stream.rare.as_mut());
        if let Some(at) = rare.and_then(|rare| rare.deadline.take()) {
            self.deadlines.remove(&(at, key));
        }
    }

    /// Whether the stream has a deadline.
    pub fn has_deadline(&self, key: Key) -> bool {
        self.get(key)
            .is_some_and(|stream| stream.deadline().is_some())
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
        } else if !self.control.is_empty() || !self.turns.is_empty() {
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
            let Some(key) = self.turns.next() else {
                break;
            };
            if let Some(stream) = self.get_mut(key) {
                expected += stream.turn.begin();
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

    /// Gives spare memory back.
    pub fn trim(&mut self) {
        for stream in self.slots.iter_mut().flatten() {
            stream.queue.trim(&mut self.account);
        }
        self.spares.trim(&mut self.account);
        if self.ids.is_empty() {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
        self.backlog.shrink_to_fit();
        self.control.shrink_to_fit();
        self.turns.trim();
        self.owed.shrink_to_fit();
        self.wakes.shrink_to_fit();
        self.outbox.trim(&mut self.account);
        self.account.trim();
    }
}
