//! What was answered a while ago.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use p2p_core::Instant;

use crate::ResolveError;
use crate::wire::{Kind, Record};

/// An answer, or that there is none.
pub(crate) type Remembered = Result<Vec<Record>, ResolveError>;

/// A name, and what was asked for; nothing: all that the system's resolver knows.
type Key = (String, Option<Kind>);

/// Answers by name, each until its time is over; the ones that end first make room.
#[derive(Debug)]
pub(crate) struct Cache {
    max: usize,
    entries: Mutex<BTreeMap<Key, (Instant, Remembered)>>,
}

impl Cache {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            entries: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, name: &str, kind: Option<Kind>, now: Instant) -> Option<Remembered> {
        let entries = self.lock();
        let (until, answer) = entries.get(&(name.to_ascii_lowercase(), kind))?;
        (now < *until).then(|| answer.clone())
    }

    pub(crate) fn put(
        &self,
        name: &str,
        kind: Option<Kind>,
        answer: &Remembered,
        ttl: Duration,
        now: Instant,
    ) {
        if self.max == 0 || ttl.is_zero() {
            return;
        }
        let mut entries = self.lock();
        let key = (name.to_ascii_lowercase(), kind);
        entries.insert(key, (now + ttl, answer.clone()));
        if entries.len() > self.max {
            entries.retain(|_, (until, _)| now < *until);
        }
        while entries.len() > self.max {
            let first = entries.iter().min_by_key(|(_, (until, _))| *until);
            match first.map(|(key, _)| key.clone()) {
                Some(key) => entries.remove(&key),
                None => return,
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, (Instant, Remembered)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
