//! The parameters of peer scores, and whether they make sense.
//!
//! [`ScoreParams::check`] refuses what is contradictory; [`ScoreParams::findings`] tells what is
//! allowed but dangerous, such as a peer that never forwards and still keeps a positive score.
//!
//! Spec: libp2p/specs `pubsub/gossipsub/gossipsub-v1.1.md`, "Peer Scoring".

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use p2p_core::Blame;

use crate::Topic;

/// How peers are scored.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScoreParams {
    /// Parameters of each topic. A topic that is not here adds nothing to a score. Default: none.
    pub topics: BTreeMap<Topic, TopicParams>,
    /// The most that all topics together can add to a score. 0: no cap. Default: 0.
    pub topic_score_cap: f64,
    /// P5: weight of the score that the application gives. Default: 1.
    pub app_specific_weight: f64,
    /// P6: weight of the excess of peers on one IP address, squared. At most 0. Default: 0, off.
    pub ip_colocation_factor_weight: f64,
    /// P6: peers on one IP address without a penalty. Default: 10.
    pub ip_colocation_factor_threshold: u32,
    /// P6: networks without a penalty, as address and prefix length. Default: none.
    pub ip_colocation_factor_whitelist: Vec<(IpAddr, u8)>,
    /// P7: weight of the misbehaviour above its threshold, squared. At most 0. Default: -10.
    pub behaviour_penalty_weight: f64,
    /// P7: misbehaviour without a penalty. Default: 6.
    pub behaviour_penalty_threshold: f64,
    /// P7: what is left after each decay interval, 0 to 1. Default: 0.999, ten minutes to a half.
    pub behaviour_penalty_decay: f64,
    /// From one decay of the counters to the next. At least 1 s. Default: 1 s.
    pub decay_interval: Duration,
    /// A counter below this becomes 0. Between 0 and 1. Default: 0.01.
    pub decay_to_zero: f64,
    /// How long the score of a peer that left is kept, if it is not positive. Default: 1 hour.
    pub retain_score: Duration,
}

impl Default for ScoreParams {
    fn default() -> Self {
        Self {
            topics: BTreeMap::new(),
            topic_score_cap: 0.0,
            app_specific_weight: 1.0,
            ip_colocation_factor_weight: 0.0,
            ip_colocation_factor_threshold: 10,
            ip_colocation_factor_whitelist: Vec::new(),
            behaviour_penalty_weight: -10.0,
            behaviour_penalty_threshold: 6.0,
            behaviour_penalty_decay: 0.999,
            decay_interval: Duration::from_secs(1),
            decay_to_zero: 0.01,
            retain_score: Duration::from_secs(3600),
        }
    }
}

/// How peers are scored in one topic. All weights are 0 by default: nothing is scored.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TopicParams {
    /// Weight of this topic in the whole score. At least 0. Default: 1.
    pub topic_weight: f64,
    /// P1: weight of the time in our mesh. At least 0. Default: 0.
    pub time_in_mesh_weight: f64,
    /// P1: the unit of that time. Above zero. Default: 1 s.
    pub time_in_mesh_quantum: Duration,
    /// P1: the most units that count. Default: 3600.
    pub time_in_mesh_cap: f64,
    /// P2: weight of messages delivered first. At least 0. Default: 0.
    pub first_message_deliveries_weight: f64,
    /// P2: what is left of the counter after each decay interval, 0 to 1. Default: 0.5.
    pub first_message_deliveries_decay: f64,
    /// P2: the highest counter. Default: 2000.
    pub first_message_deliveries_cap: f64,
    /// P3: weight of deliveries missing in the mesh, squared. At most 0. Default: 0.
    pub mesh_message_deliveries_weight: f64,
    /// P3: what is left of the counter after each decay interval, 0 to 1. Default: 0.5.
    pub mesh_message_deliveries_decay: f64,
    /// P3: the highest counter. Default: 100.
    pub mesh_message_deliveries_cap: f64,
    /// P3: deliveries below this are missing. Default: 20.
    pub mesh_message_deliveries_threshold: f64,
    /// P3: how long after the first copy was accepted another one counts. Default: 10 ms.
    pub mesh_message_deliveries_window: Duration,
    /// P3: time in the mesh before deliveries can be missing. At least 1 s. Default: 5 s.
    pub mesh_message_deliveries_activation: Duration,
    /// P3b: weight of deliveries that were missing when the peer left the mesh. At most 0.
    /// Default: 0.
    pub mesh_failure_penalty_weight: f64,
    /// P3b: what is left of the counter after each decay interval, 0 to 1. Default: 0.5.
    pub mesh_failure_penalty_decay: f64,
    /// P4: weight of invalid messages, squared. At most 0. Default: 0.
    pub invalid_message_deliveries_weight: f64,
    /// P4: what is left of the counter after each decay interval, 0 to 1. Default: 0.5.
    pub invalid_message_deliveries_decay: f64,
}

impl Default for TopicParams {
    fn default() -> Self {
        Self {
            topic_weight: 1.0,
            time_in_mesh_weight: 0.0,
            time_in_mesh_quantum: Duration::from_secs(1),
            time_in_mesh_cap: 3600.0,
            first_message_deliveries_weight: 0.0,
            first_message_deliveries_decay: 0.5,
            first_message_deliveries_cap: 2000.0,
            mesh_message_deliveries_weight: 0.0,
            mesh_message_deliveries_decay: 0.5,
            mesh_message_deliveries_cap: 100.0,
            mesh_message_deliveries_threshold: 20.0,
            mesh_message_deliveries_window: Duration::from_millis(10),
            mesh_message_deliveries_activation: Duration::from_secs(5),
            mesh_failure_penalty_weight: 0.0,
            mesh_failure_penalty_decay: 0.5,
            invalid_message_deliveries_weight: 0.0,
            invalid_message_deliveries_decay: 0.5,
        }
    }
}

/// What a peer may do at which score.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Thresholds {
    /// Below: no gossip to it or from it. At most 0. Default: -500.
    pub gossip: f64,
    /// Below: our own messages are not sent to it. At most `gossip`. Default: -1000.
    pub publish: f64,
    /// Below: nothing it sends is read. At most `publish`. Default: -2500.
    pub graylist: f64,
    /// From here on the peers that it proposes are dialed. At least 0. Default: 10.
    pub accept_px: f64,
    /// Median score of a mesh below which better peers are grafted. At least 0. Default: 1.
    pub opportunistic_graft: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            gossip: -500.0,
            publish: -1000.0,
            graylist: -2500.0,
            accept_px: 10.0,
            opportunistic_graft: 1.0,
        }
    }
}

/// A parameter that contradicts the rules of the spec.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{parameter} is {value}, but must be {must}{}", of_topic(.topic.as_ref()))]
pub struct ParamError {
    /// Its name.
    pub parameter: &'static str,
    /// The topic that it belongs to.
    pub topic: Option<Topic>,
    /// Its value.
    pub value: f64,
    /// What it must be.
    pub must: &'static str,
}

impl ParamError {
    /// Who to hold responsible: whoever set the parameters.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

fn of_topic(topic: Option<&Topic>) -> String {
    topic.map_or_else(String::new, |topic| format!(" (topic {topic})"))
}

/// Something that the rules allow and that defeats the purpose of scores.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// A peer that sends an invalid message a second in this topic, for ever, is out of the mesh
    /// and still gets gossip and sends it: its score stays at or above the gossip threshold.
    BannedPeerGetsGossip {
        /// The topic.
        topic: Topic,
        /// Its score in the long run.
        score: f64,
    },
    /// A mesh peer that never forwards anything in this topic keeps this score, not below 0,
    /// even without other topics: time in the mesh pays for it.
    SilentPeerStaysInMesh {
        /// The topic.
        topic: Topic,
        /// Its score in the long run.
        score: f64,
    },
    /// A mesh peer that never forwards anything in this topic keeps this score, not below 0, if
    /// it behaves in all other topics.
    SilencePaidByOtherTopics {
        /// The topic.
        topic: Topic,
        /// Its score in the long run.
        score: f64,
    },
    /// One invalid message a second, for ever, costs less than first deliveries can earn.
    InvalidMessagesArePaidFor {
        /// The topic.
        topic: Topic,
        /// Its score in the long run.
        score: f64,
    },
    /// One invalid message a second, for ever, costs less than first deliveries and time in all
    /// meshes can earn together.
    InvalidMessagesPaidByOtherTopics {
        /// The topic.
        topic: Topic,
        /// Its score in the long run.
        score: f64,
    },
}

/// The decay factor with which a counter falls from 1 to `to_zero` in `over`, if it decays once
/// each `interval`.
pub fn decay_factor(over: Duration, interval: Duration, to_zero: f64) -> f64 {
    to_zero.powf(interval.as_secs_f64() / over.as_secs_f64())
}

impl Thresholds {
    /// Whether the thresholds are in order.
    ///
    /// # Errors
    /// [`ParamError`] names the first that is not.
    pub fn check(&self) -> Result<(), ParamError> {
        let check = Check;
        check.that("gossip", self.gossip, |value| value <= 0.0, "at most 0")?;
        check.that(
            "publish",
            self.publish,
            |value| value <= self.gossip,
            "at most the gossip threshold",
        )?;
        check.that(
            "graylist",
            self.graylist,
            |value| value <= self.publish,
            "at most the publish threshold",
        )?;
        check.not_negative("accept_px", self.accept_px)?;
        check.not_negative("opportunistic_graft", self.opportunistic_graft)
    }
}

impl ScoreParams {
    /// Whether the parameters obey the rules of the spec.
    ///
    /// # Errors
    /// [`ParamError`] names the first that does not.
    pub fn check(&self) -> Result<(), ParamError> {
        let check = Check;
        for (topic, params) in &self.topics {
            params.check().map_err(|error| ParamError {
                topic: Some(topic.clone()),
                ..error
            })?;
        }
        check.not_negative("topic_score_cap", self.topic_score_cap)?;
        check.that(
            "app_specific_weight",
            self.app_specific_weight,
            |_| true,
            "",
        )?;
        let weight = self.ip_colocation_factor_weight;
        check.not_positive("ip_colocation_factor_weight", weight)?;
        if weight != 0.0 {
            let threshold = f64::from(self.ip_colocation_factor_threshold);
            let name = "ip_colocation_factor_threshold";
            check.that(name, threshold, |value| value >= 1.0, "at least 1")?;
        }
        let weight = self.behaviour_penalty_weight;
        check.not_positive("behaviour_penalty_weight", weight)?;
        check.not_negative(
            "behaviour_penalty_threshold",
            self.behaviour_penalty_threshold,
        )?;
        if weight != 0.0 {
            check.fraction("behaviour_penalty_decay", self.behaviour_penalty_decay)?;
        }
        check.at_least_a_second("decay_interval", self.decay_interval)?;
        check.fraction("decay_to_zero", self.decay_to_zero)
    }

    /// What the rules allow and a network should not: shown for peers that stay in the mesh
    /// without forwarding, or send invalid messages, for ever.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let best = self.best();
        for (topic, params) in &self.topics {
            let elsewhere = best - params.best();
            findings.extend(self.silence(topic, params, elsewhere));
            findings.extend(self.invalid(topic, params, elsewhere));
        }
        findings
    }

    /// What a peer that is silent in one topic gets away with, if it earns `elsewhere`.
    fn silence(&self, topic: &Topic, params: &TopicParams, elsewhere: f64) -> Option<Finding> {
        let topic = topic.clone();
        let alone = self.capped(params.silent());
        if params.mesh_message_deliveries_weight == 0.0 || alone >= 0.0 {
            let score = alone;
            return Some(Finding::SilentPeerStaysInMesh { topic, score });
        }
        let score = self.capped(elsewhere + params.silent());
        (score >= 0.0).then_some(Finding::SilencePaidByOtherTopics { topic, score })
    }

    /// What a peer that sends invalid messages in one topic gets away with, if it earns
    /// `elsewhere`.
    fn invalid(&self, topic: &Topic, params: &TopicParams, elsewhere: f64) -> Option<Finding> {
        let topic = topic.clone();
        let here = params.best() + params.one_invalid_a_second();
        let alone = self.capped(here);
        if params.invalid_message_deliveries_weight == 0.0 || alone >= 0.0 {
            let score = alone;
            return Some(Finding::InvalidMessagesArePaidFor { topic, score });
        }
        let score = self.capped(elsewhere + here);
        (score >= 0.0).then_some(Finding::InvalidMessagesPaidByOtherTopics { topic, score })
    }

    /// The same, and what `thresholds` make of it: whether a peer that deserves to be shut out
    /// still takes part in gossip.
    pub fn findings_under(&self, thresholds: &Thresholds) -> Vec<Finding> {
        let mut findings = self.findings();
        let best = self.best();
        for (topic, params) in &self.topics {
            let score = self.capped(best + params.one_invalid_a_second());
            if score < 0.0 && score >= thresholds.gossip {
                let topic = topic.clone();
                findings.push(Finding::BannedPeerGetsGossip { topic, score });
            }
        }
        findings
    }

    /// The highest score that all topics together can give, without the cap.
    fn best(&self) -> f64 {
        self.topics.values().map(TopicParams::best).sum()
    }

    pub(crate) fn capped(&self, topics: f64) -> f64 {
        if self.topic_score_cap > 0.0 {
            topics.min(self.topic_score_cap)
        } else {
            topics
        }
    }
}

impl TopicParams {
    /// Whether the parameters obey the rules of the spec.
    ///
    /// # Errors
    /// [`ParamError`] names the first that does not.
    pub fn check(&self) -> Result<(), ParamError> {
        let check = Check;
        check.not_negative("topic_weight", self.topic_weight)?;
        self.check_rewards(&check)?;
        self.check_penalties(&check)
    }

    fn check_rewards(&self, check: &Check) -> Result<(), ParamError> {
        let quantum = self.time_in_mesh_quantum.as_secs_f64();
        let name = "time_in_mesh_quantum";
        check.that(name, quantum, |value| value > 0.0, "above zero")?;
        check.not_negative("time_in_mesh_weight", self.time_in_mesh_weight)?;
        if self.time_in_mesh_weight != 0.0 {
            check.positive("time_in_mesh_cap", self.time_in_mesh_cap)?;
        }
        let weight = self.first_message_deliveries_weight;
        check.not_negative("first_message_deliveries_weight", weight)?;
        if weight != 0.0 {
            let decay = self.first_message_deliveries_decay;
            check.fraction("first_message_deliveries_decay", decay)?;
            let cap = self.first_message_deliveries_cap;
            check.positive("first_message_deliveries_cap", cap)?;
        }
        Ok(())
    }

    fn check_penalties(&self, check: &Check) -> Result<(), ParamError> {
        let weight = self.mesh_message_deliveries_weight;
        check.not_positive("mesh_message_deliveries_weight", weight)?;
        if weight != 0.0 {
            let decay = self.mesh_message_deliveries_decay;
            check.fraction("mesh_message_deliveries_decay", decay)?;
            let cap = self.mesh_message_deliveries_cap;
            check.positive("mesh_message_deliveries_cap", cap)?;
            let threshold = self.mesh_message_deliveries_threshold;
            check.positive("mesh_message_deliveries_threshold", threshold)?;
            let activation = self.mesh_message_deliveries_activation;
            check.at_least_a_second("mesh_message_deliveries_activation", activation)?;
        }
        let weight = self.mesh_failure_penalty_weight;
        check.not_positive("mesh_failure_penalty_weight", weight)?;
        if weight != 0.0 {
            let decay = self.mesh_failure_penalty_decay;
            check.fraction("mesh_failure_penalty_decay", decay)?;
        }
        let weight = self.invalid_message_deliveries_weight;
        check.not_positive("invalid_message_deliveries_weight", weight)?;
        if weight != 0.0 {
            let decay = self.invalid_message_deliveries_decay;
            check.fraction("invalid_message_deliveries_decay", decay)?;
        }
        Ok(())
    }

    /// The highest score that this topic can give.
    fn best(&self) -> f64 {
        let time = self.time_in_mesh_weight * self.time_in_mesh_cap;
        let first = self.first_message_deliveries_weight * self.first_message_deliveries_cap;
        self.topic_weight * (time + first)
    }

    /// The score, in the long run, of a mesh peer that delivers nothing.
    fn silent(&self) -> f64 {
        let missing = self.mesh_message_deliveries_threshold;
        let penalty = self.mesh_message_deliveries_weight * missing * missing;
        self.topic_weight * (self.time_in_mesh_weight * self.time_in_mesh_cap + penalty)
    }

    /// What one invalid message each decay interval costs in the long run.
    fn one_invalid_a_second(&self) -> f64 {
        let counter = 1.0 / (1.0 - self.invalid_message_deliveries_decay);
        self.topic_weight * self.invalid_message_deliveries_weight * counter * counter
    }
}

/// Words for what is wrong.
struct Check;

impl Check {
    fn that(
        &self,
        parameter: &'static str,
        value: f64,
        holds: impl Fn(f64) -> bool,
        must: &'static str,
    ) -> Result<(), ParamError> {
        let must = match value.is_finite() {
            true if holds(value) => return Ok(()),
            true => must,
            false => "a finite number",
        };
        let topic = None;
        Err(ParamError {
            parameter,
            topic,
            value,
            must,
        })
    }

    fn not_negative(&self, name: &'static str, value: f64) -> Result<(), ParamError> {
        self.that(name, value, |value| value >= 0.0, "at least 0")
    }

    fn not_positive(&self, name: &'static str, value: f64) -> Result<(), ParamError> {
        self.that(name, value, |value| value <= 0.0, "at most 0")
    }

    fn positive(&self, name: &'static str, value: f64) -> Result<(), ParamError> {
        self.that(name, value, |value| value > 0.0, "above 0")
    }

    fn fraction(&self, name: &'static str, value: f64) -> Result<(), ParamError> {
        let inside = |value| value > 0.0 && value < 1.0;
        self.that(name, value, inside, "between 0 and 1")
    }

    fn at_least_a_second(&self, name: &'static str, value: Duration) -> Result<(), ParamError> {
        let seconds = value.as_secs_f64();
        self.that(name, seconds, |value| value >= 1.0, "at least 1 s")
    }
}
