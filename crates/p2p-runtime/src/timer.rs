//! One timer for all runtimes.
//!
//! Idle and keep-alive timers are moved with every packet and hardly ever fire. So
//! [`Timer::reset`] only notes the new instant; the runtime's own timer, the alarm, is touched
//! when the timer is polled, and then only if it would ring too late. An alarm that rings too
//! early is set again.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use p2p_core::{Instant, Timer};

use crate::clock;

/// A timer of a runtime: completes at the instant it is set to.
pub(crate) trait Alarm: Future + Send + Unpin {
    /// Moves it, also after it completed.
    fn set(&mut self, at: std::time::Instant);
}

/// Fires at `at`, and stays fired until it is reset.
pub(crate) struct LazyTimer<A> {
    at: Instant,
    fired: bool,
    alarm: A,
    /// What the alarm is set to; `None` once it rang.
    set_to: Option<Instant>,
}

impl<A: Alarm> LazyTimer<A> {
    /// `alarm` makes the runtime's timer for an instant.
    pub(crate) fn new(at: Instant, alarm: impl FnOnce(std::time::Instant) -> A) -> Self {
        Self {
            at,
            fired: false,
            alarm: alarm(clock::to_std(at)),
            set_to: Some(at),
        }
    }
}

impl<A: Alarm> Future for LazyTimer<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while !self.fired {
            let at = self.at;
            if self.set_to.is_none_or(|set_to| set_to > at) {
                self.alarm.set(clock::to_std(at));
                self.set_to = Some(at);
            }
            ready!(Pin::new(&mut self.alarm).poll(cx));
            self.set_to = None;
            self.fired = clock::now() >= at;
        }
        Poll::Ready(())
    }
}

impl<A: Alarm> Timer for LazyTimer<A> {
    fn reset(&mut self, at: Instant) {
        self.at = at;
        self.fired = false;
    }
}
