//! What goes wrong in each scenario, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use p2p_gossip_sim::Suite;
use p2p_sim::{Host, Partition, Sim};

use super::report::Crossing;
use super::rng::Rng;
use super::town::Town;
use super::{Plan, STEP};

/// A story to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Nothing goes wrong: every host dials 8 others, all identify and ping
    Mesh,
    /// Hosts leave or crash after 5 minutes on average, and come back 30 s later
    Churn,
    /// In the middle third of the time one half of the hosts cannot reach the other
    Partition,
    /// The experiments of the GossipSub paper, at the level of routers: 1000 honest nodes and
    /// four times as many Sybils
    GossipPaper,
    /// Copies and latency of gossip, with the techniques against duplicates one by one
    GossipFrontier,
}

impl Scenario {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Churn => "churn",
            Self::Partition => "partition",
            Self::GossipPaper => "gossip-paper",
            Self::GossipFrontier => "gossip-frontier",
        }
    }

    /// The set of experiments that needs no hosts, if it is one.
    pub(crate) fn gossip(self) -> Option<Suite> {
        match self {
            Self::Mesh | Self::Churn | Self::Partition => None,
            Self::GossipPaper => Some(Suite::Paper),
            Self::GossipFrontier => Some(Suite::Frontier),
        }
    }
}

/// How long a host is up, on average.
const LIFE: Duration = Duration::from_secs(300);
/// How long it is away then.
const AWAY: Duration = Duration::from_secs(30);

/// A scenario under way.
pub(crate) struct Script {
    plan: Plan,
    story: Story,
}

enum Story {
    Mesh,
    Churn {
        rng: Rng,
        /// When whom comes back.
        due: BTreeMap<usize, Duration>,
    },
    Partition {
        cut: Option<Partition>,
        before: Option<usize>,
        during: Option<usize>,
        after: Option<usize>,
    },
}

impl Script {
    pub(crate) fn new(plan: Plan) -> Self {
        let story = match plan.scenario {
            // Those of gossip have no hosts.
            Scenario::Mesh | Scenario::GossipPaper | Scenario::GossipFrontier => Story::Mesh,
            Scenario::Churn => Story::Churn {
                rng: Rng::new(!plan.seed),
                due: BTreeMap::new(),
            },
            Scenario::Partition => Story::Partition {
                cut: None,
                before: None,
                during: None,
                after: None,
            },
        };
        Self { plan, story }
    }

    /// Does what is due at `now`, counted from the start.
    pub(crate) fn act(&mut self, sim: &Sim, town: &mut Town, now: Duration) {
        let plan = self.plan;
        match &mut self.story {
            Story::Mesh => {}
            Story::Churn { rng, due } => churn(plan, rng, due, town, now),
            Story::Partition {
                cut,
                before,
                during,
                ..
            } => {
                if before.is_none() && now >= plan.length / 3 {
                    *before = Some(town.crossing());
                    *cut = Some(halve(sim, town, plan.hosts));
                }
                if now >= plan.length * 2 / 3
                    && let Some(cut) = cut.take()
                {
                    *during = Some(town.crossing());
                    sim.heal(cut);
                }
            }
        }
    }

    /// Looks once more when the time is over.
    pub(crate) fn end(&mut self, sim: &Sim, town: &mut Town) {
        match &mut self.story {
            Story::Mesh => {}
            Story::Churn { due, .. } => due.clear(),
            Story::Partition { cut, after, .. } => {
                if let Some(cut) = cut.take() {
                    sim.heal(cut);
                }
                *after = Some(town.crossing());
            }
        }
    }

    /// Connections between the halves, in a scenario that has halves.
    pub(crate) fn crossing(&self) -> Option<Crossing> {
        match &self.story {
            Story::Mesh | Story::Churn { .. } => None,
            Story::Partition {
                before,
                during,
                after,
                ..
            } => Some(Crossing {
                before: (*before)?,
                during: (*during)?,
                after: (*after)?,
            }),
        }
    }
}

fn churn(
    plan: Plan,
    rng: &mut Rng,
    due: &mut BTreeMap<usize, Duration>,
    town: &mut Town,
    now: Duration,
) {
    due.retain(|place, at| {
        let back = now >= *at;
        if back {
            town.start(*place);
        }
        !back
    });
    let steps = LIFE.as_secs() / STEP.as_secs();
    let steps = usize::try_from(steps).unwrap_or(1);
    for place in 0..plan.hosts {
        if town.is_running(place) && rng.one_in(steps) {
            if rng.one_in(2) {
                town.stop(place);
            } else {
                town.crash(place);
            }
            due.insert(place, now + AWAY);
        }
    }
}

/// Cuts the hosts in even places off from those in odd ones.
fn halve(sim: &Sim, town: &Town, hosts: usize) -> Partition {
    let half = |rest: usize| -> Vec<&Host> {
        let places = (0..hosts).filter(|place| place % 2 == rest);
        places.filter_map(|place| town.host(place)).collect()
    };
    sim.partition(&half(0), &half(1))
}
