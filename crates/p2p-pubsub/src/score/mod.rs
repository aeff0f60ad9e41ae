//! How well each peer behaves, as a number.
//!
//! ```text
//!   score = min(cap, Σ topics: weight × (P1 + P2 + P3 + P3b + P4)) + P5 + P6 + P7
//!
//!   P1  time in our mesh            P4  invalid messages, squared
//!   P2  first deliveries            P5  what the application says
//!   P3  missing deliveries, sq.     P6  peers on one IP address above a threshold, squared
//!   P3b the same, on leaving        P7  misbehaviour above a threshold, squared
//! ```
//!
//! Counters decay at each [`Scores::refresh`]. A peer that leaves with a score above zero is
//! forgotten; any other is remembered, so that it gains nothing by coming back.
//!
//! Spec: libp2p/specs `pubsub/gossipsub/gossipsub-v1.1.md`, "Peer Scoring".

mod deliveries;
mod forecast;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use p2p_core::Instant;

use crate::ids::Keyed;
use crate::score_params::{ScoreParams, TopicParams};
use crate::table::PeerIx;
use crate::trace::Reject;
use crate::{MessageId, Topic};
pub(crate) use deliveries::Deliveries;
pub use forecast::Behaviour;

/// The scores of all peers.
#[derive(Debug)]
pub(crate) struct Scores {
    params: ScoreParams,
    peers: BTreeMap<PeerIx, Stats>,
    /// Peers on each address. Invariant: no zero in it.
    by_ip: BTreeMap<IpKey, u32>,
    deliveries: Deliveries,
    /// Grows with whatever changes the scores of many peers.
    generation: u64,
}

#[derive(Debug, Default)]
struct Stats {
    /// The score and the generation that it is of; `None`: to be worked out.
    known: Cell<Option<(u64, f64)>>,
    /// `None`: connected. Otherwise when to forget it.
    gone_until: Option<Instant>,
    /// By topic. Few topics are scored, and a map would take a kilobyte for each peer.
    topics: Vec<(Topic, TopicStats)>,
    app_score: f64,
    behaviour_penalty: f64,
    ips: Vec<IpKey>,
}

#[derive(Debug, Default)]
struct TopicStats {
    /// Since when it is in our mesh.
    in_mesh: Option<Instant>,
    /// As of the last refresh.
    mesh_time: Duration,
    /// Deliveries can be missing. Only set by a refresh.
    mesh_deliveries_active: bool,
    first_message_deliveries: f64,
    mesh_message_deliveries: f64,
    mesh_failure_penalty: f64,
    invalid_message_deliveries: f64,
}

/// An address, or the /64 network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct IpKey {
    network: bool,
    addr: IpAddr,
}

impl Scores {
    pub(crate) fn new(params: ScoreParams, keep: Duration, max_records: usize, ids: Keyed) -> Self {
        Self {
            params,
            peers: BTreeMap::new(),
            by_ip: BTreeMap::new(),
            deliveries: Deliveries::new(keep, max_records, ids),
            generation: 0,
        }
    }

    /// The score of `peer`; 0 if it is not known.
    pub(crate) fn score(&self, peer: PeerIx) -> f64 {
        let Some(stats) = self.peers.get(&peer) else {
            return 0.0;
        };
        match stats.known.get() {
            Some((generation, score)) if generation == self.generation => score,
            Some(_) | None => {
                let score = self.work_out(stats);
                stats.known.set(Some((self.generation, score)));
                score
            }
        }
    }

    fn work_out(&self, stats: &Stats) -> f64 {
        let params = &self.params;
        let topics: f64 = stats
            .topics
            .iter()
            .filter_map(|(topic, stats)| Some(stats.score(params.topics.get(topic)?)))
            .sum();
        let excess = stats.behaviour_penalty - params.behaviour_penalty_threshold;
        let p7 = if excess > 0.0 { excess * excess } else { 0.0 };
        params.capped(topics)
            + stats.app_score * params.app_specific_weight
            + self.ip_colocation(stats) * params.ip_colocation_factor_weight
            + p7 * params.behaviour_penalty_weight
    }

    fn ip_colocation(&self, stats: &Stats) -> f64 {
        if self.params.ip_colocation_factor_weight == 0.0 {
            return 0.0;
        }
        let threshold = self.params.ip_colocation_factor_threshold;
        let excess = |ip| {
            let peers = self.by_ip.get(ip).copied().unwrap_or(0);
            let excess = f64::from(peers.saturating_sub(threshold));
            excess * excess
        };
        stats.ips.iter().map(excess).sum()
    }

    /// Whether mesh peers must send copies in `topic` to keep their score (P3).
    pub(crate) fn counts_copies(&self, topic: &Topic) -> bool {
        let params = self.params.topics.get(topic);
        params.is_some_and(|params| params.mesh_message_deliveries_weight != 0.0)
    }

    /// `peer` connected, or came back.
    pub(crate) fn add_peer(&mut self, peer: PeerIx) {
        self.peers.entry(peer).or_default().gone_until = None;
    }

    /// Sets the addresses of `peer`. Loopback addresses do not count.
    pub(crate) fn set_ips(&mut self, peer: PeerIx, ips: &[IpAddr]) {
        let keys = self.ip_keys(ips);
        let Some(stats) = self.peers.get_mut(&peer) else {
            return;
        };
        let old = std::mem::replace(&mut stats.ips, keys.clone());
        for key in keys {
            *self.by_ip.entry(key).or_insert(0) += 1;
        }
        self.generation += 1;
        self.forget_ips(&old);
    }

    fn ip_keys(&self, ips: &[IpAddr]) -> Vec<IpKey> {
        let mut keys = Vec::new();
        for ip in ips.iter().map(IpAddr::to_canonical) {
            let whitelist = &self.params.ip_colocation_factor_whitelist;
            let spared = |(network, len): &(IpAddr, u8)| contains(*network, *len, ip);
            if ip.is_loopback() || whitelist.iter().any(spared) {
                continue;
            }
            let (network, addr) = (false, ip);
            keys.push(IpKey { network, addr });
            if let IpAddr::V6(v6) = ip {
                let bits = v6.to_bits() & !u128::from(u64::MAX);
                let addr = Ipv6Addr::from_bits(bits).into();
                let network = true;
                keys.push(IpKey { network, addr });
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn forget_ips(&mut self, ips: &[IpKey]) {
        self.generation += 1;
        for ip in ips {
            if let Some(count) = self.by_ip.get_mut(ip) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.by_ip.remove(ip);
                }
            }
        }
    }

    /// `peer` disconnected: forgotten at once if its score is above zero.
    pub(crate) fn remove_peer(&mut self, peer: PeerIx, now: Instant) {
        if self.score(peer) > 0.0 {
            self.forget(peer);
            return;
        }
        let params = &self.params;
        let Some(stats) = self.peers.get_mut(&peer) else {
            return;
        };
        stats.known.set(None);
        for (topic, stats) in &mut stats.topics {
            stats.first_message_deliveries = 0.0;
            if let Some(params) = params.topics.get(topic) {
                stats.leave_mesh(params);
            }
        }
        stats.gone_until = Some(now + params.retain_score);
    }

    pub(crate) fn forget(&mut self, peer: PeerIx) {
        if let Some(stats) = self.peers.remove(&peer) {
            self.forget_ips(&stats.ips);
        }
    }

    /// Whether anything is remembered of `peer`.
    pub(crate) fn knows(&self, peer: PeerIx) -> bool {
        self.peers.contains_key(&peer)
    }

    pub(crate) fn set_app_score(&mut self, peer: PeerIx, score: f64) {
        if let Some(stats) = self.peers.get_mut(&peer) {
            stats.app_score = score;
            stats.known.set(None);
        }
    }

    /// P7: `count` cases of misbehaviour.
    pub(crate) fn add_penalty(&mut self, peer: PeerIx, count: u32) {
        if let Some(stats) = self.peers.get_mut(&peer) {
            stats.behaviour_penalty += f64::from(count);
            stats.known.set(None);
        }
    }

    pub(crate) fn graft(&mut self, peer: PeerIx, topic: &Topic, now: Instant) {
        if let Some((stats, _)) = self.topic(peer, topic) {
            stats.in_mesh = Some(now);
            stats.mesh_time = Duration::ZERO;
            stats.mesh_deliveries_active = false;
        }
    }

    pub(crate) fn prune(&mut self, peer: PeerIx, topic: &Topic) {
        if let Some((stats, params)) = self.topic(peer, topic) {
            stats.leave_mesh(params);
        }
    }

    /// Decays every counter, and forgets peers that have been away long enough.
    pub(crate) fn refresh(&mut self, now: Instant) {
        self.generation += 1;
        let params = &self.params;
        let decay = |counter: &mut f64, factor: f64| {
            *counter *= factor;
            if *counter < params.decay_to_zero {
                *counter = 0.0;
            }
        };
        let mut forgotten = Vec::new();
        for (peer, stats) in &mut self.peers {
            if let Some(until) = stats.gone_until {
                if now > until {
                    forgotten.push(*peer);
                }
                continue;
            }
            decay(&mut stats.behaviour_penalty, params.behaviour_penalty_decay);
            for (topic, stats) in &mut stats.topics {
                let Some(params) = params.topics.get(topic) else {
                    continue;
                };
                let first = &mut stats.first_message_deliveries;
                decay(first, params.first_message_deliveries_decay);
                let mesh = &mut stats.mesh_message_deliveries;
                decay(mesh, params.mesh_message_deliveries_decay);
                let failure = &mut stats.mesh_failure_penalty;
                decay(failure, params.mesh_failure_penalty_decay);
                let invalid = &mut stats.invalid_message_deliveries;
                decay(invalid, params.invalid_message_deliveries_decay);
                stats.count_time(params, now);
            }
        }
        for peer in forgotten {
            self.forget(peer);
        }
        self.deliveries.expire(now);
    }

    /// Replaces the parameters of a topic; counters above a lower cap are cut.
    pub(crate) fn set_topic_params(&mut self, topic: Topic, params: TopicParams) {
        for stats in self.peers.values_mut() {
            if let Some(stats) = stats.topic(&topic) {
                let first = &mut stats.first_message_deliveries;
                *first = first.min(params.first_message_deliveries_cap);
                let mesh = &mut stats.mesh_message_deliveries;
                *mesh = mesh.min(params.mesh_message_deliveries_cap);
            }
        }
        self.params.topics.insert(topic, params);
        self.generation += 1;
    }

    /// A message from `from` enters validation.
    pub(crate) fn validating(&mut self, id: &MessageId, now: Instant) {
        self.deliveries.open(id, now);
    }

    /// A message that came first from `from` was accepted.
    pub(crate) fn delivered(&mut self, from: PeerIx, id: &MessageId, topic: &Topic, now: Instant) {
        self.first_delivery(from, topic);
        for peer in self.deliveries.accept(id, now) {
            if peer != from {
                self.mesh_delivery(peer, topic, None);
            }
        }
    }

    /// Another copy of a message came from `from`.
    pub(crate) fn duplicate(&mut self, from: PeerIx, id: &MessageId, topic: &Topic, now: Instant) {
        match self.deliveries.duplicate(id, from, now) {
            deliveries::Duplicate::InTime { after } => {
                self.mesh_delivery(from, topic, Some(after));
            }
            deliveries::Duplicate::Invalid => self.invalid(from, topic),
            deliveries::Duplicate::Uncounted => {}
        }
    }

    /// A message from `from` was refused.
    pub(crate) fn rejected(
        &mut self,
        from: PeerIx,
        id: &MessageId,
        topic: &Topic,
        why: Reject,
        now: Instant,
    ) {
        match why {
            Reject::Signature(_) | Reject::SelfOrigin => self.invalid(from, topic),
            Reject::BlockedPeer
            | Reject::BlockedSource
            | Reject::Budget
            | Reject::QueueFull
            | Reject::TooLarge => {}
            Reject::Throttled | Reject::Ignored => self.deliveries.drop_silently(id, now),
            Reject::Invalid => {
                let Some(others) = self.deliveries.reject(id, now) else {
                    return;
                };
                self.invalid(from, topic);
                for peer in others {
                    self.invalid(peer, topic);
                }
            }
        }
    }

    fn first_delivery(&mut self, peer: PeerIx, topic: &Topic) {
        if let Some((stats, params)) = self.topic(peer, topic) {
            let first = stats.first_message_deliveries + 1.0;
            stats.first_message_deliveries = first.min(params.first_message_deliveries_cap);
        }
        self.mesh_delivery(peer, topic, None);
    }

    /// `after`: how long after the message was accepted. `None`: before.
    fn mesh_delivery(&mut self, peer: PeerIx, topic: &Topic, after: Option<Duration>) {
        if let Some((stats, params)) = self.topic(peer, topic) {
            let in_time = after.is_none_or(|after| after <= params.mesh_message_deliveries_window);
            if stats.in_mesh.is_some() && in_time {
                let mesh = stats.mesh_message_deliveries + 1.0;
                stats.mesh_message_deliveries = mesh.min(params.mesh_message_deliveries_cap);
            }
        }
    }

    fn invalid(&mut self, peer: PeerIx, topic: &Topic) {
        if let Some((stats, _)) = self.topic(peer, topic) {
            stats.invalid_message_deliveries += 1.0;
        }
    }

    /// What is counted for `peer` in a scored topic, to be changed.
    fn topic(&mut self, peer: PeerIx, topic: &Topic) -> Option<(&mut TopicStats, &TopicParams)> {
        let params = self.params.topics.get(topic)?;
        let stats = self.peers.get_mut(&peer)?;
        stats.known.set(None);
        Some((stats.topic_or_new(topic)?, params))
    }
}

impl Stats {
    fn find(&self, topic: &Topic) -> Result<usize, usize> {
        self.topics.binary_search_by(|(known, _)| known.cmp(topic))
    }

    fn topic(&mut self, topic: &Topic) -> Option<&mut TopicStats> {
        let at = self.find(topic).ok()?;
        self.topics.get_mut(at).map(|(_, stats)| stats)
    }

    fn topic_or_new(&mut self, topic: &Topic) -> Option<&mut TopicStats> {
        if let Err(at) = self.find(topic) {
            self.topics.reserve_exact(1);
            self.topics
                .insert(at, (topic.clone(), TopicStats::default()));
        }
        self.topic(topic)
    }
}

impl TopicStats {
    fn score(&self, params: &TopicParams) -> f64 {
        let missing = match self.missing(params) {
            Some(missing) => missing * missing,
            None => 0.0,
        };
        let invalid = self.invalid_message_deliveries;
        let sum = self.time_in_mesh(params) * params.time_in_mesh_weight
            + self.first_message_deliveries * params.first_message_deliveries_weight
            + missing * params.mesh_message_deliveries_weight
            + self.mesh_failure_penalty * params.mesh_failure_penalty_weight
            + invalid * invalid * params.invalid_message_deliveries_weight;
        sum * params.topic_weight
    }

    /// P1 in whole quanta.
    fn time_in_mesh(&self, params: &TopicParams) -> f64 {
        let quantum = params.time_in_mesh_quantum.as_nanos();
        let quanta = self.mesh_time.as_nanos().checked_div(quantum);
        match (self.in_mesh, quanta) {
            (Some(_), Some(quanta)) => (quanta as f64).min(params.time_in_mesh_cap),
            (None, _) | (_, None) => 0.0,
        }
    }

    /// Deliveries below the threshold, once they can be missing.
    fn missing(&self, params: &TopicParams) -> Option<f64> {
        let missing = params.mesh_message_deliveries_threshold - self.mesh_message_deliveries;
        (self.mesh_deliveries_active && missing > 0.0).then_some(missing)
    }

    /// P3b: what is missing now is remembered.
    fn leave_mesh(&mut self, params: &TopicParams) {
        if let (Some(_), Some(missing)) = (self.in_mesh, self.missing(params)) {
            self.mesh_failure_penalty += missing * missing;
        }
        self.in_mesh = None;
        // What was missing is paid for by P3b from here on.
        self.mesh_deliveries_active = false;
    }

    fn count_time(&mut self, params: &TopicParams, now: Instant) {
        if let Some(since) = self.in_mesh {
            self.mesh_time = now - since;
            if self.mesh_time > params.mesh_message_deliveries_activation {
                self.mesh_deliveries_active = true;
            }
        }
    }
}

/// Whether `network`/`len` contains `ip`.
fn contains(network: IpAddr, len: u8, ip: IpAddr) -> bool {
    let (network, ip, bits) = match (network, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let host_bits = 128u32.min(bits).saturating_sub(u32::from(len));
    network.checked_shr(host_bits) == ip.checked_shr(host_bits)
}
