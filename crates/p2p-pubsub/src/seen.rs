//! Which messages have been here already, bounded in bytes.

use std::collections::VecDeque;
use std::time::Duration;

use p2p_core::Instant;

use crate::MessageId;
use crate::ids::{IdMap, Keyed};

/// What an entry takes besides the bytes of its id, roughly.
const OVERHEAD: usize = 96;

/// From when on a message is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeenBy {
    /// From its first copy. A message can come back when all have forgotten it.
    #[default]
    First,
    /// From its last copy. A message that keeps coming stays known.
    Last,
}

#[derive(Debug)]
pub(crate) struct Seen {
    last: IdMap<Instant>,
    /// Every id in `last` once, by a time that is not later than its own.
    by_age: VecDeque<(Instant, MessageId)>,
    bytes: usize,
    ttl: Duration,
    max_bytes: usize,
    by: SeenBy,
}

impl Seen {
    pub(crate) fn new(by: SeenBy, ttl: Duration, max_bytes: usize, ids: Keyed) -> Self {
        Self {
            last: IdMap::with_hasher(ids),
            by_age: VecDeque::new(),
            bytes: 0,
            ttl,
            max_bytes,
            by,
        }
    }

    /// Whether `id` is known; counts as a sight of it.
    pub(crate) fn sight(&mut self, id: &[u8], now: Instant) -> bool {
        if !self.contains(id, now) {
            return false;
        }
        if self.by == SeenBy::Last
            && let Some(last) = self.last.get_mut(id)
        {
            *last = now;
        }
        true
    }

    /// `id` as everybody here has it, if it is known: for [`MessageId::is`].
    pub(crate) fn shared(&self, id: &[u8]) -> Option<MessageId> {
        self.last.get_key_value(id).map(|(id, _)| id.clone())
    }

    /// Whether `id` is known.
    pub(crate) fn contains(&self, id: &[u8], now: Instant) -> bool {
        self.last.get(id).is_some_and(|last| now - *last < self.ttl)
    }

    /// Remembers `id`. The oldest entries make room.
    pub(crate) fn insert(&mut self, id: &MessageId, now: Instant) {
        self.expire(now);
        if self.last.insert(id.clone(), now).is_none() {
            self.by_age.push_back((now, id.clone()));
            self.bytes += cost(id);
        }
        while self.bytes > self.max_bytes && self.by_age.len() > 1 {
            self.pop(now, true);
        }
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((since, _)) = self.by_age.front() {
            if now - *since < self.ttl {
                return;
            }
            self.pop(now, false);
        }
    }

    /// Takes the oldest entry out, or to the end if it was seen again since.
    fn pop(&mut self, now: Instant, force: bool) {
        let Some((_, id)) = self.by_age.pop_front() else {
            return;
        };
        match self.last.get(&id) {
            Some(last) if !force && now - *last < self.ttl => self.by_age.push_back((*last, id)),
            Some(_) | None => {
                self.last.remove(&id);
                self.bytes = self.bytes.saturating_sub(cost(&id));
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn cost(id: &MessageId) -> usize {
    id.as_bytes().len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(120);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_message_is_forgotten_after_its_first_or_its_last_sight() {
        for (by, known) in [(SeenBy::First, false), (SeenBy::Last, true)] {
            let mut seen = Seen::new(by, TTL, 10_000, Keyed::new(1, 1));
            let id = MessageId::new(b"id");
            seen.insert(&id, at(0));
            assert!(seen.sight(b"id", at(100)));
            seen.expire(at(130));
            assert_eq!(seen.sight(b"id", at(130)), known, "{by:?}");
            seen.expire(at(1000));
            assert_eq!((seen.bytes(), seen.last.len()), (0, 0));
        }
    }

    #[test]
    fn a_flood_of_ids_stays_within_its_bytes() {
        let mut seen = Seen::new(SeenBy::First, TTL, 10_000, Keyed::new(1, 1));
        for n in 0..100_000u32 {
            seen.insert(&MessageId::new(&n.to_be_bytes()), at(0));
            assert!(seen.bytes() <= 10_000);
        }
        assert!(seen.sight(&99_999u32.to_be_bytes(), at(0)));
        assert!(!seen.sight(&0u32.to_be_bytes(), at(0)));
    }
}
