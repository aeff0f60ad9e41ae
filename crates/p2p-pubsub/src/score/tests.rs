//! The scenarios and validation tables that every implementation agrees on.

use serde_json::Value;

use super::*;
use crate::score_params::{Finding, Thresholds, decay_factor};
use crate::sign::SignatureError;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/gossipsub_scores.json")).unwrap()
}

#[test]
fn every_score_scenario_gives_the_scores_of_the_vectors() {
    let vectors = vectors();
    let scenarios = vectors["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 18);
    for case in scenarios {
        let mut script = Script::new(case);
        for event in case["events"].as_array().unwrap() {
            script.run(event);
        }
        assert!(script.expectations > 0, "{}", script.name);
    }
}

#[test]
fn thresholds_are_checked_as_in_the_vectors() {
    for case in vectors()["threshold_validation"].as_array().unwrap() {
        let zero = Thresholds {
            gossip: 0.0,
            publish: 0.0,
            graylist: 0.0,
            accept_px: 0.0,
            opportunistic_graft: 0.0,
        };
        let mut thresholds = zero;
        for (name, value) in case["params"].as_object().unwrap() {
            *match name.as_str() {
                "GossipThreshold" => &mut thresholds.gossip,
                "PublishThreshold" => &mut thresholds.publish,
                "GraylistThreshold" => &mut thresholds.graylist,
                "AcceptPXThreshold" => &mut thresholds.accept_px,
                "OpportunisticGraftThreshold" => &mut thresholds.opportunistic_graft,
                other => panic!("{other}"),
            } = number(value);
        }
        assert_eq!(
            thresholds.check().is_ok(),
            case["valid"].as_bool().unwrap(),
            "{case}"
        );
    }
}

#[test]
fn topic_parameters_are_checked_as_in_the_vectors() {
    for case in vectors()["topic_param_validation"].as_array().unwrap() {
        // A negative duration cannot be written down here: refused by its type.
        let valid = topic_params(&case["params"]).is_some_and(|params| params.check().is_ok());
        assert_eq!(valid, case["valid"].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn decay_factors_are_those_of_the_vectors() {
    for case in vectors()["decay_factors"].as_array().unwrap() {
        let seconds = |field: &str| Duration::from_secs(case[field].as_u64().unwrap());
        let to_zero = case["decay_to_zero"].as_f64().unwrap();
        let factor = decay_factor(seconds("decay_s"), seconds("base_s"), to_zero);
        assert!(
            close(factor, case["factor"].as_f64().unwrap()),
            "{case}: {factor}"
        );
    }
}

#[test]
fn the_defaults_are_valid() {
    ScoreParams::default().check().unwrap();
    TopicParams::default().check().unwrap();
    Thresholds::default().check().unwrap();
}

#[test]
fn forgetting_a_peer_forgets_its_addresses() {
    let params = ScoreParams {
        ip_colocation_factor_weight: -1.0,
        ..ScoreParams::default()
    };
    let mut scores = Scores::new(params, Duration::from_secs(1), 10, Keyed::new(0, 0));
    for ix in 0..20 {
        scores.add_peer(PeerIx(ix));
        scores.set_ips(
            PeerIx(ix),
            &["2001:db8::1".parse().unwrap(), "10.0.0.1".parse().unwrap()],
        );
    }
    assert_eq!(scores.score(PeerIx(0)), -300.0);
    for ix in 0..20 {
        scores.remove_peer(PeerIx(ix), Instant::ZERO);
    }
    scores.refresh(Instant::ZERO + Duration::from_secs(10_000));
    assert!(scores.peers.is_empty() && scores.by_ip.is_empty());
}

#[test]
fn records_of_deliveries_are_bounded_and_expire() {
    let mut scores = Scores::new(
        ScoreParams::default(),
        Duration::from_secs(1),
        10,
        Keyed::new(0, 0),
    );
    for n in 0..100u8 {
        scores.validating(&MessageId::new(&[n]), Instant::ZERO);
    }
    assert_eq!(scores.deliveries.len(), 10);
    scores.refresh(Instant::ZERO + Duration::from_secs(2));
    assert_eq!(scores.deliveries.len(), 0);
}

/// One scenario, its clock and its message.
struct Script {
    name: String,
    scores: Scores,
    now: Instant,
    message: u64,
    app_score: f64,
    expectations: usize,
}

impl Script {
    fn new(case: &Value) -> Self {
        let mut params = peer_params(&case["peer_params"]);
        if case["topic_params"].is_object() {
            let topic = topic_params(&case["topic_params"]).unwrap();
            params.topics.insert(Topic::new("mytopic"), topic);
        }
        Self {
            name: case["name"].as_str().unwrap().to_owned(),
            scores: Scores::new(params, Duration::from_secs(120), 1000, Keyed::new(0, 0)),
            now: Instant::ZERO + Duration::from_secs(1),
            message: 0,
            app_score: case["peer_params"]["app_score_constant"]
                .as_f64()
                .unwrap_or(0.0),
            expectations: 0,
        }
    }

    fn run(&mut self, event: &Value) {
        let count = event["count"].as_u64().unwrap_or(1);
        for _ in 0..count {
            if count > 1 {
                self.message += 1;
            }
            self.once(event);
        }
    }

    fn once(&mut self, event: &Value) {
        let topic = Topic::new("mytopic");
        let id = MessageId::new(&self.message.to_be_bytes());
        let peer = event["peer"]
            .as_str()
            .map(|name| PeerIx(u64::from(name.as_bytes()[0])));
        // Scenarios about one peer need not name it.
        let who = || peer.unwrap_or_else(|| PeerIx(u64::from(b'A')));
        let (scores, now) = (&mut self.scores, self.now);
        match event["op"].as_str().unwrap() {
            "add_peer" => {
                scores.add_peer(who());
                scores.set_app_score(who(), self.app_score);
            }
            "add_penalty" => scores.add_penalty(who(), 1),
            "disconnect" => scores.remove_peer(who(), now),
            "duplicate" => scores.duplicate(who(), &id, &topic, now),
            "duplicate_after_ms" => {
                self.now += millis(event);
                scores.duplicate(who(), &id, &topic, self.now);
            }
            "expect_counter" => self.expect_counter(event, who()),
            "expect_score" => self.expect_score(event, who()),
            "for_app_score" => self.for_app_score(event, who()),
            "for_each_of" => {
                self.message += 1;
                for event in event["do"].as_array().unwrap() {
                    self.run(event);
                }
            }
            "graft" => scores.graft(who(), &topic, now),
            "prune" => scores.prune(who(), &topic),
            "refresh" => scores.refresh(now),
            "reject" => scores.rejected(who(), &id, &topic, reason(event), now),
            "reset_delivery_records" => scores.deliveries.clear(),
            "set_ips" => {
                let ips = event["ips"].as_array().unwrap().iter();
                let ips: Vec<_> = ips
                    .map(|ip| ip.as_str().unwrap().parse().unwrap())
                    .collect();
                scores.set_ips(who(), &ips);
            }
            "set_topic_params" => {
                scores.set_topic_params(topic, topic_params(&event["params"]).unwrap());
            }
            "sleep_ms" => self.now += millis(event),
            "validate" => scores.validating(&id, now),
            "validate+deliver" => {
                scores.validating(&id, now);
                scores.delivered(who(), &id, &topic, now);
            }
            "validate+reject" => {
                scores.validating(&id, now);
                scores.rejected(who(), &id, &topic, reason(event), now);
            }
            other => panic!("{}: unknown operation {other}", self.name),
        }
    }

    fn expect_score(&mut self, event: &Value, peer: PeerIx) {
        let (found, wanted) = (self.scores.score(peer), event["value"].as_f64().unwrap());
        let holds = match event["cmp"].as_str().unwrap() {
            "==" => found == wanted,
            ">=" => found >= wanted,
            "approx" => close(found, wanted),
            other => panic!("{other}"),
        };
        assert!(holds, "{}: {event}: {found}", self.name);
        self.expectations += 1;
    }

    fn expect_counter(&mut self, event: &Value, peer: PeerIx) {
        let stats = &self.scores.peers[&peer];
        let at = stats.find(&Topic::new("mytopic")).unwrap();
        let stats = &stats.topics[at].1;
        let found = match event["counter"].as_str().unwrap() {
            "firstMessageDeliveries" => stats.first_message_deliveries,
            "meshMessageDeliveries" => stats.mesh_message_deliveries,
            other => panic!("{other}"),
        };
        assert_eq!(
            found,
            event["value"].as_f64().unwrap(),
            "{}: {event}",
            self.name
        );
        self.expectations += 1;
    }

    fn for_app_score(&mut self, event: &Value, peer: PeerIx) {
        let range = event["range"].as_array().unwrap();
        assert_eq!(event["expect"], "0.5 * app_score");
        for score in range[0].as_i64().unwrap()..=range[1].as_i64().unwrap() {
            self.scores.set_app_score(peer, score as f64);
            assert_eq!(self.scores.score(peer), 0.5 * score as f64, "{}", self.name);
            self.expectations += 1;
        }
    }
}

fn reason(event: &Value) -> Reject {
    match event["reason"].as_str().unwrap() {
        "blacklisted peer" => Reject::BlockedPeer,
        "blacklisted source" => Reject::BlockedSource,
        "invalid signature" => Reject::Signature(SignatureError::Invalid),
        "validation failed" => Reject::Invalid,
        "validation ignored" => Reject::Ignored,
        "validation queue full" => Reject::QueueFull,
        "validation throttled" => Reject::Throttled,
        other => panic!("{other}"),
    }
}

fn millis(event: &Value) -> Duration {
    Duration::from_millis(event["ms"].as_u64().unwrap())
}

fn close(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= 1e-9 * wanted.abs()
}

fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("-inf") => f64::NEG_INFINITY,
        Some("inf") => f64::INFINITY,
        Some("nan") => f64::NAN,
        Some(other) => panic!("{other}"),
        None => value.as_f64().unwrap(),
    }
}

/// `None` for a negative one.
fn duration(value: &Value) -> Option<Duration> {
    let text = value.as_str().unwrap();
    if text.starts_with('-') {
        return None;
    }
    let split = text.find(|c: char| c.is_alphabetic()).unwrap();
    let amount: u64 = text[..split].parse().unwrap();
    Some(match &text[split..] {
        "ns" => Duration::from_nanos(amount),
        "ms" => Duration::from_millis(amount),
        "s" => Duration::from_secs(amount),
        other => panic!("{other}"),
    })
}

/// What the vectors leave out is zero.
fn peer_params(given: &Value) -> ScoreParams {
    let mut params = ScoreParams {
        app_specific_weight: 0.0,
        behaviour_penalty_weight: 0.0,
        behaviour_penalty_threshold: 0.0,
        behaviour_penalty_decay: 0.0,
        decay_to_zero: 0.0,
        ..ScoreParams::default()
    };
    for (name, value) in given.as_object().unwrap() {
        match name.as_str() {
            "AppSpecificWeight" => params.app_specific_weight = number(value),
            "BehaviourPenaltyDecay" => params.behaviour_penalty_decay = number(value),
            "BehaviourPenaltyWeight" => params.behaviour_penalty_weight = number(value),
            "IPColocationFactorThreshold" => {
                params.ip_colocation_factor_threshold = number(value) as u32;
            }
            "IPColocationFactorWeight" => params.ip_colocation_factor_weight = number(value),
            "IPColocationFactorWhitelist" => {
                for network in value.as_array().unwrap() {
                    let (addr, len) = network.as_str().unwrap().split_once('/').unwrap();
                    let network = (addr.parse().unwrap(), len.parse().unwrap());
                    params.ip_colocation_factor_whitelist.push(network);
                }
            }
            "RetainScore" => params.retain_score = duration(value).unwrap(),
            "app_score_constant" => {}
            other => panic!("{other}"),
        }
    }
    params
}

/// What the vectors leave out is zero. `None`: a duration is negative.
fn topic_params(given: &Value) -> Option<TopicParams> {
    let mut params = TopicParams {
        topic_weight: 0.0,
        time_in_mesh_quantum: Duration::ZERO,
        time_in_mesh_cap: 0.0,
        first_message_deliveries_decay: 0.0,
        first_message_deliveries_cap: 0.0,
        mesh_message_deliveries_decay: 0.0,
        mesh_message_deliveries_cap: 0.0,
        mesh_message_deliveries_threshold: 0.0,
        mesh_message_deliveries_window: Duration::ZERO,
        mesh_message_deliveries_activation: Duration::ZERO,
        mesh_failure_penalty_decay: 0.0,
        invalid_message_deliveries_decay: 0.0,
        ..TopicParams::default()
    };
    for (name, value) in given.as_object().unwrap() {
        let slot = match name.as_str() {
            "FirstMessageDeliveriesCap" => &mut params.first_message_deliveries_cap,
            "FirstMessageDeliveriesDecay" => &mut params.first_message_deliveries_decay,
            "FirstMessageDeliveriesWeight" => &mut params.first_message_deliveries_weight,
            "InvalidMessageDeliveriesDecay" => &mut params.invalid_message_deliveries_decay,
            "InvalidMessageDeliveriesWeight" => &mut params.invalid_message_deliveries_weight,
            "MeshFailurePenaltyDecay" => &mut params.mesh_failure_penalty_decay,
            "MeshFailurePenaltyWeight" => &mut params.mesh_failure_penalty_weight,
            "MeshMessageDeliveriesActivation" => {
                params.mesh_message_deliveries_activation = duration(value)?;
                continue;
            }
            "MeshMessageDeliveriesCap" => &mut params.mesh_message_deliveries_cap,
            "MeshMessageDeliveriesDecay" => &mut params.mesh_message_deliveries_decay,
            "MeshMessageDeliveriesThreshold" => &mut params.mesh_message_deliveries_threshold,
            "MeshMessageDeliveriesWeight" => &mut params.mesh_message_deliveries_weight,
            "MeshMessageDeliveriesWindow" => {
                params.mesh_message_deliveries_window = duration(value)?;
                continue;
            }
            "TimeInMeshCap" => &mut params.time_in_mesh_cap,
            "TimeInMeshQuantum" => {
                params.time_in_mesh_quantum = duration(value)?;
                continue;
            }
            "TimeInMeshWeight" => &mut params.time_in_mesh_weight,
            "TopicWeight" => &mut params.topic_weight,
            other => panic!("{other}"),
        };
        *slot = number(value);
    }
    Some(params)
}

#[test]
fn a_peer_that_never_forwards_is_found_when_time_in_mesh_pays_for_it() {
    let silent = TopicParams {
        time_in_mesh_weight: 0.1,
        first_message_deliveries_weight: 1.0,
        mesh_message_deliveries_weight: -1.0,
        first_message_deliveries_cap: 100.0,
        invalid_message_deliveries_weight: -1000.0,
        ..TopicParams::default()
    };
    let mut params = ScoreParams::default();
    params.topics.insert("blocks".into(), silent.clone());
    // 360 for the time against 400 for what is missing.
    assert_eq!(params.findings(), []);

    let generous = TopicParams {
        time_in_mesh_weight: 0.2,
        ..silent.clone()
    };
    params.topics.insert("blocks".into(), generous);
    let topic = Topic::new("blocks");
    let score = 320.0; // 720 less 400
    assert_eq!(
        params.findings(),
        [Finding::SilentPeerStaysInMesh { topic, score }]
    );

    params.topics.insert("blocks".into(), silent.clone());
    params.topics.insert("votes".into(), silent);
    let found = params.findings();
    assert!(
        matches!(
            found.first(),
            Some(Finding::SilencePaidByOtherTopics { .. })
        ),
        "{found:?}"
    );
}

#[test]
fn a_banned_peer_that_still_gets_gossip_is_found_and_no_preset_has_one() {
    let mut params = ScoreParams::default();
    let lenient = TopicParams {
        mesh_message_deliveries_weight: -1.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_cap: 10.0,
        // Half of the counter is left after each second: it settles at 2.
        invalid_message_deliveries_weight: -10.0,
        ..TopicParams::default()
    };
    params.topics.insert("blocks".into(), lenient);
    let topic = Topic::new("blocks");
    let score = 1.0 - 40.0;
    let found = params.findings_under(&Thresholds::default());
    assert_eq!(found, [Finding::BannedPeerGetsGossip { topic, score }]);

    let strict = Thresholds {
        gossip: -30.0,
        ..Thresholds::default()
    };
    assert_eq!(params.findings_under(&strict), []);
    let topic = || Topic::new("t");
    for (params, thresholds) in [
        ScoreParams::chat(topic()),
        ScoreParams::blockchain(topic(), 2.0),
        ScoreParams::telemetry(topic()),
    ] {
        let found = params.findings_under(&thresholds);
        let banned = |finding: &Finding| matches!(finding, Finding::BannedPeerGetsGossip { .. });
        assert!(!found.iter().any(banned), "{found:?}");
    }
}

/// A topic in which silence is punished, and an invalid message a second settles at `invalid`.
fn lenient(best: f64, invalid: f64) -> TopicParams {
    TopicParams {
        first_message_deliveries_weight: best / 10.0,
        first_message_deliveries_cap: 10.0,
        mesh_message_deliveries_weight: -10.0,
        // Half of the counter is left after each second: it settles at 2, its square at 4.
        invalid_message_deliveries_weight: invalid / 4.0,
        ..TopicParams::default()
    }
}

#[test]
fn invalid_messages_that_other_topics_pay_for_are_found() {
    let mut params = ScoreParams::default();
    let topic = Topic::new("blocks");
    params.topics.insert(topic.clone(), lenient(100.0, -150.0));
    assert_eq!(params.findings(), []);
    params
        .topics
        .insert("votes".into(), lenient(200.0, -1000.0));
    let score = 100.0 + 200.0 - 150.0;
    assert_eq!(
        params.findings(),
        [Finding::InvalidMessagesPaidByOtherTopics { topic, score }]
    );
}

#[test]
fn the_cap_of_all_topics_counts_after_the_penalty_as_in_a_score() {
    let mut params = ScoreParams {
        topic_score_cap: 50.0,
        ..ScoreParams::default()
    };
    let topic = Topic::new("blocks");
    params.topics.insert(topic.clone(), lenient(200.0, -180.0));
    let paid = Finding::InvalidMessagesArePaidFor { topic, score: 20.0 };
    let paid = [paid];
    assert_eq!(params.findings(), paid);
    // Not below zero: it is not banned.
    assert_eq!(params.findings_under(&Thresholds::default()), paid);
}

#[test]
fn a_topic_with_two_faults_has_two_findings() {
    let mut params = ScoreParams::default();
    let topic = Topic::new("blocks");
    let free = TopicParams {
        mesh_message_deliveries_weight: 0.0,
        ..lenient(100.0, -60.0)
    };
    params.topics.insert(topic.clone(), free);
    let found = [
        Finding::SilentPeerStaysInMesh {
            topic: topic.clone(),
            score: 0.0,
        },
        Finding::InvalidMessagesArePaidFor { topic, score: 40.0 },
    ];
    assert_eq!(params.findings(), found);
}
