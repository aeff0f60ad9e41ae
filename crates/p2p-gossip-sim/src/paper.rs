//! The experiments of the GossipSub paper (arXiv 2007.02754), and more of the kind.
//!
//! As published with it: messages of 2 KiB, 120 a second, a tenth of the honest nodes write; mesh
//! of 6 to 12; Sybils ask into every mesh, again 60 to 75 s after they were pruned, and each is
//! connected with every tenth honest node, so that an honest node has about 20 honest peers and
//! 400 Sybils. Harder than published: latencies are drawn for each link from 20 to 80 ms one way
//! (25 ms there), all Sybils come at the same moment, and have 100 connections in every experiment
//! (20 in half of them there). Bandwidth is not limited there, and only where the name says so here.

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
/// The same with what a node at home can send.
const NARROW: Links = Links {
    uplink: 50_000_000,
    ..LINKS
};
const MESSAGE: usize = 2048;
/// Honest peers that each honest node dials; as many dial it.
const DIALS: usize = 10;
/// Sybils that an honest node is connected with, about.
const SYBILS_EACH: usize = 400;
/// How long messages are published in a measurement.
const TALK: Duration = Duration::from_secs(1);
/// The same after the flash, while meshes break; at a lower rate until they have recovered.
const FLASH_TALK: usize = 2;
/// The paper's deadline of a delivery.
const DEADLINE: Duration = Duration::from_secs(6);
/// The time in which a mesh forms.
const SETTLE: Duration = Duration::from_secs(5);
/// How long Sybils behave before the flash.
const COVERT: Duration = Duration::from_secs(120);
/// The same for routers without scores, where they have nothing to earn.
const COVERT_UNSCORED: Duration = Duration::from_secs(20);
/// How long a mesh may take to recover, in seconds.
const RECOVERY: usize = 120;
/// The same for routers that never do.
const RECOVERY_UNSCORED: usize = 30;
/// A fifth of the nodes leaves in this time, in seconds.
const CHURN: usize = 60;
/// Messages a second where they only keep scores alive.
const QUIET: u32 = 2;
const SECOND: Duration = Duration::from_secs(1);

type Scenario = fn(RouterKind, Scale) -> Row;

/// All scenarios by name.
pub const SCENARIOS: [(&str, Scenario); 15] = [
    ("baseline", baseline),
    ("eclipse-node", eclipse_node),
    ("eclipse-publisher", eclipse_publisher),
    ("eclipse-network", eclipse_network),
    ("censor", censor),
    ("degrade", degrade),
    ("cold-boot", cold_boot),
    ("covert-flash", covert_flash),
    ("attack-at-dawn", attack_at_dawn),
    ("co-location", co_location),
    ("broken-promises", broken_promises),
    ("partition-healed", partition),
    ("churn", churn),
    ("baseline-50mbit", baseline_narrow),
    ("eclipse-network-50mbit", eclipse_network_narrow),
];

/// The routers that are compared.
pub const ROUTERS: [RouterKind; 3] = [
    RouterKind::Ours,
    RouterKind::Gossip1_0,
    RouterKind::Floodsub,
];

/// All scenarios with all routers, as far as `scenario/router` contains `only`.
pub(crate) fn jobs(scale: Scale, only: &str) -> Vec<Job> {
    let all = SCENARIOS.into_iter();
    let all = all.flat_map(|(name, scenario)| ROUTERS.map(|kind| (name, scenario, kind)));
    all.filter(|(name, _, kind)| format!("{name}/{kind}").contains(only))
        .map(|(name, scenario, kind)| Job {
            runs_long: name == "covert-flash" && !is_yardstick(kind),
            ..Job::new(move || scenario(kind, scale))
        })
        .collect()
}

/// Nobody attacks.
pub fn baseline(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, 0, LINKS);
    quiet_start(&mut world);
    measure(&mut world, scale, "baseline", Watch::All)
}

/// Nobody attacks, and a node can send 50 Mbit/s.
pub fn baseline_narrow(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, 0, NARROW);
    quiet_start(&mut world);
    measure(&mut world, scale, "baseline-50mbit", Watch::All)
}

/// All Sybils connect with one node and drop everything; what comes to that node is measured.
pub fn eclipse_node(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils, LINKS);
    quiet_start(&mut world);
    let target = scale.honest - 1;
    for sybil in scale.honest..world.nodes() {
        world.connect(sybil, target);
    }
    measure(&mut world, scale, "eclipse-node", Watch::Node(target))
}

/// All Sybils connect with one publisher; its messages are measured.
pub fn eclipse_publisher(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils, LINKS);
    quiet_start(&mut world);
    for sybil in scale.honest..world.nodes() {
        world.connect(sybil, 0);
    }
    measure(&mut world, scale, "eclipse-publisher", Watch::Author(0))
}

/// All Sybils come into the whole network, ask into every mesh and drop everything.
pub fn eclipse_network(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils, LINKS);
    quiet_start(&mut world);
    infiltrate(&mut world);
    measure(&mut world, scale, "eclipse-network", Watch::All)
}

/// The same where a node can send 50 Mbit/s.
pub fn eclipse_network_narrow(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils, NARROW);
    quiet_start(&mut world);
    infiltrate(&mut world);
    measure(&mut world, scale, "eclipse-network-50mbit", Watch::All)
}

/// Sybils forward everything but the messages of one publisher, which are measured.
pub fn censor(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils, LINKS);
    conduct(&mut world, Conduct::Censor(0));
    infiltrate(&mut world);
    quiet_start(&mut world);
    measure(&mut world, scale, "censor", Watch::Author(0))
}

/// Sybils forward half of what they get.
pub fn degrade(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils, LINKS);
    conduct(&mut world, Conduct::Degrade(0.5));
    infiltrate(&mut world);
    quiet_start(&mut world);
    measure(&mut world, scale, "degrade", Watch::All)
}

/// Sybils are there from the first moment, and nothing has formed yet.
pub fn cold_boot(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils, LINKS);
    infiltrate(&mut world);
    world.subscribe_all();
    world.run(Duration::from_millis(200));
    measure(&mut world, scale, "cold-boot", Watch::All)
}

/// Sybils behave well for two minutes, then drop everything at once. Measured from then until the
/// mesh has recovered.
pub fn covert_flash(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils, LINKS);
    conduct(&mut world, Conduct::Honest);
    infiltrate(&mut world);
    quiet_start(&mut world);
    let (covert, recovery) = match is_yardstick(kind) {
        true => (COVERT_UNSCORED, RECOVERY_UNSCORED),
        false => (COVERT, RECOVERY),
    };
    talk(&mut world, covert, QUIET, None);
    conduct(&mut world, Conduct::Drop);
    world.start_measuring(None);
    let has_mesh = kind != RouterKind::Floodsub;
    let (mut messages, mut recovered) = (0, None);
    for second in 1..=recovery {
        let over = second > FLASH_TALK;
        if over && (recovered.is_some() || !has_mesh) {
            break;
        }
        let rate = if over { QUIET } else { rate(kind, scale) };
        messages += talk(&mut world, SECOND, rate, None);
        if has_mesh && recovered.is_none() && is_recovered(&mut world) {
            recovered = Some(second as f64);
        }
    }
    world.settle(DEADLINE);
    let mut row = world.row("covert-flash", messages);
    row.recovery_s = recovered;
    row
}

/// Sybils wait in the network while the honest nodes start into it, one after the other.
pub fn attack_at_dawn(kind: RouterKind, scale: Scale) -> Row {
    let mut world = empty(kind, scale, scale.sybils, LINKS);
    world.subscribe_all();
    let step = SETTLE / u32::try_from(scale.honest.max(1)).unwrap_or(u32::MAX);
    for n in 0..scale.honest {
        for sybil in scale.honest..world.nodes() {
            if is_linked(&mut world) {
                world.connect(sybil, n);
            }
        }
        for _ in 0..DIALS.min(n) {
            let other = world.rng.below(n);
            world.connect(n, other);
        }
        world.run(step);
    }
    measure(&mut world, scale, "attack-at-dawn", Watch::All)
}

/// A cold boot among Sybils that share ten addresses.
pub fn co_location(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils, LINKS);
    world.sybil_addrs = Some(10);
    infiltrate(&mut world);
    world.subscribe_all();
    world.run(Duration::from_millis(200));
    measure(&mut world, scale, "co-location", Watch::All)
}

/// Not in the paper: the eclipse of the network by Sybils that offer all that they have heard of,
/// every second, to everybody, and never send it.
pub fn broken_promises(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, scale.sybils, LINKS);
    conduct(&mut world, Conduct::Promise);
    infiltrate(&mut world);
    world.subscribe_all();
    world.start_offers();
    world.run(Duration::from_millis(200));
    measure(&mut world, scale, "broken-promises", Watch::All)
}

/// The network is in two halves for 20 s; messages are measured from one heartbeat after the heal.
pub fn partition(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, 0, LINKS);
    quiet_start(&mut world);
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
    talk(&mut world, Duration::from_secs(20), QUIET, None);
    for (a, b) in &cut {
        world.connect(*a, *b);
    }
    world.run(SECOND);
    measure(&mut world, scale, "partition-healed", Watch::All)
}

/// A fifth of the nodes leaves in a minute, each to come back to others a second later; the whole
/// minute is measured, half of it with the yardsticks.
///
/// What is published in the last 6 s before a node leaves, or in the first second after it is
/// back, is not expected there.
pub fn churn(kind: RouterKind, scale: Scale) -> Row {
    let mut world = town(kind, scale, 0, LINKS);
    quiet_start(&mut world);
    world.start_measuring(None);
    // A fifth in a minute.
    let left_by = |second: usize| scale.honest * second / (5 * CHURN);
    let mut leaving: Vec<Vec<usize>> = Vec::new();
    let mut messages = 0;
    let deadline = DEADLINE.as_secs() as usize;
    let length = match is_yardstick(kind) {
        true => CHURN / 2,
        false => CHURN,
    };
    for second in 0..length {
        let marked: Vec<usize> = (left_by(second)..left_by(second + 1))
            .map(|_| world.rng.below(scale.honest))
            .collect();
        for n in &marked {
            world.set_online(*n, false);
        }
        leaving.push(marked);
        let then = |ago: usize| {
            let at = second.checked_sub(deadline + ago);
            at.and_then(|at| leaving.get(at))
                .cloned()
                .unwrap_or_default()
        };
        let (leave, back, there) = (then(0), then(1), then(2));
        for n in leave {
            for other in world.edges.get(n).cloned().unwrap_or_default() {
                world.disconnect(n, other);
            }
        }
        for n in back {
            for _ in 0..2 * DIALS {
                let other = world.rng.below(scale.honest);
                world.connect(n, other);
            }
        }
        for n in there {
            world.set_online(n, true);
        }
        messages += talk(&mut world, SECOND, rate(kind, scale).div_ceil(10), None);
    }
    world.settle(DEADLINE);
    world.row("churn", messages)
}

/// Honest nodes, connected with each other, and Sybils that are not yet connected.
fn town(kind: RouterKind, scale: Scale, sybils: usize, links: Links) -> World {
    let mut world = empty(kind, scale, sybils, links);
    for n in 0..scale.honest {
        for _ in 0..DIALS {
            let other = world.rng.below(scale.honest);
            world.connect(n, other);
        }
    }
    world
}

fn empty(kind: RouterKind, scale: Scale, sybils: usize, links: Links) -> World {
    let mut config = config(kind);
    if links.uplink > 0 {
        // About as many messages as go-libp2p-pubsub lets wait for a peer.
        config.base.queue.own_bytes = 64 << 10;
        config.base.queue.forwarded_bytes = 64 << 10;
    }
    World::new(kind, scale.honest, sybils, links, scale.seed, &config)
}

fn conduct(world: &mut World, conduct: Conduct) {
    for n in world.honest..world.nodes() {
        if let Some(sybil) = world.sybil(n) {
            sybil.conduct = conduct;
        }
    }
}

/// Every Sybil connects with its part of the honest nodes.
fn infiltrate(world: &mut World) {
    for sybil in world.honest..world.nodes() {
        for n in 0..world.honest {
            if is_linked(world) {
                world.connect(sybil, n);
            }
        }
    }
}

fn is_linked(world: &mut World) -> bool {
    let sybils = world.nodes() - world.honest;
    world.rng.below(sybils) < SYBILS_EACH
}

/// Lets meshes form, with some messages in them: silence would cost everybody's score.
fn quiet_start(world: &mut World) {
    world.subscribe_all();
    talk(world, SETTLE, 8, None);
}

/// Publishes for `time`; returns how many messages.
fn talk(world: &mut World, time: Duration, per_second: u32, publisher: Option<usize>) -> usize {
    let publishers = (world.honest / 10).max(1);
    let count = time.as_secs() * u64::from(per_second.max(1));
    let pause = time / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let mut messages = 0;
    for _ in 0..count {
        let turn = world.written();
        let next = (0..publishers)
            .map(|n| (turn + n) % publishers)
            .find(|n| world.is_connected(*n));
        if let Some(author) = publisher.or(next) {
            messages += usize::from(world.publish(author, MESSAGE));
        }
        world.run(pause);
    }
    messages
}

/// What is measured.
enum Watch {
    All,
    /// The messages of one node.
    Author(usize),
    /// What comes to one node.
    Node(usize),
}

fn measure(world: &mut World, scale: Scale, scenario: &str, watch: Watch) -> Row {
    let (author, node, rate) = match watch {
        Watch::All => (None, None, rate(world.kind, scale)),
        Watch::Author(author) => (Some(author), None, scale.rate.div_ceil(10)),
        Watch::Node(node) => (None, Some(node), rate(world.kind, scale)),
    };
    // Narrow links are about the rate.
    let rate = if world.is_narrow() { scale.rate } else { rate };
    world.start_measuring(node);
    let messages = talk(world, TALK, rate, author);
    world.settle(DEADLINE);
    world.row(scenario, messages)
}

/// What is known to fail needs no long measurement to see it.
fn is_yardstick(kind: RouterKind) -> bool {
    matches!(kind, RouterKind::Floodsub | RouterKind::Gossip1_0)
}

/// Floodsub sends every message to every Sybil: a tenth of them is enough to see that.
fn rate(kind: RouterKind, scale: Scale) -> u32 {
    match kind {
        RouterKind::Floodsub => scale.rate.div_ceil(10),
        RouterKind::Gossip1_0
        | RouterKind::Gossip1_1
        | RouterKind::Gossip1_2
        | RouterKind::Staggered
        | RouterKind::Ours => scale.rate,
    }
}

/// Whether the mean mesh is large enough without its Sybils, and nearly all have half of that.
fn is_recovered(world: &mut World) -> bool {
    let honest: Vec<usize> = (0..world.honest).map(|n| world.honest_mesh(n)).collect();
    let enough = honest.iter().sum::<usize>() >= D_LOW * world.honest;
    let poor = honest.iter().filter(|peers| 2 * **peers < D_LOW).count();
    enough && poor * POOR_ONE_IN <= world.honest
}

const D_LOW: usize = 6;
/// One node in so many may have a poor mesh when the network has recovered: Sybils that come back
/// crowd some out at any time.
const POOR_ONE_IN: usize = 20;

/// The paper's parameters; those of the scores are ours.
fn config(kind: RouterKind) -> GossipConfig {
    let mut config = GossipConfig::default();
    config.base = roomy();
    config.d = 8;
    config.d_low = D_LOW;
    config.d_high = 12;
    config.d_score = 6;
    config.d_out = 2;
    config.d_lazy = 12;
    config.opportunistic_graft_ticks = 10;
    match kind {
        RouterKind::Gossip1_0 => {
            plain(&mut config);
            config.flood_publish = false;
            config.gossip_factor = 0.0;
            config.d_score = 0;
            config.d_out = 0;
            config.prune_backoff = Duration::ZERO;
            config.backoff_slack = 0;
        }
        RouterKind::Gossip1_1 => {
            plain(&mut config);
            config.scoring = Some(scoring());
        }
        RouterKind::Floodsub | RouterKind::Gossip1_2 | RouterKind::Staggered | RouterKind::Ours => {
            config.scoring = Some(scoring())
        }
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
