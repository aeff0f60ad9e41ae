//! One dial for everybody who wants the same peer.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures::future::{Shared, WeakShared};
use p2p_core::{Multiaddr, PeerId};

use crate::shared::DialFuture;
use crate::tasks::lock;

/// What is being dialed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DialKey {
    /// Whoever answers at this address, which does not end in `/p2p/<id>`.
    Addr(Multiaddr),
    /// A peer, wherever it is.
    Peer(PeerId),
}

impl DialKey {
    pub(crate) fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Addr(_) => None,
            Self::Peer(peer) => Some(*peer),
        }
    }
}

/// A dial under way.
pub(crate) struct Running {
    pub(crate) id: u64,
    pub(crate) future: WeakShared<DialFuture>,
    pub(crate) offers: Arc<Offers>,
}

impl Running {
    /// The dial, if somebody waits for it.
    pub(crate) fn upgrade(&self) -> Option<(u64, Shared<DialFuture>, Arc<Offers>)> {
        Some((self.id, self.future.upgrade()?, Arc::clone(&self.offers)))
    }
}

/// Addresses for a dial under way, from those who join it.
#[derive(Default)]
pub(crate) struct Offers(Mutex<State>);

#[derive(Default)]
struct State {
    addrs: Vec<Multiaddr>,
    /// The dial has its result; what is offered now would be lost.
    over: bool,
    waker: Option<Waker>,
}

impl Offers {
    /// Gives the dial `addrs` to try, at most `max` at a time; false if it is too late.
    pub(crate) fn offer(&self, addrs: &[Multiaddr], max: usize) -> bool {
        let waker = {
            let mut state = lock(&self.0);
            if state.over {
                return false;
            }
            let room = max.saturating_sub(state.addrs.len());
            state.addrs.extend(addrs.iter().take(room).cloned());
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    pub(crate) fn poll_offered(&self, cx: &Context<'_>) -> Poll<Vec<Multiaddr>> {
        let mut state = lock(&self.0);
        if state.addrs.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut state.addrs))
    }

    /// Ends the dial in failure, unless something was offered: then that.
    pub(crate) fn give_up(&self) -> Option<Vec<Multiaddr>> {
        let mut state = lock(&self.0);
        if state.addrs.is_empty() {
            state.over = true;
            return None;
        }
        Some(std::mem::take(&mut state.addrs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_taken_once_and_not_after_the_end() {
        let offers = Offers::default();
        let addr: Multiaddr = "/memory/1".parse().unwrap();
        assert!(offers.offer(&[addr.clone(), addr.clone()], 1));
        assert_eq!(
            offers.give_up(),
            Some(vec![addr.clone()]),
            "not yet the end"
        );
        assert_eq!(offers.give_up(), None);
        assert!(!offers.offer(&[addr], 1), "too late");
    }
}
