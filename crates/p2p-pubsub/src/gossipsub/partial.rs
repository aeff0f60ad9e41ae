//! Partial messages: who has said what about which group, and what to send to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use p2p_core::{Budget, PeerId, Permit};

use super::Gossipsub;
use crate::Topic;
use crate::partial::{Partial, PartialError, PartialMode, PartialSent, Parts};
use crate::router::Output;
use crate::table::PeerIx;
use crate::trace::Refusal;
use crate::wire::{PartialOut, PartialView};

/// How we take part in each topic, and the groups in it.
#[derive(Debug, Default)]
pub(super) struct Partials {
    modes: BTreeMap<Topic, PartialMode>,
    groups: BTreeMap<Topic, BTreeMap<Bytes, Group>>,
    /// What each peer may make us keep.
    shares: BTreeMap<PeerIx, Budget>,
}

#[derive(Debug, Default)]
struct Group {
    /// Heartbeats that it is kept for.
    ttl: u32,
    /// Who spoke of it first, as long as we have published nothing in it.
    started_by: Option<PeerIx>,
    /// What we have said last.
    ours: Option<Bytes>,
    peers: BTreeMap<PeerIx, Known>,
}

/// What a peer and we have told each other about a group.
#[derive(Debug, Default)]
struct Known {
    theirs: Option<Bytes>,
    told: Option<Bytes>,
    /// Pays for `theirs`.
    permit: Option<Permit>,
}

impl Known {
    /// Pays for metadata that takes the place of the last; false if there is no memory for it.
    fn pay(&mut self, cost: usize, share: &Budget) -> bool {
        let Some(permit) = &mut self.permit else {
            self.permit = share.reserve(cost).ok();
            return self.permit.is_some();
        };
        let paid = permit.amount();
        permit.shrink(paid.saturating_sub(cost));
        permit.grow(cost.saturating_sub(paid)).is_ok()
    }
}

impl Partials {
    pub(super) fn mode(&self, topic: &Topic) -> Option<PartialMode> {
        self.modes.get(topic).copied()
    }

    /// We left a topic.
    pub(super) fn forget_topic(&mut self, topic: &Topic) {
        self.groups.remove(topic);
    }

    pub(super) fn forget_peer(&mut self, ix: PeerIx) {
        self.shares.remove(&ix);
        for groups in self.groups.values_mut() {
            for group in groups.values_mut() {
                group.peers.remove(&ix);
            }
            groups.retain(|_, group| group.started_by != Some(ix));
        }
        self.groups.retain(|_, groups| !groups.is_empty());
    }

    fn tick(&mut self) {
        for groups in self.groups.values_mut() {
            groups.retain(|_, group| {
                group.ttl = group.ttl.saturating_sub(1);
                group.ttl > 0
            });
        }
        self.groups.retain(|_, groups| !groups.is_empty());
    }

    /// What all peers together make us keep.
    pub(super) fn len(&self) -> usize {
        let groups = self.groups.values().flat_map(BTreeMap::values);
        groups.map(|group| 1 + group.peers.len()).sum()
    }
}

impl Gossipsub {
    /// How we take part in the partial messages of `topic`; tells everybody if we are in it.
    pub(super) fn set_mode(&mut self, topic: &Topic, mode: Option<PartialMode>) {
        let before = match mode {
            Some(mode) => self.partials.modes.insert(topic.clone(), mode),
            None => {
                self.partials.groups.remove(topic);
                self.partials.modes.remove(topic)
            }
        };
        if before != mode && self.base.topics.contains(topic) {
            self.base.announce_again(topic);
        }
    }

    /// Whether parts, or what is said of them, take the place of whole messages on the way to a
    /// peer.
    pub(super) fn wants_parts(&self, ix: PeerIx, topic: &Topic) -> bool {
        self.partials.modes.contains_key(topic)
            && self.peer_mode(ix, topic) == Some(PartialMode::Requests)
    }

    /// How a peer takes part in `topic`, if both of us can.
    fn peer_mode(&self, ix: PeerIx, topic: &Topic) -> Option<PartialMode> {
        let mode = self.base.table.get(ix)?.partial.get(topic).copied();
        mode.filter(|_| self.speaks_partial(ix))
    }

    fn speaks_partial(&self, ix: PeerIx) -> bool {
        let peer = self.base.table.get(ix);
        peer.is_some_and(|peer| peer.speaks_partial) && self.config.partial_messages
    }

    /// What a peer says about a group.
    pub(super) fn partial(&mut self, ix: PeerIx, view: &PartialView<'_>) -> Result<(), Refusal> {
        let topic = self.base.topic_of(view.topic)?;
        let mode = self.partials.mode(&topic).ok_or(Refusal::UnknownTopic)?;
        let peer = self.base.table.get(ix).ok_or(Refusal::UnknownTopic)?;
        if !peer.speaks_partial || !self.base.topics.contains(&topic) {
            return Err(Refusal::NotNegotiated);
        }
        let group = view.group.unwrap_or_default();
        let metadata = view.metadata;
        let (group_len, metadata_len) = (group.len(), metadata.map_or(0, <[u8]>::len));
        let parts = view.message.filter(|_| mode == PartialMode::Requests);
        let parts_len = parts.map_or(0, <[u8]>::len);
        if group.is_empty()
            || group_len > self.config.max_group_len
            || metadata_len > self.config.max_parts_metadata
            || parts_len > self.base.config.max_message_size
        {
            return Err(Refusal::TooLong);
        }
        if let Some(metadata) = metadata {
            self.remember(ix, &topic, group, metadata)?;
        }
        let len = group_len + metadata_len + parts_len;
        let permit = self.base.reserve(len).ok_or(Refusal::TooMany)?;
        let Some(from) = self.base.table.id(ix) else {
            return Ok(());
        };
        self.base.output(Output::Parts(Arc::new(Parts {
            from,
            topic,
            group: Bytes::copy_from_slice(group),
            parts: parts.map(Bytes::copy_from_slice),
            metadata: metadata.map(Bytes::copy_from_slice),
            permit: Some(permit),
        })));
        match view.message {
            Some(_) if parts.is_none() => Err(Refusal::Unrequested),
            Some(_) | None => Ok(()),
        }
    }

    /// Keeps what a peer has said last about a group.
    fn remember(
        &mut self,
        ix: PeerIx,
        topic: &Topic,
        name: &[u8],
        metadata: &[u8],
    ) -> Result<(), Refusal> {
        let share = self.share_of(ix);
        let cost = name.len() + metadata.len() + OVERHEAD;
        let groups = self.partials.groups.entry(topic.clone()).or_default();
        if !groups.contains_key(name) {
            let foreign = groups.values().filter_map(|group| group.started_by);
            let (mut all, mut its) = (0, 0);
            for starter in foreign {
                all += 1;
                its += usize::from(starter == ix);
            }
            let full = all >= self.config.max_peer_groups_per_topic;
            if full || its >= self.config.max_peer_groups || share.available() < cost {
                if groups.is_empty() {
                    self.partials.groups.remove(topic);
                }
                return Err(Refusal::TooMany);
            }
            let group = Group {
                ttl: self.config.group_ttl.max(1),
                started_by: Some(ix),
                ..Group::default()
            };
            groups.insert(Bytes::copy_from_slice(name), group);
        }
        if let Some(group) = groups.get_mut(name) {
            let known = group.peers.entry(ix).or_default();
            if !known.pay(cost, &share) {
                return Err(Refusal::TooMany);
            }
            known.theirs = Some(Bytes::copy_from_slice(metadata));
        }
        Ok(())
    }

    /// What a peer may make us keep of what it says.
    pub(crate) fn share_of(&mut self, ix: PeerIx) -> Budget {
        let (budget, limit) = (&self.base.budget, self.config.parts_bytes_per_peer);
        let share = || budget.child("parts of a peer", "parts_bytes_per_peer", limit);
        let shares = &mut self.partials.shares;
        shares.entry(ix).or_insert_with(share).clone()
    }

    /// Sends what the peers of a topic lack and do not know, or only these of them.
    pub(super) fn send_parts(
        &mut self,
        topic: &Topic,
        partial: &dyn Partial,
        only: Option<&[PeerId]>,
    ) -> Result<PartialSent, PartialError> {
        let Some(_) = self
            .partials
            .mode(topic)
            .filter(|_| self.config.partial_messages)
        else {
            return Err(PartialError::NotInTopic);
        };
        let (name, ours) = (partial.group(), partial.metadata());
        check_len("group", name.len(), self.config.max_group_len)?;
        check_len("metadata", ours.len(), self.config.max_parts_metadata)?;
        self.make_room(topic, &name);
        let groups = self.partials.groups.entry(topic.clone()).or_default();
        let group = groups.entry(name.clone()).or_default();
        group.ttl = self.config.group_ttl.max(1);
        (group.started_by, group.ours) = (None, Some(ours.clone()));
        let mut targets: BTreeSet<PeerIx> = match only {
            Some(only) => {
                let known = only.iter().filter_map(|peer| self.base.table.find(peer));
                known.collect()
            }
            None => group.peers.keys().copied().collect(),
        };
        if only.is_none() {
            targets.extend(self.mesh.get(topic).into_iter().flatten());
        }
        let mut sent = PartialSent::default();
        for ix in targets {
            self.send_to(ix, topic, &name, partial, &ours, &mut sent);
        }
        Ok(sent)
    }

    /// The oldest of our own groups makes room for a new one.
    fn make_room(&mut self, topic: &Topic, name: &Bytes) {
        let Some(groups) = self.partials.groups.get_mut(topic) else {
            return;
        };
        let own = |(_, group): &(&Bytes, &Group)| group.started_by.is_none();
        if groups.contains_key(name)
            || groups.iter().filter(own).count() < self.config.max_own_groups
        {
            return;
        }
        let oldest = groups.iter().filter(own).min_by_key(|(_, group)| group.ttl);
        if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
            groups.remove(&oldest);
        }
    }

    fn send_to(
        &mut self,
        ix: PeerIx,
        topic: &Topic,
        name: &Bytes,
        partial: &dyn Partial,
        ours: &Bytes,
        sent: &mut PartialSent,
    ) {
        let known = self.known(ix, topic, name);
        let spoke = known.is_some_and(|known| known.theirs.is_some());
        // Whoever speaks of a group without being in the topic publishes there from outside, and
        // waits to hear what we lack.
        let outside = (spoke && self.speaks_partial(ix)).then_some(PartialMode::Supports);
        let Some(mode) = self.peer_mode(ix, topic).or(outside) else {
            return;
        };
        let theirs = known.and_then(|known| known.theirs.clone());
        let told = known.is_some_and(|known| known.told.as_ref() == Some(ours));
        let first = known.is_none_or(|known| known.told.is_none());
        let parts = match (&theirs, mode) {
            (_, PartialMode::Supports) => None,
            (Some(theirs), PartialMode::Requests) => partial.parts_for(theirs),
            (None, PartialMode::Requests) => partial.eager().filter(|_| first),
        };
        let max = self.base.config.max_message_size;
        let parts = parts.filter(|parts| !parts.is_empty() && parts.len() <= max);
        if parts.is_none() && told {
            return;
        }
        let has_parts = parts.is_some();
        let share = self.share_of(ix);
        let out = PartialOut {
            topic: topic.clone(),
            group: name.clone(),
            parts,
            metadata: (!told).then(|| ours.clone()),
        };
        if !self.base.send_partial(ix, out) {
            sent.full += 1;
            return;
        }
        let groups = self.partials.groups.get_mut(topic);
        if let Some(group) = groups.and_then(|groups| groups.get_mut(name)) {
            let known = group.peers.entry(ix).or_default();
            known.told = Some(ours.clone());
            if let Some(theirs) = theirs.filter(|_| has_parts) {
                let merged = partial.merge(&theirs);
                let cost = name.len() + merged.len() + OVERHEAD;
                if merged.len() <= self.config.max_parts_metadata && known.pay(cost, &share) {
                    known.theirs = Some(merged);
                }
            }
        }
        match has_parts {
            true => sent.parts += 1,
            false => sent.metadata += 1,
        }
    }

    fn known(&self, ix: PeerIx, topic: &Topic, name: &Bytes) -> Option<&Known> {
        self.partials.groups.get(topic)?.get(name)?.peers.get(&ix)
    }

    /// A heartbeat has passed: tells some peers outside the mesh what we have, and forgets.
    pub(super) fn partial_heartbeat(&mut self) {
        let topics: Vec<Topic> = self.partials.groups.keys().cloned().collect();
        for topic in topics {
            let mesh = self.mesh.get(&topic).cloned().unwrap_or_default();
            let gossip = self.thresholds.gossip;
            let fit = |this: &Self, ix| this.wants_parts(ix, &topic) && this.score_of(ix) >= gossip;
            let targets = self.choose(&topic, &mesh, self.config.d_lazy, fit);
            let groups = self.partials.groups.get(&topic).into_iter().flatten();
            let ours: Vec<(Bytes, Bytes)> = groups
                .filter_map(|(name, group)| Some((name.clone(), group.ours.clone()?)))
                .collect();
            for (name, metadata) in ours {
                for ix in &targets {
                    self.tell(*ix, &topic, &name, &metadata);
                }
            }
        }
        self.partials.tick();
    }

    fn tell(&mut self, ix: PeerIx, topic: &Topic, name: &Bytes, ours: &Bytes) {
        let known = self.known(ix, topic, name);
        if known.is_some_and(|known| known.told.as_ref() == Some(ours)) {
            return;
        }
        let out = PartialOut {
            topic: topic.clone(),
            group: name.clone(),
            parts: None,
            metadata: Some(ours.clone()),
        };
        if self.base.send_partial(ix, out) {
            let groups = self.partials.groups.get_mut(topic);
            if let Some(group) = groups.and_then(|groups| groups.get_mut(name)) {
                group.peers.entry(ix).or_default().told = Some(ours.clone());
            }
        }
    }
}

fn check_len(what: &'static str, len: usize, max: usize) -> Result<(), PartialError> {
    match len {
        0 => Err(PartialError::Length { what, len, max }),
        len if len > max => Err(PartialError::Length { what, len, max }),
        _fits => Ok(()),
    }
}

/// What an entry takes besides its bytes, roughly.
const OVERHEAD: usize = 256;
