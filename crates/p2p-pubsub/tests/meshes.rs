//! Who gets a place in a mesh.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use p2p_pubsub::wire::Control;
use p2p_pubsub::{GossipConfig, PruneCause, Router, ScoreParams, Thresholds, Version};
use support::{Bench, peer};

/// A mesh of the peers 1 to 3, which is full, where the application thinks `scores` of them.
fn full(scores: [f64; 3]) -> Bench {
    let mut params = ScoreParams::default();
    params.app_specific_weight = 1.0;
    let mut thresholds = Thresholds::default();
    thresholds.opportunistic_graft = 5.0;
    let mut config = GossipConfig::default();
    config.scoring = Some((params, thresholds));
    (config.d, config.d_low, config.d_high) = (3, 2, 3);
    (config.d_score, config.d_out) = (1, 0);
    let mut bench = Bench::new(config);
    for (n, score) in (1..).zip(scores) {
        bench.peer(n, Version::V1_1);
        bench.router.set_application_score(&peer(n), score);
    }
    assert_eq!(mesh(&bench), [1, 2, 3]);
    bench
}

fn mesh(bench: &Bench) -> Vec<usize> {
    let mesh = bench.router.mesh(&"t".into()).unwrap();
    (1..10).filter(|n| mesh.contains(&peer(*n))).collect()
}

/// Peer 4, of which the application thinks `score`, asks to come in.
fn ask(bench: &mut Bench, score: f64) {
    bench.peer(4, Version::V1_1);
    bench.router.set_application_score(&peer(4), score);
    bench.say(4, vec![Control::Graft("t".into())]);
}

fn is_pruned(bench: &mut Bench, n: usize) -> bool {
    let prune = |item: &Control| matches!(item, Control::Prune { .. });
    bench.sent(n).0.iter().any(prune)
}

#[test]
fn who_asks_with_a_better_score_takes_the_place_of_the_worst_in_a_poor_mesh() {
    let mut bench = full([2.0, 0.0, 1.0]);
    ask(&mut bench, 3.0);
    assert_eq!(mesh(&bench), [1, 3, 4]);
    assert!(is_pruned(&mut bench, 2) && !is_pruned(&mut bench, 4));
    assert_eq!(bench.router.stats().pruned[&PruneCause::Outscored], 1);
}

#[test]
fn a_full_mesh_with_good_scores_takes_nobody_in() {
    let mut bench = full([6.0, 0.0, 7.0]);
    ask(&mut bench, 100.0);
    assert_eq!(mesh(&bench), [1, 2, 3]);
    assert!(is_pruned(&mut bench, 4));
}

#[test]
fn who_is_no_better_than_half_of_a_poor_mesh_does_not_get_in() {
    let mut bench = full([2.0, 0.0, 1.0]);
    ask(&mut bench, 1.0);
    assert_eq!(mesh(&bench), [1, 2, 3]);
    assert_eq!(bench.router.stats().pruned[&PruneCause::Full], 1);
}
