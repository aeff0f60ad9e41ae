//! The hosts, who is whose neighbour, and who is up.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::channel::oneshot;
use p2p::core::AddrExt;
use p2p::{Keypair, Multiaddr, PeerId, Swarm, WeakSwarm};
use p2p_sim::{Host, Sim};

use super::Plan;
use super::node::Life;
use super::rng::Rng;
use super::tally::Shared;

/// How many others each host dials.
pub(crate) const NEIGHBOURS: usize = 8;
/// Where everybody listens.
const PORT: u16 = 4001;
/// Draws of a neighbour before one is taken that has chosen us as well.
const DRAWS: usize = 64;

/// All hosts of a run.
pub(crate) struct Town {
    houses: Vec<House>,
    places: BTreeMap<PeerId, usize>,
    tally: Arc<Shared>,
}

struct House {
    host: Host,
    identity: Keypair,
    addr: Multiaddr,
    neighbours: Vec<Multiaddr>,
    running: Option<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    started: oneshot::Receiver<WeakSwarm>,
    swarm: Option<WeakSwarm>,
}

impl Town {
    /// Hosts with names, keys and neighbours; none of them runs.
    pub(crate) fn build(sim: &Sim, plan: Plan) -> Self {
        let mut houses: Vec<House> = sim
            .hosts(plan.hosts)
            .into_iter()
            .enumerate()
            .map(|(place, host)| House::new(host, identity(plan.seed, place)))
            .collect();
        let neighbours = neighbours(plan);
        let addrs: Vec<Multiaddr> = houses.iter().map(|house| house.addr.clone()).collect();
        for (house, chosen) in houses.iter_mut().zip(neighbours) {
            let chosen = chosen.into_iter().filter_map(|place| addrs.get(place));
            house.neighbours = chosen.cloned().collect();
        }
        let peers = houses.iter().map(|house| house.identity.to_peer_id());
        Self {
            places: peers.zip(0..).collect(),
            houses,
            tally: Arc::default(),
        }
    }

    pub(crate) fn tally(&self) -> &Shared {
        &self.tally
    }

    /// The host at `place`.
    pub(crate) fn host(&self, place: usize) -> Option<&Host> {
        self.houses.get(place).map(|house| &house.host)
    }

    /// Starts the node at `place`, after a crash too.
    pub(crate) fn start(&mut self, place: usize) {
        let Some(house) = self.houses.get_mut(place) else {
            return;
        };
        house.host.restart();
        let (stop, stopped) = oneshot::channel();
        let (starting, started) = oneshot::channel();
        let life = Life {
            rt: house.host.rt(),
            identity: house.identity.clone(),
            listen: house.addr.without_peer(),
            neighbours: house.neighbours.clone(),
            tally: Arc::clone(&self.tally),
            started: starting,
            stop: stopped,
        };
        house.host.spawn("node", life.run());
        house.running = Some(Running {
            stop,
            started,
            swarm: None,
        });
    }

    /// Whether a node runs at `place`.
    pub(crate) fn is_running(&self, place: usize) -> bool {
        let house = self.houses.get(place);
        house.is_some_and(|house| house.running.is_some())
    }

    /// Tells the node at `place` to end in order.
    pub(crate) fn stop(&mut self, place: usize) {
        let running = self
            .houses
            .get_mut(place)
            .and_then(|house| house.running.take());
        if let Some(running) = running {
            // A node that could not start has said so.
            let _ = running.stop.send(());
            self.tally.change(|tally| tally.left += 1);
        }
    }

    /// Pulls the plug of the host at `place`.
    pub(crate) fn crash(&mut self, place: usize) {
        if let Some(house) = self.houses.get_mut(place) {
            house.running = None;
            house.host.crash();
            self.tally.change(|tally| tally.crashed += 1);
        }
    }

    /// Tells all nodes to end in order. They are not counted as having left.
    pub(crate) fn stop_all(&mut self) {
        for house in &mut self.houses {
            if let Some(running) = house.running.take() {
                let _ = running.stop.send(());
            }
        }
    }

    /// Ends of connections that are open.
    pub(crate) fn ends_open(&mut self) -> usize {
        let swarms = self.houses.iter_mut().filter_map(House::swarm);
        swarms.map(|swarm| swarm.census().connections).sum()
    }

    /// Pairs of connected peers of which one is in an odd place and the other in an even one,
    /// counted at both ends.
    pub(crate) fn crossing(&mut self) -> usize {
        let places = &self.places;
        let mut crossing = 0;
        for (place, house) in self.houses.iter_mut().enumerate() {
            let peers = house.swarm().map(|swarm| swarm.peers()).unwrap_or_default();
            let others = peers.iter().filter_map(|peer| places.get(peer));
            crossing += others.filter(|other| **other % 2 != place % 2).count();
        }
        crossing
    }
}

impl House {
    fn new(host: Host, identity: Keypair) -> Self {
        let addr = Multiaddr::from_tcp_socket(host.socket(PORT));
        Self {
            addr: addr.with_peer(identity.to_peer_id()),
            host,
            identity,
            neighbours: Vec::new(),
            running: None,
        }
    }

    /// The swarm of the running node.
    fn swarm(&mut self) -> Option<Swarm> {
        let running = self.running.as_mut()?;
        if running.swarm.is_none() {
            running.swarm = (&mut running.started).now_or_never()?.ok();
        }
        running.swarm.as_ref()?.upgrade()
    }
}

/// The same place has the same key in every run with this seed.
fn identity(seed: u64, place: usize) -> Keypair {
    let mut bytes = [0; 32];
    let number = u64::try_from(place).unwrap_or(u64::MAX);
    let parts = seed.to_le_bytes().into_iter().chain(number.to_le_bytes());
    for (slot, byte) in bytes.iter_mut().zip(parts) {
        *slot = byte;
    }
    Keypair::ed25519_from_seed(bytes)
}

/// For each place the places that it dials: [`NEIGHBOURS`] of them, or all others if there are
/// fewer. Two hosts choose each other only where there are too few to avoid it.
fn neighbours(plan: Plan) -> Vec<Vec<usize>> {
    let mut rng = Rng::new(plan.seed);
    let wanted = NEIGHBOURS.min(plan.hosts.saturating_sub(1));
    let mut all: Vec<Vec<usize>> = vec![Vec::new(); plan.hosts];
    for place in 0..plan.hosts {
        let mut chosen = Vec::new();
        let mut draws = 0;
        while chosen.len() < wanted {
            let other = rng.below(plan.hosts);
            let mutual = all.get(other).is_some_and(|list| list.contains(&place));
            draws += 1;
            if other != place && !chosen.contains(&other) && (!mutual || draws > DRAWS) {
                chosen.push(other);
            }
        }
        if let Some(slot) = all.get_mut(place) {
            *slot = chosen;
        }
    }
    all
}
