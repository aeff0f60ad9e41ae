//! Who is in the mesh of a topic, and when a peer may come back.

use std::collections::BTreeSet;
use std::time::Duration;

use p2p_core::Instant;

use super::control::CHUNK;
use super::{Gossipsub, GraftCause, PruneCause};
use crate::Topic;
use crate::router::Version;
use crate::table::PeerIx;
use crate::trace::{ScoreCause, Trace};
use crate::wire::{Control, PeerInfo};

impl Gossipsub {
    /// We joined a topic: fill its mesh, with the peers that we have used for it first.
    pub(super) fn join(&mut self, topic: &Topic, now: Instant) {
        self.mesh.insert(topic.clone(), BTreeSet::new());
        let fanout = self.fanout.remove(topic);
        for ix in fanout.map(|fanout| fanout.peers).unwrap_or_default() {
            if self.may_graft(ix, topic, now) {
                self.graft(ix, topic, GraftCause::Joined, now);
            }
        }
        self.fill(topic, self.config.d, GraftCause::Joined, now);
    }

    /// We left a topic.
    pub(super) fn leave(&mut self, topic: &Topic, now: Instant) {
        for ix in self.mesh.remove(topic).unwrap_or_default() {
            self.count_prune(ix, topic, PruneCause::Left);
            let backoff = self.config.unsubscribe_backoff;
            self.say_prune(ix, topic, false, backoff, now);
        }
    }

    /// A peer joined a topic: if our mesh needs it, it comes in at once, so that it does not
    /// miss what is published before the next heartbeat.
    pub(super) fn peer_joined(&mut self, ix: PeerIx, topic: &Topic, now: Instant) {
        let few = self
            .mesh
            .get(topic)
            .is_some_and(|mesh| mesh.len() < self.config.d);
        if few && self.may_graft(ix, topic, now) {
            self.graft(ix, topic, GraftCause::Subscribed, now);
        }
    }

    /// Grafts peers until the mesh has `size` of them: half of those missing by their score, if it
    /// is above zero, the others at random. Where attackers are many, chance alone finds nobody
    /// else; by score alone, those who behaved best for a while would get every place.
    pub(super) fn fill(&mut self, topic: &Topic, size: usize, why: GraftCause, now: Instant) {
        let mut mesh = self.mesh.get(topic).cloned().unwrap_or_default();
        let wanted = size.saturating_sub(mesh.len());
        let fit = |this: &Self, ix| this.may_graft(ix, topic, now);
        let proven = |this: &Self, ix| this.score_of(ix) > 0.0 && fit(this, ix);
        let mut best: Vec<PeerIx> = match self.scores {
            Some(_) => self
                .choose(topic, &mesh, usize::MAX, proven)
                .into_iter()
                .collect(),
            None => Vec::new(),
        };
        self.base.rng.shuffle(&mut best);
        best.sort_by(|a, b| self.score_of(*b).total_cmp(&self.score_of(*a)));
        best.truncate(wanted.div_ceil(2));
        mesh.extend(&best);
        let rest = self.choose(topic, &mesh, wanted - best.len(), fit);
        for ix in best.into_iter().chain(rest) {
            self.graft(ix, topic, why, now);
        }
    }

    /// At most `count` random gossipsub peers in `topic` that are fit, not direct and not in
    /// `except`.
    pub(super) fn choose(
        &mut self,
        topic: &Topic,
        except: &BTreeSet<PeerIx>,
        count: usize,
        fit: impl Fn(&Self, PeerIx) -> bool,
    ) -> BTreeSet<PeerIx> {
        if count == 0 {
            return BTreeSet::new();
        }
        let candidates: Vec<PeerIx> = self
            .base
            .table
            .in_topic(topic)
            .filter(|ix| {
                let gossips = self.base.version(*ix) > Version::Floodsub;
                gossips && !except.contains(ix) && !self.is_direct(*ix) && fit(self, *ix)
            })
            .collect();
        self.base.rng.pick(candidates, count).into_iter().collect()
    }

    /// Whether we may ask this peer into our mesh.
    pub(super) fn may_graft(&self, ix: PeerIx, topic: &Topic, now: Instant) -> bool {
        let slack = self.config.heartbeat_interval * self.config.backoff_slack;
        let backoff = self.backoffs.get(topic).and_then(|peers| peers.get(&ix));
        let waiting = backoff.is_some_and(|until| now < *until + slack);
        let gossips = self.base.version(ix) > Version::Floodsub;
        gossips && !waiting && !self.is_direct(ix) && self.score_of(ix) >= 0.0
    }

    /// Takes a peer into the mesh and tells it.
    pub(super) fn graft(&mut self, ix: PeerIx, topic: &Topic, why: GraftCause, now: Instant) {
        self.add_to_mesh(ix, topic, why, now);
        self.base.send_control(ix, Control::Graft(topic.clone()));
    }

    pub(super) fn add_to_mesh(&mut self, ix: PeerIx, topic: &Topic, why: GraftCause, now: Instant) {
        let Some(mesh) = self.mesh.get_mut(topic) else {
            return;
        };
        if mesh.insert(ix) {
            if let Some(scores) = &mut self.scores {
                scores.graft(ix, topic, now);
            }
            *self.base.stats.grafted.entry(why).or_default() += 1;
            let topic = topic.clone();
            self.base
                .trace(ix, |peer| Trace::Grafted { peer, topic, why });
            self.trace_score(ix, ScoreCause::Mesh);
        }
    }

    /// The meshes of a peer that speaks on a new stream, before its first RPC is acted upon.
    pub(super) fn meshes_to_renew(&self, ix: PeerIx) -> Vec<Topic> {
        if self.base.table.get(ix).is_none_or(|peer| peer.greeted) {
            return Vec::new();
        }
        let meshes = self.mesh.iter().filter(|(_, mesh)| mesh.contains(&ix));
        meshes.map(|(topic, _)| topic.clone()).collect()
    }

    /// Tells a peer anew in which meshes it is: it may have lost that together with its stream.
    pub(super) fn renew(&mut self, ix: PeerIx, meshes: Vec<Topic>) {
        for topic in meshes {
            if self.mesh.get(&topic).is_some_and(|mesh| mesh.contains(&ix)) {
                self.base.send_control(ix, Control::Graft(topic));
            }
        }
    }

    /// Takes a peer out of the mesh and tells it.
    pub(super) fn prune(&mut self, ix: PeerIx, topic: &Topic, why: PruneCause, now: Instant) {
        self.drop_from_mesh(ix, topic, why);
        let px = self.config.peer_exchange && why != PruneCause::NegativeScore;
        self.say_prune(ix, topic, px, self.config.prune_backoff, now);
    }

    /// Keeps a peer out of the mesh and tells it.
    pub(super) fn refuse_graft(
        &mut self,
        ix: PeerIx,
        topic: &Topic,
        why: PruneCause,
        px: bool,
        now: Instant,
    ) {
        self.count_prune(ix, topic, why);
        self.say_prune(ix, topic, px, self.config.prune_backoff, now);
    }

    /// Takes a peer out of the mesh without a word.
    pub(super) fn drop_from_mesh(&mut self, ix: PeerIx, topic: &Topic, why: PruneCause) {
        if let (Some(fanout), PruneCause::Unsubscribed) = (self.fanout.get_mut(topic), why) {
            fanout.peers.remove(&ix);
        }
        let mesh = self.mesh.get_mut(topic);
        if mesh.is_some_and(|mesh| mesh.remove(&ix)) {
            self.count_prune(ix, topic, why);
        }
    }

    /// A peer is gone.
    pub(super) fn leave_all_meshes(&mut self, ix: PeerIx) {
        for fanout in self.fanout.values_mut() {
            fanout.peers.remove(&ix);
        }
        let topics: Vec<Topic> = self.mesh.keys().cloned().collect();
        for topic in topics {
            self.drop_from_mesh(ix, &topic, PruneCause::Disconnected);
        }
    }

    fn count_prune(&mut self, ix: PeerIx, topic: &Topic, why: PruneCause) {
        if let Some(scores) = &mut self.scores {
            scores.prune(ix, topic);
        }
        *self.base.stats.pruned.entry(why).or_default() += 1;
        let topic = topic.clone();
        self.base
            .trace(ix, |peer| Trace::Pruned { peer, topic, why });
        self.trace_score(ix, ScoreCause::Mesh);
    }

    fn say_prune(&mut self, ix: PeerIx, topic: &Topic, px: bool, backoff: Duration, now: Instant) {
        self.add_backoff(ix, topic, backoff, now);
        let speaks = self.base.version(ix) >= Version::V1_1;
        let peers = match px && speaks {
            true => self.propose(ix, topic),
            false => Vec::new(),
        };
        let prune = Control::Prune {
            topic: topic.clone(),
            peers,
            backoff: speaks.then_some(backoff.as_secs()),
        };
        self.base.send_control(ix, prune);
    }

    /// Other peers in the topic, with their records, as many as fit.
    fn propose(&mut self, ix: PeerIx, topic: &Topic) -> Vec<PeerInfo> {
        let fit = |this: &Self, other| other != ix && this.score_of(other) >= 0.0;
        let chosen = self.choose(topic, &BTreeSet::new(), self.config.prune_peers, fit);
        let mut room = CHUNK;
        let mut peers = Vec::new();
        for other in chosen {
            let Some(id) = self.base.table.id(other) else {
                continue;
            };
            let info = PeerInfo {
                peer: id.to_bytes().into(),
                record: self.records.get(&other).cloned(),
            };
            if let Some(left) = room.checked_sub(info.body_len() + 4) {
                room = left;
                peers.push(info);
            }
        }
        peers
    }

    /// A backoff is clamped, and only ever extended.
    pub(super) fn add_backoff(&mut self, ix: PeerIx, topic: &Topic, wait: Duration, now: Instant) {
        let until = now + wait.min(self.config.max_backoff);
        let peers = self.backoffs.entry(topic.clone()).or_default();
        let known = peers.entry(ix).or_insert(until);
        *known = until.max(*known);
    }

    /// Forgets backoffs that are over, slack included.
    pub(super) fn clear_backoffs(&mut self, now: Instant) {
        let slack = self.config.heartbeat_interval * self.config.backoff_slack;
        self.backoffs.retain(|_, peers| {
            peers.retain(|_, until| now < *until + slack);
            !peers.is_empty()
        });
    }

    /// Forgets peers that left and of which nothing needs to be remembered, or too much is.
    pub(super) fn forget_gone(&mut self, now: Instant) {
        let gone = self.base.table.gone();
        let surplus = gone
            .len()
            .saturating_sub(self.base.config.max_remembered_peers);
        let forgotten: Vec<PeerIx> = gone
            .enumerate()
            .filter(|(index, ix)| *index < surplus || !self.remembers(*ix, now))
            .map(|(_, ix)| ix)
            .collect();
        for ix in forgotten {
            self.forget(ix);
        }
    }

    /// Forgets one peer that just left, if nothing needs to be remembered of it.
    pub(super) fn forget_if_useless(&mut self, ix: PeerIx, now: Instant) {
        if !self.remembers(ix, now) {
            self.forget(ix);
        }
        if self.base.table.gone().len() > self.base.config.max_remembered_peers {
            let oldest = self.base.table.gone().next();
            oldest.into_iter().for_each(|ix| self.forget(ix));
        }
    }

    fn remembers(&self, ix: PeerIx, now: Instant) -> bool {
        let slack = self.config.heartbeat_interval * self.config.backoff_slack;
        let mut backoffs = self.backoffs.values().filter_map(|peers| peers.get(&ix));
        let scored = self.scores.as_ref().is_some_and(|scores| scores.knows(ix));
        scored || backoffs.any(|until| now < *until + slack)
    }

    fn forget(&mut self, ix: PeerIx) {
        self.base.table.forget(ix);
        self.backoffs.retain(|_, peers| {
            peers.remove(&ix);
            !peers.is_empty()
        });
        if let Some(scores) = &mut self.scores {
            scores.forget(ix);
        }
    }
}
