//! The weather: what happens to the hosts from outside, and the checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::join_all;
use p2p::memory::{Hub, Memory};
use p2p::{AddrExt, Config, Host, Keypair, Multiaddr};
use p2p_core::{Budget, ErrorCode, Instant};
use p2p_sim::{Link, Partition, Sim};

use crate::club::{Club, Member};
use crate::dice::Dice;
use crate::node::{self, App};
use crate::plan::{self, Limits, Plan, Road};
use crate::talk::Manners;

/// From one change of the weather to the next, at most.
const STEP: Duration = Duration::from_secs(5);
/// Until the last conversation is over, dead connections are noticed and hosts have hung up.
const QUIET: Duration = Duration::from_secs(300);
/// Until everybody who is connected knows who is in the club, and then until everybody who is in
/// the club has a message.
const HEARD: Duration = Duration::from_secs(20);

/// The hosts and what was done to them.
pub(crate) struct Driver<'a> {
    sim: &'a Sim,
    plan: Plan,
    dice: Dice,
    manners: Manners,
    club: Arc<Club>,
    /// The network of those who have none.
    hub: Hub,
    places: Vec<Place>,
    cuts: Vec<Partition>,
    end: Instant,
}

struct Place {
    machine: p2p_sim::Host,
    identity: Keypair,
    addr: Multiaddr,
    running: Option<Running>,
}

struct Running {
    host: Host,
    member: Member,
    config: Config,
    /// Ends what the application does when it is dropped.
    _app: oneshot::Sender<()>,
    /// Whether its connections may be dropped without a word.
    may_drop: Arc<AtomicBool>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(sim: &'a Sim, plan: Plan) -> Self {
        sim.default_link(plan.link.clone());
        let machines = sim.hosts(plan.hosts).into_iter().zip(1u8..);
        let places = machines
            .map(|(machine, n)| Place::new(machine, n, plan.road))
            .collect();
        let dice = sim.find_host("dice").expect("it drew the plan");
        let manners = Manners {
            ledger: Arc::default(),
            fair: Arc::new(plan.fair.into()),
            max_bytes: Arc::new(plan.max_bytes.into()),
        };
        let mut driver = Self {
            sim,
            manners,
            club: Arc::default(),
            hub: Hub::new(),
            end: Instant::ZERO + plan.length,
            plan,
            dice: Dice(dice.rt()),
            places,
            cuts: Vec::new(),
        };
        for place in 0..driver.places.len() {
            driver.start(place);
        }
        driver
    }

    /// Lets the traffic run, and the weather change.
    pub(crate) fn run(&mut self) {
        while self.sim.now() < self.end {
            self.sim.run_for(self.dice.time(STEP));
            self.check_budgets();
            if !self.plan.fair {
                self.change();
            }
        }
    }

    /// Calms down, checks that everything works, ends it all and checks that nothing is left.
    pub(crate) fn finish(&mut self) {
        self.sim.heal_all();
        self.sim.default_link(Link::default());
        self.sim.run_for(QUIET);
        for place in 0..self.places.len() {
            if self.places[place].running.is_none() {
                self.start(place);
            }
        }
        self.check_budgets();
        self.check_members();
        if self.plan.limits == Limits::Default {
            self.everybody_talks_to_everybody();
            self.everybody_hears_everybody();
        }
        for place in 0..self.places.len() {
            self.close(place);
        }
        // Sockets whose other end has crashed take long to give up.
        self.sim.run_until_idle();
        assert!(self.sim.census().is_empty(), "{}", self.sim.census());
    }

    fn start(&mut self, place: usize) {
        let addrs = self.places.iter().map(|place| place.addr.clone());
        let others = addrs.enumerate().filter(|(other, _)| *other != place);
        let others: Vec<Multiaddr> = others.map(|(_, addr)| addr).collect();
        let Place {
            machine,
            identity,
            addr,
            running,
        } = &mut self.places[place];
        machine.restart();
        let rt = machine.rt();
        let config = self.plan.config(&Dice(rt.clone()));
        let builder = Host::builder()
            .runtime(rt.clone())
            .identity(identity.clone())
            .config(config.clone())
            .secure_channels(&[self.plan.channel])
            .multiplexers(&self.plan.muxers[place])
            .with_transport(Memory::new(
                self.hub.clone(),
                p2p::memory::Config::default(),
            ));
        let listen = addr.without_peer();
        let host = self.sim.block_on(async {
            let host = builder.build().await.expect("the settings are sound");
            host.listen(listen).await.expect("the port is free");
            host
        });
        let may_drop = Arc::new(AtomicBool::new(false));
        node::audit(&host, &rt, Arc::clone(&may_drop));
        node::serve(&host, &self.manners);
        let (app, gone) = oneshot::channel();
        let chatting = App {
            host: host.clone(),
            manners: self.manners.clone(),
            gone: gone.shared(),
        };
        let member = Member::join(&chatting, &self.club, self.plan.floods);
        let chat = node::chat(chatting.clone(), member.clone(), others, self.end);
        chatting.spawn("chat", chat.boxed());
        *running = Some(Running {
            host,
            member,
            config,
            _app: app,
            may_drop,
        });
    }

    /// One change of the weather.
    fn change(&mut self) {
        let place = self.dice.below(self.places.len());
        match self.dice.below(12) {
            0 | 1 => self.cut(),
            2..=4 => {
                if let Some(cut) = self.cuts.pop() {
                    self.sim.heal(cut);
                }
            }
            5 => self.sim.default_link(plan::link(&self.dice, false)),
            6 => self.crash(place),
            7 | 8 => {
                if self.places[place].running.is_none() {
                    self.start(place);
                }
            }
            9 => self.hang_up(place),
            10 => self.close(place),
            _ => self.drop(place),
        }
    }

    fn cut(&mut self) {
        let side = |percent| -> Vec<&p2p_sim::Host> {
            let all = self.places.iter().filter(|_| self.dice.percent(percent));
            all.map(|place| &place.machine).collect()
        };
        let (one, other) = (side(50), side(70));
        let cut = match self.dice.percent(70) {
            true => self.sim.partition(&one, &other),
            false => self.sim.partition_one_way(&one, &other),
        };
        self.cuts.push(cut);
    }

    fn crash(&mut self, place: usize) {
        let Place {
            machine, running, ..
        } = &mut self.places[place];
        if let Some(running) = running.take() {
            running.may_drop.store(true, Ordering::Relaxed);
            machine.crash();
            let budget = running.host.swarm().budget().clone();
            drop(running);
            self.nothing_on(place, &budget);
        }
    }

    /// Closes all connections of a host.
    fn hang_up(&self, place: usize) {
        let Some(Running { host, .. }) = &self.places[place].running else {
            return;
        };
        for peer in host.swarm().peers() {
            for connection in host.swarm().connections(&peer) {
                connection.close(ErrorCode(42));
            }
        }
    }

    /// Ends a host in order.
    fn close(&mut self, place: usize) {
        let Some(running) = self.places[place].running.take() else {
            return;
        };
        let host = &running.host;
        // A remote that does not read can make us give up waiting.
        running.may_drop.store(!self.plan.fair, Ordering::Relaxed);
        let start = self.sim.now();
        self.sim.block_on(host.close());
        let took = self.sim.now() - start;
        assert!(took <= running.config.shutdown_timeout, "took {took:?}");
        let census = host.swarm().census();
        assert!(census.tasks.is_empty(), "{census:?}");
        assert_eq!((census.connections, census.listeners), (0, 0), "{census:?}");
        let budget = host.swarm().budget().clone();
        drop(running);
        self.nothing_on(place, &budget);
    }

    /// Drops every handle of a host, under load.
    fn drop(&mut self, place: usize) {
        if let Some(running) = self.places[place].running.take() {
            running.may_drop.store(true, Ordering::Relaxed);
            let budget = running.host.swarm().budget().clone();
            drop(running);
            self.nothing_on(place, &budget);
        }
    }

    /// Nothing is left on a host that has ended, and nothing counted, without any time passing.
    fn nothing_on(&self, place: usize, budget: &Budget) {
        self.sim.run_for(Duration::ZERO);
        let census = self.sim.census();
        let own = census.host(&self.places[place].machine.name());
        assert!(own.is_some_and(p2p_sim::HostCensus::is_empty), "{census}");
        assert_eq!(budget.used(), 0, "{budget:?}");
    }

    /// What is held is within the limits.
    fn check_budgets(&self) {
        for place in &self.places {
            let Some(Running {
                host,
                config,
                member,
                ..
            }) = &place.running
            else {
                continue;
            };
            member.check(false);
            let census = host.swarm().census();
            assert!(census.memory <= config.limits.memory_budget, "{census:?}");
            assert!(
                census.connections <= config.limits.max_connections,
                "{census:?}"
            );
            for peer in host.swarm().peers() {
                let all = host.swarm().connections(&peer);
                // One more while another, dialed from the other side at the same time, still ends.
                assert!(
                    all.len() <= config.limits.max_connections_per_peer + 1,
                    "{all:?}"
                );
                for connection in all {
                    assert!(connection.budget().used() <= config.limits.connection_memory);
                }
            }
        }
    }

    /// Every host dials every other and has a conversation.
    fn everybody_talks_to_everybody(&self) {
        let manners = self.manners.clone();
        manners.fair.store(true, Ordering::Relaxed);
        manners.max_bytes.store(10_000, Ordering::Relaxed);
        let running = |place: &Place| place.running.as_ref().map(|running| running.host.clone());
        let hosts: Vec<Host> = self.places.iter().filter_map(running).collect();
        let mut talks = Vec::new();
        for (at, host) in hosts.iter().enumerate() {
            let others = self.places.iter().enumerate();
            for (_, other) in others.filter(|(other, _)| *other != at) {
                talks.push(manners.clone().start(host.clone(), other.addr.clone()));
            }
        }
        let before = self.manners.ledger.ends();
        let expected = talks.len() as u64;
        self.sim.block_on(join_all(talks));
        // Whoever was talked to may still be reading.
        self.sim.run_for(QUIET);
        let read = self.manners.ledger.ends() - before;
        assert!(read >= expected, "{read} clean ends of {expected}");
    }

    /// Once it is quiet, every count of the members adds up.
    fn check_members(&self) {
        for running in self
            .places
            .iter()
            .filter_map(|place| place.running.as_ref())
        {
            running.member.check(true);
        }
    }

    /// Everybody is connected with everybody; what anybody then says, everybody gets.
    fn everybody_hears_everybody(&self) {
        let running: Vec<&Running> = self
            .places
            .iter()
            .filter_map(|place| place.running.as_ref())
            .collect();
        let held = self.sim.block_on(join_all(running.iter().flat_map(|one| {
            let addrs = self.places.iter().map(|place| &place.addr);
            let others = addrs.filter(|addr| addr.peer() != Some(one.host.peer_id()));
            others.map(|addr| one.host.dial(addr))
        })));
        assert!(held.iter().all(Result::is_ok), "{held:?}");
        self.sim.run_for(HEARD);
        let said = running.iter().map(|one| {
            let author = one.host.peer_id();
            async move { (author, one.member.publish(author, 1000).await) }
        });
        let said = self.sim.block_on(join_all(said));
        self.sim.run_for(HEARD);
        for (author, number) in said {
            let number = number.expect("somebody is there");
            for one in running.iter().filter(|one| one.host.peer_id() != author) {
                assert!(one.member.has(number), "{number} did not come");
            }
        }
        self.check_members();
        drop(held);
    }
}

impl Place {
    fn new(machine: p2p_sim::Host, n: u8, road: Road) -> Self {
        let identity = Keypair::ed25519_from_seed([n; 32]);
        let ip = machine.ip();
        let addr = match road {
            Road::Memory => format!("/memory/{n}"),
            Road::Quic => format!("/ip4/{ip}/udp/4001/quic-v1"),
            Road::Tcp => format!("/ip4/{ip}/tcp/4001"),
            Road::WebSocket => format!("/ip4/{ip}/tcp/4001/ws"),
        };
        let addr: Multiaddr = addr.parse().expect("an address");
        Self {
            addr: addr.with_peer(identity.to_peer_id()),
            machine,
            identity,
            running: None,
        }
    }
}
