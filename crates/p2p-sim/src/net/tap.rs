//! Counts round trips between two hosts, not by time but by what depends on what.

use std::collections::BTreeMap;

use crate::world::{HostId, State};

/// What has passed between two hosts since the count began.
///
/// A *flight* is what can be sent before anything must come back: its number is one more than
/// the highest flight that its sender had received. Packets that cross on the way are the same
/// flight. Two flights are a round trip.
///
/// Bare acknowledgements and window updates are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flights {
    /// The highest flight that was sent.
    pub flights: u32,
    /// Segments and datagrams.
    pub packets: u64,
    /// Bytes in them, without headers.
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Taps(BTreeMap<(HostId, HostId), Tap>);

#[derive(Debug, Default)]
struct Tap {
    count: Flights,
    /// The highest flight that the lower and the higher host have received.
    received: (u32, u32),
}

fn pair(one: HostId, other: HostId) -> (HostId, HostId) {
    (one.min(other), one.max(other))
}

impl State {
    /// Counts from zero between these two.
    pub(crate) fn tap_start(&mut self, one: HostId, other: HostId) {
        self.net.taps.0.insert(pair(one, other), Tap::default());
    }

    pub(crate) fn tap_read(&self, one: HostId, other: HostId) -> Option<Flights> {
        self.net.taps.0.get(&pair(one, other)).map(|tap| tap.count)
    }

    /// Counts a packet; returns its flight.
    pub(crate) fn tap_send(&mut self, from: HostId, to: HostId, len: usize) -> u32 {
        if self.net.taps.0.is_empty() {
            return 0;
        }
        let Some(tap) = self.net.taps.0.get_mut(&pair(from, to)) else {
            return 0;
        };
        let received = if from < to {
            tap.received.0
        } else {
            tap.received.1
        };
        let flight = received + 1;
        tap.count.flights = tap.count.flights.max(flight);
        tap.count.packets += 1;
        tap.count.bytes += len as u64;
        flight
    }

    pub(crate) fn tap_receive(&mut self, from: HostId, to: HostId, flight: u32) {
        if flight == 0 {
            return;
        }
        if let Some(tap) = self.net.taps.0.get_mut(&pair(from, to)) {
            let received = if to < from {
                &mut tap.received.0
            } else {
                &mut tap.received.1
            };
            *received = (*received).max(flight);
        }
    }
}
