//! Above `high_water`: the least useful connections go, at once or as soon as they may.
//!
//! ```text
//!   a connection more ── too many ──> round ── still too many ──> wait: TRIM_PAUSE, trim_grace
//!                                       ^                                    |
//!                                       +------------------------------------+
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use p2p_core::{Exceeded, Instant};

use crate::connection::Inner;
use crate::manager::Candidate;
use crate::shared::Shared;
use crate::tasks::lock;

impl Shared {
    /// Closes the least useful connections if there are too many, and goes on as long as there
    /// are, though nobody new may come.
    pub(crate) fn trim(self: &Arc<Self>) {
        let (_, high) = self.config.water();
        if self.staying() <= high {
            return;
        }
        if std::mem::replace(&mut lock(&self.state).manager.trimming, true) {
            return;
        }
        let Some(mut next) = self.trim_round() else {
            return;
        };
        let shared = Arc::clone(self);
        self.tasks.spawn("trimming", async move {
            loop {
                shared.rt.sleep_until(next).await;
                match shared.trim_round() {
                    Some(at) => next = at,
                    None => return,
                }
            }
        });
    }

    /// Closes what may be closed now. If there are still too many, returns when to look again.
    fn trim_round(&self) -> Option<Instant> {
        let now = self.rt.now();
        let (low, high) = self.config.water();
        let (open, chosen, next) = {
            let mut state = lock(&self.state);
            // Under the lock: whoever comes later must not take it that this round sees him.
            let open = self.staying();
            if open <= high {
                state.manager.trimming = false;
                return None;
            }
            let rested = state.manager.trimmed.map(|last| last + TRIM_PAUSE);
            if let Some(rested) = rested.filter(|rested| *rested > now) {
                return Some(rested);
            }
            state.manager.trimmed = Some(now);
            let live = state.all().filter(|inner| !inner.is_over());
            let candidates: Vec<Candidate> = live.map(|inner| candidate(inner)).collect();
            let live = candidates.len();
            let grace = self.config.trim_grace;
            let of_age = Instant::ZERO + now.elapsed_since_start().saturating_sub(grace);
            let young = candidates.iter().filter(|one| one.established > of_age);
            let young = young.filter(|one| !state.manager.is_protected(&one.peer));
            let oldest = young.map(|one| one.established).min();
            let chosen = state.manager.choose(candidates, low, of_age);
            let next = (live - chosen.len() > high).then(|| {
                // Where all are protected, that may have changed by then.
                let due = oldest.unwrap_or(now) + grace;
                due.max(now + TRIM_PAUSE)
            });
            state.manager.trimming = next.is_some();
            let chosen: BTreeSet<_> = chosen.into_iter().collect();
            let all = state.all().filter(|inner| chosen.contains(&inner.info.id));
            (open, all.cloned().collect::<Vec<_>>(), next)
        };
        tracing::debug!(
            closing = chosen.len(),
            high,
            low,
            "more connections than high_water"
        );
        self.counters.trimmed(chosen.len());
        for inner in chosen {
            inner.trim(above(open, high));
        }
        next
    }
}

/// Why connections are trimmed where `open` of them are more than the mark.
pub(crate) fn above(open: usize, high: usize) -> Exceeded {
    Exceeded {
        name: "connections",
        setting: "high_water",
        limit: high,
        used: high,
        wanted: open.saturating_sub(high),
    }
}

fn candidate(inner: &Inner) -> Candidate {
    Candidate {
        id: inner.info.id,
        peer: inner.info.peer,
        role: inner.info.role,
        established: inner.info.established,
        in_use: inner.is_used(),
        last_used: inner.last_used(),
    }
}

/// Between two rounds of closing: looking at all connections costs too much for each new one.
const TRIM_PAUSE: Duration = Duration::from_secs(1);
