//! Score parameters for common networks, each checked by the linter in the tests.

use std::time::Duration;

use crate::Topic;
use crate::score_params::{ScoreParams, Thresholds, TopicParams, decay_factor};

impl ScoreParams {
    /// For people who talk: few messages, long silences. Nothing is expected of a peer (no P3);
    /// invalid messages and misbehaviour cost, many peers on one address cost.
    pub fn chat(topic: Topic) -> (Self, Thresholds) {
        let params = TopicParams {
            first_message_deliveries_weight: 1.0,
            first_message_deliveries_decay: over(Duration::from_secs(600)),
            first_message_deliveries_cap: 20.0,
            invalid_message_deliveries_weight: -20.0,
            invalid_message_deliveries_decay: over(Duration::from_secs(3600)),
            ..TopicParams::default()
        };
        network(topic, params, 20.0)
    }

    /// For blocks and votes: a steady stream that every mesh peer must carry. A silent peer falls
    /// below zero within a minute and stays there for a quarter of an hour.
    pub fn blockchain(topic: Topic, messages_per_second: f64) -> (Self, Thresholds) {
        let decay = over(Duration::from_secs(60));
        // What a peer that delivers everything settles at, and a quarter of it as what is asked.
        let steady = (messages_per_second / (1.0 - decay)).max(4.0);
        let asked = steady / 4.0;
        let (time, first) = (0.01 * 300.0, 0.5 * 20.0);
        // Silence in full costs four times what all rewards together can bring.
        let weight = -4.0 * (time + first) / (asked * asked);
        let params = TopicParams {
            time_in_mesh_weight: 0.01,
            time_in_mesh_cap: 300.0,
            first_message_deliveries_weight: 0.5,
            first_message_deliveries_decay: over(Duration::from_secs(120)),
            first_message_deliveries_cap: 20.0,
            mesh_message_deliveries_weight: weight,
            mesh_message_deliveries_decay: decay,
            mesh_message_deliveries_cap: steady,
            mesh_message_deliveries_threshold: asked,
            mesh_message_deliveries_window: Duration::from_secs(2),
            mesh_message_deliveries_activation: Duration::from_secs(30),
            mesh_failure_penalty_weight: weight,
            mesh_failure_penalty_decay: over(Duration::from_secs(900)),
            invalid_message_deliveries_weight: -100.0,
            invalid_message_deliveries_decay: over(Duration::from_secs(3600)),
            ..TopicParams::default()
        };
        network(topic, params, 15.0)
    }

    /// For readings of many sensors: a lot of small messages of which single ones may be lost.
    /// First deliveries count, invalid messages cost little each and much together.
    pub fn telemetry(topic: Topic) -> (Self, Thresholds) {
        let params = TopicParams {
            first_message_deliveries_weight: 0.02,
            first_message_deliveries_decay: over(Duration::from_secs(60)),
            first_message_deliveries_cap: 500.0,
            invalid_message_deliveries_weight: -2.0,
            invalid_message_deliveries_decay: over(Duration::from_secs(600)),
            ..TopicParams::default()
        };
        network(topic, params, 10.0)
    }
}

/// What all of them have: P6, P7, and thresholds in proportion to the best score.
fn network(topic: Topic, params: TopicParams, best: f64) -> (ScoreParams, Thresholds) {
    let all = ScoreParams {
        topics: [(topic, params)].into(),
        ip_colocation_factor_weight: -best,
        ip_colocation_factor_threshold: 8,
        behaviour_penalty_weight: -best / 4.0,
        behaviour_penalty_threshold: 2.0,
        behaviour_penalty_decay: over(Duration::from_secs(600)),
        ..ScoreParams::default()
    };
    let thresholds = Thresholds {
        gossip: -best,
        publish: -2.0 * best,
        graylist: -4.0 * best,
        accept_px: best / 2.0,
        opportunistic_graft: best / 20.0,
    };
    (all, thresholds)
}

/// Decays to 0.01 in this time.
fn over(time: Duration) -> f64 {
    decay_factor(time, Duration::from_secs(1), 0.01)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Behaviour;

    fn all() -> [(&'static str, f64, (ScoreParams, Thresholds)); 3] {
        let topic = || Topic::new("t");
        [
            ("chat", 0.1, ScoreParams::chat(topic())),
            ("blockchain", 2.0, ScoreParams::blockchain(topic(), 2.0)),
            ("telemetry", 20.0, ScoreParams::telemetry(topic())),
        ]
    }

    #[test]
    fn every_preset_obeys_the_rules() {
        for (name, _, (params, thresholds)) in all() {
            assert_eq!(params.check(), Ok(()), "{name}");
            assert_eq!(thresholds.check(), Ok(()), "{name}");
        }
    }

    #[test]
    fn honest_peers_stay_above_zero_and_attackers_end_below() {
        for (name, rate, (params, thresholds)) in all() {
            let end = |behaviour| {
                let path = params.forecast(&Topic::new("t"), behaviour, rate, 1800);
                path.last().copied().unwrap()
            };
            let lowest = params.forecast(&Topic::new("t"), Behaviour::Honest, rate, 1800);
            assert!(lowest.iter().all(|score| *score >= 0.0), "{name}");
            assert!(end(Behaviour::Invalid) < 0.0, "{name}");
            assert!(end(Behaviour::Flooding) < thresholds.graylist, "{name}");
        }
    }

    #[test]
    fn a_silent_peer_cannot_stay_in_the_mesh_of_a_blockchain() {
        let (params, _) = ScoreParams::blockchain(Topic::new("t"), 2.0);
        let silent = params.forecast(&Topic::new("t"), Behaviour::Silent, 2.0, 3600);
        assert!(silent.iter().skip(60).all(|score| *score < 0.0));
        assert_eq!(params.findings(), []);
    }
}
