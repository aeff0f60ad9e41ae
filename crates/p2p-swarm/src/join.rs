//! One dial for everybody who wants the same peer.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures::future::{Shared, WeakShared};
use p2p_core::{Instant, Multiaddr, PeerId};

use crate::schedule::{Next, Schedule};
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

/// The addresses of a dial under way, to which those who join it add theirs.
pub(crate) struct Offers(Mutex<State>);

struct State {
    schedule: Schedule,
    /// Something came that the dial has not looked at.
    news: bool,
    /// The dial has its result; what is offered now would be lost.
    over: bool,
    waker: Option<Waker>,
}

impl Offers {
    pub(crate) fn new(schedule: Schedule) -> Self {
        Self(Mutex::new(State {
            schedule,
            news: false,
            over: false,
            waker: None,
        }))
    }

    /// Gives the dial `addrs` to try; false if it is too late, or if it has no place for them.
    pub(crate) fn offer(&self, addrs: &[Multiaddr]) -> bool {
        let waker = {
            let mut state = lock(&self.0);
            if state.over || !state.schedule.offer(addrs) {
                return false;
            }
            state.news = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// A connection with the peer is in the books: whoever waits for the dial may have that. The
    /// result is to be woken.
    pub(crate) fn handle_connected(&self) -> Option<Waker> {
        let mut state = lock(&self.0);
        state.news = true;
        state.waker.take()
    }

    /// What the dial does next; if there is nothing left to do, it is over.
    pub(crate) fn next(&self, now: Instant) -> Next {
        let mut state = lock(&self.0);
        let next = state.schedule.next(now);
        state.over |= next == Next::Exhausted;
        next
    }

    /// Ends the dial; returns the addresses that have not started.
    pub(crate) fn give_up(&self) -> Vec<Multiaddr> {
        let mut state = lock(&self.0);
        state.over = true;
        state.schedule.give_up()
    }

    pub(crate) fn handle_failure(&self, now: Instant) {
        lock(&self.0).schedule.handle_failure(now);
    }

    /// How many addresses found no place.
    pub(crate) fn left_out(&self) -> usize {
        lock(&self.0).schedule.left_out()
    }

    /// Ready when something has come since it was last ready.
    pub(crate) fn poll_news(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if std::mem::take(&mut state.news) {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::ScheduleConfig;
    use std::time::Duration;

    #[test]
    fn what_is_offered_is_tried_and_nothing_after_the_end() {
        let config = ScheduleConfig {
            stagger: Duration::ZERO,
            max_addrs: 2,
            max_under_way: 9,
        };
        let offers = Offers::new(Schedule::new(config, Instant::ZERO));
        let addr = |n: u8| -> Multiaddr { format!("/memory/{n}").parse().unwrap() };
        assert!(offers.offer(&[addr(1)]) && offers.offer(&[addr(1), addr(2)]));
        assert!(!offers.offer(&[addr(3)]), "no place");
        for n in [1, 2] {
            assert_eq!(offers.next(Instant::ZERO), Next::Start(addr(n)));
            offers.handle_failure(Instant::ZERO);
        }
        assert_eq!(offers.next(Instant::ZERO), Next::Exhausted);
        assert!(!offers.offer(&[addr(1)]), "too late");
    }
}
