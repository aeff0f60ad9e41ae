//! The windows of a stream: what each end may still send.
//!
//! ```text
//!   in bytes, always:
//!     target = recv (the remote may still send) + announced or unread + consumed
//!     credit of `consumed` is sent when it is a quarter of `target`: what stays below that is
//!     lost to the link until more arrives
//! ```
//!
//! A window that would be used up within four round trips is too small for the link, or soon will
//! be: its target doubles, as far as the settings and the budget allow. It comes to rest between
//! two and four times bandwidth × round trip. A larger one would gain nothing and cost: what is
//! queued in it leaves the processor's cache before it is read.

use std::time::Duration;

use p2p_core::Instant;

use crate::config::INITIAL_WINDOW;

/// What yamux keeps of a stream.
#[derive(Debug)]
pub(crate) struct Windows {
    /// What we may send.
    pub(crate) send: u64,
    /// Ours: the remote has acknowledged it. The remote's: we have.
    pub(crate) acknowledged: bool,
    pub(crate) owes_ack: bool,
    /// What the remote may send.
    recv: u32,
    /// What `recv` is refilled to.
    target: u32,
    /// Read by the application and not credited.
    consumed: u32,
    credited: Instant,
}

impl Windows {
    pub(crate) fn new() -> Self {
        Self {
            send: u64::from(INITIAL_WINDOW),
            acknowledged: false,
            owes_ack: false,
            recv: INITIAL_WINDOW,
            target: INITIAL_WINDOW,
            consumed: 0,
            credited: Instant::ZERO,
        }
    }

    /// The remote sends `length` bytes; false if the window does not allow them.
    #[must_use]
    pub(crate) fn receive(&mut self, length: u32) -> bool {
        match self.recv.checked_sub(length) {
            Some(left) => {
                self.recv = left;
                true
            }
            None => false,
        }
    }

    /// `count` received bytes are out of the way.
    pub(crate) fn consume(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.consumed = self.consumed.saturating_add(count);
    }

    /// Whether it is time to let the remote send more.
    pub(crate) fn credit_is_due(&self) -> bool {
        self.consumed >= self.target / 4
    }

    /// What the target should grow by, if it may become `max`.
    pub(crate) fn growth(&self, rtt: Duration, max: u32, now: Instant) -> u32 {
        let took = now.since(self.credited).as_nanos() * u128::from(self.target);
        if took < 4 * rtt.as_nanos() * u128::from(self.consumed) {
            self.target.min(max.saturating_sub(self.target))
        } else {
            0
        }
    }

    /// The credit to send to the remote, with the `growth` that was paid for.
    pub(crate) fn take_credit(&mut self, growth: u32, now: Instant) -> u32 {
        let credit = self.consumed.saturating_add(growth);
        self.recv = self.recv.saturating_add(credit);
        self.target = self.target.saturating_add(growth);
        self.consumed = 0;
        self.credited = now;
        credit
    }
}
