//! Gossipsub: a mesh for each topic, gossip to everybody else, scores to keep both honest.
//!
//! ```text
//!             GRAFT, mesh too small                      Σ topics
//!   in topic ───────────────────────> mesh ── messages ──> peers in the mesh, at once
//!       ^     PRUNE, too many, score    │
//!       └───────────────────────────────┘      IHAVE ───> some of the others, each heartbeat
//!            backoff before the next GRAFT     IWANT <─── what they have not got
//! ```
//!
//! - `receive`: messages in and out, `partial`: those in parts. `control`: GRAFT, PRUNE, IHAVE, IWANT, IDONTWANT.
//! - `mesh`: who is in, and when it may come back. `heartbeat`: what happens each second.
//!
//! Specs: libp2p/specs `pubsub/gossipsub/gossipsub-v1.0.md` to `gossipsub-v1.3.md`.

mod cache;
mod config;
mod control;
mod gater;
mod heartbeat;
mod mesh;
mod partial;
mod promises;
mod receive;
mod stagger;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use p2p_core::{Budget, Instant, PeerId, Protocol};

use crate::base::Base;
use crate::ids::{IdMap, Keyed};
use crate::partial::{Partial, PartialError, PartialMode, PartialSent};
use crate::router::{
    Output, PublishError, Published, Remote, Router, Stats, Ticket, Verdict, Version,
};
use crate::score::Scores;
use crate::score_params::{ParamError, Thresholds, TopicParams};
use crate::table::PeerIx;
use crate::trace::{DropCause, GraftCause, PruneCause, ScoreCause, Trace};
use crate::wire::{Control, Extensions, WireError};
use crate::{Message, MessageId, Topic};
use cache::Cache;
pub use config::{ConfigError, GossipConfig};
use gater::Gater;
pub use gater::GaterParams;
use partial::Partials;
use promises::Promises;
use stagger::Stagger;

/// The gossipsub router.
pub struct Gossipsub {
    base: Base,
    config: GossipConfig,
    thresholds: Thresholds,
    scores: Option<Scores>,
    gater: Option<Gater>,
    /// Our topics and the peers in their meshes.
    mesh: BTreeMap<Topic, BTreeSet<PeerIx>>,
    /// Topics that we only publish to.
    fanout: BTreeMap<Topic, Fanout>,
    /// Until when a peer must not be grafted, slack not included.
    backoffs: BTreeMap<Topic, BTreeMap<PeerIx, Instant>>,
    /// What each connected peer has sent since the last heartbeat.
    counters: BTreeMap<PeerIx, Counters>,
    records: BTreeMap<PeerIx, Bytes>,
    /// Connected peers that get everything without being in a mesh: direct ones, and those that
    /// speak floodsub.
    outside: BTreeSet<PeerIx>,
    cache: Cache,
    promises: Promises,
    partials: Partials,
    /// For the maps of single peers.
    ids: Keyed,
    stagger: Stagger,
    /// How many peers were asked for a message that has not come, and when the first was.
    asked: BTreeMap<MessageId, (usize, Instant)>,
    /// Proposed peers that may still be dialed in this heartbeat.
    px_left: usize,
    ticks: u64,
    next_heartbeat: Instant,
    next_decay: Instant,
}

#[derive(Debug)]
struct Fanout {
    peers: BTreeSet<PeerIx>,
    published: Instant,
}

#[derive(Debug)]
struct Counters {
    /// RPCs with any.
    ihave_messages: usize,
    /// What we have offered it, in bytes on the wire.
    offered: usize,
    /// Ids that we asked for.
    ihave_ids: usize,
    /// Ids that it asked for.
    iwant_ids: usize,
    idontwant_messages: usize,
    /// Ids that it does not want, and for how many heartbeats more.
    unwanted: IdMap<u32>,
    unwanted_bytes: usize,
}

impl Gossipsub {
    /// A router for the peer `local` that starts at `now`. `budget` pays for messages, `seed`
    /// decides what is left to chance.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn new(
        local: PeerId,
        config: GossipConfig,
        budget: Budget,
        seed: u64,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let (seen_ttl, records) = (config.base.seen_ttl, config.max_delivery_records);
        let (params, thresholds) = match config.scoring.clone() {
            Some((params, thresholds)) => (Some(params), thresholds),
            None => (None, UNSCORED),
        };
        Ok(Self {
            base: Base::new(local, config.base.clone(), budget, seed),
            thresholds,
            scores: params
                .map(|params| Scores::new(params, seen_ttl, records, Keyed::new(seed, 4))),
            gater: config.gater.clone().map(Gater::new),
            mesh: BTreeMap::new(),
            fanout: BTreeMap::new(),
            backoffs: BTreeMap::new(),
            counters: BTreeMap::new(),
            records: BTreeMap::new(),
            outside: BTreeSet::new(),
            cache: Cache::new(
                config.history_length,
                config.history_gossip,
                config.cache_bytes,
                Keyed::new(seed, 2),
            ),
            promises: Promises::new(Keyed::new(seed, 3)),
            partials: Partials::default(),
            ids: Keyed::new(seed, 5),
            stagger: Stagger::new(Keyed::new(seed, 6)),
            asked: BTreeMap::new(),
            px_left: config.max_px_per_heartbeat,
            ticks: 0,
            next_heartbeat: now + config.heartbeat_initial_delay,
            next_decay: now + config.decay_interval(),
            config,
        })
    }

    /// Who we are.
    pub fn local_peer(&self) -> PeerId {
        self.base.local
    }

    /// The peers in our mesh of `topic`; `None` if we are not in it.
    pub fn mesh(&self, topic: &Topic) -> Option<Vec<PeerId>> {
        let mesh = self.mesh.get(topic)?;
        Some(
            mesh.iter()
                .filter_map(|ix| self.base.table.id(*ix))
                .collect(),
        )
    }

    /// The score of a peer; 0 if it is not known.
    pub fn score(&self, peer: &PeerId) -> f64 {
        self.base
            .table
            .number(peer)
            .map_or(0.0, |ix| self.score_of(ix))
    }

    /// Entries of all maps that grow with peers or with what they send: back to zero, or to what
    /// scores and backoffs remember, when everybody has left.
    pub fn entries(&self) -> usize {
        let mesh: usize = self.mesh.values().map(BTreeSet::len).sum();
        let backoffs: usize = self.backoffs.values().map(BTreeMap::len).sum();
        let fanout: usize = self.fanout.values().map(|fanout| fanout.peers.len()).sum();
        let gater = self.gater.as_ref().map_or(0, Gater::len);
        let asked =
            self.asked.len() + self.promises.len() + self.stagger.len() + self.partials.len();
        let small = self.counters.len() + self.records.len() + self.outside.len() + asked;
        self.base.entries() + mesh + backoffs + fanout + gater + small
    }

    /// Bytes of messages and ids held, without the queues of peers.
    pub fn held_bytes(&self) -> usize {
        self.cache.bytes() + self.base.seen.bytes()
    }

    fn score_of(&self, ix: PeerIx) -> f64 {
        self.scores.as_ref().map_or(0.0, |scores| scores.score(ix))
    }

    fn is_direct(&self, ix: PeerIx) -> bool {
        let direct = &self.config.direct_peers;
        let known = |id| direct.contains(&id);
        !direct.is_empty() && self.base.table.id(ix).is_some_and(known)
    }

    fn penalise(&mut self, ix: PeerIx, count: u32) {
        if let Some(scores) = &mut self.scores {
            scores.add_penalty(ix, count);
        }
        self.base.trace(ix, |peer| Trace::Penalised { peer, count });
        self.trace_score(ix, ScoreCause::Misbehaviour);
    }

    /// Reports a score that has just changed.
    fn trace_score(&mut self, ix: PeerIx, why: ScoreCause) {
        if self.base.config.trace && self.scores.is_some() {
            let score = self.score_of(ix);
            self.base
                .trace(ix, |peer| Trace::Scored { peer, score, why });
        }
    }

    /// Reports the scores that time has changed.
    fn trace_scores(&mut self, before: &BTreeMap<PeerIx, f64>) {
        for (ix, before) in before {
            if (self.score_of(*ix) - before).abs() > 0.01 {
                self.trace_score(*ix, ScoreCause::Time);
            }
        }
    }

    fn traced_scores(&self) -> BTreeMap<PeerIx, f64> {
        if !self.base.config.trace || self.scores.is_none() {
            return BTreeMap::new();
        }
        let peers = self.base.table.numbers().into_iter();
        peers.map(|ix| (ix, self.score_of(ix))).collect()
    }

    fn ip_of(&self, ix: PeerIx) -> Option<IpAddr> {
        self.base.table.get(ix)?.ips.first().copied()
    }
}

impl Router for Gossipsub {
    fn protocols(&self) -> Vec<Protocol> {
        let spoken = Version::ALL.into_iter();
        let spoken = spoken.filter(|version| self.config.versions.contains(version));
        spoken.map(Version::protocol).collect()
    }

    fn handle_peer_connected(&mut self, remote: Remote, now: Instant) {
        if self.base.table.find(&remote.peer).is_some() {
            self.handle_peer_disconnected(&remote.peer, now);
        }
        let extensions = Control::Extensions(Extensions {
            partial_messages: self.config.partial_messages,
            ..Extensions::default()
        });
        let hello = (remote.version >= Version::V1_3).then_some(extensions);
        let ips = remote.ips.clone();
        let ix = self.base.connect(remote, hello);
        if let Some(scores) = &mut self.scores {
            scores.add_peer(ix);
            scores.set_ips(ix, &ips);
        }
        if let (Some(gater), Some(ip)) = (&mut self.gater, ips.first()) {
            gater.connected(*ip);
        }
        self.counters.insert(ix, Counters::new(self.ids));
        if self.base.version(ix) == Version::Floodsub || self.is_direct(ix) {
            self.outside.insert(ix);
        }
    }

    fn handle_peer_disconnected(&mut self, peer: &PeerId, now: Instant) {
        let Some(ix) = self.base.table.find(peer) else {
            return;
        };
        if let (Some(ip), Some(gater)) = (self.ip_of(ix), &mut self.gater) {
            gater.disconnected(ip, now);
        }
        self.leave_all_meshes(ix);
        self.base.disconnect(peer);
        self.counters.remove(&ix);
        self.records.remove(&ix);
        self.outside.remove(&ix);
        self.promises.forgive(ix);
        self.stagger.forget_peer(ix);
        self.partials.forget_peer(ix);
        if let Some(scores) = &mut self.scores {
            scores.remove_peer(ix, now);
        }
        self.forget_if_useless(ix, now);
    }

    fn handle_stream_opened(&mut self, peer: &PeerId) {
        self.base.start_anew(peer);
    }

    fn handle_rpc(&mut self, peer: &PeerId, rpc: Bytes, now: Instant) -> Result<(), WireError> {
        let Some((ix, parts)) = self.base.open(peer, &rpc)? else {
            return Ok(());
        };
        let meshes = self.meshes_to_renew(ix);
        for (topic, joined) in self.base.subscriptions(ix, &parts) {
            if joined {
                self.peer_joined(ix, &topic, now);
            } else {
                self.drop_from_mesh(ix, &topic, PruneCause::Unsubscribed);
            }
        }
        self.renew(ix, meshes);
        self.receive(ix, &parts, &rpc, now);
        self.base.greeted(ix);
        Ok(())
    }

    fn handle_judging(&mut self, ticket: Ticket) {
        if let Some(flight) = self.base.genuine(ticket) {
            self.genuine(&flight);
        }
    }

    fn handle_verdict(&mut self, ticket: Ticket, verdict: Verdict, now: Instant) {
        if let Some(flight) = self.base.land(ticket) {
            self.judge(&flight, verdict, now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.send_held_back(now);
        if now >= self.next_decay {
            let before = self.traced_scores();
            if let Some(scores) = &mut self.scores {
                scores.refresh(now);
            }
            self.trace_scores(&before);
            if let Some(gater) = &mut self.gater {
                gater.decay(now);
            }
            self.next_decay = now + self.config.decay_interval();
        }
        if now >= self.next_heartbeat {
            self.heartbeat(now);
            self.next_heartbeat = now + self.config.heartbeat_interval;
        }
    }

    fn subscribe(&mut self, topic: &Topic, now: Instant) -> bool {
        let new = self.base.announce(topic, true);
        if new {
            self.join(topic, now);
        }
        new
    }

    fn unsubscribe(&mut self, topic: &Topic, now: Instant) -> bool {
        let left = self.base.announce(topic, false);
        if left {
            self.leave(topic, now);
            self.partials.forget_topic(topic);
        }
        left
    }

    fn publish(&mut self, message: &Arc<Message>, now: Instant) -> Result<Published, PublishError> {
        let id = self.base.check_own(message, now)?;
        let mut targets = std::mem::take(&mut self.base.targets);
        self.own_targets(&mut targets, &id, message, now);
        let sent = self.base.send_own(&targets, &id, message);
        targets.clear();
        self.base.targets = targets;
        let (sent, full) = sent?;
        self.base.seen.insert(&id, now);
        self.cache.put(&id, message);
        Ok(Published { id, sent, full })
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.base.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let next = self.next_heartbeat.min(self.next_decay);
        let due = self.stagger.next_due();
        Some(due.map_or(next, |due| due.min(next)))
    }

    fn take_frame(&mut self, peer: &PeerId, buffer: &mut Vec<u8>) -> bool {
        let partials = &self.partials;
        self.base
            .take_frame(peer, buffer, |topic| partials.mode(topic))
    }

    fn stats(&self) -> &Stats {
        &self.base.stats
    }

    fn connected(&self) -> usize {
        self.base.table.connected()
    }

    fn topic_peers(&self, topic: &Topic) -> Vec<PeerId> {
        self.base.topic_peers(topic)
    }

    fn mesh_peers(&self, topic: &Topic) -> Vec<PeerId> {
        self.mesh(topic).unwrap_or_default()
    }

    fn score_of_peer(&self, peer: &PeerId) -> f64 {
        self.score(peer)
    }

    fn set_application_score(&mut self, peer: &PeerId, score: f64) {
        if let (Some(ix), Some(scores)) = (self.base.table.find(peer), &mut self.scores) {
            scores.set_app_score(ix, score);
        }
    }

    fn block(&mut self, peer: PeerId, blocked: bool) {
        self.base.block(peer, blocked);
    }

    fn set_topic_params(&mut self, topic: Topic, params: TopicParams) -> Result<(), ParamError> {
        params.check()?;
        if let Some(scores) = &mut self.scores {
            scores.set_topic_params(topic, params);
        }
        Ok(())
    }

    fn set_record(&mut self, peer: &PeerId, record: Bytes) {
        let short = record.len() <= MAX_RECORD;
        if let Some(ix) = self.base.table.find(peer).filter(|_| short) {
            self.records.insert(ix, record);
        }
    }

    fn set_partial(&mut self, topic: &Topic, mode: Option<PartialMode>) -> bool {
        self.set_mode(topic, mode);
        true
    }

    fn publish_parts(
        &mut self,
        topic: &Topic,
        partial: &dyn Partial,
    ) -> Result<PartialSent, PartialError> {
        self.send_parts(topic, partial, None)
    }

    fn publish_parts_to(
        &mut self,
        topic: &Topic,
        partial: &dyn Partial,
        peers: &[PeerId],
    ) -> Result<PartialSent, PartialError> {
        self.send_parts(topic, partial, Some(peers))
    }

    fn set_trace(&mut self, on: bool) {
        self.base.config.trace = on;
    }
}

impl fmt::Debug for Gossipsub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossipsub")
            .field("local", &self.base.local)
            .field("mesh", &self.mesh)
            .finish_non_exhaustive()
    }
}

/// Without scores everybody has 0, which is enough for everything.
const UNSCORED: Thresholds = Thresholds {
    gossip: 0.0,
    publish: 0.0,
    graylist: 0.0,
    accept_px: 0.0,
    opportunistic_graft: 0.0,
};

/// The longest signed peer record that is kept, in bytes.
const MAX_RECORD: usize = 4096;
