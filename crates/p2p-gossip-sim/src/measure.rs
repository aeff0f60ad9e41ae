//! What is expected, what came, and how long it took.

use p2p_core::Instant;
use p2p_pubsub::Router;

use crate::report::{RouterKind, Row};

/// Counts deliveries of numbered messages at honest nodes.
#[derive(Debug)]
pub(crate) struct Meter {
    /// When each message was published, by number.
    published: Vec<Instant>,
    /// The first message that is measured.
    first: usize,
    expected: usize,
    /// Latencies of all deliveries that were expected, in ms.
    latencies: Vec<f32>,
    /// When each node came or left, by time. Nodes are there from the start.
    moves: Vec<Vec<(Instant, bool)>>,
    /// Nodes that are there now.
    online: usize,
    /// Only deliveries to this node count.
    at: Option<usize>,
    before: Totals,
}

/// What all honest routers together have sent and received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    received: u64,
    sent: u64,
    delivered: u64,
}

impl Totals {
    pub(crate) fn of<'a>(routers: impl Iterator<Item = &'a dyn Router>) -> Self {
        routers.fold(Self::default(), |sum, router| {
            let stats = router.stats();
            Self {
                received: sum.received + stats.received,
                sent: sum.sent + stats.sent,
                delivered: sum.delivered + stats.delivered,
            }
        })
    }
}

impl Meter {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            published: Vec::new(),
            first: 0,
            expected: 0,
            latencies: Vec::new(),
            moves: vec![Vec::new(); nodes],
            online: nodes,
            at: None,
            before: Totals::default(),
        }
    }

    /// The number of the next message.
    pub(crate) fn next_number(&self) -> u64 {
        self.published.len() as u64
    }

    /// `author` publishes the next message: all others that are there now should get it.
    pub(crate) fn published(&mut self, author: usize, now: Instant) {
        self.published.push(now);
        self.expected += match self.at {
            Some(at) => usize::from(at != author && self.was_online(at, now)),
            None => self.online - usize::from(self.was_online(author, now)),
        };
    }

    /// A message came to `node`. It counts if it was expected there.
    pub(crate) fn delivered(&mut self, node: usize, number: u64, now: Instant) {
        let Ok(number) = usize::try_from(number) else {
            return;
        };
        let watched = self.at.is_none_or(|at| at == node);
        let Some(at) = self.published.get(number).copied() else {
            return;
        };
        if number >= self.first && watched && self.was_online(node, at) {
            let took = now - at;
            self.latencies.push((took.as_secs_f64() * 1e3) as f32);
        }
    }

    /// From now on messages are expected at `node`, or no more.
    pub(crate) fn set_online(&mut self, node: usize, online: bool, now: Instant) {
        if self.was_online(node, now) == online {
            return;
        }
        self.online = match online {
            true => self.online + 1,
            false => self.online - 1,
        };
        if let Some(moves) = self.moves.get_mut(node) {
            moves.push((now, online));
        }
    }

    /// Whether messages published at `at` are expected at `node`.
    pub(crate) fn was_online(&self, node: usize, at: Instant) -> bool {
        let moves = self.moves.get(node).into_iter().flatten();
        let last = moves.rev().find(|(since, _)| *since <= at);
        last.is_none_or(|(_, online)| *online)
    }

    /// Forgets what was measured so far.
    pub(crate) fn start(&mut self, at: Option<usize>, totals: Totals) {
        self.latencies.clear();
        self.expected = 0;
        self.first = self.published.len();
        self.at = at;
        self.before = totals;
    }

    /// Nothing that is expected is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.latencies.len() >= self.expected
    }

    /// What was measured since the start.
    pub(crate) fn row(
        &mut self,
        scenario: &str,
        router: RouterKind,
        messages: usize,
        totals: Totals,
    ) -> Row {
        self.latencies.sort_by(f32::total_cmp);
        let count = self.latencies.len();
        let ms = |part: f64| {
            let index = ((count as f64 * part).ceil() as usize).max(1) - 1;
            let ms = self.latencies.get(index.min(count.saturating_sub(1)));
            ms.map_or(0.0, |ms| f64::from(*ms))
        };
        let delivered = (totals.delivered - self.before.delivered).max(1) as f64;
        Row {
            scenario: scenario.to_owned(),
            router,
            delivered: count as f64 / self.expected.max(1) as f64,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            max_ms: ms(1.0),
            copies: (totals.received - self.before.received) as f64 / delivered,
            sent: (totals.sent - self.before.sent) as f64 / delivered,
            recovery_s: None,
            messages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn only_nodes_that_were_there_at_the_time_are_expected_to_have_a_message() {
        let mut meter = Meter::new(4);
        meter.set_online(2, false, at(1));
        meter.published(0, at(2));
        meter.set_online(2, true, at(3));
        for node in 1..4 {
            meter.delivered(node, 0, at(4));
        }

        let row = meter.row("x", RouterKind::Ours, 1, Totals::default());

        assert_eq!((row.delivered, row.max_ms), (1.0, 2000.0));
        assert_eq!(meter.latencies.len(), 2, "1 and 3; 2 was away");
    }

    #[test]
    fn a_watched_node_is_the_only_one_that_counts() {
        let mut meter = Meter::new(3);
        meter.start(Some(2), Totals::default());
        meter.published(0, at(1));
        meter.published(0, at(1));
        meter.delivered(1, 0, at(2));
        meter.delivered(2, 0, at(2));

        let row = meter.row("x", RouterKind::Ours, 2, Totals::default());

        assert_eq!(row.delivered, 0.5);
    }
}
