//! Pings: whether the remote is there, and how far away.
//!
//! ```text
//!          silence for `keep_alive`, or a round trip to measure
//!   Idle ───────────────────────────────────────────────────────► Ping (one at a time)
//!    ▲                                                             │   │
//!    ├──────── answered: a round trip ─────────────────────────────┤   │ `patience` over,
//!    └──────── `patience` over, something else arrived since ──────┘   │ nothing arrived
//!                                                                      ▼
//!                                                                    Silent
//! ```

use std::time::Duration;

use p2p_core::{ConnectionEnd, Instant};

use crate::Config;
use crate::wire::Flags;

/// A round trip measured longer ago than this is measured again when windows are refilled.
const RTT_AGE: Duration = Duration::from_secs(10);

/// The pings of a session, in both directions.
#[derive(Debug)]
pub(crate) struct Pings {
    keep_alive: Option<Duration>,
    patience: Duration,
    ping: Option<Ping>,
    next: u32,
    rtt: Option<Rtt>,
    last_input: Instant,
    /// The latest ping that we have not answered.
    pong: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Ping {
    value: u32,
    asked: Instant,
    sent: Option<Instant>,
}

/// The shortest round trip seen, slowly forgotten: queues only ever make it longer.
#[derive(Clone, Copy, Debug)]
struct Rtt {
    shortest: Duration,
    measured: Instant,
}

impl Pings {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            keep_alive: config.keep_alive,
            patience: config.patience,
            ping: None,
            next: 0,
            rtt: None,
            last_input: now,
            pong: None,
        }
    }

    /// The round trip to the remote, as far as it was measured.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|rtt| rtt.shortest)
    }

    /// Measures the round trip, unless it was measured lately.
    pub(crate) fn refresh_rtt(&mut self, now: Instant) {
        if self.rtt.is_none_or(|rtt| now.since(rtt.measured) > RTT_AGE) {
            self.ask(now);
        }
    }

    /// Something arrived, whatever it is.
    pub(crate) fn handle_input(&mut self, now: Instant) {
        self.last_input = now;
    }

    /// Takes a ping of the remote, or its answer to ours.
    pub(crate) fn handle_ping(&mut self, flags: Flags, received: u32, now: Instant) {
        if flags.has(Flags::SYN) {
            self.pong = Some(received);
            return;
        }
        let Some(Ping { value, sent, .. }) = self.ping else {
            return;
        };
        let Some(sent) = sent.filter(|_| value == received) else {
            return;
        };
        self.ping = None;
        let sample = now.since(sent);
        let shortest = match self.rtt {
            Some(rtt) => sample.min(rtt.shortest + rtt.shortest / 8),
            None => sample,
        };
        self.rtt = Some(Rtt {
            shortest,
            measured: now,
        });
    }

    /// When to call [`Pings::handle_timeout`] next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.ping {
            Some(ping) => Some(ping.asked + self.patience),
            None => Some(self.last_input + self.keep_alive?),
        }
    }

    /// Moves the schedule to `now`. Early calls are harmless.
    ///
    /// # Errors
    /// [`ConnectionEnd::Silent`].
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionEnd> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return Ok(());
        }
        match self.ping {
            Some(ping) if self.last_input < ping.asked => {
                Err(ConnectionEnd::Silent(now.since(self.last_input)))
            }
            // Busy, not dead: its answer waits behind what arrived since.
            Some(_) => {
                self.ping = None;
                Ok(())
            }
            None => {
                self.ask(now);
                Ok(())
            }
        }
    }

    /// Whether there is a frame to send.
    pub(crate) fn owes_frame(&self) -> bool {
        self.pong.is_some() || self.ping.is_some_and(|ping| ping.sent.is_none())
    }

    /// The flags and the value of the next frame to send.
    pub(crate) fn next_frame(&mut self, now: Instant) -> Option<(Flags, u32)> {
        if let Some(value) = self.pong.take() {
            return Some((Flags::ACK, value));
        }
        let ping = self.ping.as_mut().filter(|ping| ping.sent.is_none())?;
        ping.sent = Some(now);
        Some((Flags::SYN, ping.value))
    }

    fn ask(&mut self, now: Instant) {
        if self.ping.is_none() {
            self.next = self.next.wrapping_add(1);
            self.ping = Some(Ping {
                value: self.next,
                asked: now,
                sent: None,
            });
        }
    }
}
