//! Takes less from peers whose messages are no good, while checks are overloaded.
//!
//! Counted by IP address, so that many peers on one address share one record.
//!
//! Spec: go-libp2p-pubsub's peer gater (RED), libp2p/specs `gossipsub-v1.1.md`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use p2p_core::Instant;

use crate::rng::Rng;

/// The settings of the peer gater.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GaterParams {
    /// Throttled checks for each check from which on the gate is in force. Default: 0.33.
    pub threshold: f64,
    /// What is left of the counts of checks after each second. Default: 0.9261, one minute.
    pub global_decay: f64,
    /// What is left of the counts of an address after each second. Default: 0.9987, one hour.
    pub source_decay: f64,
    /// Time without a throttled check after which the gate is open. Default: 60 s.
    pub quiet: Duration,
    /// How long an address is remembered after its last peer left. Default: 6 hours.
    pub retain: Duration,
    /// Addresses remembered without a peer; more are forgotten. Default: 10,000.
    pub max_remembered: usize,
    /// Weight of a duplicate against a first delivery. Default: 0.125.
    pub duplicate_weight: f64,
    /// Weight of an ignored message. Default: 1.
    pub ignore_weight: f64,
    /// Weight of an invalid message. Default: 16.
    pub reject_weight: f64,
}

impl Default for GaterParams {
    fn default() -> Self {
        Self {
            threshold: 0.33,
            global_decay: 0.926_118_728_128_793_5,
            source_decay: 0.998_721_616_176_064_7,
            quiet: Duration::from_secs(60),
            retain: Duration::from_secs(6 * 3600),
            max_remembered: 10_000,
            duplicate_weight: 0.125,
            ignore_weight: 1.0,
            reject_weight: 16.0,
        }
    }
}

/// What became of a message, for the record of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    Duplicate,
    Ignored,
    Rejected,
}

#[derive(Debug)]
pub(super) struct Gater {
    params: GaterParams,
    sources: BTreeMap<IpAddr, Source>,
    validated: f64,
    throttled: f64,
    last_throttle: Option<Instant>,
}

#[derive(Debug, Default)]
struct Source {
    peers: usize,
    gone_at: Option<Instant>,
    delivered: f64,
    duplicate: f64,
    ignored: f64,
    rejected: f64,
}

impl Gater {
    pub(super) fn new(params: GaterParams) -> Self {
        Self {
            params,
            sources: BTreeMap::new(),
            validated: 0.0,
            throttled: 0.0,
            last_throttle: None,
        }
    }

    pub(super) fn connected(&mut self, ip: IpAddr) {
        let source = self.sources.entry(ip).or_default();
        source.peers += 1;
        source.gone_at = None;
    }

    pub(super) fn disconnected(&mut self, ip: IpAddr, now: Instant) {
        if let Some(source) = self.sources.get_mut(&ip) {
            source.peers = source.peers.saturating_sub(1);
            if source.peers == 0 {
                source.gone_at = Some(now);
            }
        }
    }

    pub(super) fn validating(&mut self) {
        self.validated += 1.0;
    }

    pub(super) fn throttled(&mut self, now: Instant) {
        self.throttled += 1.0;
        self.last_throttle = Some(now);
    }

    pub(super) fn fate(&mut self, ip: IpAddr, fate: Fate) {
        if let Some(source) = self.sources.get_mut(&ip) {
            *match fate {
                Fate::Delivered => &mut source.delivered,
                Fate::Duplicate => &mut source.duplicate,
                Fate::Ignored => &mut source.ignored,
                Fate::Rejected => &mut source.rejected,
            } += 1.0;
        }
    }

    /// Whether to take messages of an RPC from this address; control messages are always taken.
    pub(super) fn admits(&self, ip: IpAddr, now: Instant, rng: &mut Rng) -> bool {
        let quiet = match self.last_throttle {
            Some(last) => now - last > self.params.quiet,
            None => true,
        };
        let overloaded = self.validated > 0.0
            && self.throttled > 0.0
            && self.throttled / self.validated >= self.params.threshold;
        if quiet || !overloaded {
            return true;
        }
        self.sources.get(&ip).is_none_or(|source| {
            let bad = self.params.duplicate_weight * source.duplicate
                + self.params.ignore_weight * source.ignored
                + self.params.reject_weight * source.rejected;
            let good = 1.0 + source.delivered;
            rng.fraction() < good / (good + bad)
        })
    }

    /// A second has passed.
    pub(super) fn decay(&mut self, now: Instant) {
        let fade = |count: &mut f64, factor: f64| {
            *count *= factor;
            if *count < 0.01 {
                *count = 0.0;
            }
        };
        fade(&mut self.validated, self.params.global_decay);
        fade(&mut self.throttled, self.params.global_decay);
        let params = &self.params;
        self.sources.retain(|_, source| {
            for count in [
                &mut source.delivered,
                &mut source.duplicate,
                &mut source.ignored,
                &mut source.rejected,
            ] {
                fade(count, params.source_decay);
            }
            source.gone_at.is_none_or(|gone| now - gone < params.retain)
        });
        let gone = |source: &Source| source.gone_at.map_or(0, |_| 1);
        let remembered: usize = self.sources.values().map(gone).sum();
        let mut surplus = remembered.saturating_sub(params.max_remembered);
        self.sources.retain(|_, source| {
            let drop = surplus > 0 && source.gone_at.is_some();
            surplus -= usize::from(drop);
            !drop
        });
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }
}
