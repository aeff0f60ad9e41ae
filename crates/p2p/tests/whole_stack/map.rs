//! Where the hosts are, what is odd about them, and whom they know.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU64;
use std::time::Duration;

use p2p_sim::{Host, Link, Nat, NatConfig, NatRule, Sim};

use crate::dice::Dice;
use crate::plan::{self, Road};

/// How far clocks go wrong at most, in seconds.
const SKEW: usize = 400 * 24 * 3600;

/// The network at the start.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    /// By host.
    pub(crate) sites: Vec<Site>,
    /// The NATs that some are behind.
    nats: Vec<NatConfig>,
    /// Pairs that have a link of their own.
    links: Vec<(usize, usize, Link)>,
}

/// Where one host is.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Whose addresses it knows.
    pub(crate) knows: BTreeSet<usize>,
    /// Which NAT it is behind: then nobody can dial it.
    pub(crate) nat: Option<usize>,
    /// What its network card carries, up and down, in bytes a second.
    card: [Option<NonZeroU64>; 2],
    /// What its clock shows.
    clock: Clock,
}

/// A Unix clock that is right or wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    Ahead(Duration),
    Behind(Duration),
    Right,
}

impl Map {
    pub(crate) fn draw(dice: &Dice, hosts: usize, fair: bool, road: Road) -> Self {
        let nats: Vec<NatConfig> = match !fair && road != Road::Memory && dice.percent(20) {
            true => (0..dice.between(1, 2)).map(|_| nat(dice)).collect(),
            false => Vec::new(),
        };
        let mut sites: Vec<Site> = (0..hosts)
            .map(|at| Site::draw(dice, at, nats.len(), fair))
            .collect();
        know_each_other(dice, &mut sites);
        let mut links = Vec::new();
        if dice.percent(50) {
            for one in 0..hosts {
                let others = one + 1..hosts;
                links.extend(others.map(|other| (one, other, plan::link(dice, fair))));
            }
        }
        Self { sites, nats, links }
    }

    /// Datagrams do not overtake each other.
    pub(crate) fn in_order(&mut self) {
        for (.., link) in &mut self.links {
            *link = link.clone().jitter(Duration::ZERO);
        }
    }

    /// The hosts, and their NATs.
    pub(crate) fn build(&self, sim: &Sim) -> (Vec<Host>, Vec<Nat>) {
        let nats = self.nats.iter().zip(1u8..).map(|(config, n)| {
            let outer = Ipv4Addr::new(203, 0, 113, n);
            sim.nat(&format!("n{n}"), outer, config.clone())
        });
        let nats: Vec<Nat> = nats.collect();
        let sites = self.sites.iter().zip(1u8..);
        let hosts = sites.map(|(site, n)| {
            let name = format!("h{n}");
            let host = match site.nat {
                Some(nat) => nats[nat].host(&name),
                None => sim.host(&name),
            };
            let [up, down] = site.card;
            host.bandwidth(up, down);
            site.clock.set(&host);
            host
        });
        let hosts: Vec<Host> = hosts.collect();
        for (one, other, link) in &self.links {
            sim.link(&hosts[*one], &hosts[*other], link.clone());
        }
        (hosts, nats)
    }
}

impl Site {
    fn draw(dice: &Dice, at: usize, nats: usize, fair: bool) -> Self {
        let least = if fair { 5_000_000 } else { 100_000 };
        let card = || {
            let rate = dice.between(least, least * 10) as u64;
            dice.percent(15).then(|| NonZeroU64::new(rate)).flatten()
        };
        Self {
            knows: BTreeSet::new(),
            card: [card(), card()],
            // There is somebody whom everybody can reach.
            nat: (nats > 0 && at > 0 && dice.percent(50)).then(|| dice.below(nats)),
            clock: Clock::draw(dice),
        }
    }
}

impl Clock {
    pub(crate) fn draw(dice: &Dice) -> Self {
        let wrong = Duration::from_secs(dice.size(SKEW) as u64);
        match dice.below(4) {
            0 => Self::Ahead(wrong),
            1 => Self::Behind(wrong),
            _ => Self::Right,
        }
    }

    pub(crate) fn set(self, host: &Host) {
        match self {
            Self::Ahead(by) => host.clock_ahead(by),
            Self::Behind(by) => host.clock_behind(by),
            Self::Right => host.clock_ahead(Duration::ZERO),
        }
    }
}

/// An address that nobody has, for a host that moves.
pub(crate) fn elsewhere(n: u8) -> IpAddr {
    Ipv4Addr::new(172, 16, 0, n).into()
}

/// A NAT of any kind.
fn nat(dice: &Dice) -> NatConfig {
    let rules = [
        NatRule::EndpointIndependent,
        NatRule::AddressDependent,
        NatRule::AddressAndPortDependent,
    ];
    NatConfig::new(dice.pick(&rules), dice.pick(&rules))
}

/// Gives everybody somebody to dial, so that all of them are one network: a tree, and some more.
fn know_each_other(dice: &Dice, sites: &mut [Site]) {
    let more = dice.below(101);
    for at in 1..sites.len() {
        let earlier = 0..at;
        let open: Vec<usize> = earlier.filter(|one| sites[*one].nat.is_none()).collect();
        let parent = dice.pick(&open);
        for other in open {
            if other != parent && !dice.percent(more) {
                continue;
            }
            sites[at].knows.insert(other);
            if sites[at].nat.is_none() {
                sites[other].knows.insert(at);
            }
        }
    }
}
