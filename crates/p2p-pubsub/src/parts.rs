//! Partial messages for an application: a topic in which parts are sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use p2p_core::PeerId;
use p2p_swarm::{Lag, Publisher};

use crate::partial::{Partial, PartialError, PartialMode, PartialSent, Parts};
use crate::state::Shared;
use crate::{Pubsub, Subscription, Topic};

/// Parts of messages of a topic, as a [`Stream`] of [`PartsReceived`]. Dropping the last one of a
/// topic ends our part in its partial messages.
///
/// Who receives parts merges them into its own message and publishes that again: what others lack
/// goes out, and nothing goes out twice.
#[derive(Debug)]
pub struct PartsSubscription {
    whole: Subscription,
    parts: p2p_swarm::Subscription<PartsReceived>,
    held: Held,
}

/// What a [`PartsSubscription`] gives.
#[derive(Clone, Debug)]
pub enum PartsReceived {
    /// So many of the oldest were lost because they were not read in time.
    Lagged(u64),
    /// Parts, or which parts a peer has and wants.
    Parts(Arc<Parts>),
}

impl Lag for PartsReceived {
    fn lagged(lost: u64) -> Self {
        Self::Lagged(lost)
    }

    fn size(&self) -> usize {
        match self {
            Self::Lagged(_) => 0,
            Self::Parts(parts) => parts.len(),
        }
    }
}

/// A topic in which we send parts.
#[derive(Default)]
pub(crate) struct LocalParts {
    pub(crate) publisher: Arc<Publisher<PartsReceived>>,
    users: usize,
}

impl Pubsub {
    /// Joins a topic in which messages are sent in parts. The mode of the last call counts.
    ///
    /// With floodsub no parts ever come, and publishing them is
    /// [`PartialError::NotInTopic`].
    pub fn subscribe_parts(&self, topic: impl Into<Topic>, mode: PartialMode) -> PartsSubscription {
        let (topic, backlog) = (topic.into(), self.shared.config.subscriber_backlog);
        let parts = self.shared.step(|state, _| {
            state.router.set_partial(&topic, Some(mode));
            let entry = state.parts.entry(topic.clone()).or_default();
            entry.users += 1;
            entry.publisher.subscribe(backlog)
        });
        let held = Held {
            topic: topic.clone(),
            shared: Arc::clone(&self.shared),
        };
        PartsSubscription {
            whole: self.subscribe(topic),
            parts,
            held,
        }
    }
}

impl PartsSubscription {
    /// Sends what the peers in the topic lack, and what we have to those that do not know it.
    /// What does not fit into a peer's queue is counted; the next call tries again.
    ///
    /// # Errors
    /// [`PartialError`]
    pub fn publish(&self, partial: &dyn Partial) -> Result<PartialSent, PartialError> {
        let Held { topic, shared } = &self.held;
        shared.step(|state, _| state.router.publish_parts(topic, partial))
    }

    /// [`PartsSubscription::publish`] to these peers alone; those who are not connected or take no
    /// part in the partial messages of the topic are left out.
    ///
    /// The others of the topic hear of it by heartbeats, or when it is published to all.
    ///
    /// # Errors
    /// [`PartialError`]
    pub fn publish_to(
        &self,
        partial: &dyn Partial,
        peers: &[PeerId],
    ) -> Result<PartialSent, PartialError> {
        let Held { topic, shared } = &self.held;
        shared.step(|state, _| state.router.publish_parts_to(topic, partial, peers))
    }

    /// The whole messages of the topic, from peers that do not send parts.
    pub fn whole(&mut self) -> &mut Subscription {
        &mut self.whole
    }
}

impl Stream for PartsSubscription {
    type Item = PartsReceived;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PartsReceived>> {
        Pin::new(&mut self.parts).poll_next(cx)
    }
}

/// One user of the parts of a topic.
struct Held {
    topic: Topic,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.topic.fmt(f)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.step(|state, _| {
            let Some(entry) = state.parts.get_mut(&self.topic) else {
                return;
            };
            entry.users = entry.users.saturating_sub(1);
            if entry.users == 0 {
                state.parts.remove(&self.topic);
                state.router.set_partial(&self.topic, None);
            }
        });
    }
}
