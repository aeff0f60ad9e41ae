//! What waits to be sent to one peer: three lanes, bounded in bytes.
//!
//! ```text
//!   control    subscriptions, GRAFT, PRUNE, …   first; a newer word on a topic replaces an older
//!   own        messages of ours                 next; full: the publisher is told
//!   forwarded  messages of others               last; full: the oldest makes room
//! ```
//!
//! A peer that does not read costs at most the sum of the three, however long it stalls.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::wire::{Control, PartialOut, RpcOut};
use crate::{Message, MessageId};

/// What may wait for one peer, in bytes, and how it is cut into RPCs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueLimits {
    /// Subscriptions and control messages. Default: 256 KiB.
    ///
    /// Gossip makes room for the rest; if that does not suffice, the peer has stalled and its
    /// stream should be reset.
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
        }
    }
}

/// Ids in one IDONTWANT message: as many as others read of it.
const IDONTWANT_IDS: usize = 10;
/// Tag and length of an id, and one more for the length of them all.
const ID_TAG: usize = 4;

/// What an entry takes besides its bytes on the wire, roughly.
const OVERHEAD: usize = 64;

/// The control lane is full of what must not be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stalled;

#[derive(Debug, Default)]
pub(crate) struct Queue {
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
        self.control.is_empty() && messages && self.partials.is_empty()
    }

    /// What waits, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.control_bytes + self.own.bytes + self.forwarded.bytes + self.partial_bytes
    }

    /// Queues a control message. Gossip that does not fit is dropped.
    pub(crate) fn push_control(
        &mut self,
        item: Control,
        limits: &QueueLimits,
    ) -> Result<(), Stalled> {
        let Some(item) = self.join_last(item, limits) else {
            return Ok(());
        };
        self.replace_older(&item);
        let wanted = cost(item.wire_len());
        if self.control_bytes + wanted > limits.control_bytes {
            if is_gossip(&item) {
                return Ok(());
            }
            self.control.retain(|waiting| !is_gossip(waiting));
            let left = self.control.iter().map(|waiting| cost(waiting.wire_len()));
            self.control_bytes = left.sum();
            if self.control_bytes + wanted > limits.control_bytes {
                return Err(Stalled);
            }
        }
        self.control_bytes += wanted;
        self.control.push_back(item);
        Ok(())
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
            let bytes: usize = ids.iter().map(|id| id.as_bytes().len() + ID_TAG).sum();
            let fits = self.control_bytes + bytes <= limits.control_bytes;
            if fits && waiting.len() + ids.len() <= IDONTWANT_IDS {
                waiting.append(&mut ids);
                self.control_bytes += last.wire_len() - before;
                return None;
            }
        }
        Some(Control::IDontWant(ids))
    }

    /// Takes back what `item` makes untrue.
    fn replace_older(&mut self, item: &Control) {
        if is_gossip(item) {
            return;
        }
        let mut freed = 0;
        self.control.retain(|waiting| {
            let older = match (item, waiting) {
                (
                    Control::Graft(new) | Control::Prune { topic: new, .. },
                    Control::Graft(old) | Control::Prune { topic: old, .. },
                )
                | (
                    Control::Subscription(_, new) | Control::PartialSubscription(new, _),
                    Control::Subscription(_, old) | Control::PartialSubscription(old, _),
                ) => new == old,
                _unrelated => false,
            };
            if older {
                freed += cost(waiting.wire_len());
            }
            !older
        });
        self.control_bytes = self.control_bytes.saturating_sub(freed);
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

    /// The next RPC: control messages first, then messages as far as there is room.
    #[cfg(test)]
    pub(crate) fn next_rpc(&mut self, limits: &QueueLimits) -> Option<RpcOut> {
        let mut rpc = RpcOut::default();
        self.fill_rpc(limits, &mut rpc).then_some(rpc)
    }

    /// Puts the next RPC into `rpc`, which is empty; false if nothing waits.
    pub(crate) fn fill_rpc(&mut self, limits: &QueueLimits, rpc: &mut RpcOut) -> bool {
        let (mut bytes, mut subscriptions) = (0, 0);
        while let Some(item) = self.control.front() {
            let len = item.wire_len();
            subscriptions += usize::from(item.is_subscription());
            let full =
                bytes + len > limits.rpc_control_bytes || subscriptions > limits.rpc_subscriptions;
            if full && !rpc.control.is_empty() {
                break;
            }
            self.control_bytes = self.control_bytes.saturating_sub(cost(len));
            bytes += len;
            rpc.control.extend(self.control.pop_front());
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

/// What may be lost: the next heartbeat says it again, or nobody misses it.
fn is_gossip(item: &Control) -> bool {
    match item {
        Control::IDontWant(_) | Control::IHave(..) | Control::IWant(_) => true,
        Control::Extensions(_)
        | Control::Graft(_)
        | Control::Partial(_)
        | Control::PartialSubscription(..)
        | Control::Prune { .. }
        | Control::Subscription(..) => false,
    }
}

fn cost(len: usize) -> usize {
    len + OVERHEAD
}

#[cfg(test)]
mod tests;
