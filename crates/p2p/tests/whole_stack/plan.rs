//! What one seed plays.

use std::time::Duration;

use p2p::{Config, Multiplexer, SecureChannel};
use p2p_sim::{Link, Sim};

use crate::dice::Dice;
use crate::map::Map;

/// Everything that is decided before the start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) map: Map,
    /// Nothing is made to go wrong, and nobody is rude: everything must work.
    pub(crate) fair: bool,
    pub(crate) link: Link,
    pub(crate) road: Road,
    /// Whether pubsub sends everything to everybody, and keeps no mesh.
    pub(crate) floods: bool,
    pub(crate) channel: SecureChannel,
    /// By host.
    pub(crate) muxers: Vec<Vec<Multiplexer>>,
    pub(crate) limits: Limits,
    /// How long there is traffic.
    pub(crate) length: Duration,
    /// Bytes that one end of a conversation writes at most.
    pub(crate) max_bytes: usize,
}

/// What carries the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Road {
    /// No network at all: nothing is lost on it, and nothing delayed.
    Memory,
    /// Datagrams: secured and multiplexed by QUIC itself.
    Quic,
    Tcp,
    WebSocket,
}

/// How much the hosts put up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    /// The defaults.
    Default,
    /// So little that refusals are frequent.
    Tight,
}

/// What a host may hold when it is told to be stingy, in bytes.
const TIGHT_MEMORY: usize = 1 << 20;

impl Plan {
    pub(crate) fn draw(sim: &Sim) -> Self {
        let dice = Dice(sim.host("dice").rt());
        let fair = dice.percent(35);
        let hosts = match dice.percent(90) {
            true => dice.between(2, 5),
            false => dice.between(6, 8),
        };
        let both = [Multiplexer::Yamux, Multiplexer::Mplex];
        let choices = [&both[..1], &both, &both[1..]];
        let same = dice.pick(&choices);
        let muxers: Vec<Vec<Multiplexer>> = (0..hosts)
            .map(|_| match dice.percent(50) {
                true => same.to_vec(),
                // Who has both gets along with everybody.
                false => both.to_vec(),
            })
            .collect();
        let link = link(&dice, fair);
        let road = match dice.below(10) {
            0 => Road::Memory,
            1 | 2 => Road::Quic,
            3 => Road::WebSocket,
            _ => Road::Tcp,
        };
        let mut map = Map::draw(&dice, hosts, fair, road);
        // Datagrams that overtake each other count as lost: no fault, but not fast.
        let in_order = fair && road == Road::Quic;
        if in_order {
            map.in_order();
        }
        let pure_yamux = muxers.iter().all(|own| own == &both[..1]);
        Self {
            map,
            fair,
            link: match in_order {
                true => link.jitter(Duration::ZERO),
                false => link,
            },
            road,
            floods: dice.percent(30),
            channel: match dice.below(10) {
                0..=4 => SecureChannel::Noise,
                5..=7 => SecureChannel::Tls,
                _ => SecureChannel::Plaintext,
            },
            muxers,
            limits: match !fair && dice.percent(30) {
                true => Limits::Tight,
                false => Limits::Default,
            },
            length: Duration::from_secs(dice.between(20, 120) as u64),
            // Mplex resets a stream whose reader is slow and whose queue is full.
            max_bytes: if pure_yamux || !fair {
                768 << 10
            } else {
                128 << 10
            },
        }
    }

    /// Whether the seed decides every byte. Where libraries draw keys of their own it decides
    /// what happens when, and how long everything is.
    pub(crate) fn every_byte(&self) -> bool {
        let own_keys = matches!(self.road, Road::Quic | Road::WebSocket);
        !own_keys && self.channel != SecureChannel::Tls
    }

    /// The settings of a swarm.
    pub(crate) fn config(&self, dice: &Dice) -> Config {
        let mut config = Config::default();
        // Every event is looked at.
        config.event_backlog = 1 << 20;
        if self.fair {
            // A stream may be opened in the instant in which the other end finds nobody using the
            // connection. That is no fault, but it is not nothing either.
            config.idle_timeout = Duration::from_secs(3600);
            return config;
        }
        config.idle_timeout = Duration::from_secs(dice.between(5, 60) as u64);
        config.low_water = Some(0);
        if self.limits == Limits::Tight {
            config.limits.memory_budget = TIGHT_MEMORY;
            config.limits.peer_memory = TIGHT_MEMORY / 2;
            config.limits.connection_memory = TIGHT_MEMORY / 8 * 3;
            config.limits.max_connections = dice.between(1, 6);
            config.limits.max_connections_per_peer = dice.between(1, 2);
            config.limits.max_pending_incoming = dice.between(1, 2);
            config.limits.max_pending_dials = dice.between(1, 4);
            config.limits.max_negotiating_streams = dice.between(1, 2);
            config.limits.max_streams_per_protocol = dice.between(1, 8);
        }
        config
    }
}

/// A link of any quality; in fair weather one that loses nothing.
pub(crate) fn link(dice: &Dice, fair: bool) -> Link {
    let millis = |max| dice.time(Duration::from_millis(max));
    let mut link = Link::new(millis(100)).jitter(millis(50));
    if dice.percent(30) {
        let least = if fair { 5_000_000 } else { 100_000 };
        link = link.bandwidth(dice.between(least, least * 10) as u64);
    }
    if !fair && dice.percent(50) {
        link = link.loss(dice.below(10) as f64 / 100.0);
    }
    if !fair && dice.percent(30) {
        link = link.reorder(dice.below(20) as f64 / 100.0);
        link = link.duplicate(dice.below(10) as f64 / 100.0);
    }
    link
}
