//! What happens when: a queue of events by time, then in the order they were made.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use p2p_core::Instant;

/// Events of the same millisecond lie together unsorted until it comes: with millions of them one
/// large heap would be most of the work.
#[derive(Debug)]
pub(crate) struct Calendar<E> {
    /// The events up to the end of this millisecond.
    now: BinaryHeap<Entry<E>>,
    millisecond: u64,
    later: BTreeMap<u64, Vec<Entry<E>>>,
    next: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Instant,
    number: u64,
    event: E,
}

impl<E> Calendar<E> {
    pub(crate) fn new() -> Self {
        Self {
            now: BinaryHeap::new(),
            millisecond: 0,
            later: BTreeMap::new(),
            next: 0,
        }
    }

    pub(crate) fn add(&mut self, at: Instant, event: E) {
        self.next += 1;
        let number = self.next;
        let entry = Entry { at, number, event };
        match at.as_nanos() / 1_000_000 {
            soon if soon <= self.millisecond => self.now.push(entry),
            later => self.later.entry(later).or_default().push(entry),
        }
    }

    /// Takes out the first event, unless it comes after `end`.
    pub(crate) fn pop(&mut self, end: Instant) -> Option<(Instant, E)> {
        if self.now.is_empty() {
            let first = self.later.first_entry()?;
            if *first.key() > end.as_nanos() / 1_000_000 {
                return None;
            }
            self.millisecond = *first.key();
            self.now = first.remove().into();
        }
        let first = self.now.peek()?;
        if first.at > end {
            return None;
        }
        let first = self.now.pop()?;
        Some((first.at, first.event))
    }
}

impl<E> Ord for Entry<E> {
    /// The first one is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_made_and_none_is_lost() {
        let mut rng = Rng::new(1);
        let mut calendar = Calendar::new();
        let mut expected = Vec::new();
        let (mut came, mut at) = (Vec::new(), 0);
        for number in 0..5000u64 {
            // Some at the very moment, some in the same millisecond, some much later.
            let step = [0, 1000, 3_000_000, 2_000_000_000][rng.below(4)];
            let due = at + rng.below(step + 1) as u64;
            calendar.add(Instant::from_nanos(due), number);
            expected.push((due, number));
            if number % 3 == 0 {
                at += rng.below(2_000_000) as u64;
                while let Some((due, event)) = calendar.pop(Instant::from_nanos(at)) {
                    came.push((due.as_nanos(), event));
                }
                assert!(came.last().is_none_or(|(due, _)| *due <= at));
            }
        }
        while let Some((due, event)) = calendar.pop(Instant::FAR_FUTURE) {
            came.push((due.as_nanos(), event));
        }
        expected.sort_unstable();
        assert_eq!(came, expected);
    }
}
