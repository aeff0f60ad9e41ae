//! Whose turn it is to write when the staging buffer has no room.
//!
//! ```text
//!   writer without room ──► Turns: a, b, c ──► buffer taken: a and b begin ──► write
//! ```
//!
//! While others wait, a writer sends at most a quantum and goes to the end of the queue. Each time
//! the buffer is taken, only as many turns begin as are expected to fill it: whoever is woken finds
//! room.

use std::collections::VecDeque;

use crate::Key;

/// What a writer may send at a time while others wait, in bytes.
const QUANTUM: u32 = 16 * 1024;

/// The writers that wait for room, the longest first.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    waiting: VecDeque<Key>,
}

/// What a stream keeps of its turns.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// In [`Turns`].
    pub(crate) waits: bool,
    /// What it may send although others wait, in bytes.
    left: u32,
    /// What it will probably send in its next turn, in bytes.
    wanted: u32,
}

impl Turn {
    /// `count` bytes were sent.
    pub(crate) fn spend(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.left = self.left.saturating_sub(count);
    }

    /// The turn has come; returns how many bytes it will probably send.
    pub(crate) fn begin(&mut self) -> usize {
        self.waits = false;
        self.left = QUANTUM;
        self.wanted as usize
    }
}

impl Turns {
    /// How many of `wanted` bytes are fair to send now.
    pub(crate) fn share(&self, turn: &Turn, wanted: usize) -> usize {
        if self.waiting.is_empty() {
            wanted
        } else {
            wanted.min(turn.left as usize)
        }
    }

    /// Queues a writer of `wanted` bytes, unless it is in the queue.
    pub(crate) fn wait(&mut self, key: Key, turn: &mut Turn, wanted: usize) {
        if std::mem::replace(&mut turn.waits, true) {
            return;
        }
        if turn.left > 0 {
            // Woken too early: others were faster, but it was before them.
            self.waiting.push_front(key);
        } else {
            self.waiting.push_back(key);
        }
        let used_up = turn.left == 0 && turn.wanted > 0;
        turn.wanted = if used_up {
            QUANTUM
        } else {
            u32::try_from(wanted).unwrap_or(QUANTUM).min(QUANTUM)
        };
    }

    /// Takes the writer that has waited longest out of the queue; its turn is to
    /// [begin](Turn::begin).
    pub(crate) fn next(&mut self) -> Option<Key> {
        self.waiting.pop_front()
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets everybody.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Gives spare memory back.
    pub(crate) fn trim(&mut self) {
        self.waiting.shrink_to_fit();
    }
}
