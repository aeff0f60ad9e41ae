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

    /// About how many bytes it keeps alive until it is read, for those who bound them:
    /// [`Publisher::publish_within`]. Default: 0, only the number of events counts.
    fn size(&self) -> usize {
        0
    }
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
    /// [`Lag::size`] of all events.
    bytes: usize,
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
            bytes: 0,
            lost: 0,
            closed: queues.closed,
            waker: None,
        }));
        queues.list.push(Arc::downgrade(&queue));
        Subscription { queue }
    }

    /// Sends `event` to every subscription.
    pub fn publish(&self, event: &E) {
        self.publish_within(event, usize::MAX);
    }

    /// The same; a subscription that holds more than `bytes` with it ([`Lag::size`]) also loses
    /// its oldest events, though never this one.
    pub fn publish_within(&self, event: &E, bytes: usize) {
        drop(self.enqueue_within(event, bytes));
    }

    /// As [`publish`](Self::publish), for callers under a lock that decides what happened first:
    /// whoever waits for events is woken when the result is dropped, which is to be done after the
    /// lock.
    pub(crate) fn enqueue(&self, event: &E) -> Wake {
        self.enqueue_within(event, usize::MAX)
    }

    fn enqueue_within(&self, event: &E, bytes: usize) -> Wake {
        let size = event.size();
        let room = bytes.saturating_sub(size);
        Wake(lock(&self.queues).change(|queue| {
            while queue.events.len() >= queue.capacity || queue.bytes > room {
                if queue.pop().is_none() {
                    break;
                }
                queue.lost += 1;
            }
            queue.bytes = queue.bytes.saturating_add(size);
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

impl<E: Lag> Queue<E> {
    fn pop(&mut self) -> Option<E> {
        let event = self.events.pop_front()?;
        self.bytes = self.bytes.saturating_sub(event.size());
        Some(event)
    }
}

impl<E> Publisher<E> {
    /// Whether nobody is subscribed any more.
    pub fn is_idle(&self) -> bool {
        let queues = lock(&self.queues);
        queues.list.iter().all(|queue| queue.strong_count() == 0)
    }

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
        if let Some(event) = queue.pop() {
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

        fn size(&self) -> usize {
            match self {
                Self::Lost(_) => 0,
                Self::Number(number) => usize::from(*number),
            }
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
    fn a_subscriber_holds_so_many_bytes_and_always_the_newest_event() {
        let publisher = Publisher::default();
        let mut events = publisher.subscribe(100);
        for number in [40, 50, 30, 20] {
            publisher.publish_within(&Note::Number(number), 100);
        }
        assert_eq!(next(&mut events), Some(Note::Lost(1)));
        assert_eq!(next(&mut events), Some(Note::Number(50)));
        // What is read makes room.
        publisher.publish_within(&Note::Number(50), 100);
        publisher.publish_within(&Note::Number(101), 100);
        assert_eq!(next(&mut events), Some(Note::Lost(3)));
        assert_eq!(next(&mut events), Some(Note::Number(101)));
        assert_eq!(next(&mut events), None);
    }

    #[test]
    fn a_publisher_is_idle_without_subscriptions() {
        let publisher = Publisher::<Note>::default();
        assert!(publisher.is_idle());
        let events = publisher.subscribe(1);
        assert!(!publisher.is_idle());
        drop(events);
        assert!(publisher.is_idle());
    }

    #[test]
    fn dropped_subscribers_are_forgotten() {
        let publisher = Publisher::default();
        drop(publisher.subscribe(2));
        publisher.publish(&Note::Number(1));
        assert!(lock(&publisher.queues).list.is_empty());
    }
}
