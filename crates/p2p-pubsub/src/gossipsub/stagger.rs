//! Who needs a large message from us at once, and who gets it from others anyway.
//!
//! ```text
//!   message of author S ──> peers that need S from us: at once
//!                      └──> the others: after a pause, unless they have it by then
//!
//!   a peer said IDONTWANT, or sent a copy itself  ──> it does not need S from us
//!   the pause was over and it had said nothing    ──> it does
//! ```
//!
//! What a peer says first tells who it heard first from, so that the links in use for the messages
//! of one author become the tree of fastest paths from it, and all others stay in reserve.
//! Nothing new is sent: any peer that speaks 1.2 can be at the other end.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use p2p_core::Instant;

use super::Gossipsub;
use crate::ids::{IdMap, Keyed};
use crate::router::Version;
use crate::table::PeerIx;
use crate::{Message, MessageId};

/// What waits, and what is known of who needs what.
#[derive(Debug)]
pub(super) struct Stagger {
    later: BTreeMap<(Instant, u64), Later>,
    /// Where to find what waits for a peer.
    waiting: BTreeMap<PeerIx, IdMap<(Instant, u64)>>,
    ids: Keyed,
    next: u64,
    /// Authors, by hash, that a peer does not need from us.
    needless: BTreeMap<PeerIx, BTreeMap<u64, ()>>,
}

#[derive(Debug)]
struct Later {
    peer: PeerIx,
    id: MessageId,
    message: Arc<Message>,
}

impl Stagger {
    pub(super) fn new(ids: Keyed) -> Self {
        Self {
            later: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ids,
            next: 0,
            needless: BTreeMap::new(),
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.keys().next().map(|(due, _)| *due)
    }

    pub(super) fn forget_peer(&mut self, peer: PeerIx) {
        self.needless.remove(&peer);
        if self.waiting.remove(&peer).is_some() {
            self.later.retain(|_, later| later.peer != peer);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.later.len() + self.needless.len()
    }

    fn put(&mut self, due: Instant, later: Later) {
        self.next = self.next.wrapping_add(1);
        let key = (due, self.next);
        let waiting = self.waiting.entry(later.peer);
        let waiting = waiting.or_insert_with(|| IdMap::with_hasher(self.ids));
        if let Some(older) = waiting.insert(later.id.clone(), key) {
            self.later.remove(&older);
        }
        self.later.insert(key, later);
    }

    fn cancel(&mut self, peer: PeerIx, id: &MessageId) {
        let waiting = self.waiting.get_mut(&peer);
        if let Some(key) = waiting.and_then(|waiting| waiting.remove(id)) {
            self.later.remove(&key);
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Later> {
        let first = self.later.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let later = first.remove();
        if let Some(waiting) = self.waiting.get_mut(&later.peer) {
            waiting.remove(&later.id);
        }
        Some(later)
    }

    /// Learns whether `peer` needs the messages of an author from us.
    fn learn(&mut self, peer: PeerIx, author: u64, needs: bool, max: usize) {
        let known = self.needless.entry(peer).or_default();
        if needs {
            known.remove(&author);
            return;
        }
        if known.len() >= max && !known.contains_key(&author) {
            known.pop_first();
        }
        if max > 0 {
            known.insert(author, ());
        }
    }

    /// Whose messages take the same paths. Those without an author are told apart by topic only.
    fn author_of(&self, message: &Message) -> u64 {
        let mut hasher = self.ids.build_hasher();
        message.topic().as_bytes().hash(&mut hasher);
        message.from().hash(&mut hasher);
        hasher.finish()
    }

    fn needs(&self, peer: PeerIx, author: u64) -> bool {
        let known = self.needless.get(&peer);
        known.is_none_or(|known| !known.contains_key(&author))
    }
}

impl Gossipsub {
    /// For how long a message may be held back; `None`: not at all. Never where missing copies
    /// cost score (P3): we would be punished for what nobody needs.
    fn pause(&self, message: &Message) -> Option<Duration> {
        let large = message.data_len() >= self.config.idontwant_threshold;
        let scores = self.scores.as_ref();
        let counted = scores.is_some_and(|scores| scores.counts_copies(message.topic()));
        self.config.stagger.filter(|_| large && !counted)
    }

    /// Sends a message to those who need it from us, and to the others after a pause.
    pub(super) fn send_staggered(
        &mut self,
        ix: PeerIx,
        id: &MessageId,
        message: &Arc<Message>,
        now: Instant,
    ) {
        let pause = self.pause(message);
        let author = self.stagger.author_of(message);
        match pause {
            Some(pause)
                if self.base.version(ix) >= Version::V1_2
                    && !self.stagger.needs(ix, author)
                    && self.stagger.later.len() < self.config.max_staggered =>
            {
                let (id, message) = (id.clone(), Arc::clone(message));
                let peer = ix;
                self.stagger.put(now + pause, Later { peer, id, message });
            }
            Some(_) | None => self.base.forward(ix, id, message),
        }
    }

    /// A peer has this message, or will get it from somebody else.
    pub(super) fn has_it(&mut self, ix: PeerIx, id: &MessageId) {
        if self.config.stagger.is_none() {
            return;
        }
        self.stagger.cancel(ix, id);
        if let Some(message) = self.cache.get(id.as_bytes())
            && self.pause(message).is_some()
        {
            let author = self.stagger.author_of(message);
            let max = self.config.max_staggered_authors;
            self.stagger.learn(ix, author, false, max);
        }
    }

    /// Sends what has been held back long enough: nobody else was faster.
    pub(super) fn send_held_back(&mut self, now: Instant) {
        while let Some(Later { peer, id, message }) = self.stagger.pop(now) {
            let max = self.config.max_staggered_authors;
            let author = self.stagger.author_of(&message);
            self.stagger.learn(peer, author, true, max);
            self.base.forward(peer, &id, &message);
        }
    }
}
