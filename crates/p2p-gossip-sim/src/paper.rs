//! The experiments of the GossipSub paper (arXiv 2007.02754), partition and churn.
//!
//! Latencies are drawn for each link from 20 to 80 ms one way; the paper's were not published.
//! Bandwidth is not limited. Messages are 2 KiB; honest nodes have about 20 honest peers, and each
//! Sybil is connected with every tenth of them.

use std::time::Duration;

use p2p_pubsub::{GossipConfig, ScoreParams, Thresholds, Topic, TopicParams};

use crate::fast::Job;
use crate::report::{RouterKind, Row, Scale};
use crate::sybil::Conduct;
use crate::world::{Links, World, roomy};

const LINKS: Links = Links {
    min: Duration::from_millis(20),
    max: Duration::from_millis(80),
    uplink: 0,
};
const MESSAGE: usize = 2048;
/// Honest peers that each honest node dials; as many dial it.
const DIALS: usize = 10;
/// How long messages are published in a measurement.
const TALK: Duration = Duration::from_secs(5);
/// The paper's deadline of a delivery.
const DEADLINE: Duration = Duration::from_secs(6);
/// The time in which a mesh forms.
const SETTLE: Duration = Duration::from_secs(5);
/// How long Sybils behave before the flash.
const COVERT: Duration = Duration::from_secs(60);
/// How long a mesh may take to recover.
const RECOVERY: u64 = 120;

type Scenario = fn(RouterKind, Scale) -> Row;

const SCENARIOS: [Scenario; 12] = [
    baseline,
    eclipse_node,
    eclipse_publisher,
    eclipse_network,
    censor,
    degrade,
    cold_boot,
    covert_flash,
    attack_at_dawn,
    co_location,
    partition,
    churn,
];

/// All scenarios with gossipsub 1.1, and with 1.0 and floodsub as the yardstick.
pub(crate) fn jobs(scale: Scale) -> Vec<Job> {
    let kinds = [
        RouterKind::Gossip1_1,
        RouterKind::Gossip1_0,
        RouterKind::Floodsub,
    ];
    let pairs = SCENARIOS
        .into_iter()
        .flat_map(|scenario| kinds.map(|kind| (scenario, kind)));
    pairs
        .map(|(scenario, kind)| Box::new(move || scenario(kind, scale)) as Job)
        .collect()
}

/// Nobody attacks.
pub fn baseline(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, 0);
    world.subscribe_all();
    settle(&mut world);
    measure(&mut world, "baseline", None)
}

/// All Sybils connect with one node and drop everything.
pub fn eclipse_node(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils);
    world.subscribe_all();
    settle(&mut world);
    for sybil in scale.honest..world.nodes() {
        world.connect(sybil, scale.honest - 1);
    }
    settle(&mut world);
    measure(&mut world, "eclipse-node", None)
}

/// All Sybils connect with one publisher; its messages are measured.
pub fn eclipse_publisher(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils);
    world.subscribe_all();
    settle(&mut world);
    for sybil in scale.honest..world.nodes() {
        world.connect(sybil, 0);
    }
    settle(&mut world);
    measure(&mut world, "eclipse-publisher", Some(0))
}

/// All Sybils come into the whole network, ask into every mesh and drop everything.
pub fn eclipse_network(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils);
    world.subscribe_all();
    settle(&mut world);
    infiltrate(&mut world);
    measure(&mut world, "eclipse-network", None)
}

/// Sybils forward everything but the messages of one publisher, which are measured.
pub fn censor(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils);
    conduct(&mut world, Conduct::Censor(0));
    infiltrate(&mut world);
    world.subscribe_all();
    settle(&mut world);
    measure(&mut world, "censor", Some(0))
}

/// Sybils forward half of what they get.
pub fn degrade(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils);
    conduct(&mut world, Conduct::Degrade(0.5));
    infiltrate(&mut world);
    world.subscribe_all();
    settle(&mut world);
    measure(&mut world, "degrade", None)
}

/// Sybils are there from the first moment, and nothing has formed yet.
pub fn cold_boot(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils);
    infiltrate(&mut world);
    world.subscribe_all();
    world.run(Duration::from_millis(200));
    measure(&mut world, "cold-boot", None)
}

/// Sybils behave well for a minute, then drop everything at once.
pub fn covert_flash(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils);
    conduct(&mut world, Conduct::Honest);
    infiltrate(&mut world);
    world.subscribe_all();
    settle(&mut world);
    talk(&mut world, COVERT, 1, None);
    conduct(&mut world, Conduct::Drop);
    let mut row = measure(&mut world, "covert-flash", None);
    if kind != RouterKind::Floodsub {
        let passed = (TALK + DEADLINE).as_secs();
        row.recovery_s = recovery(&mut world, passed);
    }
    row
}

/// Sybils wait in the network while the honest nodes start into it, one after the other.
pub fn attack_at_dawn(kind: RouterKind, scale: Scale) -> Row {
    let mut world = World::new(
        kind,
        scale.honest,
        scale.sybils,
        LINKS,
        scale.seed,
        &config(kind),
    );
    world.subscribe_all();
    for n in 0..scale.honest {
        world.set_online(n, false);
    }
    let step = SETTLE / u32::try_from(scale.honest.max(1)).unwrap_or(u32::MAX);
    for n in 0..scale.honest {
        for sybil in scale.honest..world.nodes() {
            if is_linked(&mut world, sybil, n) {
                world.connect(sybil, n);
            }
        }
        for _ in 0..DIALS.min(n) {
            let other = world.rng.below(n);
            world.connect(n, other);
        }
        world.set_online(n, true);
        world.run(step);
    }
    measure(&mut world, "attack-at-dawn", None)
}

/// The same as the eclipse of the network, by Sybils that share ten addresses.
pub fn co_location(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils);
    world.sybil_addrs = Some(10);
    infiltrate(&mut world);
    world.subscribe_all();
    settle(&mut world);
    measure(&mut world, "co-location", None)
}

/// The network is in two halves for 20 s; messages are measured from one heartbeat after the heal.
pub fn partition(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, 0);
    world.subscribe_all();
    settle(&mut world);
    let mut cut = Vec::new();
    for (n, edges) in world.edges.clone().into_iter().enumerate() {
        let across = edges
            .into_iter()
            .filter(|other| n % 2 == 0 && other % 2 == 1);
        cut.extend(across.map(|other| (n, other)));
    }
    for (a, b) in &cut {
        world.disconnect(*a, *b);
    }
    talk(&mut world, Duration::from_secs(20), 2, None);
    for (a, b) in &cut {
        world.connect(*a, *b);
    }
    world.run(Duration::from_secs(1));
    measure(&mut world, "partition-healed", None)
}

/// A fifth of the nodes leaves and comes back elsewhere within a minute; half a minute is measured.
pub fn churn(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, 0);
    world.subscribe_all();
    settle(&mut world);
    let before = world.start_measuring();
    let per_second = (scale.honest / 300).max(1);
    let mut leaving: Vec<Vec<usize>> = Vec::new();
    let mut messages = 0;
    for second in 0..40usize {
        let mut marked = Vec::new();
        for _ in 0..per_second {
            let n = world.rng.below(scale.honest);
            world.set_online(n, false);
            marked.push(n);
        }
        leaving.push(marked);
        if second < 30 {
            messages += talk(&mut world, Duration::from_secs(1), 4, None);
        } else {
            world.run(Duration::from_secs(1));
        }
        // Six seconds after it was marked a node leaves, to come back at once to others.
        let Some(gone) = second
            .checked_sub(6)
            .and_then(|at| leaving.get(at))
            .cloned()
        else {
            continue;
        };
        for n in gone {
            for other in world.edges.get(n).cloned().unwrap_or_default() {
                world.disconnect(n, other);
            }
            for _ in 0..2 * DIALS {
                let other = world.rng.below(scale.honest);
                world.connect(n, other);
            }
        }
    }
    world.run(DEADLINE);
    world.row("churn", before, messages)
}

/// Honest nodes, connected with each other, and Sybils that are not yet connected.
fn town(kind: RouterKind, scale: Scale, sybils: usize) -> World {
    let config = config(kind);
    let mut world = World::new(kind, scale.honest, sybils, LINKS, scale.seed, &config);
    for n in 0..scale.honest {
        for _ in 0..DIALS {
            let other = world.rng.below(scale.honest);
            world.connect(n, other);
        }
    }
    world
}

fn conduct(world: &mut World, conduct: Conduct) {
    for n in world.honest..world.nodes() {
        if let Some(sybil) = world.sybil(n) {
            sybil.conduct = conduct;
        }
    }
}

/// Every Sybil connects with every tenth honest node.
fn infiltrate(world: &mut World) {
    for sybil in world.honest..world.nodes() {
        for n in 0..world.honest {
            if is_linked(world, sybil, n) {
                world.connect(sybil, n);
            }
        }
    }
}

fn is_linked(world: &mut World, _sybil: usize, _honest: usize) -> bool {
    world.rng.below(10) == 0
}

/// Lets meshes form, with some messages in them: silence would cost everybody's score.
fn settle(world: &mut World) {
    talk(world, SETTLE, 8, None);
}

/// Publishes for `time`; returns how many messages.
fn talk(world: &mut World, time: Duration, per_second: u32, publisher: Option<usize>) -> usize {
    let publishers = (world.honest / 10).max(1);
    let pause = Duration::from_secs(1) / per_second;
    let count = u32::try_from(time.as_millis() / pause.as_millis().max(1)).unwrap_or(u32::MAX);
    for n in 0..count as usize {
        world.publish(publisher.unwrap_or(n % publishers), MESSAGE);
        world.run(pause);
    }
    count as usize
}

fn measure(world: &mut World, scenario: &str, publisher: Option<usize>) -> Row {
    let before = world.start_measuring();
    // Floodsub sends every message to every Sybil: a tenth is enough to see that.
    let rate = match (world.kind, publisher) {
        (RouterKind::Floodsub, _) | (_, Some(_)) => 12,
        (_, None) => 120,
    };
    let messages = talk(world, TALK, rate, publisher);
    world.run(DEADLINE);
    world.row(scenario, before, messages)
}

/// When 99 of 100 honest nodes have at least `d_low` honest peers in their mesh, in seconds from
/// the flash, of which `passed` are over.
fn recovery(world: &mut World, passed: u64) -> Option<f64> {
    for second in passed..=RECOVERY {
        let low = (0..world.honest)
            .filter(|n| world.honest_mesh(*n) < 4)
            .count();
        if low * 100 <= world.honest {
            return Some(second as f64);
        }
        talk(world, Duration::from_secs(1), 4, None);
    }
    None
}

/// The paper's parameters; those of the scores are ours.
fn config(kind: RouterKind) -> GossipConfig {
    let mut config = GossipConfig::default();
    config.base = roomy();
    config.d = 8;
    config.d_low = 6;
    config.d_high = 12;
    config.d_score = 6;
    config.d_out = 2;
    config.d_lazy = 12;
    config.max_ihave_messages = 100;
    plain(&mut config);
    if kind == RouterKind::Gossip1_0 {
        config.flood_publish = false;
        config.d_out = 0;
    } else {
        config.scoring = Some(scoring());
        config.opportunistic_graft_ticks = 10;
    }
    config
}

/// Without what came after 1.1.
pub(crate) fn plain(config: &mut GossipConfig) {
    config.stagger = None;
    config.idontwant_threshold = usize::MAX;
    config.flood_publish_max = usize::MAX;
    config.iwant_parallel = usize::MAX;
}

fn scoring() -> (ScoreParams, Thresholds) {
    let mut topic = TopicParams::default();
    topic.time_in_mesh_weight = 0.01;
    topic.time_in_mesh_cap = 300.0;
    topic.first_message_deliveries_weight = 0.5;
    topic.first_message_deliveries_decay = 0.97;
    topic.first_message_deliveries_cap = 50.0;
    topic.mesh_message_deliveries_weight = -1.0;
    topic.mesh_message_deliveries_decay = 0.93;
    topic.mesh_message_deliveries_cap = 40.0;
    topic.mesh_message_deliveries_threshold = 4.0;
    topic.mesh_message_deliveries_window = Duration::from_millis(150);
    topic.mesh_message_deliveries_activation = Duration::from_secs(4);
    topic.mesh_failure_penalty_weight = -1.0;
    topic.mesh_failure_penalty_decay = 0.997;
    topic.invalid_message_deliveries_weight = -100.0;
    topic.invalid_message_deliveries_decay = 0.99;
    let mut params = ScoreParams::default();
    params.topics.insert(Topic::new("t"), topic);
    params.ip_colocation_factor_weight = -5.0;
    params.ip_colocation_factor_threshold = 3;
    params.behaviour_penalty_weight = -1.0;
    params.behaviour_penalty_threshold = 2.0;
    params.behaviour_penalty_decay = 0.99;
    let mut thresholds = Thresholds::default();
    thresholds.gossip = -10.0;
    thresholds.publish = -50.0;
    thresholds.graylist = -100.0;
    thresholds.opportunistic_graft = 5.0;
    (params, thresholds)
}
