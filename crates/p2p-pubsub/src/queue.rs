//! What waits to be sent to one peer.
//!
//! ```text
//!   news       which topics we are in             first; what is true when it is said
//!   mesh       GRAFT and PRUNE                    next; one word a topic, the newest
//!   control    IHAVE, IWANT, IDONTWANT, …         next; full: the newest is lost
//!   own        messages of ours                   next; full: the publisher is told
//!   forwarded  messages of others                 last; full: the oldest makes room
//! ```
//!
//! News and words on meshes are as long as the list of our own topics; everything else is bounded
//! in bytes. So is what a peer that does not read costs, however long it stalls.

mod news;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::wire::{Control, PartialOut, RpcOut};
use crate::{Message, MessageId, Topic};
use news::News;

/// What may wait for one peer, in bytes, and how it is cut into RPCs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueLimits {
    /// Control messages other than GRAFT and PRUNE, and proposed peers. Default: 256 KiB.
    ///
    /// What does not fit is lost and counted in [`Stats::lost_control`](crate::Stats). Which
    /// topics and meshes we are in is always said, however many they are.
    pub control_bytes: usize,
    /// Our own messages; one always fits. Default: 1 MiB.
    pub own_bytes: usize,
    /// Messages of others; one always fits. Default: 1 MiB.
    pub forwarded_bytes: usize,
    /// Parts of messages, and what is said about them; what does not fit is not sent, and one
    /// always fits. Default: 1 MiB.
    pub partial_bytes: usize,
    /// One RPC, unless a single message is longer. Default: 48 KiB, below the 64 KiB that
    /// rust-libp2p reads.
    pub rpc_bytes: usize,
    /// Subscriptions and control messages in one RPC. Default: 16,000 bytes, below the 16 KiB
    /// that rust-libp2p reads.
    pub rpc_control_bytes: usize,
    /// Subscriptions in one RPC. Default: 100, as many as rust-libp2p reads.
    pub rpc_subscriptions: usize,
    /// Ids in one IDONTWANT message that we send. Default: 10, as many as others read of it.
    pub idontwant_ids: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            control_bytes: 256 * 1024,
            own_bytes: 1024 * 1024,
            forwarded_bytes: 1024 * 1024,
            partial_bytes: 1024 * 1024,
            rpc_bytes: 48 * 1024,
            rpc_control_bytes: 16_000,
            rpc_subscriptions: 100,
            idontwant_ids: 10,
        }
    }
}

/// Tag and length of an id, and one more for the length of them all.
const ID_TAG: usize = 4;
/// Tags and lengths around all of them, at most.
const IDS_TAG: usize = 16;

/// What an entry takes besides its bytes on the wire, roughly.
const OVERHEAD: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    news: News,
    mesh: BTreeMap<Topic, Control>,
    control: VecDeque<Control>,
    control_bytes: usize,
    own: Lane,
    forwarded: Lane,
    partials: VecDeque<Control>,
    partial_bytes: usize,
}

#[derive(Debug, Default)]
struct Lane {
    messages: VecDeque<(MessageId, Arc<Message>)>,
    bytes: usize,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        let messages = self.own.messages.is_empty() && self.forwarded.messages.is_empty();
        let state = self.news.is_empty() && self.mesh.is_empty();
        state && self.control.is_empty() && messages && self.partials.is_empty()
    }

    /// What waits, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.control_bytes + self.own.bytes + self.forwarded.bytes + self.partial_bytes
    }

    /// Every one of our topics is news for this peer.
    pub(crate) fn greet(&mut self, ours: &BTreeSet<Topic>) {
        self.news.all(ours);
    }

    /// We joined a topic, or left it.
    pub(crate) fn topic_changed(&mut self, topic: &Topic, joined: bool) {
        self.news.changed(topic, joined);
    }

    /// We take part in one of our topics in another way.
    pub(crate) fn topic_again(&mut self, topic: &Topic) {
        self.news.again(topic);
    }

    /// Queues a control message; false if it does not fit and is lost: the next heartbeat says it
    /// again, or nobody misses it.
    pub(crate) fn push_control(&mut self, item: Control, limits: &QueueLimits) -> bool {
        if let Control::Graft(topic) | Control::Prune { topic, .. } = &item {
            let topic = topic.clone();
            self.push_mesh(topic, item, limits);
            return true;
        }
        let Some(item) = self.join_last(item, limits) else {
            return true;
        };
        let wanted = cost(item.wire_len());
        let fits = self.control_bytes + wanted <= limits.control_bytes;
        if fits {
            self.control_bytes += wanted;
            self.control.push_back(item);
        }
        fits
    }

    /// A newer word on a mesh replaces the older one. Proposed peers that do not fit are left out.
    fn push_mesh(&mut self, topic: Topic, mut item: Control, limits: &QueueLimits) {
        if let Some(older) = self.mesh.remove(&topic) {
            self.control_bytes = self.control_bytes.saturating_sub(proposal_cost(&older));
        }
        if self.control_bytes + proposal_cost(&item) > limits.control_bytes
            && let Control::Prune { peers, .. } = &mut item
        {
            peers.clear();
        }
        self.control_bytes += proposal_cost(&item);
        self.mesh.insert(topic, item);
    }

    /// Whether a message with these ids, and nothing else, fits.
    pub(crate) fn takes_ids(&self, ids: &[MessageId], limits: &QueueLimits) -> bool {
        self.control_bytes + cost(ids_len(ids) + IDS_TAG) <= limits.control_bytes
    }

    /// Adds ids that are not wanted to those that wait at the end; otherwise gives `item` back.
    fn join_last(&mut self, item: Control, limits: &QueueLimits) -> Option<Control> {
        let Control::IDontWant(mut ids) = item else {
            return Some(item);
        };
        let Some(last) = self.control.back_mut() else {
            return Some(Control::IDontWant(ids));
        };
        let before = last.wire_len();
        if let Control::IDontWant(waiting) = last {
            let fits = self.control_bytes + ids_len(&ids) <= limits.control_bytes;
            if fits && waiting.len() + ids.len() <= limits.idontwant_ids {
                waiting.append(&mut ids);
                self.control_bytes += last.wire_len() - before;
                return None;
            }
        }
        Some(Control::IDontWant(ids))
    }

    /// Whether one of our own messages of `len` bytes fits.
    pub(crate) fn has_room(&self, len: usize, limits: &QueueLimits) -> bool {
        self.own.has_room(len, limits.own_bytes)
    }

    /// Queues one of our own messages; false if it does not fit.
    pub(crate) fn push_own(
        &mut self,
        id: &MessageId,
        message: &Arc<Message>,
        limits: &QueueLimits,
    ) -> bool {
        let fits = self.has_room(message.wire_len(), limits);
        if fits {
            self.own.push(id, message);
        }
        fits
    }

    /// Queues a message of somebody else; returns those that had to make room.
    pub(crate) fn push_forwarded(
        &mut self,
        id: &MessageId,
        message: &Arc<Message>,
        limits: &QueueLimits,
    ) -> Vec<MessageId> {
        let mut dropped = Vec::new();
        let lane = &mut self.forwarded;
        while !lane.has_room(message.wire_len(), limits.forwarded_bytes) {
            match lane.pop() {
                Some((id, _)) => dropped.push(id),
                None => break,
            }
        }
        lane.push(id, message);
        dropped
    }

    /// Queues parts of a message; false if they do not fit. What only says which parts we have
    /// takes the place of what said so earlier.
    pub(crate) fn push_partial(&mut self, partial: PartialOut, limits: &QueueLimits) -> bool {
        let mut freed = 0;
        if partial.metadata.is_some() {
            self.partials.retain(|waiting| {
                let older = matches!(waiting, Control::Partial(old)
                    if old.parts.is_none() && old.topic == partial.topic && old.group == partial.group);
                freed += if older { cost(waiting.wire_len()) } else { 0 };
                !older
            });
            self.partial_bytes = self.partial_bytes.saturating_sub(freed);
        }
        let item = Control::Partial(partial);
        let wanted = cost(item.wire_len());
        if self.partial_bytes + wanted > limits.partial_bytes && !self.partials.is_empty() {
            return false;
        }
        self.partial_bytes += wanted;
        self.partials.push_back(item);
        true
    }

    /// Takes a waiting message of somebody else out; true if there was one. `id` has to be a clone
    /// of the one that it was queued under.
    pub(crate) fn cancel(&mut self, id: &MessageId) -> bool {
        let lane = &mut self.forwarded;
        let at = lane.messages.iter().position(|(waiting, _)| waiting.is(id));
        let Some((_, message)) = at.and_then(|at| lane.messages.remove(at)) else {
            return false;
        };
        lane.bytes = lane.bytes.saturating_sub(cost(message.wire_len()));
        true
    }

    /// The messages that wait, for the count of what is lost with the peer.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &MessageId> {
        let lanes = [&self.own, &self.forwarded].into_iter();
        lanes.flat_map(|lane| lane.messages.iter().map(|(id, _)| id))
    }

    /// Puts the next RPC into `rpc`, which is empty; false if nothing waits. `word` says where we
    /// stand in a topic.
    pub(crate) fn fill_rpc(
        &mut self,
        limits: &QueueLimits,
        ours: &BTreeSet<Topic>,
        word: impl Fn(&Topic) -> Control,
        rpc: &mut RpcOut,
    ) -> bool {
        let mut bytes = self.fill_extensions(rpc);
        self.fill_news(limits, ours, word, &mut bytes, rpc);
        // Who has not heard that we are in a topic does not take us into its mesh.
        if self.news.is_empty() {
            self.fill_control(limits, &mut bytes, rpc);
        }
        if let Some(item) = self.partials.front() {
            // One in each RPC: the field is not repeated.
            let len = item.wire_len();
            if bytes == 0 || bytes + len <= limits.rpc_bytes {
                self.partial_bytes = self.partial_bytes.saturating_sub(cost(len));
                bytes += len;
                rpc.control.extend(self.partials.pop_front());
            }
        }
        for lane in [&mut self.own, &mut self.forwarded] {
            while let Some((_, message)) = lane.messages.front() {
                let len = message.wire_len();
                if bytes + len > limits.rpc_bytes && bytes > 0 {
                    return true;
                }
                bytes += len;
                rpc.messages.extend(lane.pop().map(|(_, message)| message));
            }
        }
        bytes > 0
    }

    /// What must be in the first RPC.
    fn fill_extensions(&mut self, rpc: &mut RpcOut) -> usize {
        let Some(item @ Control::Extensions(_)) = self.control.front() else {
            return 0;
        };
        let len = item.wire_len();
        self.control_bytes = self.control_bytes.saturating_sub(cost(len));
        rpc.control.extend(self.control.pop_front());
        len
    }

    fn fill_news(
        &mut self,
        limits: &QueueLimits,
        ours: &BTreeSet<Topic>,
        word: impl Fn(&Topic) -> Control,
        bytes: &mut usize,
        rpc: &mut RpcOut,
    ) {
        let mut said = 0;
        while let Some(topic) = self.news.next(ours) {
            let item = word(&topic);
            let len = item.wire_len();
            let full = *bytes + len > limits.rpc_control_bytes || said >= limits.rpc_subscriptions;
            if full && !rpc.control.is_empty() {
                return;
            }
            *bytes += len;
            said += 1;
            rpc.control.push(item);
            self.news.told(&topic, ours);
        }
    }

    fn fill_control(&mut self, limits: &QueueLimits, bytes: &mut usize, rpc: &mut RpcOut) {
        let mut fits = |len: usize, rpc: &RpcOut| {
            let fits = *bytes + len <= limits.rpc_control_bytes || rpc.control.is_empty();
            *bytes += if fits { len } else { 0 };
            fits
        };
        while let Some(first) = self.mesh.first_entry() {
            if !fits(first.get().wire_len(), rpc) {
                return;
            }
            let item = first.remove();
            self.control_bytes = self.control_bytes.saturating_sub(proposal_cost(&item));
            rpc.control.push(item);
        }
        while let Some(item) = self.control.front() {
            let len = item.wire_len();
            if !fits(len, rpc) {
                return;
            }
            self.control_bytes = self.control_bytes.saturating_sub(cost(len));
            rpc.control.extend(self.control.pop_front());
        }
    }
}

impl Lane {
    fn has_room(&self, len: usize, max: usize) -> bool {
        self.messages.is_empty() || self.bytes + cost(len) <= max
    }

    fn push(&mut self, id: &MessageId, message: &Arc<Message>) {
        self.bytes += cost(message.wire_len());
        self.messages.push_back((id.clone(), Arc::clone(message)));
    }

    fn pop(&mut self) -> Option<(MessageId, Arc<Message>)> {
        let (id, message) = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(cost(message.wire_len()));
        Some((id, message))
    }
}

/// What the peers that a PRUNE proposes take: the word itself is short, and one a topic.
fn proposal_cost(item: &Control) -> usize {
    match item {
        Control::Prune { peers, .. } if !peers.is_empty() => cost(item.wire_len()),
        Control::Extensions(_)
        | Control::Graft(_)
        | Control::IDontWant(_)
        | Control::IHave(..)
        | Control::IWant(_)
        | Control::Partial(_)
        | Control::PartialSubscription(..)
        | Control::Prune { .. }
        | Control::Subscription(..) => 0,
    }
}

/// These ids on the wire.
fn ids_len(ids: &[MessageId]) -> usize {
    ids.iter().map(|id| id.as_bytes().len() + ID_TAG).sum()
}

fn cost(len: usize) -> usize {
    len + OVERHEAD
}

#[cfg(test)]
mod tests;
