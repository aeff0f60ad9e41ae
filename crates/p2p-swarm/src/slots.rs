//! A counter that one can wait on: first come, first served.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::tasks::lock;

/// A fixed number of slots. Cheap to clone; clones are the same slots.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Mutex<State>>);

struct State {
    free: usize,
    next_ticket: u64,
    /// Who waits, in order. Invariant: if a slot is free, the first has been woken.
    waiting: BTreeMap<u64, Waker>,
}

/// One place among a limited number. Dropping it frees it.
pub struct Slot(Slots);

impl Slots {
    pub(crate) fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free,
            next_ticket: 0,
            waiting: BTreeMap::new(),
        })))
    }

    /// Waits for a free slot.
    ///
    /// Cancel-safe.
    pub(crate) fn take(&self) -> Take {
        Take {
            slots: self.clone(),
            ticket: None,
        }
    }

    /// Changes the state, then wakes whoever is first if it can go on.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, first) = {
            let mut state = lock(&self.0);
            let result = change(&mut state);
            let first = state.waiting.values().next().filter(|_| state.free > 0);
            (result, first.cloned())
        };
        if let Some(waker) = first {
            waker.wake();
        }
        result
    }
}

/// Waiting for a slot.
pub(crate) struct Take {
    slots: Slots,
    ticket: Option<u64>,
}

impl Future for Take {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        let mine = self.ticket;
        let waiting = self.slots.change(|state| {
            let ahead = match (state.waiting.keys().next(), mine) {
                (Some(first), Some(mine)) => *first < mine,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if state.free > 0 && !ahead {
                state.free -= 1;
                if let Some(mine) = mine {
                    state.waiting.remove(&mine);
                }
                return None;
            }
            let ticket = mine.unwrap_or(state.next_ticket);
            if mine.is_none() {
                state.next_ticket += 1;
            }
            state.waiting.insert(ticket, cx.waker().clone());
            Some(ticket)
        });
        self.ticket = waiting;
        if waiting.is_some() {
            return Poll::Pending;
        }
        Poll::Ready(Slot(self.slots.clone()))
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.slots.change(|state| state.waiting.remove(&ticket));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.change(|state| state.free += 1);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::task::noop_waker_ref;
    use proptest::prelude::*;

    fn poll(take: &mut Take) -> Option<Slot> {
        match take.poll_unpin(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(slot) => Some(slot),
            Poll::Pending => None,
        }
    }

    #[test]
    fn slots_go_to_whoever_waits_longest() {
        let slots = Slots::new(1);
        let held = poll(&mut slots.take()).unwrap();
        let (mut first, mut second) = (slots.take(), slots.take());
        assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
        drop(held);
        assert!(poll(&mut slots.take()).is_none(), "no pushing in");
        assert!(poll(&mut second).is_none(), "not its turn");
        let held = poll(&mut first).unwrap();
        drop(held);
        assert!(poll(&mut second).is_some());
    }

    #[test]
    fn whoever_gives_up_waiting_passes_its_turn_on() {
        let slots = Slots::new(1);
        let held = poll(&mut slots.take()).unwrap();
        let (mut first, mut second) = (slots.take(), slots.take());
        assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
        drop(held);
        drop(first);
        assert!(poll(&mut second).is_some());
    }

    proptest! {
        #[test]
        fn no_slot_is_lost_or_made(ops in proptest::collection::vec((0u8..4, 0usize..8), 0..200)) {
            let slots = Slots::new(3);
            let mut takes: Vec<Take> = Vec::new();
            let mut held: Vec<Slot> = Vec::new();
            for (op, at) in ops {
                match op {
                    0 => takes.push(slots.take()),
                    1 if at < takes.len() => if let Some(slot) = poll(&mut takes[at]) {
                        held.push(slot);
                        takes.remove(at);
                    },
                    2 if at < takes.len() => { takes.remove(at); }
                    3 if at < held.len() => { held.remove(at); }
                    _ => {}
                }
                prop_assert!(held.len() <= 3);
                prop_assert_eq!(lock(&slots.0).free + held.len(), 3);
            }
            takes.clear();
            held.clear();
            let state = lock(&slots.0);
            prop_assert_eq!((state.free, state.waiting.len()), (3, 0));
        }
    }
}
