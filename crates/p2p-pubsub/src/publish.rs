//! Our own messages, on their way into the router.
//!
//! ```text
//!   publish ──> line of the topic ──> sequence number, signature ──> router
//!                   ^                                                   │
//!                   └───────────── no room, or nobody there ────────────┘
//! ```
//!
//! Messages go out in the order of their sequence numbers, whatever they wait for: others take an
//! older number after a newer one for a replay. So whoever writes keeps the pen until the router
//! has the message, and writes it anew if somebody else's went out in the meantime. Signing is
//! done under that pen and not under the lock of the router.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::future::poll_fn;

use crate::router::{PublishError, Published};
use crate::state::{Shared, State};
use crate::{Author, Message, PublishFailed, Topic};

/// The author, and what of it went out.
pub(crate) struct Pen {
    author: Author,
    /// The highest sequence number that the router has taken.
    published: Option<Vec<u8>>,
}

/// Who waits to publish, by topic, in the order of coming.
#[derive(Default)]
pub(crate) struct Lines {
    by_topic: BTreeMap<Topic, VecDeque<Waiting>>,
    next: u64,
}

struct Waiting {
    number: u64,
    /// For a subscriber, not for room.
    nobody: bool,
}

/// One message to publish; dropping it leaves the line.
struct Sending<'a> {
    shared: &'a Shared,
    topic: Topic,
    data: &'a [u8],
    /// Also waits for a subscriber.
    patient: bool,
    message: Option<Arc<Message>>,
    place: Option<u64>,
}

impl Pen {
    pub(crate) fn new(author: Author) -> Self {
        Self {
            author,
            published: None,
        }
    }

    /// Whether a message with a higher number went out.
    fn is_late(&self, message: &Message) -> bool {
        match (message.seqno(), &self.published) {
            (Some(seqno), Some(published)) => seqno <= published.as_slice(),
            (None, _) | (_, None) => false,
        }
    }
}

impl Lines {
    /// Whether somebody who came before `place` must go first.
    fn is_behind(&self, topic: &Topic, place: Option<u64>, patient: bool) -> bool {
        let first = self.by_topic.get(topic).and_then(VecDeque::front);
        first.is_some_and(|first| Some(first.number) != place && (patient || !first.nobody))
    }

    fn wait(&mut self, topic: &Topic, place: &mut Option<u64>, nobody: bool) {
        let line = self.by_topic.entry(topic.clone()).or_default();
        let number = *place.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        match line.iter_mut().find(|waiting| waiting.number == number) {
            Some(waiting) => waiting.nobody = nobody,
            None => line.push_back(Waiting { number, nobody }),
        }
    }

    fn leave(&mut self, topic: &Topic, place: u64) {
        if let Some(line) = self.by_topic.get_mut(topic) {
            line.retain(|waiting| waiting.number != place);
            if line.is_empty() {
                self.by_topic.remove(topic);
            }
        }
    }
}

impl Shared {
    /// Publishes `data`; waits for room, and if `patient` also for a subscriber.
    pub(crate) async fn publish(
        &self,
        topic: Topic,
        data: &[u8],
        patient: bool,
    ) -> Result<Published, PublishFailed> {
        let mut sending = Sending {
            shared: self,
            topic,
            data,
            patient,
            message: None,
            place: None,
        };
        poll_fn(|cx| sending.poll(cx)).await
    }

    fn pen(&self) -> MutexGuard<'_, Pen> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Published, PublishFailed>> {
        if self.must_wait(cx) {
            return Poll::Pending;
        }
        let shared = self.shared;
        let mut pen = shared.pen();
        let message = match self.message.take().filter(|message| !pen.is_late(message)) {
            Some(message) => message,
            None => {
                let unix_time = shared.rt.unix_time();
                let written = pen.author.write(self.topic.clone(), self.data, unix_time);
                Arc::new(written?)
            }
        };
        let published = shared.step(|state, now| match state.router.publish(&message, now) {
            Err(PublishError::QueuesFull) => self.wait(state, cx, false),
            Err(PublishError::NoPeers) if self.patient => self.wait(state, cx, true),
            done => Poll::Ready(done),
        });
        match &published {
            Poll::Pending => self.message = Some(message),
            Poll::Ready(Ok(_)) => pen.published = message.seqno().map(<[u8]>::to_vec),
            Poll::Ready(Err(_)) => {}
        }
        published.map_err(PublishFailed::from)
    }

    /// Waits behind those who came first.
    fn must_wait(&mut self, cx: &Context<'_>) -> bool {
        let shared = self.shared;
        let mut state = shared.lock();
        if !state.lines.is_behind(&self.topic, self.place, self.patient) {
            return false;
        }
        self.wait::<()>(&mut state, cx, false).is_pending()
    }

    fn wait<T>(&mut self, state: &mut State, cx: &Context<'_>, nobody: bool) -> Poll<T> {
        state.lines.wait(&self.topic, &mut self.place, nobody);
        state.wait(cx)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else {
            return;
        };
        let waiting = {
            let mut state = self.shared.lock();
            state.lines.leave(&self.topic, place);
            state.changed()
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}
