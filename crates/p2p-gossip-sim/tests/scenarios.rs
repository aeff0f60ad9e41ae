//! Every scenario in small; `docs/gossip.md` tells of the large ones.

use p2p_gossip_sim::{RouterKind, Scale, Suite, frontier, paper, run_some};

#[test]
fn our_router_delivers_everything_in_every_other_scenario() {
    let mut lost = Vec::new();
    // The covert flash has a test of its own.
    let others = paper::SCENARIOS.into_iter();
    for (name, scenario) in others.filter(|(name, _)| *name != "covert-flash") {
        let row = scenario(RouterKind::Ours, Scale::small());
        assert_eq!(row.scenario, name);
        if row.delivered < 1.0 {
            lost.push(row);
        }
    }
    assert_eq!(lost, []);
}

#[test]
fn the_mesh_recovers_from_a_covert_flash_and_that_of_1_0_does_not() {
    let mut scale = Scale::small();
    (scale.honest, scale.sybils) = (30, 60);
    let ours = paper::covert_flash(RouterKind::Ours, scale);
    let old = paper::covert_flash(RouterKind::Gossip1_0, Scale::small());

    assert_eq!(ours.delivered, 1.0);
    assert!(ours.recovery_s.unwrap() <= 120.0, "{ours:?}");
    assert_eq!(old.recovery_s, None, "{old:?}");
}

#[test]
fn a_cold_boot_is_faster_than_with_1_0() {
    let ours = paper::cold_boot(RouterKind::Ours, Scale::small());
    let old = paper::cold_boot(RouterKind::Gossip1_0, Scale::small());

    assert!(ours.p99_ms <= 1030.0, "{ours:?}");
    assert!(old.p99_ms > ours.p99_ms || old.delivered < 1.0, "{old:?}");
}

#[test]
fn long_messages_cost_at_most_one_and_a_half_copies() {
    let mut scale = Scale::small();
    scale.sybils = 0;
    let plain = frontier::steady(RouterKind::Gossip1_1, "x", 32 << 10, scale);
    let ours = frontier::steady(RouterKind::Ours, "x", 32 << 10, scale);

    assert_eq!((plain.delivered, ours.delivered), (1.0, 1.0));
    assert!(
        ours.copies <= 1.5 && plain.copies > 4.0,
        "{ours:?} {plain:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_rows_in_the_same_order() {
    let rows = || run_some(Suite::Paper, Scale::small(), "baseline", &mut |_| {});

    let (first, second) = (rows(), rows());

    assert_eq!(first, second);
    let scenarios = ["baseline", "baseline-50mbit"];
    assert_eq!(first.len(), scenarios.len() * paper::ROUTERS.len());
}
