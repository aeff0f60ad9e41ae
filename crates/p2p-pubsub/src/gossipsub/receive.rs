//! Messages: in, checked, and out again.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use p2p_core::Instant;

use super::gater::Fate;
use super::{DropCause, Fanout, Gossipsub};
use crate::base::{Flight, Incoming};
use crate::floodsub::deliver;
use crate::router::{Verdict, Version};
use crate::table::PeerIx;
use crate::trace::{Reject, ScoreCause};
use crate::wire::{Control, MessageView, Part, Rpc};
use crate::{Message, MessageId, Topic};

impl Gossipsub {
    /// Messages first, then control messages, as far as the sender is trusted.
    pub(super) fn receive(&mut self, ix: PeerIx, rpc: &Rpc<'_>, frame: &Bytes, now: Instant) {
        let direct = self.is_direct(ix);
        let graylisted = !direct && self.score_of(ix) < self.thresholds.graylist;
        let gated = !direct && self.is_gated(ix, now);
        let messages = rpc.has_messages().then(|| rpc.parts());
        if gated && messages.is_some() {
            // What it owes us may be in here.
            self.promises.forgive(ix);
        }
        for part in messages.into_iter().flatten() {
            if let Part::Publish(view) = part {
                if graylisted || gated {
                    self.base.stats.received += 1;
                    let why = match graylisted {
                        true => DropCause::Graylisted,
                        false => DropCause::Gated,
                    };
                    self.base.drop_in(ix, None, why);
                } else {
                    self.message(ix, &view, frame, now);
                }
            }
        }
        if !graylisted && rpc.has_control() {
            self.control(ix, rpc, now);
        }
    }

    fn is_gated(&mut self, ix: PeerIx, now: Instant) -> bool {
        let (ip, rng) = (self.ip_of(ix), &mut self.base.rng);
        match (&self.gater, ip) {
            (Some(gater), Some(ip)) => !gater.admits(ip, now, rng),
            (None, _) | (_, None) => false,
        }
    }

    fn message(&mut self, ix: PeerIx, view: &MessageView<'_>, frame: &Bytes, now: Instant) {
        match self.base.incoming(ix, view, frame, now) {
            Incoming::Dropped | Incoming::Flying => {}
            Incoming::Duplicate { id, topic } => {
                self.promises.fulfil(&id);
                self.base.cancel(ix, &id);
                self.has_it(ix, &id);
                if let Some(scores) = &mut self.scores {
                    scores.duplicate(ix, &id, &topic, now);
                }
                self.fate(ix, Fate::Duplicate);
            }
            Incoming::New { id } => {
                if let Some(scores) = &mut self.scores {
                    scores.validating(&id, now);
                }
                if let Some(gater) = &mut self.gater {
                    gater.validating();
                }
            }
            Incoming::Rejected { id, topic, why } => {
                self.blame(&[ix], &id, &topic, why, now);
                if !matches!(why, Reject::Signature(_)) {
                    self.promises.fulfil(&id);
                }
                if matches!(why, Reject::QueueFull | Reject::Budget) {
                    self.overloaded(ix, now);
                }
            }
        }
    }

    /// A message is what its author wrote: nobody owes it any more, and nobody needs to send it.
    /// Before the application judges it: copies are on their way already.
    pub(super) fn genuine(&mut self, flight: &Flight) {
        self.promises.fulfil(&flight.id);
        self.announce_unwanted(flight);
    }

    /// Tells the mesh that a large message need not be sent to us. Never before its signature is
    /// checked: who forges a copy first could keep the message from us.
    fn announce_unwanted(&mut self, flight: &Flight) {
        let (id, message) = (&flight.id, &flight.message);
        if message.data_len() < self.config.idontwant_threshold {
            return;
        }
        let mesh = self.mesh.get(message.topic()).cloned().unwrap_or_default();
        for ix in mesh {
            let has_it = ix == flight.from || flight.also.contains(&ix);
            let whole = !self.wants_parts(ix, message.topic());
            if !has_it && whole && self.base.version(ix) >= Version::V1_2 {
                let ids = vec![id.clone()];
                self.base.send_control(ix, Control::IDontWant(ids));
            }
        }
    }

    /// The check of a message is done.
    pub(super) fn judge(&mut self, flight: &Flight, verdict: Verdict, now: Instant) {
        let id = &flight.id;
        let senders: Vec<PeerIx> = std::iter::once(flight.from)
            .chain(flight.also.iter().copied())
            .collect();
        if let Verdict::BadSignature(error) = verdict {
            // A forgery: neither seen nor anybody else's fault.
            let why = Reject::Signature(error);
            self.base.reject(flight.from, id, why);
            self.blame(&senders, id, flight.message.topic(), why, now);
            return;
        }
        self.promises.fulfil(id);
        // One that could not be judged is still wanted.
        if !flight.genuine && verdict != Verdict::Throttled {
            self.announce_unwanted(flight);
        }
        if self.base.seen.sight(id.as_bytes(), now) {
            // Another copy, spelt differently, was judged first.
            self.base
                .drop_in(flight.from, Some(id), DropCause::Duplicate);
            self.copies(&senders, flight, now);
            return;
        }
        self.copies(
            &flight.also.iter().copied().collect::<Vec<_>>(),
            flight,
            now,
        );
        let why = match verdict {
            Verdict::Accept => return self.accept(flight, now),
            Verdict::BadSignature(error) => Reject::Signature(error),
            Verdict::Ignore => Reject::Ignored,
            Verdict::Reject => Reject::Invalid,
            Verdict::Throttled => Reject::Throttled,
        };
        match why == Reject::Throttled {
            true => self.overloaded(flight.from, now),
            false => self.base.seen.insert(id, now),
        }
        self.base.reject(flight.from, id, why);
        self.blame(&[flight.from], id, flight.message.topic(), why, now);
    }

    fn accept(&mut self, flight: &Flight, now: Instant) {
        let (id, message) = (&flight.id, &flight.message);
        if !deliver(&mut self.base, flight, now) {
            return;
        }
        if let Some(scores) = &mut self.scores {
            scores.delivered(flight.from, id, message.topic(), now);
        }
        self.trace_score(flight.from, ScoreCause::FirstDelivery);
        self.fate(flight.from, Fate::Delivered);
        self.cache.put(id, message);
        self.asked.remove(id);
        let mut targets = std::mem::take(&mut self.base.targets);
        self.targets(&mut targets, message, now);
        for ix in targets.drain(..) {
            if ix == flight.from {
                continue;
            }
            if flight.also.contains(&ix) || self.is_unwanted(ix, id) {
                self.has_it(ix, id);
            } else {
                self.send_staggered(ix, id, message, now);
            }
        }
        self.base.targets = targets;
    }

    /// Credits those who sent a copy.
    fn copies(&mut self, senders: &[PeerIx], flight: &Flight, now: Instant) {
        for ix in senders {
            if let Some(scores) = &mut self.scores {
                scores.duplicate(*ix, &flight.id, flight.message.topic(), now);
            }
            self.fate(*ix, Fate::Duplicate);
        }
    }

    fn blame(
        &mut self,
        senders: &[PeerIx],
        id: &MessageId,
        topic: &Topic,
        why: Reject,
        now: Instant,
    ) {
        for ix in senders {
            if let Some(scores) = &mut self.scores {
                scores.rejected(*ix, id, topic, why, now);
            }
            match why {
                Reject::Ignored => self.fate(*ix, Fate::Ignored),
                Reject::Invalid | Reject::SelfOrigin | Reject::Signature(_) => {
                    self.trace_score(*ix, ScoreCause::Invalid);
                    self.fate(*ix, Fate::Rejected);
                }
                Reject::BlockedPeer
                | Reject::BlockedSource
                | Reject::Budget
                | Reject::QueueFull
                | Reject::Throttled
                | Reject::TooLarge => {}
            }
        }
    }

    /// We could not check a message: its sender need not be the one that owes it.
    fn overloaded(&mut self, ix: PeerIx, now: Instant) {
        self.promises.forgive(ix);
        if let Some(gater) = &mut self.gater {
            gater.throttled(now);
        }
    }

    fn fate(&mut self, ix: PeerIx, fate: Fate) {
        if let (Some(ip), Some(gater)) = (self.ip_of(ix), &mut self.gater) {
            gater.fate(ip, fate);
        }
    }

    /// Who gets a message of our own.
    pub(super) fn own_targets(
        &mut self,
        targets: &mut Vec<PeerIx>,
        id: &MessageId,
        message: &Message,
        now: Instant,
    ) {
        let mesh = self.mesh.get(message.topic()).map_or(0, BTreeSet::len);
        let long = message.data_len() > self.config.flood_publish_max;
        if !self.config.flood_publish || long && mesh >= self.config.d_low {
            self.targets(targets, message, now);
            targets.retain(|ix| !self.is_unwanted(*ix, id));
            return;
        }
        let all = self.base.table.in_topic(message.topic());
        let wanted =
            |ix: &PeerIx| self.is_direct(*ix) || self.score_of(*ix) >= self.thresholds.publish;
        let all = all.filter(|ix| !self.wants_parts(*ix, message.topic()));
        targets.extend(all.filter(wanted));
    }

    /// Who gets a message: direct peers, floodsub peers, and the mesh or the fanout; not its author.
    fn targets(&mut self, targets: &mut Vec<PeerIx>, message: &Message, now: Instant) {
        let topic = message.topic();
        targets.extend(self.outside.iter().filter(|ix| {
            let peer = self.base.table.get(**ix);
            let there = peer.is_some_and(|peer| peer.topics.contains(topic));
            let trusted = self.score_of(**ix) >= self.thresholds.publish;
            there && (trusted || self.is_direct(**ix))
        }));
        match self.mesh.get(topic) {
            Some(mesh) => targets.extend(mesh),
            None => targets.extend(self.fanout(topic, now)),
        }
        let author = message.source();
        targets.retain(|ix| author.is_none() || self.base.table.id(*ix) != author);
        targets.sort_unstable();
        targets.dedup();
        if self.partials.mode(topic).is_some() {
            targets.retain(|ix| !self.wants_parts(*ix, topic));
        }
    }

    fn is_unwanted(&self, ix: PeerIx, id: &MessageId) -> bool {
        let peer = self.counters.get(&ix);
        peer.is_some_and(|peer| peer.unwanted.contains_key(id))
    }

    /// The peers that we use for a topic that we are not in.
    fn fanout(&mut self, topic: &Topic, now: Instant) -> BTreeSet<PeerIx> {
        let known = self.fanout.get(topic).map(|fanout| fanout.peers.clone());
        let peers = match known {
            Some(peers) if !peers.is_empty() => peers,
            Some(_) | None => {
                let publish = self.thresholds.publish;
                let fit = |this: &Self, ix| this.score_of(ix) >= publish;
                self.choose(topic, &BTreeSet::new(), self.config.d, fit)
            }
        };
        let fanout = Fanout {
            peers: peers.clone(),
            published: now,
        };
        self.fanout.insert(topic.clone(), fanout);
        while self.fanout.len() > self.config.max_fanout_topics.max(1) {
            let oldest = self
                .fanout
                .iter()
                .min_by_key(|(_, fanout)| fanout.published);
            let Some(oldest) = oldest.map(|(topic, _)| topic.clone()) else {
                break;
            };
            self.fanout.remove(&oldest);
        }
        peers
    }

    /// A message that a peer asks for, if we still have it and it has not asked too often.
    pub(super) fn asked_for(&mut self, ix: PeerIx, id: &[u8]) -> Option<(MessageId, Arc<Message>)> {
        // The newest word counts.
        self.counters.get_mut(&ix)?.want(id);
        let (id, message, times) = self.cache.ask(id, ix)?;
        (times <= self.config.gossip_retransmission).then_some((id, message))
    }
}
