//! What the tasks of a [`Pubsub`](crate::Pubsub) share: the router behind a lock, and what to do
//! after each of its steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::future::AbortHandle;
use p2p_core::{Budget, Instant, PeerId, Rt};
use p2p_keys::PeerRecord;
use p2p_swarm::{Publisher, WeakSwarm};

use crate::calls::Calls;
use crate::check::{Job, Pool};
use crate::config::Config;
use crate::parts::{LocalParts, PartsReceived};
use crate::publish::{Lines, Pen};
use crate::records::Lookup;
use crate::router::{Output, Router, Verdict};
use crate::service::{Presence, Received};
use crate::trace::Traced;
use crate::validator::{Candidate, Validator};
use crate::{Author, SignaturePolicy, Topic};

pub(crate) struct Shared {
    pub(crate) rt: Rt,
    pub(crate) swarm: WeakSwarm,
    pub(crate) config: Config,
    pub(crate) pool: Pool,
    /// Pays for messages.
    budget: Budget,
    records: Option<Arc<Lookup>>,
    /// To be locked before `state`.
    pub(crate) pen: Mutex<Pen>,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) router: Box<dyn Router>,
    /// No message carries a signature.
    unsigned: bool,
    pub(crate) peers: BTreeMap<PeerId, Session>,
    pub(crate) calls: Calls,
    /// Until when the router's clock sleeps, and how to wake it earlier.
    pub(crate) clock: Option<(Instant, Waker)>,
    pub(crate) topics: BTreeMap<Topic, Local>,
    pub(crate) validators: BTreeMap<Topic, Validator>,
    pub(crate) parts: BTreeMap<Topic, LocalParts>,
    /// For those who want to know what is done and why.
    pub(crate) traces: Option<Arc<Publisher<Traced>>>,
    /// [`Config::trace`].
    traced_anyway: bool,
    pub(crate) lines: Lines,
    /// Who waits for a peer or for room in a queue.
    waiting: Vec<Waker>,
    /// The number of the last stream that a peer opened.
    pub(crate) readers: u64,
}

/// The one connection on which we talk with a peer.
pub(crate) struct Session {
    /// The router knows of it.
    pub(crate) connected: bool,
    pub(crate) writer: Option<Waker>,
    pub(crate) reader: Option<(u64, AbortHandle)>,
}

impl Session {
    /// The number of the stream that we read.
    pub(crate) fn reads(&self) -> Option<u64> {
        self.reader.as_ref().map(|(number, _)| *number)
    }
}

/// A topic that we are in.
#[derive(Default)]
pub(crate) struct Local {
    pub(crate) publisher: Arc<Publisher<Received>>,
    pub(crate) presence: Arc<Publisher<Presence>>,
    /// Our own subscriptions.
    pub(crate) users: usize,
}

/// What is left to do after the lock is gone.
#[derive(Default)]
struct Todo {
    wake: Vec<Waker>,
    deliver: Vec<(Arc<Publisher<Received>>, Received)>,
    parts: Vec<(Arc<Publisher<PartsReceived>>, PartsReceived)>,
    presence: Vec<(Arc<Publisher<Presence>>, Presence)>,
    traces: Vec<Traced>,
    tracer: Option<Arc<Publisher<Traced>>>,
    dial: Vec<(PeerId, Option<PeerRecord>)>,
    check: Vec<Job>,
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

    fn drain(&mut self, todo: &mut Todo, now: Instant) {
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
                Output::Joined { peer, topic } => {
                    todo.wake.append(&mut self.waiting);
                    self.tell(todo, &topic, Presence::Joined(peer));
                }
                Output::Left { peer, topic } => self.tell(todo, &topic, Presence::Left(peer)),
                Output::Parts(parts) => {
                    if let Some(entry) = self.parts.get(&parts.topic) {
                        let publisher = Arc::clone(&entry.publisher);
                        todo.parts.push((publisher, PartsReceived::Parts(parts)));
                    }
                }
                Output::Ready { peer } => {
                    let session = self.peers.get_mut(&peer);
                    let writer = session.and_then(|session| session.writer.take());
                    todo.wake.extend(writer);
                }
                Output::Trace(event) => todo.traces.push(Traced::Event { at: now, event }),
                Output::Validate {
                    ticket,
                    id,
                    from,
                    message,
                } => {
                    let validator = self.validators.get(message.topic()).cloned();
                    if validator.is_none() && self.unsigned {
                        // Its fields were checked; there is nothing else to check.
                        self.router.handle_verdict(ticket, Verdict::Accept, now);
                        continue;
                    }
                    let candidate = Candidate { id, from, message };
                    todo.check.push(Job {
                        ticket,
                        candidate,
                        validator,
                    });
                }
            }
        }
        if !todo.traces.is_empty() {
            self.stop_idle_traces();
            todo.tracer = self.traces.clone();
        }
        let due = self.router.poll_timeout();
        let earlier = |(at, _): &mut (Instant, Waker)| due.is_some_and(|due| due < *at);
        let clock = self.clock.take_if(earlier);
        todo.wake.extend(clock.map(|(_, waker)| waker));
    }

    /// Nobody reads traces any more: none are made.
    fn stop_idle_traces(&mut self) {
        if self.traces.as_ref().is_some_and(|tracer| tracer.is_idle()) {
            self.traces = None;
            self.router.set_trace(self.traced_anyway);
        }
    }

    fn tell(&self, todo: &mut Todo, topic: &Topic, presence: Presence) {
        if let Some(local) = self.topics.get(topic) {
            todo.presence.push((Arc::clone(&local.presence), presence));
        }
    }
}

impl Shared {
    pub(crate) fn new(
        swarm: &p2p_swarm::Swarm,
        config: Config,
        router: Box<dyn Router>,
        author: Author,
        budget: Budget,
        records: Option<Arc<Lookup>>,
    ) -> Self {
        let unsigned = config.policy == SignaturePolicy::StrictNoSign;
        let traced_anyway = config.trace;
        Self {
            rt: swarm.rt().clone(),
            swarm: swarm.downgrade(),
            config,
            pool: Pool::default(),
            budget,
            records,
            pen: Mutex::new(Pen::new(author)),
            state: Mutex::new(State {
                unsigned,
                router,
                lines: Lines::default(),
                peers: BTreeMap::new(),
                calls: Calls::default(),
                clock: None,
                topics: BTreeMap::new(),
                validators: BTreeMap::new(),
                parts: BTreeMap::new(),
                traces: None,
                traced_anyway,
                waiting: Vec::new(),
                readers: 0,
            }),
        }
    }

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
        let (result, jobs) = self.step_and_check(change);
        debug_assert!(jobs.is_empty(), "only RPCs bring messages");
        result
    }

    /// The same, for RPCs; also returns the messages that must be checked.
    pub(crate) fn step_and_check<T>(
        &self,
        change: impl FnOnce(&mut State, Instant) -> T,
    ) -> (T, Vec<Job>) {
        let now = self.rt.now();
        let mut todo = Todo::default();
        let result = {
            let mut state = self.lock();
            let result = change(&mut state, now);
            state.drain(&mut todo, now);
            result
        };
        (result, self.finish(todo))
    }

    fn finish(&self, todo: Todo) -> Vec<Job> {
        todo.wake.into_iter().for_each(Waker::wake);
        for (publisher, received) in todo.deliver {
            publisher.publish_within(&received, self.room_for_one());
        }
        for (publisher, parts) in todo.parts {
            publisher.publish_within(&parts, self.room_for_one());
        }
        for (publisher, presence) in todo.presence {
            publisher.publish(&presence);
        }
        for traced in todo.traces {
            tracing::trace!(?traced, "pubsub");
            if let Some(tracer) = &todo.tracer {
                tracer.publish(&traced);
            }
        }
        for (peer, record) in todo.dial {
            self.dial(peer, record);
        }
        todo.check
    }

    /// Bytes that one subscriber may leave unread now. Whatever others hold unread, what is left of
    /// the memory suffices for more messages.
    fn room_for_one(&self) -> usize {
        let free = self.budget.available() / UNREAD_PART;
        free.min(self.config.subscriber_backlog_bytes)
    }

    /// The signed record of a peer, if there is any to be had.
    pub(crate) fn record_of(&self, peer: &PeerId) -> Option<Bytes> {
        self.records.as_ref().and_then(|lookup| lookup(peer))
    }

    fn dial(&self, peer: PeerId, record: Option<PeerRecord>) {
        let Some(swarm) = self.swarm.upgrade() else {
            return;
        };
        if let Some(record) = record {
            swarm.learn_signed_addrs(peer, record.seq, record.addrs);
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

/// One subscriber may leave unread at most one in so many bytes of the memory that is free.
const UNREAD_PART: usize = 4;
