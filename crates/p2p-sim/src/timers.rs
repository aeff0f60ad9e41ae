//! Virtual time: the queue of what will happen, and the timers of tasks.
//!
//! Entries are ordered by time, then by when they were queued. A timer that was moved to a later
//! time keeps its entry and is queued again when that comes up; a dropped one leaves a stale
//! entry behind, and the queue is swept when these become too many.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use p2p_core::{Instant, Timer};

use crate::net::Event;
use crate::slab::{Key, Slab};
use crate::trace::What;
use crate::world::{HostId, Nanos, State, World};

/// What will happen, and when.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    at: Nanos,
    order: u64,
    event: Event,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl Queue {
    pub(crate) fn push(&mut self, at: Nanos, event: Event) {
        let order = self.next;
        self.next += 1;
        self.heap.push(Reverse(Entry { at, order, event }));
    }

    pub(crate) fn next_at(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next event if it is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Nanos) -> Option<Event> {
        let Reverse(entry) = self.heap.peek()?;
        if entry.at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.event)
    }
}

/// The timers that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    slots: Slab<Slot>,
    /// Entries of the queue that no longer belong to a timer.
    stale: usize,
}

#[derive(Debug)]
struct Slot {
    host: HostId,
    wanted: Nanos,
    /// When the entry in the queue comes up, if there is one.
    queued: Option<Nanos>,
    waker: Option<Waker>,
}

impl Timers {
    /// Hosts of all timers that somebody waits for.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = HostId> {
        self.slots.iter().map(|(_, slot)| slot.host)
    }
}

/// Below this many, stale entries are not worth a sweep.
const SWEEP: usize = 4096;

impl State {
    fn timer_arm(&mut self, key: Option<Key>, host: HostId, at: Nanos, waker: &Waker) -> Key {
        let key = key.unwrap_or_else(|| {
            self.timers.slots.insert(Slot {
                host,
                wanted: at,
                queued: None,
                waker: None,
            })
        });
        let Some(slot) = self.timers.slots.get_mut(key) else {
            return key;
        };
        slot.wanted = at;
        let old = crate::world::register(&mut slot.waker, waker);
        let queue_at = match slot.queued {
            Some(queued) if queued <= at => None,
            // Nobody lives to see the end of time: such a timer does not count as armed.
            _ if at == Nanos::MAX => None,
            Some(_) => {
                self.timers.stale += 1;
                Some(at)
            }
            None => Some(at),
        };
        if let Some(at) = queue_at {
            slot.queued = Some(at);
            self.queue.push(at, Event::Timer { key, at });
        }
        self.retired.extend(old);
        key
    }

    fn timer_drop(&mut self, key: Key) {
        let Some(slot) = self.timers.slots.remove(key) else {
            return;
        };
        self.retired.extend(slot.waker);
        if slot.queued.is_none() {
            return;
        }
        self.timers.stale += 1;
        if self.timers.stale > SWEEP && self.timers.stale > self.queue.heap.len() / 2 {
            let slots = &self.timers.slots;
            self.queue.heap.retain(|Reverse(entry)| match entry.event {
                Event::Timer { key, at } => slots.get(key).is_some_and(|s| s.queued == Some(at)),
                _ => true,
            });
            self.timers.stale = 0;
        }
    }

    pub(crate) fn timer_fire(&mut self, key: Key, at: Nanos) {
        let slot = self.timers.slots.get_mut(key);
        let Some(slot) = slot.filter(|slot| slot.queued == Some(at)) else {
            self.timers.stale = self.timers.stale.saturating_sub(1);
            return;
        };
        slot.queued = None;
        if slot.wanted > self.now {
            if slot.wanted < Nanos::MAX {
                slot.queued = Some(slot.wanted);
                let (at, event) = (
                    slot.wanted,
                    Event::Timer {
                        key,
                        at: slot.wanted,
                    },
                );
                self.queue.push(at, event);
            }
            return;
        }
        let host = slot.host;
        self.wakes.extend(slot.waker.take());
        self.note(host, What::TimerFired);
    }
}

/// A timer of a task. Takes part in the queue from its first poll on.
pub(crate) struct SimTimer {
    world: Arc<World>,
    host: HostId,
    at: Nanos,
    key: Option<Key>,
}

impl SimTimer {
    pub(crate) fn new(world: Arc<World>, host: HostId, at: Instant) -> Self {
        Self {
            world,
            host,
            at: at.as_nanos(),
            key: None,
        }
    }

    fn disarm(&mut self) {
        if let Some(key) = self.key.take() {
            self.world.with(|state| state.timer_drop(key));
        }
    }
}

impl Future for SimTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.world.now() >= self.at {
            self.disarm();
            return Poll::Ready(());
        }
        let (key, host, at) = (self.key, self.host, self.at);
        let key = self
            .world
            .with(|state| state.timer_arm(key, host, at, cx.waker()));
        self.key = Some(key);
        Poll::Pending
    }
}

impl Timer for SimTimer {
    fn reset(&mut self, at: Instant) {
        self.at = at.as_nanos();
    }
}

impl Drop for SimTimer {
    fn drop(&mut self) {
        self.disarm();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::Config;
    use crate::Sim;

    #[test]
    fn dropped_timers_do_not_fill_the_queue() {
        let sim = Sim::new(1);
        let host = sim.host("a");
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..10 * SWEEP {
            let mut timer = host.rt().timer(Instant::from_nanos(1_000_000_000));
            assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
        }
        assert!(host.world.lock().queue.heap.len() <= SWEEP + 1);
        assert!(sim.census().is_empty());
    }

    #[test]
    fn moving_a_timer_later_again_and_again_queues_it_once() {
        let world = Arc::new(World::new(1, Config::default()));
        let mut timer = SimTimer::new(world.clone(), HostId(0), Instant::from_nanos(1000));
        let mut cx = Context::from_waker(Waker::noop());
        for at in 1001..2000 {
            assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
            timer.reset(Instant::from_nanos(at));
        }
        assert_eq!(world.lock().queue.heap.len(), 1);
    }
}
