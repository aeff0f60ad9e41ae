//! What happens each second: meshes are mended, gossip is told, old things are forgotten.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use p2p_core::Instant;

use super::control::id_chunks;
use super::{Gossipsub, GraftCause, PruneCause};
use crate::Topic;
use crate::router::Output;
use crate::table::PeerIx;
use crate::wire::{Control, OfferedIds};

impl Gossipsub {
    pub(super) fn heartbeat(&mut self, now: Instant) {
        self.ticks = self.ticks.wrapping_add(1);
        if self.every(BACKOFF_CLEAR_TICKS) {
            self.clear_backoffs(now);
            self.forget_gone(now);
        }
        for counters in self.counters.values_mut() {
            counters.tick();
        }
        self.px_left = self.config.max_px_per_heartbeat;
        for (ix, count) in self.promises.broken(now) {
            self.penalise(ix, count);
        }
        if self.every(self.config.direct_connect_ticks) || self.ticks == 1 {
            self.connect_direct();
        }
        let mut topics: Vec<Topic> = self.mesh.keys().cloned().collect();
        // Where not all can be offered at once, none is always the last.
        self.base.rng.shuffle(&mut topics);
        for topic in &topics {
            self.mend(topic, now);
            let mesh = self.mesh.get(topic).cloned().unwrap_or_default();
            self.gossip(topic, &mesh);
        }
        self.mend_fanout(now);
        self.partial_heartbeat();
        let patience = 2 * self.config.iwant_followup_time;
        self.asked.retain(|_, (_, since)| now - *since < patience);
        self.cache.shift();
        self.base.seen.expire(now);
    }

    fn every(&self, ticks: u64) -> bool {
        self.ticks.checked_rem(ticks) == Some(0)
    }

    fn connect_direct(&mut self) {
        for peer in self.config.direct_peers.clone() {
            if self.base.table.find(&peer).is_none() {
                let record = None;
                self.base.output(Output::Connect { peer, record });
            }
        }
    }

    fn mend(&mut self, topic: &Topic, now: Instant) {
        for ix in self.in_mesh(topic) {
            if self.score_of(ix) < 0.0 {
                self.prune(ix, topic, PruneCause::NegativeScore, now);
            }
        }
        let size = self.in_mesh(topic).len();
        if size < self.config.d_low {
            self.fill(topic, self.config.d, GraftCause::TooFew, now);
        } else if size >= self.config.d_high {
            self.cut(topic, now);
        }
        self.graft_outbound(topic, now);
        if self.every(self.config.opportunistic_graft_ticks) {
            self.graft_better(topic, now);
        }
    }

    fn in_mesh(&self, topic: &Topic) -> Vec<PeerIx> {
        self.mesh
            .get(topic)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    /// Cuts the mesh to `d` peers: the best by score, the rest at random, enough of them dialed
    /// by us.
    fn cut(&mut self, topic: &Topic, now: Instant) {
        let mut peers = self.in_mesh(topic);
        self.base.rng.shuffle(&mut peers);
        peers.sort_by(|a, b| by_score(self.score_of(*b), self.score_of(*a)));
        let mut rest = peers.split_off(self.config.d_score.min(peers.len()));
        self.base.rng.shuffle(&mut rest);
        peers.extend(rest);

        let mut kept = peers;
        let mut pruned = kept.split_off(self.config.d.min(kept.len()));
        let (d_out, d_score) = (self.config.d_out, self.config.d_score);
        let mut missing = d_out.saturating_sub(kept.iter().filter(|ix| self.dialed(**ix)).count());
        while missing > 0 {
            // Somebody that was not kept for its score makes room for one that we dialed.
            let incoming = pruned.iter().position(|ix| self.dialed(*ix));
            let last = kept.iter().rposition(|ix| !self.dialed(*ix));
            let (Some(incoming), Some(last)) = (incoming, last.filter(|at| *at >= d_score)) else {
                break;
            };
            if let (Some(a), Some(b)) = (pruned.get_mut(incoming), kept.get_mut(last)) {
                std::mem::swap(a, b);
            }
            missing -= 1;
        }
        for ix in pruned {
            self.prune(ix, topic, PruneCause::TooMany, now);
        }
    }

    fn dialed(&self, ix: PeerIx) -> bool {
        self.base.table.get(ix).is_some_and(|peer| peer.outbound)
    }

    /// Makes sure that the mesh has peers that we dialed: an attacker cannot choose those.
    fn graft_outbound(&mut self, topic: &Topic, now: Instant) {
        let mesh: BTreeSet<PeerIx> = self.in_mesh(topic).into_iter().collect();
        if mesh.len() < self.config.d_low {
            return;
        }
        let dialed = mesh.iter().filter(|ix| self.dialed(**ix)).count();
        let missing = self.config.d_out.saturating_sub(dialed);
        let fit = |this: &Self, ix| this.dialed(ix) && this.may_graft(ix, topic, now);
        for ix in self.choose(topic, &mesh, missing, fit) {
            self.graft(ix, topic, GraftCause::TooFewOutbound, now);
        }
    }

    /// If half of the mesh has low scores, grafts peers with better ones.
    fn graft_better(&mut self, topic: &Topic, now: Instant) {
        let Some(median) = self.low_median(topic) else {
            return;
        };
        let mesh = self.mesh.get(topic).cloned().unwrap_or_default();
        let fit = |this: &Self, ix| this.score_of(ix) > median && this.may_graft(ix, topic, now);
        let count = self.config.opportunistic_graft_peers;
        for ix in self.choose(topic, &mesh, count, fit) {
            self.graft(ix, topic, GraftCause::Opportunistic, now);
        }
    }

    /// The median score of the mesh, if it calls for better peers.
    pub(super) fn low_median(&self, topic: &Topic) -> Option<f64> {
        let mesh = self.in_mesh(topic);
        if mesh.len() < 2 {
            return None;
        }
        let mut scores: Vec<f64> = mesh.into_iter().map(|ix| self.score_of(ix)).collect();
        scores.sort_by(|a, b| by_score(*a, *b));
        let median = scores.get(scores.len() / 2).copied();
        median.filter(|median| *median < self.thresholds.opportunistic_graft)
    }

    /// Who has to make room in a full mesh for `ix`, that asks to come in: if half of the mesh has
    /// low scores and `ix` a better one, the worst that we did not dial.
    pub(super) fn outscored_by(&self, ix: PeerIx, topic: &Topic) -> Option<PeerIx> {
        let median = self.low_median(topic)?;
        let score = |ix: &PeerIx| self.score_of(*ix);
        let not_dialed = self
            .in_mesh(topic)
            .into_iter()
            .filter(|ix| !self.dialed(*ix));
        let worst = not_dialed.min_by(|a, b| by_score(score(a), score(b)));
        worst.filter(|worst| score(&ix) > median.max(score(worst)))
    }

    /// Forgets topics that we no longer publish to, and replaces peers that left the others.
    fn mend_fanout(&mut self, now: Instant) {
        let ttl = self.config.fanout_ttl;
        self.fanout.retain(|_, fanout| now - fanout.published < ttl);
        let topics: Vec<Topic> = self.fanout.keys().cloned().collect();
        let publish = self.thresholds.publish;
        for topic in topics {
            let known = self.fanout.get(&topic).map(|fanout| fanout.peers.clone());
            let mut peers = known.unwrap_or_default();
            peers.retain(|ix| {
                let peer = self.base.table.get(*ix);
                let there = peer.is_some_and(|peer| peer.topics.contains(&topic));
                there && self.score_of(*ix) >= publish
            });
            let missing = self.config.d.saturating_sub(peers.len());
            let fit = |this: &Self, ix| this.score_of(ix) >= publish;
            peers.extend(self.choose(&topic, &peers, missing, fit));
            self.gossip(&topic, &peers);
            if let Some(fanout) = self.fanout.get_mut(&topic) {
                fanout.peers = peers;
            }
        }
    }

    /// Tells some of the peers outside `except` which messages we have.
    fn gossip(&mut self, topic: &Topic, except: &BTreeSet<PeerIx>) {
        let mut ids = self.cache.gossip_ids(topic);
        if ids.is_empty() {
            return;
        }
        self.base.rng.shuffle(&mut ids);
        let gossip = self.thresholds.gossip;
        let fit = |this: &Self, ix| this.score_of(ix) >= gossip && !this.wants_parts(ix, topic);
        let mut peers: Vec<PeerIx> = self
            .choose(topic, except, usize::MAX, fit)
            .into_iter()
            .collect();
        let part = self.config.gossip_factor * peers.len() as f64;
        let count = self.config.d_lazy.max(part as usize);
        self.base.rng.shuffle(&mut peers);
        let encode = |ids| id_chunks(ids).into_iter().map(OfferedIds::from);
        let shared: Option<Vec<OfferedIds>> =
            (ids.len() <= self.config.max_ihave_length).then(|| encode(ids.clone()).collect());
        for ix in peers.into_iter().take(count) {
            let offers = shared.clone().unwrap_or_else(|| {
                let mut some = ids.clone();
                self.base.rng.shuffle(&mut some);
                some.truncate(self.config.max_ihave_length);
                encode(some).collect()
            });
            for ids in offers {
                let offer = Control::IHave(topic.clone(), ids);
                if !self.may_offer(ix, &offer) {
                    break;
                }
                self.base.send_control(ix, offer);
            }
        }
    }

    /// Whether the peer would read one more offer in this heartbeat; notes that it gets it.
    ///
    /// Remotes read a few RPCs with offers in each heartbeat. Ours are at least half full.
    fn may_offer(&mut self, ix: PeerIx, offer: &Control) -> bool {
        let half = self.base.config.queue.rpc_control_bytes / 2;
        let most = self.config.max_ihave_messages.saturating_mul(half);
        let Some(counters) = self.counters.get_mut(&ix) else {
            return false;
        };
        let offered = counters.offered.saturating_add(offer.wire_len());
        let may = offered <= most;
        if may {
            counters.offered = offered;
        }
        may
    }
}

fn by_score(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

/// Heartbeats between two looks for backoffs that are over.
const BACKOFF_CLEAR_TICKS: u64 = 15;
