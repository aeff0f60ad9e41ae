//! What a connection may make us hold, and when it may have more.
//!
//! QUIC promises the remote room before it is used. So the windows are paid for as promised: a
//! new connection gets a little, and more when that holds it back and the budget has room. What
//! is promised cannot be taken back.

use p2p_core::{Budget, Exceeded, Instant, Permit};
use quinn_proto::{Connection, VarInt};

use crate::Config;

/// What a connection costs beside its windows, in bytes: keys, timers, identifiers, gaps.
const OVERHEAD: usize = 32 << 10;
/// Round trips in which half of the receive window is read, if the window is what limits it.
const FAST: u32 = 4;
/// Writes that a send window holds at least.
const SEGMENTS: usize = 32;
/// What one write takes at most, in bytes.
const LARGEST_SEGMENT: usize = 64 << 10;

/// The windows of a connection.
pub(crate) struct Account {
    permit: Option<Permit>,
    /// Unread payload that the remote may send.
    receive: u32,
    /// Payload that we may have sent or queued without an acknowledgement.
    send: u32,
    /// Bytes that were read since `since`.
    read: u64,
    since: Instant,
    /// How often the remote said that it had to wait for the receive window.
    blocked: u64,
    /// What has come and is not read, in bytes, or a little more: what surrounds payload counts
    /// until the streams are empty.
    unread: u64,
    /// Datagrams that have come, in bytes, and frames of streams in them.
    came: (u64, u64),
}

impl Account {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            permit: None,
            receive: config.initial_window,
            send: config.initial_window,
            read: 0,
            since: now,
            blocked: 0,
            unread: 0,
            came: (0, 0),
        }
    }

    /// From now on `budget` pays.
    pub(crate) fn charge(&mut self, budget: &Budget) -> Result<(), Exceeded> {
        let windows = [self.receive, self.send].map(|window| window as usize);
        let cost = windows.iter().fold(OVERHEAD, |sum, one| sum + one);
        self.permit = Some(budget.reserve(cost)?);
        Ok(())
    }

    /// The application has read `bytes`.
    pub(crate) fn handle_read(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(bytes as u64);
        self.handle_discarded(bytes);
    }

    /// `bytes` that have come are held no longer.
    pub(crate) fn handle_discarded(&mut self, bytes: usize) {
        self.unread = self.unread.saturating_sub(bytes as u64);
    }

    /// All that has come so far, and whether the streams are empty.
    fn handle_came(&mut self, bytes: u64, frames: u64, all_is_read: bool) {
        let (bytes_before, frames_before) = self.came;
        self.came = (bytes, frames);
        if all_is_read {
            self.unread = 0;
        } else if frames > frames_before {
            let more = bytes.saturating_sub(bytes_before);
            self.unread = self.unread.saturating_add(more);
        }
    }

    /// Whether what nobody reads is most of what the remote may send: it holds up every other
    /// stream. Not every implementation says so.
    fn is_clogged(&self) -> bool {
        self.unread.saturating_mul(4) >= u64::from(self.receive) * 3
    }

    /// Widens the windows of `quic` if they hold it back.
    pub(crate) fn adapt(
        &mut self,
        quic: &mut Connection,
        all_is_read: bool,
        config: &Config,
        now: Instant,
    ) {
        let stats = quic.stats();
        self.handle_came(stats.udp_rx.bytes, stats.frame_rx.stream, all_is_read);
        let was_blocked = self.blocked < stats.frame_rx.data_blocked;
        self.blocked = stats.frame_rx.data_blocked;
        if (self.reads_fast(stats.path.rtt * FAST, now) || was_blocked || self.is_clogged())
            && let Some(wider) = wider(self.receive, config.max_window)
            && self.pay(wider - self.receive)
        {
            self.receive = wider;
            quic.set_receive_window(VarInt::from_u32(wider));
        }
        // Twice of what is on its way: the other half waits for its turn.
        if stats.path.cwnd.saturating_mul(2) > self.send.into()
            && let Some(wider) = wider(self.send, config.max_send_window)
            && self.pay(wider - self.send)
        {
            self.send = wider;
            quic.set_send_window(wider.into());
        }
    }

    /// Whether half of the receive window was read within `time`; starts over if it was read.
    fn reads_fast(&mut self, time: std::time::Duration, now: Instant) -> bool {
        if self.read < u64::from(self.receive / 2) {
            return false;
        }
        let took = now - self.since;
        self.read = 0;
        self.since = now;
        took < time
    }

    /// What one write takes at most, in bytes. quinn frees what is acknowledged by whole writes: one
    /// that fills the send window would leave no room for anybody until its last byte has arrived.
    pub(crate) fn segment(&self) -> usize {
        (self.send as usize / SEGMENTS).clamp(1, LARGEST_SEGMENT)
    }

    fn pay(&mut self, more: u32) -> bool {
        match &mut self.permit {
            Some(permit) => permit.grow(more as usize).is_ok(),
            None => true,
        }
    }
}

/// Twice the window, within its limit; `None` if it is there.
fn wider(window: u32, limit: u32) -> Option<u32> {
    let wider = window.saturating_mul(2).min(limit);
    (wider > window).then_some(wider)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn account() -> Account {
        Account::new(&Config::default(), Instant::ZERO)
    }

    #[test]
    fn a_connection_pays_for_both_windows_before_it_starts() {
        let budget = Budget::new("memory", "memory_budget", 300 << 10);
        let mut one = account();
        one.charge(&budget).unwrap();
        assert_eq!(budget.used(), OVERHEAD + (256 << 10));
        assert!(account().charge(&budget).is_err());
        assert!(!one.pay(64 << 10), "the window stays as it is");
        drop(one);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn only_a_fast_reader_needs_a_wider_window() {
        let rtt = Duration::from_millis(50);
        let mut slow = account();
        slow.handle_read(64 << 10);
        assert!(!slow.reads_fast(rtt, Instant::ZERO + 2 * rtt));
        let mut fast = account();
        fast.handle_read(64 << 10);
        assert!(fast.reads_fast(rtt, Instant::ZERO + rtt / 2));
        assert!(!fast.reads_fast(rtt, Instant::ZERO + rtt), "starts over");
    }

    #[test]
    fn what_nobody_reads_clogs_a_connection_until_it_is_read() {
        let mut account = account();
        account.handle_came(90 << 10, 90, false);
        assert!(!account.is_clogged());
        account.handle_came(96 << 10, 96, false);
        assert!(account.is_clogged(), "three quarters of 128 KiB");
        account.handle_read(1 << 10);
        assert!(!account.is_clogged());
        account.handle_came(200 << 10, 96, false);
        assert!(!account.is_clogged(), "nothing of a stream");
        account.handle_came(300 << 10, 97, false);
        assert!(account.is_clogged());
        account.handle_came(400 << 10, 98, true);
        assert!(!account.is_clogged(), "whoever keeps up");
    }

    #[test]
    fn a_write_takes_a_part_of_the_send_window_and_never_nothing() {
        let mut account = account();
        for (send, segment) in [(0, 1), (31, 1), (128 << 10, 4 << 10), (u32::MAX, 64 << 10)] {
            account.send = send;
            assert_eq!(account.segment(), segment);
        }
    }

    #[test]
    fn windows_double_up_to_their_limit() {
        assert_eq!(wider(1, 3), Some(2));
        assert_eq!(wider(2, 3), Some(3));
        assert_eq!(wider(3, 3), None);
        assert_eq!(wider(u32::MAX, u32::MAX), None);
    }
}
