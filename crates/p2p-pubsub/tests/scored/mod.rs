//! A configuration under which only behaviour counts.

use p2p_pubsub::{GossipConfig, ScoreParams, Thresholds};

pub(crate) fn scored() -> GossipConfig {
    let mut params = ScoreParams::default();
    params.behaviour_penalty_weight = -1.0;
    params.behaviour_penalty_threshold = 0.0;
    let mut thresholds = Thresholds::default();
    thresholds.gossip = -10.0;
    thresholds.publish = -20.0;
    thresholds.graylist = -80.0;
    let mut config = GossipConfig::default();
    config.scoring = Some((params, thresholds));
    config
}
