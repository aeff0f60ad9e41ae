//! What must hold of a host at any time, once it is quiet, and once it has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use p2p::{AddrExt, PeerId};
use p2p_sim::HostCensus;

use crate::driver::{Driver, Running};
use crate::node::TURN;
use crate::talk::TALK;

impl Driver<'_> {
    /// What is held is within the limits.
    pub(crate) fn check_limits(&self) {
        for running in self.running() {
            running.check_limits();
            running.member.check(false);
        }
    }

    /// Once it is quiet, every count of the members adds up.
    pub(crate) fn check_members(&self) {
        self.running().for_each(|one| one.member.check(true));
    }

    /// Nobody talks any more: whoever waited for something has got it, or an error.
    pub(crate) fn check_silence(&self) {
        let census = self.sim.census();
        for (name, host) in &census.hosts {
            for task in ["chat", "talk", "other half"] {
                assert!(!host.tasks.contains_key(task), "{name}: {census}");
            }
        }
        for running in self.running() {
            let snapshot = running.host.swarm().snapshot();
            for connection in &snapshot.connections {
                let serving = &connection.serving;
                for protocol in [TALK, TURN.protocol().as_str()] {
                    let served = serving.keys().any(|known| known.as_str() == protocol);
                    assert!(!served, "{connection:?}");
                }
                let served = serving.values().sum::<usize>();
                assert_eq!(connection.incoming, served, "{connection:?}");
            }
        }
    }

    /// A closed host has no task, no socket and no entry, although its handle is still there.
    pub(crate) fn nothing_is_held_by(&self, running: &Running) {
        let swarm = running.host.swarm();
        let census = swarm.census();
        assert!(census.tasks.is_empty(), "{census:?}");
        assert_eq!((census.connections, census.listeners), (0, 0), "{census:?}");
        // The application's tasks hear of it.
        self.sim.run_for(Duration::ZERO);
        let (census, usage) = (swarm.census(), swarm.usage());
        assert_eq!(census.sharing_peers, 0, "{census:?}");
        let pending = (usage.pending_incoming, usage.pending_dials);
        assert_eq!(pending, (0, 0), "{usage:?}");
        assert_eq!((usage.streams, usage.peers), (0, 0), "{usage:?}");
        running.member.check_gone();
    }

    /// Nothing is left of a host that has ended, and nothing counted, without any time passing.
    pub(crate) fn nothing_is_left_of(&self, place: usize, running: Running) {
        let swarm = running.host.swarm();
        let (budget, swarm) = (swarm.budget().clone(), swarm.downgrade());
        let member = running.member.clone();
        drop(running);
        self.sim.run_for(Duration::ZERO);
        let place = &self.places[place];
        let census = self.sim.census();
        let own = census.host(&place.machine.name());
        assert!(own.is_some_and(HostCensus::is_empty), "{census}");
        assert!(swarm.is_gone(), "somebody holds the swarm");
        let (numbers, own) = (self.hub.numbers(), place.addr.without_peer().to_string());
        let listens = |number: &u64| own == format!("/memory/{number}");
        assert!(!numbers.iter().any(listens), "{numbers:?}");
        member.check_gone();
        drop(member);
        assert_eq!(budget.used(), 0, "{budget:?}");
    }
}

impl Running {
    fn check_limits(&self) {
        let limits = &self.config.limits;
        let snapshot = self.host.swarm().snapshot();
        let usage = &snapshot.usage;
        let within = |setting, used: usize, most: usize| {
            assert!(used <= most, "{setting}: {used} of {most} in {snapshot:#?}");
        };
        within("memory_budget", usage.memory, limits.memory_budget);
        within("max_connections", usage.connections, limits.max_connections);
        let pending = usage.pending_incoming;
        within("max_pending_incoming", pending, limits.max_pending_incoming);
        within(
            "max_pending_dials",
            usage.pending_dials,
            limits.max_pending_dials,
        );
        within("max_streams", usage.streams, limits.max_streams);
        within("max_known_peers", usage.known_peers, limits.max_known_peers);
        let tasks = self.host.swarm().census().tasks;
        let streams = tasks.iter().filter(|task| **task == "stream").count();
        within("tasks of streams", streams, usage.streams);

        let mut peers: BTreeMap<PeerId, (usize, usize, usize)> = BTreeMap::new();
        for connection in &snapshot.connections {
            let (connections, memory, incoming) = peers.entry(connection.info.peer).or_default();
            *connections += 1;
            *memory += connection.memory;
            *incoming += connection.incoming;
            within(
                "connection_memory",
                connection.memory,
                limits.connection_memory,
            );
            let most = limits.max_streams_per_connection;
            within("max_streams_per_connection", connection.incoming, most);
            let serving = connection.serving.values().sum::<usize>();
            let negotiating = connection.incoming.checked_sub(serving);
            let negotiating = negotiating.expect("streams are served that came in");
            within(
                "max_negotiating_streams",
                negotiating,
                limits.max_negotiating_streams,
            );
            let talks = connection
                .serving
                .iter()
                .filter(|(known, _)| known.as_str() == TALK);
            for (_, talks) in talks {
                within(
                    "max_streams_per_protocol",
                    *talks,
                    limits.max_streams_per_protocol,
                );
            }
        }
        for (connections, memory, incoming) in peers.into_values() {
            // One more while another, dialed from the other side at the same time, still ends.
            let most = limits.max_connections_per_peer + 1;
            within("max_connections_per_peer", connections, most);
            within("peer_memory", memory, limits.peer_memory);
            within(
                "max_streams_per_peer",
                incoming,
                limits.max_streams_per_peer,
            );
        }
    }
}
