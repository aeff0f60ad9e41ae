//! Who wrote and read what.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// One direction of a conversation: its number, and whether it goes from the dialer to the
/// listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    pub(crate) number: u64,
    pub(crate) forth: bool,
}

/// What is known of all conversations.
#[derive(Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Lengths of the directions that their writers have closed, or are about to.
    closed: BTreeMap<Way, u64>,
    ends: u64,
}

impl Ledger {
    /// A number for a new conversation.
    pub(crate) fn number(&self) -> u64 {
        let mut state = self.state.lock().expect("no panic under the lock");
        state.next += 1;
        state.next
    }

    /// The writer closes `way` behind `len` bytes.
    pub(crate) fn closing(&self, way: Way, len: u64) {
        let mut state = self.state.lock().expect("no panic under the lock");
        assert_eq!(state.closed.insert(way, len), None, "closed twice: {way:?}");
    }

    /// The reader saw a clean end of `way` behind `len` bytes.
    pub(crate) fn ended(&self, way: Way, len: u64) {
        let mut state = self.state.lock().expect("no panic under the lock");
        state.ends += 1;
        let closed = state.closed.get(&way).copied();
        drop(state);
        assert_eq!(closed, Some(len), "clean end of {way:?} after {len} bytes");
    }

    /// Clean ends that were read.
    pub(crate) fn ends(&self) -> u64 {
        self.state.lock().expect("no panic under the lock").ends
    }
}

impl Way {
    /// The byte at `at`.
    fn byte(self, at: u64) -> u8 {
        let mixed = self.number * 2 + u64::from(self.forth) + at / 8;
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[(at % 8) as usize]
    }

    /// The `len` bytes from `at` on.
    pub(crate) fn bytes(self, at: u64, len: usize) -> Vec<u8> {
        (at..at + len as u64).map(|at| self.byte(at)).collect()
    }

    /// Compares what was read behind `at` bytes.
    pub(crate) fn check(self, at: u64, read: &[u8]) {
        let expected = self.bytes(at, read.len());
        if let Some(place) = (0..read.len()).find(|place| read[*place] != expected[*place]) {
            let wrong = at + place as u64;
            let shown = &read[place..read.len().min(place + 16)];
            // A piece that got lost or came twice shows where it belongs.
            let from = (0..at + 2_000_000).find(|at| self.bytes(*at, shown.len()) == shown);
            panic!("{self:?} differs at byte {wrong}: {shown:x?}, which belong at {from:?}");
        }
    }
}
