//! A router on a swarm.
//!
//! The router is behind a lock that is never held across an await. Each peer has two tasks: one
//! writes what waits for it, one reads its RPCs and checks its messages, one after the other, so
//! that a peer which sends much waits for itself and for nobody else.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::Stream;
use futures::future::{AbortHandle, poll_fn};
use p2p_core::{Blame, Budget, Instant, PeerId, Rt};
use p2p_keys::{Keypair, PeerRecord, SignError};
use p2p_swarm::{HandleError, HandlerOptions, Lag, Publisher, Swarm, WeakSwarm};

use crate::config::Config;
use crate::router::{Output, PublishError, Published, Router, Stats, Ticket, Verdict};
use crate::{
    Author, ConfigError, Floodsub, GossipConfig, Gossipsub, Message, MessageId, SignaturePolicy,
    Topic, session,
};

/// Publish and subscribe on a swarm. Cheap to clone; does not keep its swarm alive.
#[derive(Clone)]
pub struct Pubsub {
    shared: Arc<Shared>,
}

/// Messages of a topic, as a [`Stream`]. The last one of a topic that is dropped leaves the topic.
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
}

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
    /// Gossipsub on `swarm`; messages are written in the name of `identity`.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn gossip(
        swarm: &Swarm,
        identity: Keypair,
        config: GossipConfig,
    ) -> Result<Self, StartError> {
        let (rt, base) = (swarm.rt(), config.base.clone());
        let seed = u64::from_be_bytes(rt.random());
        let budget = budget(&base);
        let router = Gossipsub::new(swarm.local_peer(), config, budget, seed, rt.now())?;
        Ok(Self::start(swarm, identity, base, Box::new(router))?)
    }

    /// Floodsub on `swarm`; messages are written in the name of `identity`.
    ///
    /// # Errors
    /// [`StartError::Handle`]
    pub fn flood(swarm: &Swarm, identity: Keypair, config: Config) -> Result<Self, StartError> {
        let seed = u64::from_be_bytes(swarm.rt().random());
        let budget = budget(&config);
        let router = Floodsub::new(swarm.local_peer(), config.clone(), budget, seed);
        Ok(Self::start(swarm, identity, config, Box::new(router))?)
    }

    fn start(
        swarm: &Swarm,
        identity: Keypair,
        config: Config,
        router: Box<dyn Router>,
    ) -> Result<Self, HandleError> {
        let protocols = router.protocols();
        let author = match config.policy {
            SignaturePolicy::StrictSign => Author::signing(identity),
            SignaturePolicy::StrictNoSign => Author::anonymous(),
        };
        let shared = Arc::new(Shared {
            rt: swarm.rt().clone(),
            swarm: swarm.downgrade(),
            config,
            state: Mutex::new(State {
                router,
                author,
                peers: BTreeMap::new(),
                topics: BTreeMap::new(),
                waiting: Vec::new(),
                readers: 0,
            }),
        });
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
    ///
    /// Cancel-safe: a dropped call has published nothing.
    ///
    /// # Errors
    /// [`PublishFailed`], such as [`PublishError::NoPeers`].
    pub async fn publish(
        &self,
        topic: impl Into<Topic>,
        data: &[u8],
    ) -> Result<Published, PublishFailed> {
        let (topic, unix_time) = (topic.into(), self.shared.rt.unix_time());
        let message = self.shared.lock().author.write(topic, data, unix_time)?;
        let message = Arc::new(message);
        let published = poll_fn(|cx| {
            self.shared
                .step(|state, now| match state.router.publish(&message, now) {
                    Err(PublishError::QueuesFull) => state.wait(cx),
                    done => Poll::Ready(done),
                })
        });
        Ok(published.await?)
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        self.shared.lock().router.stats().clone()
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
    pub async fn publish(&self, data: &[u8]) -> Result<Published, PublishFailed> {
        let shared = Arc::clone(&self.shared);
        Pubsub { shared }.publish(self.topic.clone(), data).await
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

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.topic).finish()
    }
}

/// What all tasks share.
pub(crate) struct Shared {
    pub(crate) rt: Rt,
    swarm: WeakSwarm,
    pub(crate) config: Config,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) router: Box<dyn Router>,
    author: Author,
    pub(crate) peers: BTreeMap<PeerId, Session>,
    topics: BTreeMap<Topic, Local>,
    /// Who waits for a peer or for room in a queue.
    waiting: Vec<Waker>,
    readers: u64,
}

/// The one connection on which we talk with a peer.
pub(crate) struct Session {
    /// The router knows of it.
    pub(crate) connected: bool,
    /// It does not read what it must know.
    pub(crate) stalled: bool,
    pub(crate) writer: Option<Waker>,
    pub(crate) reader: Option<(u64, AbortHandle)>,
}

/// Our own subscribers of a topic.
#[derive(Default)]
struct Local {
    publisher: Arc<Publisher<Received>>,
    users: usize,
}

/// What is left to do after the lock is gone.
#[derive(Default)]
struct Todo {
    wake: Vec<Waker>,
    deliver: Vec<(Arc<Publisher<Received>>, Received)>,
    dial: Vec<(PeerId, Option<PeerRecord>)>,
    check: Vec<(Ticket, Arc<Message>)>,
}

impl State {
    /// Waits for the next change of peers or queues.
    pub(crate) fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Something has changed for those who wait.
    pub(crate) fn changed(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiting)
    }

    fn drain(&mut self, todo: &mut Todo) {
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Connect { peer, record } => todo.dial.push((peer, record)),
                Output::Deliver { id, from, message } => {
                    if let Some(local) = self.topics.get(message.topic()) {
                        let publisher = Arc::clone(&local.publisher);
                        let received = Received::Message { id, from, message };
                        todo.deliver.push((publisher, received));
                    }
                }
                Output::Ready { peer } => {
                    let session = self.peers.get_mut(&peer);
                    todo.wake
                        .extend(session.and_then(|session| session.writer.take()));
                }
                Output::Stalled { peer } => {
                    if let Some(session) = self.peers.get_mut(&peer) {
                        session.stalled = true;
                        todo.wake.extend(session.writer.take());
                    }
                }
                Output::Trace(trace) => tracing::trace!(?trace, "pubsub"),
                Output::Validate {
                    ticket, message, ..
                } => todo.check.push((ticket, message)),
                Output::Joined { .. } | Output::Left { .. } => {}
            }
        }
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a stream that a peer opened, higher than all before.
    pub(crate) fn next_reader(&self) -> u64 {
        let mut state = self.lock();
        state.readers += 1;
        state.readers
    }

    /// Changes the state, then does what the router asks for, without the lock.
    pub(crate) fn step<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = self.rt.now();
        let mut todo = Todo::default();
        let result = {
            let mut state = self.lock();
            let result = change(&mut state, now);
            state.drain(&mut todo);
            result
        };
        self.finish(todo);
        result
    }

    fn finish(&self, todo: Todo) {
        todo.wake.into_iter().for_each(Waker::wake);
        for (publisher, received) in todo.deliver {
            publisher.publish(&received);
        }
        for (peer, record) in todo.dial {
            self.dial(peer, record);
        }
        for (ticket, message) in todo.check {
            let verdict = match self.config.policy.verify(&message) {
                Ok(()) => Verdict::Accept,
                Err(error) => Verdict::BadSignature(error),
            };
            self.step(|state, now| state.router.handle_verdict(ticket, verdict, now));
        }
    }

    fn dial(&self, peer: PeerId, record: Option<PeerRecord>) {
        let Some(swarm) = self.swarm.upgrade() else {
            return;
        };
        if let Some(record) = record {
            swarm.add_addrs(peer, record.addrs);
        }
        let weak = self.swarm.clone();
        swarm.spawn("pubsub dial", async move {
            let Some(swarm) = weak.upgrade() else {
                return;
            };
            if let Err(error) = swarm.dial(peer).await {
                tracing::debug!(%peer, %error, "proposed peer not reached");
            }
        });
    }
}

/// Tells the router the time until the swarm ends.
async fn tick(shared: Arc<Shared>) {
    loop {
        let due = shared.lock().router.poll_timeout();
        let Some(due) = due else {
            return;
        };
        shared.rt.sleep_until(due).await;
        shared.step(|state, now| state.router.handle_timeout(now));
    }
}

fn budget(config: &Config) -> Budget {
    let limit = config.memory_budget;
    Budget::new("messages of pubsub", "memory_budget", limit)
}

/// The first pause before we try again to open a stream; each next one is twice as long.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
