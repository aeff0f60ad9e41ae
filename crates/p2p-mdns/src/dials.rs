//! Whom to dial of those who were found: a few at a time, the others in the order in which they
//! came.

use std::collections::{BTreeSet, VecDeque};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use p2p_core::PeerId;
use p2p_swarm::{Swarm, WeakSwarm};

/// Dials under way, and who waits for one.
pub(crate) struct Dials {
    max: usize,
    max_waiting: usize,
    under_way: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Invariant: at most `max_waiting`, each once.
    waiting: VecDeque<PeerId>,
    /// Who is in `waiting`.
    queued: BTreeSet<PeerId>,
}

impl Dials {
    pub(crate) fn new(max: usize, max_waiting: usize) -> Self {
        Self {
            max,
            max_waiting,
            under_way: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            queued: BTreeSet::new(),
        }
    }

    /// `peer` was found. If too many wait, those who are gone make room.
    pub(crate) fn add(&mut self, peer: PeerId, is_known: impl Fn(&PeerId) -> bool) {
        if self.waiting.len() >= self.max_waiting {
            self.waiting.retain(is_known);
            self.queued = self.waiting.iter().copied().collect();
        }
        if self.waiting.len() < self.max_waiting && self.queued.insert(peer) {
            self.waiting.push_back(peer);
        }
    }

    /// Goes on with all dials, and starts those whose turn it is. `cx` is woken for more.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        swarm: &WeakSwarm,
        is_known: impl Fn(&PeerId) -> bool,
    ) {
        loop {
            while self.under_way.len() < self.max
                && let Some(peer) = self.next()
            {
                let Some(swarm) = swarm.upgrade() else { return };
                if is_known(&peer) && swarm.connections(&peer).is_empty() {
                    self.under_way.push(dial(swarm, peer).boxed());
                }
            }
            match self.under_way.poll_next_unpin(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
    }

    fn next(&mut self) -> Option<PeerId> {
        let peer = self.waiting.pop_front()?;
        self.queued.remove(&peer);
        Some(peer)
    }
}

async fn dial(swarm: Swarm, peer: PeerId) {
    if let Err(error) = swarm.dial(peer).await {
        tracing::debug!(%peer, %error, "cannot dial who was found");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        // An identity multihash is a valid peer id whatever its digest.
        PeerId::from_bytes(&[0, 1, n]).unwrap()
    }

    #[test]
    fn who_waits_is_dialed_in_order_and_who_is_gone_makes_room() {
        let mut dials = Dials::new(1, 3);
        for n in [3, 1, 1, 2, 4] {
            dials.add(peer(n), |_| true);
        }
        assert_eq!(dials.next(), Some(peer(3)));
        dials.add(peer(5), |_| true);
        dials.add(peer(6), |known| *known != peer(2));
        let order: Vec<_> = std::iter::from_fn(|| dials.next()).collect();
        assert_eq!(order, [1, 5, 6].map(peer));
        assert!(dials.queued.is_empty());
    }
}
