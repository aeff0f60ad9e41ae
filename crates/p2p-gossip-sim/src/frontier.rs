//! Copies and latency with the techniques against duplicates, one added after the other.
//!
//! Every node sends at most 50 Mbit/s and every link takes 90 to 110 ms one way. Twenty authors
//! write in turn; the first message of each is not measured, except where the name says so: it
//! shows others which links to use.

use std::time::Duration;

use p2p_pubsub::GossipConfig;

use crate::fast::Job;
use crate::paper::plain;
use crate::report::{RouterKind, Row, Scale};
use crate::world::{Links, World, roomy};

const LINKS: Links = Links {
    min: Duration::from_millis(90),
    max: Duration::from_millis(110),
    uplink: 50_000_000,
};
const DIALS: usize = 10;
const AUTHORS: usize = 20;
/// Measured messages of each author.
const ROUNDS: usize = 8;

const KINDS: [RouterKind; 4] = [
    RouterKind::Gossip1_1,
    RouterKind::Gossip1_2,
    RouterKind::Staggered,
    RouterKind::Ours,
];
const SIZES: [(&str, usize); 3] = [
    ("1KiB", 1 << 10),
    ("32KiB", 32 << 10),
    ("128KiB", 128 << 10),
];
const FIRST: (&str, usize) = ("32KiB-first", 32 << 10);

pub(crate) fn jobs(scale: Scale, only: &str) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for (name, size) in SIZES {
        for kind in KINDS {
            if format!("{name}/{kind}").contains(only) {
                jobs.push(Job::new(move || steady(kind, name, size, scale)));
            }
        }
    }
    for kind in [RouterKind::Gossip1_1, RouterKind::Ours] {
        let (name, size) = FIRST;
        if format!("{name}/{kind}").contains(only) {
            jobs.push(Job::new(move || first(kind, name, size, scale)));
        }
    }
    jobs
}

/// Messages of authors whose paths are known.
pub fn steady(kind: RouterKind, name: &str, size: usize, scale: Scale) -> Row {
    let mut world = town(kind, scale);
    round(&mut world, size);
    world.run(Duration::from_secs(5));
    world.start_measuring(None);
    for _ in 0..ROUNDS {
        round(&mut world, size);
    }
    world.settle(Duration::from_secs(10));
    world.row(name, ROUNDS * AUTHORS)
}

/// The first message of each author.
pub fn first(kind: RouterKind, name: &str, size: usize, scale: Scale) -> Row {
    let mut world = town(kind, scale);
    world.start_measuring(None);
    round(&mut world, size);
    world.settle(Duration::from_secs(10));
    world.row(name, AUTHORS)
}

/// One message of each author: ten a second, or two if they are long.
fn round(world: &mut World, size: usize) {
    let pause = match size {
        ..=65_536 => Duration::from_millis(100),
        _longer => Duration::from_millis(500),
    };
    for author in 0..AUTHORS {
        let n = author * world.honest / AUTHORS;
        world.publish(n, size);
        world.run(pause);
    }
}

fn town(kind: RouterKind, scale: Scale) -> World {
    let mut config = GossipConfig::default();
    config.base = roomy();
    let ours = config.clone();
    if kind != RouterKind::Ours {
        plain(&mut config);
    }
    if kind != RouterKind::Gossip1_1 {
        config.idontwant_threshold = ours.idontwant_threshold;
    }
    if kind == RouterKind::Staggered {
        config.stagger = ours.stagger;
    }
    let mut world = World::new(kind, scale.honest, 0, LINKS, scale.seed, &config);
    for n in 0..scale.honest {
        for _ in 0..DIALS {
            let other = world.rng.below(scale.honest);
            world.connect(n, other);
        }
    }
    world.subscribe_all();
    world.run(Duration::from_secs(5));
    world
}
