//! Recent messages, for those who ask, in windows of one heartbeat; bounded in bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::ids::{IdMap, Keyed};
use crate::table::PeerIx;
use crate::{Message, MessageId, Topic};

/// What an entry takes besides its message, roughly.
const OVERHEAD: usize = 256;

#[derive(Debug)]
pub(super) struct Cache {
    messages: IdMap<Entry>,
    /// Ids by age, the newest window first. Invariant: never empty.
    windows: VecDeque<Vec<MessageId>>,
    history: usize,
    gossip: usize,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    message: Arc<Message>,
    /// How often each peer asked for it.
    asked: BTreeMap<PeerIx, u32>,
}

impl Cache {
    pub(super) fn new(history: usize, gossip: usize, max_bytes: usize, ids: Keyed) -> Self {
        Self {
            messages: IdMap::with_hasher(ids),
            windows: VecDeque::from([Vec::new()]),
            history: history.max(1),
            gossip,
            bytes: 0,
            max_bytes,
        }
    }

    pub(super) fn put(&mut self, id: &MessageId, message: &Arc<Message>) {
        if self.messages.contains_key(id) {
            return;
        }
        self.bytes += cost(message);
        let entry = Entry {
            message: Arc::clone(message),
            asked: BTreeMap::new(),
        };
        self.messages.insert(id.clone(), entry);
        if let Some(newest) = self.windows.front_mut() {
            newest.push(id.clone());
        }
        while self.bytes > self.max_bytes && self.windows.len() > 1 {
            self.drop_oldest();
        }
        if self.bytes > self.max_bytes {
            self.halve();
        }
    }

    pub(super) fn get(&self, id: &[u8]) -> Option<&Arc<Message>> {
        self.messages.get(id).map(|entry| &entry.message)
    }

    /// A message for a peer that asks for it, and how often it has asked.
    pub(super) fn ask(
        &mut self,
        id: &[u8],
        peer: PeerIx,
    ) -> Option<(MessageId, Arc<Message>, u32)> {
        let (id, _) = self.messages.get_key_value(id)?;
        let id = id.clone();
        let entry = self.messages.get_mut(&id)?;
        let asked = entry.asked.entry(peer).or_insert(0);
        *asked = asked.saturating_add(1);
        Some((id, Arc::clone(&entry.message), *asked))
    }

    /// The ids to gossip about in `topic`, the newest first.
    pub(super) fn gossip_ids(&self, topic: &Topic) -> Vec<MessageId> {
        let recent = self.windows.iter().take(self.gossip).flatten();
        let in_topic = |id: &&MessageId| {
            let entry = self.messages.get(*id);
            entry.is_some_and(|entry| entry.message.topic() == topic)
        };
        recent.filter(in_topic).cloned().collect()
    }

    /// A heartbeat has passed.
    pub(super) fn shift(&mut self) {
        while self.windows.len() >= self.history {
            self.drop_oldest();
        }
        self.windows.push_front(Vec::new());
    }

    /// What it holds, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn drop_oldest(&mut self) {
        for id in self.windows.pop_back().unwrap_or_default() {
            self.remove(&id);
        }
    }

    /// Drops the older half of the only window left.
    fn halve(&mut self) {
        let Some(window) = self.windows.front_mut() else {
            return;
        };
        let keep = window.len() / 2;
        let newer = window.split_off(window.len() - keep);
        for id in std::mem::replace(window, newer) {
            self.remove(&id);
        }
    }

    fn remove(&mut self, id: &MessageId) {
        if let Some(entry) = self.messages.remove(id) {
            self.bytes = self.bytes.saturating_sub(cost(&entry.message));
        }
    }
}

fn cost(message: &Message) -> usize {
    message.raw().len() + OVERHEAD
}
