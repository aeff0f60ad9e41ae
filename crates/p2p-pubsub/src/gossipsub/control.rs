//! What peers tell each other about messages and meshes.

use std::time::Duration;

use p2p_core::{Instant, PeerId};
use p2p_keys::{PeerIdExt, PeerRecord, RecordLimits};

use super::{Gossipsub, MAX_RECORD};
use crate::ids::{IdMap, Keyed};
use crate::router::{Output, Version};
use crate::table::PeerIx;
use crate::trace::{DropCause, GraftCause, PruneCause, Refusal};
use crate::wire::{Control, Extensions, IHave, Ids, Part, Prune, Rpc};
use crate::{MessageId, Topic};

impl Gossipsub {
    /// IHAVE, IWANT, GRAFT, PRUNE, IDONTWANT in the order of the spec's schema.
    pub(super) fn control(&mut self, ix: PeerIx, rpc: &Rpc<'_>, now: Instant) {
        if self.base.version(ix) == Version::Floodsub {
            return;
        }
        // What is announced holds for the whole RPC, wherever it is in it.
        for part in rpc.parts() {
            if let Part::Extensions(extensions) = part
                && let Err(why) = self.extensions(ix, extensions)
            {
                self.base.refuse(ix, why);
            }
        }
        let mut offers = Offers::default();
        for part in rpc.parts() {
            let done = match part {
                Part::IHave(ihave) => self.ihave(ix, &ihave, &mut offers, now),
                Part::IWant(ids) => self.iwant(ix, ids),
                Part::Graft(topic) => self.graft_request(ix, topic, now),
                Part::Prune(prune) => self.prune_notice(ix, &prune, now),
                Part::IDontWant(ids) => self.idontwant(ix, ids),
                Part::Partial(view) => self.partial(ix, &view),
                Part::Extensions(_) | Part::Subscription(_) | Part::Publish(_) | Part::Test => {
                    Ok(())
                }
            };
            if let Err(why) = done {
                self.base.refuse(ix, why);
            }
        }
        self.ask_for(ix, offers.wanted, now);
    }

    /// Notes which offered messages we have not got.
    fn ihave(
        &mut self,
        ix: PeerIx,
        ihave: &IHave<'_>,
        offers: &mut Offers,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.score_of(ix) < self.thresholds.gossip {
            return Err(Refusal::LowScore);
        }
        let counters = self.counters.get_mut(&ix).ok_or(Refusal::TooMany)?;
        if !std::mem::replace(&mut offers.counted, true) {
            counters.ihave_messages = counters.ihave_messages.saturating_add(1);
        }
        let (rpcs, wanted) = (counters.ihave_messages, &mut offers.wanted);
        let room = self
            .config
            .max_ihave_length
            .saturating_sub(counters.ihave_ids);
        if rpcs > self.config.max_ihave_messages || room <= wanted.len() {
            return Err(Refusal::TooMany);
        }
        let topic = self.base.topic_of(ihave.topic)?;
        if !self.mesh.contains_key(&topic) {
            return Err(Refusal::UnknownTopic);
        }
        // After a restart others have messages of ours that we do not know.
        let own = self.base.own_prefix(&topic);
        let is_own = |id: &[u8]| own.as_ref().is_some_and(|own| id.starts_with(own));
        for id in ihave.ids.take(self.config.max_ihave_length) {
            if id.len() > self.base.config.max_id_len {
                return Err(Refusal::IdTooLong);
            }
            if wanted.len() >= room {
                return Err(Refusal::TooMany);
            }
            if !is_own(id) && !self.base.seen.contains(id, now) {
                wanted.push(MessageId::new(id));
            }
        }
        Ok(())
    }

    /// Asks for what was offered, as far as there is room in the queue; one of the messages, at
    /// random, is a promise.
    fn ask_for(&mut self, ix: PeerIx, mut wanted: Vec<MessageId>, now: Instant) {
        wanted.sort_unstable();
        wanted.dedup();
        self.base.rng.shuffle(&mut wanted);
        let mut promised = None;
        for mut ids in id_chunks(wanted) {
            if !self.base.takes_ids(ix, &ids) {
                break;
            }
            ids.retain(|id| self.may_ask(id, now));
            let Some(first) = ids.first() else {
                continue;
            };
            promised.get_or_insert_with(|| first.clone());
            if let Some(counters) = self.counters.get_mut(&ix) {
                counters.ihave_ids += ids.len();
            }
            self.base.send_control(ix, Control::IWant(ids));
        }
        if let Some(promised) = promised {
            let due = now + self.config.iwant_followup_time;
            self.promises.add(ix, promised, due);
        }
    }

    /// Whether to ask one more peer for a message; notes that we do.
    ///
    /// The longer it takes the more are asked: who offers first may be lying.
    fn may_ask(&mut self, id: &MessageId, now: Instant) -> bool {
        let step = (self.config.iwant_followup_time / PATIENCE_STEPS).as_nanos();
        let Some((count, since)) = self.asked.get_mut(id) else {
            if self.asked.len() < self.config.max_asked {
                self.asked.insert(id.clone(), (1, now));
            }
            return true;
        };
        let steps = (now - *since).as_nanos().checked_div(step).unwrap_or(0);
        let factor = u32::try_from(steps)
            .ok()
            .and_then(|it| 1usize.checked_shl(it));
        let most = self
            .config
            .iwant_parallel
            .saturating_mul(factor.unwrap_or(usize::MAX));
        let may = *count < most;
        if may {
            *count += 1;
        }
        may
    }

    /// Sends what is asked for, as far as we have it.
    fn iwant(&mut self, ix: PeerIx, ids: Ids<'_>) -> Result<(), Refusal> {
        if self.score_of(ix) < self.thresholds.gossip {
            return Err(Refusal::LowScore);
        }
        for id in ids {
            let counters = self.counters.get_mut(&ix).ok_or(Refusal::TooMany)?;
            counters.iwant_ids += 1;
            if counters.iwant_ids > self.config.max_iwant_length {
                return Err(Refusal::TooMany);
            }
            if let Some((id, message)) = self.asked_for(ix, id) {
                self.base.forward(ix, &id, &message);
            }
        }
        Ok(())
    }

    /// A peer wants into our mesh.
    fn graft_request(
        &mut self,
        ix: PeerIx,
        topic: Option<&[u8]>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let topic = self.base.topic_of(topic)?;
        let peer = self.base.table.get(ix);
        let subscribed = peer.is_some_and(|peer| peer.topics.contains(&topic));
        // No answer to topics that we are not in: it would tell which these are, and cost.
        let mesh = self.mesh.get(&topic).filter(|_| subscribed);
        let mesh = mesh.ok_or(Refusal::UnknownTopic)?;
        if mesh.contains(&ix) {
            return Ok(());
        }
        let full = mesh.len() >= self.config.d_high && !peer.is_some_and(|peer| peer.outbound);
        let px = self.config.peer_exchange;
        let refuse = if self.is_direct(ix) {
            Some((PruneCause::Direct, false))
        } else if self.punish_early_graft(ix, &topic, now) {
            Some((PruneCause::Backoff, false))
        } else if self.score_of(ix) < 0.0 {
            Some((PruneCause::NegativeScore, false))
        } else if !full {
            None
        } else if let Some(worst) = self.outscored_by(ix, &topic) {
            self.prune(worst, &topic, PruneCause::Outscored, now);
            None
        } else {
            Some((PruneCause::Full, px))
        };
        match refuse {
            Some((why, px)) => self.refuse_graft(ix, &topic, why, px, now),
            None => self.add_to_mesh(ix, &topic, GraftCause::Asked, now),
        }
        Ok(())
    }

    /// Whether the peer had to wait longer; if so it counts as misbehaviour, twice if it did not
    /// wait at all.
    fn punish_early_graft(&mut self, ix: PeerIx, topic: &Topic, now: Instant) -> bool {
        let backoffs = self.backoffs.get(topic);
        let Some(until) = backoffs.and_then(|peers| peers.get(&ix)).copied() else {
            return false;
        };
        if now >= until {
            return false;
        }
        // As go does: the time of the PRUNE, if the backoff was the usual one.
        let flood = self.config.graft_flood_threshold;
        let flooding = now + self.config.prune_backoff < until + flood;
        self.penalise(ix, if flooding { 2 } else { 1 });
        true
    }

    /// A peer has taken us out of its mesh.
    fn prune_notice(&mut self, ix: PeerIx, prune: &Prune<'_>, now: Instant) -> Result<(), Refusal> {
        let topic = self.base.topic_of(prune.topic)?;
        if !self.mesh.contains_key(&topic) {
            return Err(Refusal::UnknownTopic);
        }
        self.drop_from_mesh(ix, &topic, PruneCause::Asked);
        let backoff = match prune.backoff {
            Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
            Some(_) | None => self.config.prune_backoff,
        };
        self.add_backoff(ix, &topic, backoff, now);
        if self.config.peer_exchange {
            self.proposed_peers(ix, prune)?;
        }
        Ok(())
    }

    /// Dials peers that were proposed by a peer with a good score.
    fn proposed_peers(&mut self, ix: PeerIx, prune: &Prune<'_>) -> Result<(), Refusal> {
        let mut proposed: Vec<_> = prune.peers().take(self.config.prune_peers).collect();
        if proposed.is_empty() {
            return Ok(());
        }
        if self.score_of(ix) < self.thresholds.accept_px {
            return Err(Refusal::LowScore);
        }
        self.base.rng.shuffle(&mut proposed);
        for info in proposed {
            let Some(peer) = info.peer.and_then(|peer| PeerId::parse_bytes(peer).ok()) else {
                continue;
            };
            if peer == self.base.local || self.base.table.find(&peer).is_some() {
                continue;
            }
            self.px_left = self.px_left.checked_sub(1).ok_or(Refusal::TooMany)?;
            let record = match info.record.filter(|record| !record.is_empty()) {
                None => None,
                Some(record) => match PeerRecord::open(record, &RecordLimits::default()) {
                    Ok(record) if record.peer == peer => Some(record),
                    Ok(_) | Err(_) => continue,
                },
            };
            self.base.output(Output::Connect { peer, record });
        }
        Ok(())
    }

    /// A peer does not want these messages, not even those that wait in its queue.
    fn idontwant(&mut self, ix: PeerIx, ids: Ids<'_>) -> Result<(), Refusal> {
        let counters = self.counters.get_mut(&ix).ok_or(Refusal::TooMany)?;
        counters.idontwant_messages += 1;
        if counters.idontwant_messages > self.config.max_idontwant_messages {
            return Err(Refusal::TooMany);
        }
        let (mut cancelled, mut named) = (Vec::new(), Vec::new());
        for id in ids.take(self.config.max_idontwant_length) {
            let cost = id.len() + UNWANTED_OVERHEAD;
            let full = counters.unwanted_bytes + cost > self.config.idontwant_bytes;
            if full || id.len() > self.base.config.max_id_len {
                return Err(Refusal::TooMany);
            }
            let known = self.base.seen.shared(id);
            let peer = self.base.table.get_mut(ix);
            if let (Some(id), Some(peer)) = (&known, peer)
                && peer.queue.cancel(id)
            {
                cancelled.push(id.clone());
            }
            let id = known.unwrap_or_else(|| MessageId::new(id));
            if self.config.stagger.is_some() {
                named.push(id.clone());
            }
            let ttl = self.config.idontwant_ttl;
            if counters.unwanted.insert(id, ttl).is_none() {
                counters.unwanted_bytes += cost;
            }
        }
        for id in cancelled {
            self.base.drop_out(ix, &id, DropCause::Cancelled);
        }
        for id in named {
            self.has_it(ix, &id);
        }
        Ok(())
    }

    /// Extensions may only be announced in the first RPC of a stream.
    fn extensions(&mut self, ix: PeerIx, extensions: Extensions) -> Result<(), Refusal> {
        let peer = self.base.table.get_mut(ix);
        if let Some(peer) = peer.filter(|peer| !peer.greeted) {
            peer.speaks_partial = extensions.partial_messages && peer.version >= Version::V1_3;
            return Ok(());
        }
        self.penalise(ix, LATE_EXTENSIONS_PENALTY);
        Err(Refusal::LateExtensions)
    }
}

impl super::Counters {
    pub(super) fn new(ids: Keyed) -> Self {
        Self {
            ihave_messages: 0,
            offered: 0,
            ihave_ids: 0,
            iwant_ids: 0,
            idontwant_messages: 0,
            unwanted: IdMap::with_hasher(ids),
            unwanted_bytes: 0,
        }
    }

    /// The peer wants this message again.
    pub(super) fn want(&mut self, id: &[u8]) {
        if self.unwanted.remove(id).is_some() {
            let cost = id.len() + UNWANTED_OVERHEAD;
            self.unwanted_bytes = self.unwanted_bytes.saturating_sub(cost);
        }
    }

    /// A heartbeat has passed.
    pub(super) fn tick(&mut self) {
        self.ihave_messages = 0;
        self.offered = 0;
        self.ihave_ids = 0;
        self.iwant_ids = 0;
        self.idontwant_messages = 0;
        let mut freed = 0;
        self.unwanted.retain(|id, ticks| {
            *ticks = ticks.saturating_sub(1);
            if *ticks == 0 {
                freed += id.as_bytes().len() + UNWANTED_OVERHEAD;
            }
            *ticks > 0
        });
        self.unwanted_bytes = self.unwanted_bytes.saturating_sub(freed);
    }
}

/// What one RPC offers.
#[derive(Default)]
struct Offers {
    /// It has been counted as one.
    counted: bool,
    /// What we have not got.
    wanted: Vec<MessageId>,
}

/// Ids in parts that each fit into an RPC together with others.
pub(super) fn id_chunks(ids: Vec<MessageId>) -> Vec<Vec<MessageId>> {
    let mut chunks: Vec<Vec<MessageId>> = Vec::new();
    let mut bytes = CHUNK;
    for id in ids {
        let len = id.as_bytes().len() + 4;
        if bytes + len > CHUNK || chunks.is_empty() {
            chunks.push(Vec::new());
            bytes = 0;
        }
        bytes += len;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(id);
        }
    }
    chunks
}

/// Bytes of ids, or of proposed peers, in one control message: two of them fit into one RPC.
pub(super) const CHUNK: usize = 2 * MAX_RECORD - 1024;
/// In each of these parts of `iwant_followup_time` twice as many peers may be asked for a message
/// as in the one before.
const PATIENCE_STEPS: u32 = 12;
/// What an unwanted id takes besides its bytes, roughly.
const UNWANTED_OVERHEAD: usize = 64;
/// As go-libp2p-pubsub counts it.
const LATE_EXTENSIONS_PENALTY: u32 = 10;
