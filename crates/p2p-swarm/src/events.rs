//! What happened, for whoever wants to know.
//!
//! Each subscriber has a bounded queue of its own. Publishing never waits: a subscriber that does
//! not keep up loses the oldest events and is told how many.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use p2p_core::{ConnectionEnd, Multiaddr, PeerId};

use crate::tasks::lock;
use crate::{ConnectionId, ConnectionInfo, DialError, UpgradeError};

/// Something that happened in a swarm.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection is ready for streams.
    Connected {
        /// What is known of it.
        info: Box<ConnectionInfo>,
    },
    /// A dial failed at every address.
    DialFailed {
        /// Who was dialed, if known.
        peer: Option<PeerId>,
        /// Why, address by address.
        error: DialError,
    },
    /// A connection ended.
    Disconnected {
        /// With whom.
        peer: PeerId,
        /// Which one.
        connection: ConnectionId,
        /// Why.
        end: ConnectionEnd,
        /// Connections with this peer that are left.
        remaining: usize,
    },
    /// An incoming connection was refused or failed before it was ready.
    IncomingFailed {
        /// Where it came from.
        remote: Multiaddr,
        /// Why.
        error: Arc<UpgradeError>,
    },
    /// This subscriber did not read fast enough; so many of the oldest events are lost. Ask the
    /// swarm for its current state.
    Lagged(u64),
    /// We can be reached at a new address.
    ListenAddr(Multiaddr),
    /// We can no longer be reached at an address.
    ListenAddrGone(Multiaddr),
    /// The set of protocols that we answer changed.
    ProtocolsChanged,
}

/// A subscription to the events of a swarm: a [`Stream`] that ends with the swarm.
pub struct Events {
    queue: Arc<Mutex<Queue>>,
}

struct Queue {
    events: VecDeque<Event>,
    capacity: usize,
    lagged: u64,
    closed: bool,
    waker: Option<Waker>,
}

#[derive(Default)]
pub(crate) struct Publisher {
    queues: Mutex<Vec<Weak<Mutex<Queue>>>>,
}

impl Publisher {
    pub(crate) fn subscribe(&self, capacity: usize) -> Events {
        let queue = Arc::new(Mutex::new(Queue {
            events: VecDeque::new(),
            capacity: capacity.max(1),
            lagged: 0,
            closed: false,
            waker: None,
        }));
        lock(&self.queues).push(Arc::downgrade(&queue));
        Events { queue }
    }

    pub(crate) fn publish(&self, event: &Event) {
        self.for_each(|queue| {
            if queue.events.len() >= queue.capacity {
                queue.events.pop_front();
                queue.lagged += 1;
            }
            queue.events.push_back(event.clone());
        });
    }

    /// Ends every subscription once it is read to its end.
    pub(crate) fn close(&self) {
        self.for_each(|queue| queue.closed = true);
        lock(&self.queues).clear();
    }

    fn for_each(&self, mut change: impl FnMut(&mut Queue)) {
        let mut wakers = Vec::new();
        lock(&self.queues).retain(|queue| {
            let Some(queue) = queue.upgrade() else {
                return false;
            };
            let mut queue = lock(&queue);
            change(&mut queue);
            wakers.extend(queue.waker.take());
            true
        });
        for waker in wakers {
            waker.wake();
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut queue = lock(&self.queue);
        if queue.lagged > 0 {
            return Poll::Ready(Some(Event::Lagged(std::mem::take(&mut queue.lagged))));
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::StreamExt;

    fn next(events: &mut Events) -> Option<Event> {
        events.next().now_or_never().flatten()
    }

    #[test]
    fn a_slow_subscriber_is_told_how_much_it_missed() {
        let publisher = Publisher::default();
        let mut events = publisher.subscribe(2);
        let addr = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
        for port in 1..=5 {
            publisher.publish(&Event::ListenAddr(addr(port)));
        }
        publisher.close();

        assert!(matches!(next(&mut events), Some(Event::Lagged(3))));
        assert!(matches!(next(&mut events), Some(Event::ListenAddr(a)) if a == addr(4)));
        assert!(matches!(next(&mut events), Some(Event::ListenAddr(a)) if a == addr(5)));
        assert!(events.next().now_or_never().unwrap().is_none());
    }

    #[test]
    fn dropped_subscribers_are_forgotten() {
        let publisher = Publisher::default();
        drop(publisher.subscribe(2));
        publisher.publish(&Event::ProtocolsChanged);
        assert!(lock(&publisher.queues).is_empty());
    }
}
