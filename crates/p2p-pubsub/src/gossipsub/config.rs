//! The settings of gossipsub.

use std::collections::BTreeSet;
use std::time::Duration;

use p2p_core::{Blame, PeerId};

use super::gater::GaterParams;
use crate::config::Config;
use crate::router::Version;
use crate::score_params::{ParamError, ScoreParams, Thresholds};

/// The settings of gossipsub. The defaults are those of go-libp2p-pubsub.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GossipConfig {
    /// What every router has. Default: see `Config`.
    pub base: Config,
    /// The protocol versions that we speak, with each peer the newest that both do. At least one.
    /// Default: all.
    ///
    /// Without `Version::Floodsub` a peer that speaks nothing else is not talked to.
    pub versions: BTreeSet<Version>,
    /// D: peers that the mesh of a topic should have. Default: 6.
    pub d: usize,
    /// Below this many the mesh is filled up to `d`. Default: 5.
    pub d_low: usize,
    /// From this many on the mesh is cut down to `d`. Default: 12.
    pub d_high: usize,
    /// Of those that stay when the mesh is cut, chosen for their score. Default: 4.
    pub d_score: usize,
    /// Mesh peers that we dialed, at least. Below `d_low`, at most half of `d`. Default: 2.
    pub d_out: usize,
    /// Peers outside the mesh that get gossip, at least. Default: 6.
    pub d_lazy: usize,
    /// The part of the peers outside the mesh that gets gossip, if that is more. Default: 0.25.
    pub gossip_factor: f64,
    /// From one heartbeat to the next. Default: 1 s.
    pub heartbeat_interval: Duration,
    /// From the start to the first heartbeat. Default: 100 ms.
    pub heartbeat_initial_delay: Duration,
    /// Heartbeats for which messages are kept for those who ask. Default: 5.
    pub history_length: usize,
    /// Heartbeats whose messages are gossiped about. Default: 3.
    pub history_gossip: usize,
    /// Memory for those messages, in bytes; the oldest make room. Default: 32 MiB.
    pub cache_bytes: usize,
    /// How often one peer gets a message that it asks for. Default: 3.
    pub gossip_retransmission: u32,
    /// How long we remember peers for a topic that we only publish to. Default: 60 s.
    pub fanout_ttl: Duration,
    /// Topics with such peers; the one not used for longest makes room. Default: 1024.
    pub max_fanout_topics: usize,
    /// Send our own messages to all peers in the topic, not only to the mesh. Default: true.
    pub flood_publish: bool,
    /// How long a pruned peer must not be grafted. Default: 60 s.
    pub prune_backoff: Duration,
    /// The same after we left the topic. Default: 10 s.
    pub unsubscribe_backoff: Duration,
    /// The longest backoff accepted from a peer. Default: 1 hour.
    pub max_backoff: Duration,
    /// Heartbeats by which we wait longer than we must. Default: 2.
    pub backoff_slack: u32,
    /// A GRAFT within this time after a PRUNE counts twice as misbehaviour. Default: 10 s.
    pub graft_flood_threshold: Duration,
    /// Propose other peers to those we prune, and dial those proposed to us. Default: false.
    pub peer_exchange: bool,
    /// Peers proposed or accepted in one PRUNE. Default: 16.
    pub prune_peers: usize,
    /// Proposed peers that we dial in one heartbeat. Default: 16.
    pub max_px_per_heartbeat: usize,
    /// Message ids asked of one peer in one heartbeat. Default: 5000.
    pub max_ihave_length: usize,
    /// RPCs with IHAVE messages read of one peer in one heartbeat, and sent to one. Default: 10.
    pub max_ihave_messages: usize,
    /// Message ids that one peer can ask for in one heartbeat. Default: 5000.
    pub max_iwant_length: usize,
    /// How long a peer may take to send what it has offered. Default: 3 s.
    pub iwant_followup_time: Duration,
    /// Messages with at least this many bytes of payload are announced with IDONTWANT.
    /// Default: 1024.
    pub idontwant_threshold: usize,
    /// IDONTWANT ids read in one RPC. Default: 10.
    pub max_idontwant_length: usize,
    /// IDONTWANT messages read of one peer in one heartbeat. Default: 1000.
    pub max_idontwant_messages: usize,
    /// Memory for the ids that one peer does not want, in bytes; more are ignored.
    /// Default: 256 KiB.
    pub idontwant_bytes: usize,
    /// Heartbeats for which they are remembered. Default: 3.
    pub idontwant_ttl: u32,
    /// Hold messages from `idontwant_threshold` on back this long from peers that got the earlier
    /// ones of the same author from somebody else, and do not send them at all if the peer has
    /// them by then. Default: 250 ms. `None`: send everything at once.
    ///
    /// Should be a little more than two link latencies: too little sends copies that nobody
    /// needs; with more, a message takes longer round a peer that has just failed. Without effect
    /// in topics whose score parameters count copies (P3).
    pub stagger: Option<Duration>,
    /// Messages held back, counted once for each peer; more are sent at once. Default: 65,536.
    pub max_staggered: usize,
    /// Authors that are told apart for each peer. Default: 1024.
    pub max_staggered_authors: usize,
    /// Our own messages up to this many bytes of payload are flooded; longer ones go to the mesh,
    /// if it has at least `d_low` peers. Default: 32 KiB.
    ///
    /// Every copy of a long message keeps the ones behind it waiting.
    pub flood_publish_max: usize,
    /// Peers that are asked for the same message at a time. Default: 2.
    ///
    /// Twice as many whenever a twelfth of `iwant_followup_time` has passed without an answer: too
    /// few, and peers that offer what they do not send keep us from those that would.
    pub iwant_parallel: usize,
    /// Messages that we remember to have asked for, at most `max_id_len` bytes each; beyond, they
    /// are asked for as often as they are offered. Default: 50,000.
    pub max_asked: usize,
    /// Heartbeats between two looks at a mesh with low scores. Default: 60.
    pub opportunistic_graft_ticks: u64,
    /// Peers grafted then. Default: 2.
    pub opportunistic_graft_peers: usize,
    /// Peers that always get everything and are never in a mesh; both ends must agree on it.
    /// Default: none.
    pub direct_peers: BTreeSet<PeerId>,
    /// Heartbeats between two tries to reach them. Default: 300.
    pub direct_connect_ticks: u64,
    /// Announce partial messages to peers that speak gossipsub 1.3. Default: true.
    ///
    /// Which topics have any is said by [`Router::set_partial`](crate::Router::set_partial).
    pub partial_messages: bool,
    /// The longest name of a group of parts, in bytes. Default: 256.
    pub max_group_len: usize,
    /// The longest metadata of a group, in bytes; of each peer the last one is kept for each group.
    /// Default: 4096.
    pub max_parts_metadata: usize,
    /// Memory for what one peer says about groups of parts, in all topics, in bytes; more is refused.
    /// Default: 256 KiB.
    pub parts_bytes_per_peer: usize,
    /// Groups of a topic that we have published in; the oldest makes room. Default: 1024.
    pub max_own_groups: usize,
    /// Groups that one peer can start in a topic; more of what it says is refused. Default: 8.
    pub max_peer_groups: usize,
    /// Groups that all peers together can start in a topic. Default: 255.
    pub max_peer_groups_per_topic: usize,
    /// Heartbeats for which a group is remembered after we published in it or a peer started it.
    /// Default: 5.
    pub group_ttl: u32,
    /// How peers are scored, and what follows from it. Default: none, all have score 0.
    pub scoring: Option<(ScoreParams, Thresholds)>,
    /// Records of who delivered what, for the scores; the oldest make room. Default: 100,000.
    pub max_delivery_records: usize,
    /// Take less from peers whose messages are no good while checks are overloaded.
    /// Default: none, take all.
    pub gater: Option<GaterParams>,
}

impl Default for GossipConfig {
    fn default() -> Self {
        Self {
            base: Config::default(),
            versions: Version::ALL.into(),
            d: 6,
            d_low: 5,
            d_high: 12,
            d_score: 4,
            d_out: 2,
            d_lazy: 6,
            gossip_factor: 0.25,
            heartbeat_interval: Duration::from_secs(1),
            heartbeat_initial_delay: Duration::from_millis(100),
            history_length: 5,
            history_gossip: 3,
            cache_bytes: 32 * 1024 * 1024,
            gossip_retransmission: 3,
            fanout_ttl: Duration::from_secs(60),
            max_fanout_topics: 1024,
            flood_publish: true,
            prune_backoff: Duration::from_secs(60),
            unsubscribe_backoff: Duration::from_secs(10),
            max_backoff: Duration::from_secs(3600),
            backoff_slack: 2,
            graft_flood_threshold: Duration::from_secs(10),
            peer_exchange: false,
            prune_peers: 16,
            max_px_per_heartbeat: 16,
            max_ihave_length: 5000,
            max_ihave_messages: 10,
            max_iwant_length: 5000,
            iwant_followup_time: Duration::from_secs(3),
            idontwant_threshold: 1024,
            max_idontwant_length: 10,
            max_idontwant_messages: 1000,
            idontwant_bytes: 256 * 1024,
            idontwant_ttl: 3,
            stagger: Some(Duration::from_millis(250)),
            max_staggered: 65_536,
            max_staggered_authors: 1024,
            flood_publish_max: 32 * 1024,
            iwant_parallel: 2,
            max_asked: 50_000,
            opportunistic_graft_ticks: 60,
            opportunistic_graft_peers: 2,
            direct_peers: BTreeSet::new(),
            direct_connect_ticks: 300,
            partial_messages: true,
            max_group_len: 256,
            max_parts_metadata: 4096,
            parts_bytes_per_peer: 256 * 1024,
            max_own_groups: 1024,
            max_peer_groups: 8,
            max_peer_groups_per_topic: 255,
            group_ttl: 5,
            scoring: None,
            max_delivery_records: 100_000,
            gater: None,
        }
    }
}

/// Settings that contradict each other.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The sizes of the mesh are not in order.
    #[error(
        "d is {d}, d_low {d_low}, d_high {d_high}, d_score {d_score}, d_out {d_out}: they must \
         have d_out < d_low <= d <= d_high, d_score <= d and d_out <= d / 2"
    )]
    Mesh {
        /// The value of `d`.
        d: usize,
        /// The value of `d_low`.
        d_low: usize,
        /// The value of `d_high`.
        d_high: usize,
        /// The value of `d_score`.
        d_score: usize,
        /// The value of `d_out`.
        d_out: usize,
    },
    /// More heartbeats are gossiped about than kept, or none is kept.
    #[error(
        "history_gossip is {gossip} and history_length {length}: it must be at most as much, and \
         that above 0"
    )]
    History {
        /// The value of `history_gossip`.
        gossip: usize,
        /// The value of `history_length`.
        length: usize,
    },
    /// The heartbeat interval is zero.
    #[error("heartbeat_interval must be above zero")]
    Heartbeat,
    /// No protocol version is spoken.
    #[error("versions is empty: at least one must be spoken")]
    Versions,
    /// A parameter of the scores.
    #[error(transparent)]
    Score(#[from] ParamError),
}

impl ConfigError {
    /// Who to hold responsible: whoever made the settings.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

impl GossipConfig {
    /// From one decay of the counters to the next.
    pub(super) fn decay_interval(&self) -> Duration {
        let scoring = self.scoring.as_ref();
        scoring.map_or(Duration::from_secs(1), |(params, _)| params.decay_interval)
    }

    /// Whether the settings fit together.
    ///
    /// # Errors
    /// [`ConfigError`] names the first that do not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let ordered = self.d_low <= self.d && self.d <= self.d_high && self.d_score <= self.d;
        let out = self.d_out < self.d_low.max(1) && self.d_out <= self.d / 2;
        if !ordered || !out {
            return Err(ConfigError::Mesh {
                d: self.d,
                d_low: self.d_low,
                d_high: self.d_high,
                d_score: self.d_score,
                d_out: self.d_out,
            });
        }
        if self.history_length == 0 || self.history_gossip > self.history_length {
            return Err(ConfigError::History {
                gossip: self.history_gossip,
                length: self.history_length,
            });
        }
        if self.heartbeat_interval.is_zero() {
            return Err(ConfigError::Heartbeat);
        }
        if self.versions.is_empty() {
            return Err(ConfigError::Versions);
        }
        if let Some((params, thresholds)) = &self.scoring {
            params.check()?;
            thresholds.check()?;
        }
        Ok(())
    }
}
