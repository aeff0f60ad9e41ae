//! What all routers share.
//!
//! - Here: peers, their topics and queues, and what is told to the owner.
//! - `incoming`: the way of a message from the wire to its check. `flights`: those being checked.

mod flights;
mod incoming;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use p2p_core::{Budget, Instant, PeerId, Permit};

use crate::config::{Config, MessageIdFn};
use crate::ids::Keyed;
use crate::queue::{Queue, QueueLimits};
use crate::rng::Rng;
use crate::router::{Output, PublishError, Remote, Stats, Version};
use crate::seen::Seen;
use crate::table::{Peer, PeerIx, Table};
use crate::trace::{ControlKind, DropCause, Refusal, Reject, Trace};
use crate::wire::{
    Control, MessageView, Part, PartialMode, PartialOut, Rpc, RpcOut, Subscription, WireError,
};
use crate::{Message, MessageId, SignatureError, Topic};
use flights::Flights;
pub(crate) use {flights::Flight, incoming::Incoming};

pub(crate) struct Base {
    pub(crate) config: Config,
    pub(crate) local: PeerId,
    pub(crate) table: Table,
    pub(crate) seen: Seen,
    /// Our own topics.
    pub(crate) topics: BTreeSet<Topic>,
    pub(crate) stats: Stats,
    pub(crate) rng: Rng,
    pub(crate) blocked: BTreeSet<PeerId>,
    flights: Flights,
    outputs: VecDeque<Output>,
    pub(crate) budget: Budget,
    scratch: Vec<u8>,
    /// Reused for every frame. Empty in between.
    rpc: RpcOut,
    /// Reused for every message that goes out. Empty in between.
    pub(crate) targets: Vec<PeerIx>,
}

impl Base {
    pub(crate) fn new(local: PeerId, config: Config, budget: Budget, seed: u64) -> Self {
        Self {
            seen: Seen::new(
                config.seen_by,
                config.seen_ttl,
                config.seen_bytes,
                Keyed::new(seed, 1),
            ),
            config,
            local,
            table: Table::new(Keyed::new(seed, 7)),
            topics: BTreeSet::new(),
            stats: Stats::default(),
            rng: Rng::new(seed),
            blocked: BTreeSet::new(),
            flights: Flights::new(Keyed::new(seed, 0)),
            outputs: VecDeque::new(),
            budget,
            scratch: Vec::new(),
            rpc: RpcOut::default(),
            targets: Vec::new(),
        }
    }

    /// Adds a peer and queues our first RPC: `hello`, then all our topics.
    pub(crate) fn connect(&mut self, remote: Remote, hello: Option<Control>) -> PeerIx {
        let ix = self.table.connect(Peer {
            id: remote.peer,
            version: remote.version,
            outbound: remote.outbound,
            ips: remote.ips,
            topics: BTreeSet::new(),
            partial: BTreeMap::new(),
            speaks_partial: false,
            queue: Queue::default(),
            validating: 0,
            greeted: false,
        });
        if let Some(hello) = hello {
            self.send_control(ix, hello);
        }
        self.with_news(ix, Queue::greet);
        let version = remote.version;
        self.trace(ix, |peer| Trace::Connected { peer, version });
        ix
    }

    pub(crate) fn disconnect(&mut self, peer: &PeerId) -> Option<PeerIx> {
        let ix = self.table.find(peer)?;
        let gone = self.table.disconnect(ix)?;
        for id in gone.queue.waiting() {
            self.drop_out(ix, id, DropCause::Disconnected);
        }
        self.trace(ix, |peer| Trace::Disconnected { peer });
        for topic in gone.topics {
            self.output(Output::Left {
                peer: gone.id,
                topic,
            });
        }
        Some(ix)
    }

    /// Announces a topic of ours to everybody; false if there is nothing new.
    pub(crate) fn announce(&mut self, topic: &Topic, subscribe: bool) -> bool {
        let changed = if subscribe {
            self.topics.insert(topic.clone())
        } else {
            self.topics.remove(topic)
        };
        if changed {
            if self.config.trace {
                let topic = topic.clone();
                self.output(Output::Trace(match subscribe {
                    true => Trace::Joined { topic },
                    false => Trace::Left { topic },
                }));
            }
            for ix in self.table.numbers() {
                self.with_news(ix, |queue, _| queue.topic_changed(topic, subscribe));
            }
        }
        changed
    }

    /// Tells everybody anew how we take part in a topic of ours.
    pub(crate) fn announce_again(&mut self, topic: &Topic) {
        for ix in self.table.numbers() {
            self.with_news(ix, |queue, _| queue.topic_again(topic));
        }
    }

    fn with_news(&mut self, ix: PeerIx, change: impl FnOnce(&mut Queue, &BTreeSet<Topic>)) {
        let ours = std::mem::take(&mut self.topics);
        self.with_queue(ix, |queue, _| change(queue, &ours));
        self.topics = ours;
    }

    /// Checks an RPC; `None` if there is nothing in it for us.
    pub(crate) fn open<'a>(
        &self,
        peer: &PeerId,
        rpc: &'a [u8],
    ) -> Result<Option<(PeerIx, Rpc<'a>)>, WireError> {
        let rpc = Rpc::parse(rpc, &self.config.wire)?;
        Ok(self.table.find(peer).map(|ix| (ix, rpc)))
    }

    /// A peer speaks on a new stream: what it said on the one before holds until its first RPC.
    pub(crate) fn start_anew(&mut self, peer: &PeerId) {
        let ix = self.table.find(peer);
        if let Some(peer) = ix.and_then(|ix| self.table.get_mut(ix)) {
            peer.greeted = false;
            peer.speaks_partial = false;
        }
    }

    /// The first RPC of a stream has been acted upon.
    pub(crate) fn greeted(&mut self, ix: PeerIx) {
        if let Some(peer) = self.table.get_mut(ix) {
            peer.greeted = true;
        }
    }

    /// Takes a peer out of the topics that its first RPC on a new stream does not name.
    fn leave_unnamed(&mut self, ix: PeerIx, rpc: &Rpc<'_>) -> Vec<(Topic, bool)> {
        let peer = self.table.get(ix);
        let Some(peer) = peer.filter(|peer| !peer.greeted && !peer.topics.is_empty()) else {
            return Vec::new();
        };
        let mut unnamed = peer.topics.clone();
        for part in rpc.parts() {
            if let Part::Subscription(Subscription {
                subscribe: true,
                topic: Some(name),
                ..
            }) = part
            {
                let _named = std::str::from_utf8(name).is_ok_and(|name| unnamed.remove(name));
            }
        }
        for topic in &unnamed {
            self.table.leave(ix, topic);
        }
        unnamed.into_iter().map(|topic| (topic, false)).collect()
    }

    /// Applies the subscriptions of an RPC; returns the topics that the peer joined and left.
    pub(crate) fn subscriptions(&mut self, ix: PeerIx, rpc: &Rpc<'_>) -> Vec<(Topic, bool)> {
        let mut changes = self.leave_unnamed(ix, rpc);
        let subscriptions = rpc.has_subscriptions().then(|| rpc.parts());
        for part in subscriptions.into_iter().flatten() {
            if let Part::Subscription(sub) = part {
                match self.subscription(ix, &sub) {
                    Ok(Some(topic)) => changes.push((topic, sub.subscribe)),
                    Ok(None) => {}
                    Err(why) => self.refuse(ix, why),
                }
            }
        }
        for (topic, joined) in &changes {
            if let Some(peer) = self.table.id(ix) {
                let topic = topic.clone();
                self.output(match joined {
                    true => Output::Joined { peer, topic },
                    false => Output::Left { peer, topic },
                });
            }
        }
        changes
    }

    fn subscription(
        &mut self,
        ix: PeerIx,
        sub: &Subscription<'_>,
    ) -> Result<Option<Topic>, Refusal> {
        let topic = self.topic_of(sub.topic)?;
        let changed = if sub.subscribe {
            let max = self.config.max_topics_per_peer;
            let peer = self.table.get(ix);
            let full = |peer: &Peer| peer.topics.len() >= max && !peer.topics.contains(&topic);
            if peer.is_some_and(full) {
                return Err(Refusal::TooManyTopics);
            }
            let joined = self.table.join(ix, &topic);
            if let Some(peer) = self.table.get_mut(ix) {
                match sub.partial_mode() {
                    Some(mode) => drop(peer.partial.insert(topic.clone(), mode)),
                    None => drop(peer.partial.remove(&topic)),
                }
            }
            joined
        } else {
            self.table.leave(ix, &topic)
        };
        Ok(changed.then_some(topic))
    }

    /// A topic from the wire, sharing the name if we know it.
    pub(crate) fn topic_of(&self, bytes: Option<&[u8]>) -> Result<Topic, Refusal> {
        let bytes = bytes.ok_or(Refusal::NotATopic)?;
        if bytes.len() > self.config.max_topic_len {
            return Err(Refusal::TopicTooLong);
        }
        let name = std::str::from_utf8(bytes).map_err(|_| Refusal::NotATopic)?;
        let known = self.topics.get(name).or_else(|| self.table.topic(name));
        Ok(known.cloned().unwrap_or_else(|| Topic::new(name)))
    }

    /// Checks a message of our own; returns its id.
    pub(crate) fn check_own(
        &self,
        message: &Message,
        now: Instant,
    ) -> Result<MessageId, PublishError> {
        let (len, max) = (message.raw().len(), self.config.max_message_size);
        check_len("message", "max_message_size", len, max)?;
        let view = MessageView::parse(message.raw()).map_err(|_| SignatureError::Invalid)?;
        self.config.policy.check_fields(&view)?;
        let mut id = Vec::new();
        self.compute_id(&view, message.topic(), &mut id);
        check_len("message id", "max_id_len", id.len(), self.config.max_id_len)?;
        if self.seen.contains(&id, now) {
            return Err(PublishError::Duplicate);
        }
        Ok(MessageId::new(&id))
    }

    /// Queues a message of our own for `targets`; returns how many got it and how many are full.
    pub(crate) fn send_own(
        &mut self,
        targets: &[PeerIx],
        id: &MessageId,
        message: &Arc<Message>,
    ) -> Result<(usize, usize), PublishError> {
        let len = message.wire_len();
        let limits = &self.config.queue;
        let has_room = |ix: &&PeerIx| {
            let peer = self.table.get(**ix);
            peer.is_some_and(|peer| peer.queue.has_room(len, limits))
        };
        let room = targets.iter().filter(has_room).count();
        if targets.is_empty() {
            return Err(PublishError::NoPeers);
        }
        if room == 0 {
            return Err(PublishError::QueuesFull);
        }
        for ix in targets {
            let push = |queue: &mut Queue, limits: &_| queue.push_own(id, message, limits);
            if self.with_queue(*ix, push) == Some(true) {
                self.stats.queued += 1;
            } else {
                self.drop_out(*ix, id, DropCause::QueueFull);
            }
        }
        self.stats.published += 1;
        if self.config.trace {
            let (id, topic) = (id.clone(), message.topic().clone());
            let sent = room;
            self.output(Output::Trace(Trace::Published { id, topic, sent }));
        }
        Ok((room, targets.len() - room))
    }

    /// Queues a message of somebody else.
    pub(crate) fn forward(&mut self, ix: PeerIx, id: &MessageId, message: &Arc<Message>) {
        let push = |queue: &mut Queue, limits: &_| queue.push_forwarded(id, message, limits);
        if let Some(dropped) = self.with_queue(ix, push) {
            self.stats.queued += 1;
            for id in dropped {
                self.drop_out(ix, &id, DropCause::QueueFull);
            }
        }
    }

    /// Takes a message of somebody else out of the queue of a peer that has it.
    pub(crate) fn cancel(&mut self, ix: PeerIx, id: &MessageId) {
        let peer = self.table.get_mut(ix);
        if peer.is_some_and(|peer| peer.queue.cancel(id)) {
            self.drop_out(ix, id, DropCause::Cancelled);
        }
    }

    /// Queues a control message; false if it does not fit and is lost.
    pub(crate) fn send_control(&mut self, ix: PeerIx, item: Control) -> bool {
        let kind = ControlKind::of(&item);
        let pushed = self.with_queue(ix, |queue, limits| queue.push_control(item, limits));
        if pushed == Some(false) {
            *self.stats.lost_control.entry(kind).or_default() += 1;
            self.trace(ix, |peer| Trace::ControlLost { peer, kind });
        }
        pushed == Some(true)
    }

    /// Whether a message with these ids fits into the queue of a peer: it is lost if it does not.
    pub(crate) fn takes_ids(&self, ix: PeerIx, ids: &[MessageId]) -> bool {
        let limits = &self.config.queue;
        let peer = self.table.get(ix);
        peer.is_some_and(|peer| peer.queue.takes_ids(ids, limits))
    }

    /// Queues parts of a message; false if they do not fit.
    pub(crate) fn send_partial(&mut self, ix: PeerIx, partial: PartialOut) -> bool {
        let push = |queue: &mut Queue, limits: &_| queue.push_partial(partial, limits);
        self.with_queue(ix, push) == Some(true)
    }

    /// Memory for something that a peer has sent; `None` if there is no more.
    pub(crate) fn reserve(&self, len: usize) -> Option<Permit> {
        self.budget.reserve(len).ok()
    }

    fn with_queue<T>(
        &mut self,
        ix: PeerIx,
        change: impl FnOnce(&mut Queue, &QueueLimits) -> T,
    ) -> Option<T> {
        let peer = self.table.get_mut(ix)?;
        let was_empty = peer.queue.is_empty();
        let result = change(&mut peer.queue, &self.config.queue);
        if was_empty && !peer.queue.is_empty() {
            let peer = peer.id;
            self.output(Output::Ready { peer });
        }
        Some(result)
    }

    /// Appends the next frame for `peer`; `mode` says how we take part in the partial messages of
    /// a topic.
    pub(crate) fn take_frame(
        &mut self,
        peer: &PeerId,
        buffer: &mut Vec<u8>,
        mode: impl Fn(&Topic) -> Option<PartialMode>,
    ) -> bool {
        let found = self.table.find(peer);
        let Some(peer) = found.and_then(|ix| self.table.get_mut(ix)) else {
            return false;
        };
        let (rpc, ours) = (&mut self.rpc, &self.topics);
        let speaks = peer.version >= Version::V1_3;
        let word = |topic: &Topic| match mode(topic).filter(|_| speaks) {
            _ if !ours.contains(topic) => Control::Subscription(false, topic.clone()),
            Some(mode) => Control::PartialSubscription(topic.clone(), mode),
            None => Control::Subscription(true, topic.clone()),
        };
        let limits = &self.config.queue;
        let some = peer.queue.fill_rpc(limits, ours, word, rpc);
        if some {
            rpc.encode_frame(buffer);
            self.stats.sent += rpc.messages.len() as u64;
        }
        rpc.control.clear();
        rpc.messages.clear();
        some
    }

    pub(crate) fn topic_peers(&self, topic: &Topic) -> Vec<PeerId> {
        let numbers = self.table.in_topic(topic);
        numbers.filter_map(|ix| self.table.id(ix)).collect()
    }

    pub(crate) fn block(&mut self, peer: PeerId, blocked: bool) {
        if blocked {
            self.blocked.insert(peer);
        } else {
            self.blocked.remove(&peer);
        }
    }

    fn compute_id(&self, view: &MessageView<'_>, topic: &Topic, id: &mut Vec<u8>) {
        self.id_fn(topic).compute(view, id);
    }

    fn id_fn(&self, topic: &Topic) -> &MessageIdFn {
        let special = self.config.message_id_of.get(topic);
        special.unwrap_or(&self.config.message_id)
    }

    /// How the ids of our own messages begin, if they do not come from the content.
    pub(crate) fn own_prefix(&self, topic: &Topic) -> Option<Vec<u8>> {
        match self.id_fn(topic) {
            MessageIdFn::AuthorAndSeqno => Some(self.local.to_bytes()),
            MessageIdFn::Custom(_) | MessageIdFn::Sha256 => None,
        }
    }

    pub(crate) fn version(&self, ix: PeerIx) -> Version {
        self.table
            .get(ix)
            .map_or(Version::Floodsub, |peer| peer.version)
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Reports something; `what` is only called if anybody wants to know.
    pub(crate) fn trace(&mut self, ix: PeerIx, what: impl FnOnce(PeerId) -> Trace) {
        if let (true, Some(peer)) = (self.config.trace, self.table.id(ix)) {
            self.outputs.push_back(Output::Trace(what(peer)));
        }
    }

    pub(crate) fn refuse(&mut self, ix: PeerIx, why: Refusal) {
        *self.stats.refused.entry(why).or_default() += 1;
        self.trace(ix, |peer| Trace::Refused { peer, why });
    }

    pub(crate) fn reject(&mut self, ix: PeerIx, id: &MessageId, why: Reject) {
        *self.stats.rejected.entry(why).or_default() += 1;
        let id = Some(id.clone());
        self.trace(ix, |from| Trace::Rejected { id, from, why });
    }

    pub(crate) fn drop_in(&mut self, ix: PeerIx, id: Option<&MessageId>, why: DropCause) {
        *self.stats.dropped_in.entry(why).or_default() += 1;
        let id = id.cloned();
        self.trace(ix, |peer| Trace::Dropped { id, peer, why });
    }

    pub(crate) fn drop_out(&mut self, ix: PeerIx, id: &MessageId, why: DropCause) {
        *self.stats.dropped_out.entry(why).or_default() += 1;
        let id = Some(id.clone());
        self.trace(ix, |peer| Trace::Dropped { id, peer, why });
    }

    /// Entries of all maps that grow with peers or what they send.
    pub(crate) fn entries(&self) -> usize {
        let flights = self.flights.by_ticket.len() + self.flights.by_id.len();
        self.table.entries() + flights
    }
}

fn check_len(
    what: &'static str,
    setting: &'static str,
    len: usize,
    max: usize,
) -> Result<(), PublishError> {
    if len <= max {
        return Ok(());
    }
    Err(PublishError::TooLarge {
        what,
        setting,
        len,
        max,
    })
}
