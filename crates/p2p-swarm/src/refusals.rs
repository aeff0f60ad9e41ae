//! Telling of what was refused. Holds nothing of the swarm that could hold it, and takes no lock
//! of the swarm's, because multiplexers call it under theirs.

use std::sync::Arc;

use p2p_core::{Exceeded, PeerId, Rt};

use crate::broadcast::Publisher;
use crate::events::Event;
use crate::stats::Counters;

/// Counts refusals, and tells of them now and then.
#[derive(Clone)]
pub(crate) struct Refusals {
    pub(crate) events: Arc<Publisher<Event>>,
    pub(crate) counters: Arc<Counters>,
    rt: Rt,
}

impl Refusals {
    pub(crate) fn new(rt: Rt) -> Self {
        Self {
            events: Arc::default(),
            counters: Arc::default(),
            rt,
        }
    }

    /// `exceeded` has refused something `times` times.
    pub(crate) fn tell(&self, peer: Option<PeerId>, exceeded: &Exceeded, times: u64) {
        if let Some(times) = self.counters.limit_hit(exceeded, times, self.rt.now()) {
            self.events.publish(&Event::LimitHit {
                exceeded: exceeded.clone(),
                peer,
                times,
            });
        }
    }
}
