//! What happened, for whoever wants to know.
//!
//! Each subscriber has a bounded queue of its own. Publishing never waits: a subscriber that does
//! not keep up loses the oldest events and is told how many.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use futures::Stream;

use crate::tasks::lock;

/// An event that can say how many others were lost.
pub trait Lag: Clone {
    /// "So many of the oldest events are lost."
    fn lagged(lost: u64) -> Self;
}

/// Sends every event to every [`Subscription`], without ever waiting.
///
/// ```
/// use futures::{FutureExt, StreamExt};
/// use p2p_swarm::{Lag, Publisher};
///
/// #[derive(Clone, Debug, PartialEq)]
/// enum Weather { Rain, Sun, Lagged(u64) }
/// impl Lag for Weather {
///     fn lagged(lost: u64) -> Self { Self::Lagged(lost) }
/// }
///
/// let publisher = Publisher::default();
/// let mut events = publisher.subscribe(1);
/// publisher.publish(&Weather::Rain);
/// publisher.publish(&Weather::Sun);
/// assert_eq!(events.next().now_or_never().flatten(), Some(Weather::Lagged(1)));
/// assert_eq!(events.next().now_or_never().flatten(), Some(Weather::Sun));
/// ```
pub struct Publisher<E> {
    queues: Mutex<Queues<E>>,
}

/// A subscription to events: a [`Stream`] that ends with its [`Publisher`].
pub struct Subscription<E> {
    queue: Arc<Mutex<Queue<E>>>,
}

struct Queues<E> {
    list: Vec<Weak<Mutex<Queue<E>>>>,
    /// Nothing more will be published.
    closed: bool,
}

struct Queue<E> {
    events: VecDeque<E>,
    capacity: usize,
    lost: u64,
    closed: bool,
    waker: Option<Waker>,
}

impl<E> Default for Publisher<E> {
    fn default() -> Self {
        Self {
            queues: Mutex::new(Queues {
                list: Vec::new(),
                closed: false,
            }),
        }
    }
}

impl<E: Lag> Publisher<E> {
    /// A subscription to what is published from now on, which keeps at most `capacity` events
    /// (at least one) until they are read.
    pub fn subscribe(&self, capacity: usize) -> Subscription<E> {
        let mut queues = lock(&self.queues);
        let queue = Arc::new(Mutex::new(Queue {
            events: VecDeque::new(),
            capacity: capacity.max(1),
            lost: 0,
            closed: queues.closed,
            waker: None,
        }));
        queues.list.push(Arc::downgrade(&queue));
        Subscription { queue }
    }

    /// Sends `event` to every subscription.
    pub fn publish(&self, event: &E) {
        drop(self.enqueue(event));
    }

    /// The same, for callers under a lock that decides what happened first: whoever waits for
    /// events is woken when the result is dropped, which is to be done after the lock.
    pub(crate) fn enqueue(&self, event: &E) -> Wake {
        Wake(lock(&self.queues).change(|queue| {
            if queue.events.len() >= queue.capacity {
                queue.events.pop_front();
                queue.lost += 1;
            }
            queue.events.push_back(event.clone());
        }))
    }
}

/// Who is to be woken: when this is dropped.
#[must_use = "dropping it wakes, which nobody may do under a lock"]
pub(crate) struct Wake(Vec<Waker>);

impl Drop for Wake {
    fn drop(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake();
        }
    }
}

impl<E> Publisher<E> {
    /// Ends every subscription once it is read to its end.
    pub fn close(&self) {
        let mut queues = lock(&self.queues);
        queues.closed = true;
        let woken = Wake(queues.change(|queue| queue.closed = true));
        queues.list.clear();
        drop(queues);
        drop(woken);
    }
}

impl<E> Queues<E> {
    /// Changes every queue that still has a reader; returns who must be woken.
    fn change(&mut self, mut change: impl FnMut(&mut Queue<E>)) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.list.retain(|queue| {
            let Some(queue) = queue.upgrade() else {
                return false;
            };
            let mut queue = lock(&queue);
            change(&mut queue);
            wakers.extend(queue.waker.take());
            true
        });
        wakers
    }
}

impl<E> Drop for Publisher<E> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<E: Lag> Stream for Subscription<E> {
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        let mut queue = lock(&self.queue);
        if queue.lost > 0 {
            return Poll::Ready(Some(E::lagged(std::mem::take(&mut queue.lost))));
        }
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<E> fmt::Debug for Publisher<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publisher")
    }
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::StreamExt;

    #[derive(Clone, Debug, PartialEq)]
    enum Note {
        Lost(u64),
        Number(u16),
    }

    impl Lag for Note {
        fn lagged(lost: u64) -> Self {
            Self::Lost(lost)
        }
    }

    fn next(events: &mut Subscription<Note>) -> Option<Note> {
        events.next().now_or_never().flatten()
    }

    #[test]
    fn a_slow_subscriber_is_told_how_much_it_missed() {
        let publisher = Publisher::default();
        let mut events = publisher.subscribe(2);
        for number in 1..=5 {
            publisher.publish(&Note::Number(number));
        }
        drop(publisher);

        assert_eq!(next(&mut events), Some(Note::Lost(3)));
        assert_eq!(next(&mut events), Some(Note::Number(4)));
        assert_eq!(next(&mut events), Some(Note::Number(5)));
        assert!(events.next().now_or_never().unwrap().is_none());
    }

    #[test]
    fn whoever_subscribes_after_the_end_is_told_so() {
        let publisher = Publisher::<Note>::default();
        publisher.close();
        let mut events = publisher.subscribe(2);
        assert!(events.next().now_or_never().unwrap().is_none());
    }

    #[test]
    fn dropped_subscribers_are_forgotten() {
        let publisher = Publisher::default();
        drop(publisher.subscribe(2));
        publisher.publish(&Note::Number(1));
        assert!(lock(&publisher.queues).list.is_empty());
    }
}
