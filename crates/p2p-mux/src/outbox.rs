//! The one buffer in which frames wait to be sent.

use std::ops::Range;

use crate::copy::append;
use crate::{Account, Key};

/// Frames are accepted up to this size even if the budget has no room, so that a connection
/// always moves on. In bytes.
const UNPAID: usize = 2 * 1024;
/// The first allocation, in bytes.
const FIRST: usize = 1024;

/// The staging buffer: frames in the order they will be sent.
///
/// Payload is copied here once, when the application writes it. Small writes to the same stream
/// become one frame: as long as the stream's frame is the last one, it grows.
#[derive(Debug)]
pub struct Outbox {
    bytes: Vec<u8>,
    tail: Option<Tail>,
    limit: usize,
    /// Paid for this and the driver's buffer together.
    charged: usize,
}

/// The last frame, if payload can still be added to it.
#[derive(Debug)]
struct Tail {
    key: Key,
    /// Where its length field is.
    length: Range<usize>,
    payload: usize,
}

impl Outbox {
    /// An outbox that takes payload while it holds less than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            tail: None,
            limit,
            charged: 0,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes of payload and headers still fit.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// Makes room for `wanted` bytes, or for as many as limit and budget allow; returns how many.
    pub fn reserve(&mut self, wanted: usize, account: &mut Account) -> usize {
        let wanted = wanted.min(self.room());
        let needed = self.bytes.len() + wanted;
        let capacity = self.bytes.capacity();
        if needed <= capacity {
            return wanted;
        }
        let grown = needed.next_power_of_two().max(FIRST);
        if account.charge(grown - capacity).is_ok() {
            self.charged += grown - capacity;
            self.bytes.reserve_exact(grown - self.bytes.len());
            return wanted;
        }
        wanted.min(UNPAID.saturating_sub(self.bytes.len()))
    }

    /// Payload bytes in the last frame, if that is `key`'s and nothing came behind it.
    pub fn tail(&self, key: Key) -> Option<usize> {
        let tail = self.tail.as_ref().filter(|tail| tail.key == key)?;
        Some(tail.payload)
    }

    /// Adds `payload` to the last frame, whose length field becomes `length`.
    pub fn extend_tail(&mut self, length: &[u8], payload: &[u8]) {
        let Some(tail) = &mut self.tail else {
            debug_assert!(false, "no frame to extend");
            return;
        };
        match self.bytes.get_mut(tail.length.clone()) {
            Some(field) if field.len() == length.len() => field.copy_from_slice(length),
            Some(_) | None => {
                self.bytes
                    .splice(tail.length.clone(), length.iter().copied());
                tail.length.end = tail.length.start + length.len();
            }
        }
        tail.payload += payload.len();
        append(&mut self.bytes, payload);
    }

    /// The stream behind `key` is gone: whoever gets the key next has nothing to do with its frames.
    pub(crate) fn forget(&mut self, key: Key) {
        self.tail.take_if(|tail| tail.key == key);
    }

    /// Adds a frame with payload: `prefix`, the `length` field, `payload`.
    pub fn push(&mut self, key: Key, prefix: &[u8], length: &[u8], payload: &[u8]) {
        self.bytes.extend_from_slice(prefix);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(length);
        let length = at..self.bytes.len();
        append(&mut self.bytes, payload);
        let payload = payload.len();
        self.tail = Some(Tail {
            key,
            length,
            payload,
        });
    }

    /// Adds a frame without payload. Not limited: whoever owes control frames bounds them.
    pub fn push_control(&mut self, frame: &[u8]) {
        self.tail = None;
        self.bytes.extend_from_slice(frame);
    }

    /// Swaps the contents with `out`, which must be empty.
    pub fn swap(&mut self, out: &mut Vec<u8>) {
        debug_assert!(out.is_empty(), "output not sent yet");
        self.tail = None;
        std::mem::swap(&mut self.bytes, out);
    }

    /// Gives the memory of an empty outbox back, and what was paid for the driver's buffer.
    pub fn trim(&mut self, account: &mut Account) {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
            account.refund(std::mem::take(&mut self.charged));
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, account: &mut Account) {
        self.tail = None;
        self.bytes.clear();
        self.trim(account);
    }
}
