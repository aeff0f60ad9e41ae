//! A router on a swarm.
//!
//! The router is behind a lock that is never held across an await. Each peer has two tasks: one
//! writes what waits for it, one reads its RPCs and has its messages checked, one RPC after the
//! other, so that a peer which sends much waits for itself and for nobody else.

use std::collections::VecDeque;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::Stream;
use futures::future::{Either, poll_fn, select};
use p2p_core::{Blame, Budget, Instant, PeerId};
use p2p_keys::{Keypair, SignError};
use p2p_swarm::{HandleError, HandlerOptions, Lag, Swarm};

use crate::check::Pool;
use crate::config::Config;
use crate::records::Records;
use crate::router::{PublishError, Published, Router, Stats};
use crate::state::Shared;
use crate::trace::Traced;
use crate::validator::Validator;
use crate::{
    Author, ConfigError, Floodsub, GossipConfig, Gossipsub, Message, MessageId, ParamError,
    SignaturePolicy, Topic, TopicParams, session,
};

/// What pubsub runs on: a swarm, and in whose name messages are written.
///
/// Implemented by the facade's host, and by a pair of both for a swarm on its own.
pub trait Node {
    /// The swarm.
    fn swarm(&self) -> &Swarm;

    /// The key pair that signs our messages.
    fn identity(&self) -> &Keypair;

    /// The signed records of its peers, which [`GossipConfig::peer_exchange`] passes on. Default:
    /// none; those who are told of a peer must know where it is.
    fn records(&self) -> Option<Records> {
        None
    }
}

impl Node for (Swarm, Keypair) {
    fn swarm(&self) -> &Swarm {
        &self.0
    }

    fn identity(&self) -> &Keypair {
        &self.1
    }
}

/// Publish and subscribe on a swarm. Cheap to clone; does not keep its swarm alive.
#[derive(Clone)]
pub struct Pubsub {
    pub(crate) shared: Arc<Shared>,
}

/// Messages of a topic, as a [`Stream`] of [`Received`]. The last one of a topic that is dropped
/// leaves the topic.
pub struct Subscription {
    topic: Topic,
    messages: p2p_swarm::Subscription<Received>,
    shared: Arc<Shared>,
}

/// What a [`Subscription`] gives.
#[derive(Clone, Debug)]
pub enum Received {
    /// So many of the oldest messages were lost because they were not read in time.
    Lagged(u64),
    /// A message.
    Message {
        /// Its id.
        id: MessageId,
        /// Who sent it to us first; its author is in the message.
        from: PeerId,
        /// The message.
        message: Arc<Message>,
    },
}

impl Lag for Received {
    fn lagged(lost: u64) -> Self {
        Self::Lagged(lost)
    }

    fn size(&self) -> usize {
        match self {
            Self::Lagged(_) => 0,
            Self::Message { message, .. } => message.raw().len(),
        }
    }
}

/// The peers in a topic, as a [`Stream`] of [`Presence`]: first those that are there already.
pub struct Subscribers {
    present: VecDeque<PeerId>,
    changes: p2p_swarm::Subscription<Presence>,
}

/// A change of who is in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// This peer is in the topic.
    Joined(PeerId),
    /// So many changes were lost because they were not read in time: ask [`Pubsub::peers`].
    Lagged(u64),
    /// This peer left the topic, or left altogether.
    Left(PeerId),
}

impl Lag for Presence {
    fn lagged(lost: u64) -> Self {
        Self::Lagged(lost)
    }
}

/// What a [`Pubsub`] holds of others at one moment: nothing once its swarm has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Peers that have a session, or that a stream is being opened to.
    pub sessions: usize,
    /// Those of them that the router sends to.
    pub connected: usize,
}

/// What is done and why, as a stream of [`Traced`].
pub type Traces = p2p_swarm::Subscription<Traced>;

/// Why [`Pubsub`] could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The swarm has a handler for one of the protocols already.
    #[error(transparent)]
    Handle(#[from] HandleError),
}

impl StartError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishFailed {
    /// The router did not take it.
    #[error(transparent)]
    Router(#[from] PublishError),
    /// It could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl PublishFailed {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Router(error) => error.blame(),
            Self::Sign(_) => Blame::Us,
        }
    }
}

impl Pubsub {
    /// Gossipsub on `node`.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn gossip(node: &impl Node, config: GossipConfig) -> Result<Self, StartError> {
        let (swarm, base) = (node.swarm(), config.base.clone());
        let rt = swarm.rt();
        let seed = u64::from_be_bytes(rt.random());
        let budget = budget(swarm.budget(), &base);
        let records = match config.peer_exchange {
            true => node.records(),
            false => None,
        };
        let (peer, now) = (swarm.local_peer(), rt.now());
        let router = Gossipsub::new(peer, config, budget.clone(), seed, now)?;
        Ok(Self::start(node, base, Box::new(router), budget, records)?)
    }

    /// Floodsub on `node`.
    ///
    /// # Errors
    /// [`StartError::Handle`]
    pub fn flood(node: &impl Node, config: Config) -> Result<Self, StartError> {
        let swarm = node.swarm();
        let seed = u64::from_be_bytes(swarm.rt().random());
        let budget = budget(swarm.budget(), &config);
        let router = Floodsub::new(swarm.local_peer(), config.clone(), budget.clone(), seed);
        Ok(Self::start(node, config, Box::new(router), budget, None)?)
    }

    fn start(
        node: &impl Node,
        config: Config,
        router: Box<dyn Router>,
        budget: Budget,
        records: Option<Records>,
    ) -> Result<Self, HandleError> {
        let swarm = node.swarm();
        let protocols = router.protocols();
        let author = match config.policy {
            SignaturePolicy::StrictSign | SignaturePolicy::Lax => {
                Author::signing(node.identity().clone())
            }
            SignaturePolicy::StrictNoSign => Author::anonymous(),
        };
        let workers = config.verify_workers;
        let lookup = records.as_ref().map(|records| Arc::clone(&records.lookup));
        let shared = Arc::new(Shared::new(swarm, config, router, author, budget, lookup));
        for protocol in protocols {
            let shared = Arc::clone(&shared);
            // One, and a second that replaces it.
            let options = HandlerOptions::default().max_streams(2);
            swarm.handle_with(protocol, options, move |stream| {
                session::serve(Arc::clone(&shared), stream)
            })?;
        }
        let watcher = Arc::clone(&shared);
        swarm.watch_connections("pubsub", move |connection| {
            session::talk(Arc::clone(&watcher), connection)
        });
        swarm.spawn("pubsub clock", tick(Arc::clone(&shared)));
        if let Some(records) = records {
            swarm.spawn("pubsub records", records.run(Arc::clone(&shared)));
        }
        for _ in 0..workers {
            swarm.spawn("pubsub check", Pool::work(Arc::clone(&shared)));
        }
        Ok(Self { shared })
    }

    /// Joins a topic. Several subscriptions to one topic each get every message.
    pub fn subscribe(&self, topic: impl Into<Topic>) -> Subscription {
        let (topic, backlog) = (topic.into(), self.shared.config.subscriber_backlog);
        let messages = self.shared.step(|state, now| {
            state.router.subscribe(&topic, now);
            let entry = state.topics.entry(topic.clone()).or_default();
            entry.users += 1;
            entry.publisher.subscribe(backlog)
        });
        Subscription {
            topic,
            messages,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Publishes `data` in `topic`; waits while every peer that should get it has a full queue.
    /// Those who wait in one topic have their turn in the order of coming: a call that is neither
    /// polled nor dropped holds up those behind it.
    ///
    /// Cancel-safe: a dropped call has published nothing.
    ///
    /// # Errors
    /// [`PublishFailed`], such as [`PublishError::NoPeers`].
    pub async fn publish(
        &self,
        topic: impl Into<Topic>,
        data: impl AsRef<[u8]>,
    ) -> Result<Published, PublishFailed> {
        let topic = topic.into();
        self.shared.publish(topic, data.as_ref(), false).await
    }

    /// The same, but also waits while nobody is in the topic.
    ///
    /// Has no deadline of its own. Cancel-safe: a dropped call has published nothing.
    ///
    /// # Errors
    /// [`PublishFailed`], but never [`PublishError::NoPeers`].
    pub async fn publish_when_ready(
        &self,
        topic: impl Into<Topic>,
        data: impl AsRef<[u8]>,
    ) -> Result<Published, PublishFailed> {
        let topic = topic.into();
        self.shared.publish(topic, data.as_ref(), true).await
    }

    /// Has every message of `topic` judged before it is delivered and forwarded; replaces an
    /// earlier validator. Our own messages are not judged.
    pub fn set_validator(&self, topic: impl Into<Topic>, validator: Validator) {
        let topic = topic.into();
        self.shared.lock().validators.insert(topic, validator);
    }

    /// Takes the validator of `topic` away; messages under way are still judged by it.
    pub fn remove_validator(&self, topic: impl Into<Topic>) {
        self.shared.lock().validators.remove(&topic.into());
    }

    /// The connected peers in `topic`.
    pub fn peers(&self, topic: impl Into<Topic>) -> Vec<PeerId> {
        self.shared.lock().router.topic_peers(&topic.into())
    }

    /// The peers that get messages of `topic` at once: the mesh of gossipsub, everybody for
    /// floodsub.
    pub fn mesh(&self, topic: impl Into<Topic>) -> Vec<PeerId> {
        self.shared.lock().router.mesh_peers(&topic.into())
    }

    /// The score of a peer; 0 if it is not known or nothing is scored.
    pub fn score(&self, peer: &PeerId) -> f64 {
        self.shared.lock().router.score_of_peer(peer)
    }

    /// P5: what the application thinks of a connected peer.
    pub fn set_application_score(&self, peer: &PeerId, score: f64) {
        let mut state = self.shared.lock();
        state.router.set_application_score(peer, score);
    }

    /// Replaces the score parameters of a topic. Does nothing without
    /// [`GossipConfig::scoring`](GossipConfig).
    ///
    /// # Errors
    /// [`ParamError`]; nothing has changed.
    pub fn set_topic_params(
        &self,
        topic: impl Into<Topic>,
        params: TopicParams,
    ) -> Result<(), ParamError> {
        let mut state = self.shared.lock();
        state.router.set_topic_params(topic.into(), params)
    }

    /// The signed peer record of a connected peer, for nodes without [`Node::records`]: what
    /// peer exchange passes on. One longer than 4 KiB is not kept.
    pub fn set_record(&self, peer: &PeerId, record: Bytes) {
        self.shared.lock().router.set_record(peer, record);
    }

    /// Takes no more messages from a peer or by it, or takes them again.
    pub fn block(&self, peer: PeerId, blocked: bool) {
        self.shared.lock().router.block(peer, blocked);
    }

    /// What is done from now on, and why. Costs nothing before it is asked for and after it is
    /// dropped; bounded by [`Config::trace_backlog`].
    pub fn traces(&self) -> Traces {
        let mut state = self.shared.lock();
        state.router.set_trace(true);
        let publisher = state.traces.get_or_insert_with(Arc::default);
        publisher.subscribe(self.shared.config.trace_backlog)
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        self.shared.lock().router.stats().clone()
    }

    /// What is held of others now.
    pub fn usage(&self) -> Usage {
        let state = self.shared.lock();
        Usage {
            sessions: state.peers.len(),
            connected: state.router.connected(),
        }
    }
}

impl Stream for Subscription {
    type Item = Received;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        Pin::new(&mut self.messages).poll_next(cx)
    }
}

impl Subscription {
    /// Its topic.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The same as [`Pubsub::publish`] in this topic.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`PublishFailed`]
    pub async fn publish(&self, data: impl AsRef<[u8]>) -> Result<Published, PublishFailed> {
        self.pubsub().publish(self.topic.clone(), data).await
    }

    /// The same as [`Pubsub::publish_when_ready`] in this topic.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`PublishFailed`]
    pub async fn publish_when_ready(
        &self,
        data: impl AsRef<[u8]>,
    ) -> Result<Published, PublishFailed> {
        let topic = self.topic.clone();
        self.pubsub().publish_when_ready(topic, data).await
    }

    /// Who else is in the topic: those that are there now, then every change. Ends with the last
    /// subscription of the topic.
    pub fn subscribers(&self) -> Subscribers {
        let mut state = self.shared.lock();
        let present = state.router.topic_peers(&self.topic).into();
        let local = state.topics.entry(self.topic.clone()).or_default();
        let backlog = self.shared.config.subscriber_backlog;
        Subscribers {
            present,
            changes: local.presence.subscribe(backlog),
        }
    }

    fn pubsub(&self) -> Pubsub {
        let shared = Arc::clone(&self.shared);
        Pubsub { shared }
    }
}

impl Stream for Subscribers {
    type Item = Presence;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Presence>> {
        match self.present.pop_front() {
            Some(peer) => Poll::Ready(Some(Presence::Joined(peer))),
            None => Pin::new(&mut self.changes).poll_next(cx),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.step(|state, now| {
            let Some(entry) = state.topics.get_mut(&self.topic) else {
                return;
            };
            entry.users = entry.users.saturating_sub(1);
            if entry.users == 0 {
                state.topics.remove(&self.topic);
                state.router.unsubscribe(&self.topic, now);
            }
        });
    }
}

impl fmt::Debug for Pubsub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pubsub").finish_non_exhaustive()
    }
}

impl fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribers").finish_non_exhaustive()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.topic).finish()
    }
}

/// Tells the router the time until the swarm ends.
async fn tick(shared: Arc<Shared>) {
    loop {
        let due = shared.lock().router.poll_timeout();
        let Some(due) = due else {
            return;
        };
        let asleep = pin!(shared.rt.sleep_until(due));
        if let Either::Right(_) = select(asleep, due_before(&shared, due)).await {
            continue;
        }
        let waiting = shared.step(|state, now| {
            state.router.handle_timeout(now);
            state.changed()
        });
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Waits until the router wants to know the time before `due`.
fn due_before(shared: &Shared, due: Instant) -> impl Future<Output = ()> + Unpin {
    poll_fn(move |cx| {
        let mut state = shared.lock();
        if state.router.poll_timeout().is_some_and(|new| new < due) {
            return Poll::Ready(());
        }
        state.clock = Some((due, cx.waker().clone()));
        Poll::Pending
    })
}

pub(crate) fn budget(swarm: &Budget, config: &Config) -> Budget {
    swarm.child("messages of pubsub", "memory_budget", config.memory_budget)
}
