//! The buffers that a connection reads into.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use p2p_core::Budget;

use crate::{Account, Input};

/// Size of a buffer while little arrives, in bytes. Not paid for: every connection may read.
const SMALL: usize = 2 * 1024;
/// Size of a buffer once a small one was filled, in bytes.
const LARGE: usize = 64 * 1024;
/// Buffers kept alive by slices in receive queues, at most. Beyond that payloads are copied.
const MAX_PARKED: usize = 8;

/// Reads go into a reused buffer. Large payloads leave it as slices without a copy; then the
/// buffer is parked until its slices are gone, and used again without being zeroed.
///
/// What slices can pin is bounded: at most [`MAX_PARKED`] buffers, all of them paid for.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// All of it initialised: its length is the space to read into.
    current: BytesMut,
    /// What was read and not handled; in `current` if `Own`.
    unread: Unread,
    parked: VecDeque<Bytes>,
    size: usize,
    account: Account,
}

#[derive(Debug)]
enum Unread {
    Own { from: usize, to: usize },
    Slice(Bytes),
}

impl Inbox {
    pub(crate) fn new(budget: &Budget) -> Self {
        Self {
            current: BytesMut::new(),
            unread: Unread::Own { from: 0, to: 0 },
            parked: VecDeque::new(),
            size: SMALL,
            account: Account::new(budget),
        }
    }

    /// Whether everything read was handled.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.unread {
            Unread::Own { from, to } => from == to,
            Unread::Slice(bytes) => bytes.is_empty(),
        }
    }

    /// Where to read to. Only if the inbox is empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.current.len() < self.size {
            self.replace();
        }
        &mut self.current
    }

    /// `count` bytes were read into [`Inbox::space`].
    pub(crate) fn filled(&mut self, count: usize) {
        if count == self.current.len() && self.size == SMALL {
            self.size = LARGE;
        }
        let worth_it = count >= LARGE / 4 && self.current.len() == LARGE;
        if !worth_it || self.parked.len() >= MAX_PARKED {
            self.unread = Unread::Own { from: 0, to: count };
            return;
        }
        let whole = std::mem::take(&mut self.current).freeze();
        self.unread = Unread::Slice(whole.slice(..count));
        self.parked.push_back(whole);
    }

    /// Hands what was read to `handle`, which takes what it wants off the front.
    pub(crate) fn handle<T>(&mut self, handle: impl FnOnce(&mut Input<'_>) -> T) -> T {
        match &mut self.unread {
            Unread::Own { from, to } => {
                let mut input = Input::from(self.current.get(*from..*to).unwrap_or_default());
                let result = handle(&mut input);
                *from = *to - input.len();
                result
            }
            Unread::Slice(bytes) => {
                let mut input = Input::from(std::mem::take(bytes));
                let result = handle(&mut input);
                if let Input::Shared(rest) = input {
                    *bytes = rest;
                }
                result
            }
        }
    }

    /// A parked buffer that nobody holds any more, or a new one.
    fn replace(&mut self) {
        for _ in 0..self.parked.len() {
            let Some(parked) = self.parked.pop_front() else {
                break;
            };
            match parked.try_into_mut() {
                Ok(buffer) => {
                    self.current = buffer;
                    return;
                }
                Err(held) => self.parked.push_back(held),
            }
        }
        if self.size == LARGE && self.account.charge(LARGE).is_err() {
            self.size = SMALL;
        }
        if self.current.len() < self.size {
            self.current = BytesMut::zeroed(self.size);
        }
    }

    /// Nothing arrives at the moment: an idle connection holds no buffer for it.
    pub(crate) fn release_small(&mut self) {
        if self.size == SMALL {
            self.current = BytesMut::new();
        }
    }

    /// Gives the memory back, as far as nobody holds it.
    pub(crate) fn trim(&mut self) {
        if !self.is_empty() {
            return;
        }
        self.unread = Unread::Own { from: 0, to: 0 };
        self.current = BytesMut::new();
        self.size = SMALL;
        self.parked.retain(|parked| !parked.is_unique());
        self.parked.shrink_to_fit();
        let held = self.parked.len() * LARGE;
        self.account
            .refund(self.account.used().saturating_sub(held));
        self.account.trim();
    }
}
