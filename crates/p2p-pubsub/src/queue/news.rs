//! Which of our topics a peer has yet to hear of.
//!
//! What is said of a topic is what is true when it is said: nothing waits here but names, and of
//! those no more than the topics that we are in and the ones that the peer was told of.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::Topic;

#[derive(Debug, Default)]
pub(crate) struct News {
    /// Of all our topics those from this one on: the peer has just connected.
    rest: Option<Topic>,
    /// Topics before that one of which something has changed, and whether the peer was told that
    /// we are in them.
    changed: BTreeMap<Topic, bool>,
}

impl News {
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_none() && self.changed.is_empty()
    }

    /// All of `ours` is news.
    pub(super) fn all(&mut self, ours: &BTreeSet<Topic>) {
        self.rest = ours.first().cloned();
    }

    /// We joined a topic, or left it.
    pub(super) fn changed(&mut self, topic: &Topic, joined: bool) {
        if self.is_to_come(topic) {
            return;
        }
        match self.changed.get(topic) {
            // Never told: nothing to take back.
            Some(false) if !joined => drop(self.changed.remove(topic)),
            Some(_) => {}
            None => drop(self.changed.insert(topic.clone(), !joined)),
        }
    }

    /// We take part in one of our topics in another way.
    pub(super) fn again(&mut self, topic: &Topic) {
        if !self.is_to_come(topic) && !self.changed.contains_key(topic) {
            self.changed.insert(topic.clone(), true);
        }
    }

    /// The next topic to speak of.
    pub(super) fn next(&mut self, ours: &BTreeSet<Topic>) -> Option<Topic> {
        if let Some((topic, _)) = self.changed.first_key_value() {
            return Some(topic.clone());
        }
        self.rest = ours.range(self.rest.take()?..).next().cloned();
        self.rest.clone()
    }

    /// The topic that came [`next`](Self::next) is told.
    pub(super) fn told(&mut self, topic: &Topic, ours: &BTreeSet<Topic>) {
        if self.changed.remove(topic).is_none() {
            let after = (Bound::Excluded(topic), Bound::Unbounded);
            self.rest = ours.range::<Topic, _>(after).next().cloned();
        }
    }

    fn is_to_come(&self, topic: &Topic) -> bool {
        self.rest.as_ref().is_some_and(|rest| topic >= rest)
    }
}
