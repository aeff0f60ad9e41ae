//! The weather: what happens to the hosts from outside, and the checks.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::join_all;
use p2p::memory::{Hub, Memory};
use p2p::{AddrExt, Config, Host, Keypair, Multiaddr};
use p2p_core::{ErrorCode, Instant};
use p2p_sim::{Link, Nat, Partition, Sim};

use crate::club::{Club, Member};
use crate::dice::Dice;
use crate::map::{self, Clock};
use crate::node::{self, App, Excuses};
use crate::plan::{self, Limits, Plan, Road};
use crate::talk::Manners;

/// From one look at the limits to the next, at most.
const STEP: Duration = Duration::from_millis(500);
/// How often the weather has changed by then, in percent.
const CHANGES: usize = 10;
/// Until the last conversation is over, dead connections are noticed and hosts have hung up.
const QUIET: Duration = Duration::from_secs(300);
/// Until everybody who is connected knows who is in the club, and then until everybody who is in
/// the club has a message.
const HEARD: Duration = Duration::from_secs(20);

/// The hosts and what was done to them.
pub(crate) struct Driver<'a> {
    pub(crate) sim: &'a Sim,
    plan: Plan,
    dice: Dice,
    manners: Manners,
    club: Arc<Club>,
    /// The network of those who have none.
    pub(crate) hub: Hub,
    pub(crate) places: Vec<Place>,
    nats: Vec<Nat>,
    cuts: Vec<Partition>,
    end: Instant,
}

pub(crate) struct Place {
    pub(crate) machine: p2p_sim::Host,
    identity: Keypair,
    /// Where it belongs.
    home: Vec<IpAddr>,
    n: u8,
    pub(crate) addr: Multiaddr,
    running: Option<Running>,
}

pub(crate) struct Running {
    pub(crate) host: Host,
    pub(crate) member: Member,
    pub(crate) config: Config,
    /// Ends what the application does when it is dropped.
    _app: oneshot::Sender<()>,
    excuses: Arc<Excuses>,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(sim: &'a Sim, plan: Plan) -> Self {
        sim.default_link(plan.link.clone());
        let (machines, nats) = plan.map.build(sim);
        let machines = machines.into_iter().zip(1u8..);
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
            nats,
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
            self.check_limits();
            if !self.plan.fair && self.dice.percent(CHANGES) {
                self.change();
            }
        }
        // Nobody tells those who wait for it, and it stays away until they have noticed.
        if !self.plan.fair && self.dice.percent(40) {
            self.crash(self.dice.below(self.places.len()));
        }
    }

    /// Calms down, checks that everything works, ends it all and checks that nothing is left.
    pub(crate) fn finish(&mut self) {
        self.calm_down();
        self.sim.run_for(QUIET);
        self.check_silence();
        for place in 0..self.places.len() {
            if self.places[place].running.is_none() {
                self.start(place);
            }
        }
        self.check_limits();
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
        assert_eq!(self.hub.numbers(), [], "nobody listens");
    }

    /// The hosts that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Running> {
        let all = self.places.iter();
        all.filter_map(|place| place.running.as_ref())
    }

    /// Ends what the weather has done to the network, but for the clocks.
    fn calm_down(&self) {
        self.sim.heal_all();
        self.sim.default_link(Link::default());
        for (at, place) in self.places.iter().enumerate() {
            place.machine.set_addrs(place.home.clone());
            if !self.plan.fair {
                place.machine.bandwidth(None, None);
            }
            for other in &self.places[..at] {
                self.sim
                    .link(&place.machine, &other.machine, Link::default());
            }
        }
    }

    fn start(&mut self, place: usize) {
        let known = self.plan.map.sites[place].knows.iter();
        let others: Vec<Multiaddr> = known
            .map(|other| self.places[*other].addr.clone())
            .collect();
        let Place {
            machine,
            identity,
            addr,
            home,
            running,
            ..
        } = &mut self.places[place];
        machine.restart();
        machine.set_addrs(home.clone());
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
        let excuses = Arc::new(Excuses::default());
        node::audit(&host, &rt, Arc::clone(&excuses));
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
            excuses,
        });
    }

    /// One change of the weather.
    fn change(&mut self) {
        let place = self.dice.below(self.places.len());
        match self.dice.below(16) {
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
            11 => self.drop(place),
            12 => self.relink(place),
            13 => Clock::draw(&self.dice).set(&self.places[place].machine),
            14 => self.nats.iter().for_each(Nat::forget),
            _ => self.wander(place),
        }
    }

    /// Changes the link to another one.
    fn relink(&self, place: usize) {
        let other = self.dice.below(self.places.len());
        if other != place {
            let [one, other] = [place, other].map(|place| &self.places[place].machine);
            self.sim.link(one, other, plan::link(&self.dice, false));
        }
    }

    /// Takes a host to another address, or home.
    fn wander(&self, place: usize) {
        let Place {
            machine, home, n, ..
        } = &self.places[place];
        match machine.addrs() == *home {
            true => machine.set_addrs([map::elsewhere(*n)]),
            false => machine.set_addrs(home.clone()),
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
            machine.crash();
            self.nothing_is_left_of(place, running);
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
        let dropped = &running.excuses.dropped;
        dropped.store(!self.plan.fair, Ordering::Relaxed);
        let start = self.sim.now();
        self.sim.block_on(host.close());
        let took = self.sim.now() - start;
        assert!(took <= running.config.shutdown_timeout, "took {took:?}");
        self.nothing_is_held_by(&running);
        self.nothing_is_left_of(place, running);
    }

    /// Drops every handle of a host, under load.
    fn drop(&mut self, place: usize) {
        if let Some(running) = self.places[place].running.take() {
            running.excuses.dropped.store(true, Ordering::Relaxed);
            running.excuses.unheard.store(true, Ordering::Relaxed);
            self.nothing_is_left_of(place, running);
        }
    }

    /// Whom a host can dial.
    fn others(&self, host: &Host) -> impl Iterator<Item = &Multiaddr> {
        let own = host.peer_id();
        let sites = self.places.iter().zip(&self.plan.map.sites);
        let open = sites.filter(|(_, site)| site.nat.is_none());
        let addrs = open.map(|(place, _)| &place.addr);
        addrs.filter(move |addr| addr.peer() != Some(own))
    }

    /// Every host dials every other that it can dial and has a conversation.
    fn everybody_talks_to_everybody(&self) {
        let manners = self.manners.clone();
        manners.fair.store(true, Ordering::Relaxed);
        manners.max_bytes.store(10_000, Ordering::Relaxed);
        let hosts: Vec<Host> = self.running().map(|one| one.host.clone()).collect();
        let mut talks = Vec::new();
        for host in &hosts {
            for other in self.others(host) {
                talks.push(manners.clone().start(host.clone(), other.clone()));
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

    /// Everybody is connected with everybody; what anybody then says, everybody gets.
    fn everybody_hears_everybody(&self) {
        let running: Vec<&Running> = self.running().collect();
        let held = self.sim.block_on(join_all(running.iter().flat_map(|one| {
            let others = self.others(&one.host);
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
            home: machine.addrs(),
            n,
            machine,
            identity,
            running: None,
        }
    }
}
