//! A simulation, as its owner sees it.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use p2p_core::Instant;

use crate::census::Census;
use crate::error::{SetupError, Stuck};
use crate::executor::Until;
use crate::net::nat::NatId;
use crate::net::route::{FIRST_PORT, Owner};
use crate::net::tap::Flights;
use crate::rng::Rng;
use crate::trace::{EventHash, What};
use crate::world::{HostId, HostState, Nanos, State, World, nanos};
use crate::{Config, Host, Link, Nat, NatConfig};

/// A world of hosts with a clock of its own, run by the thread that asks for it.
///
/// The same seed and the same calls give the same events. Dropping it drops every task and
/// socket; if that happens in a panic, the seed and the last events are printed.
pub struct Sim {
    world: Arc<World>,
    running: AtomicBool,
}

/// A partition, to be healed on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition(u32);

/// How much a simulation has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Events in the log.
    pub events: u64,
    /// Polls of tasks.
    pub polls: u64,
}

impl Sim {
    /// An empty world with default settings.
    pub fn new(seed: u64) -> Self {
        Self::with_config(seed, Config::default())
    }

    /// An empty world.
    ///
    /// # Panics
    /// If a probability of one of the links in `config` is not between 0 and 1.
    #[track_caller]
    pub fn with_config(seed: u64, config: Config) -> Self {
        for link in [&config.link, &config.loopback] {
            or_panic(link.check());
        }
        Self {
            world: Arc::new(World::new(seed, config)),
            running: AtomicBool::new(false),
        }
    }

    /// The seed it was made with.
    pub fn seed(&self) -> u64 {
        self.world.seed
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.world.now())
    }

    // Hosts.

    /// Adds a host with an IPv4 and an IPv6 address: the n-th one is 10.0.0.n and fd00::n.
    ///
    /// # Panics
    /// If there is a host with this name.
    #[track_caller]
    pub fn host(&self, name: &str) -> Host {
        or_panic(self.try_host(name, None))
    }

    /// Adds `count` hosts, named h1, h2, …, with addresses as by [`Sim::host`].
    pub fn hosts(&self, count: usize) -> Vec<Host> {
        let first = self.world.lock().hosts.len() + 1;
        (first..first + count)
            .map(|n| self.host(&format!("h{n}")))
            .collect()
    }

    /// Adds a host with these addresses. The first of each family is what it sends from.
    ///
    /// # Panics
    /// If there is a host with this name, or one that has one of the addresses.
    #[track_caller]
    pub fn host_at<A: Into<IpAddr>>(&self, name: &str, addrs: impl IntoIterator<Item = A>) -> Host {
        let addrs = addrs.into_iter().map(Into::into).collect();
        or_panic(self.try_host(name, Some(addrs)))
    }

    /// Adds a host, with these addresses or with those that [`Sim::host`] gives.
    ///
    /// # Errors
    /// [`SetupError::NameUsed`], [`SetupError::AddressUsed`] or [`SetupError::BadAddress`];
    /// nothing is changed.
    pub fn try_host(&self, name: &str, addrs: Option<Vec<IpAddr>>) -> Result<Host, SetupError> {
        let world = &self.world;
        let id = world.with(|state| state.add_host(world.seed, name, addrs, None))?;
        Ok(Host::new(world.clone(), id))
    }

    /// Adds a NAT with this public address; hosts are put behind it with [`Nat::host`].
    ///
    /// # Panics
    /// If somebody has the address.
    #[track_caller]
    pub fn nat(&self, name: &str, outer: impl Into<IpAddr>, config: NatConfig) -> Nat {
        or_panic(Nat::new(
            self.world.clone(),
            name,
            outer.into(),
            config,
            None,
        ))
    }

    /// The host with this name.
    ///
    /// # Errors
    /// [`SetupError::UnknownHost`].
    pub fn find_host(&self, name: &str) -> Result<Host, SetupError> {
        let state = self.world.lock();
        let index = state.hosts.iter().position(|host| &*host.name == name);
        let index = index.and_then(|index| u32::try_from(index).ok());
        let id = index.ok_or_else(|| SetupError::UnknownHost(name.to_owned()))?;
        Ok(Host::new(self.world.clone(), HostId(id)))
    }

    /// What `name` resolves to, on every host. Without addresses it is unknown again.
    pub fn name<A: Into<IpAddr>>(&self, name: &str, addrs: impl IntoIterator<Item = A>) {
        let addrs = addrs.into_iter().map(Into::into).collect();
        self.world.lock().name_set(name, addrs);
    }

    // Running.

    /// Runs everything until `future` is done. The future itself belongs to no host.
    ///
    /// # Panics
    /// If the simulation is [`Stuck`], and with whatever a task panics with.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        or_panic(self.try_block_on(future))
    }

    /// Runs everything until `future` is done.
    ///
    /// # Errors
    /// [`Stuck`] if that can never be, or takes more than [`Config::patience`]. `future` is
    /// dropped.
    ///
    /// # Panics
    /// If called while the simulation runs, and with whatever a task panics with.
    #[track_caller]
    pub fn try_block_on<F: Future>(&self, future: F) -> Result<F::Output, Stuck> {
        let _running = self.enter();
        self.world.run_root(future, self.limit())
    }

    /// Lets `duration` pass.
    ///
    /// # Panics
    /// If tasks run for ever without time passing, and with whatever a task panics with.
    #[track_caller]
    pub fn run_for(&self, duration: Duration) {
        let _running = self.enter();
        let at = self.world.now().saturating_add(nanos(duration));
        or_panic(self.world.run(&mut || false, Until::Time(at)));
    }

    /// Runs until nothing can happen any more: no task is ready, no timer is armed, nothing is
    /// on the way.
    ///
    /// # Panics
    /// If that is not so within [`Config::patience`], and with whatever a task panics with.
    #[track_caller]
    pub fn run_until_idle(&self) {
        let _running = self.enter();
        or_panic(self.world.run(&mut || false, Until::Idle(self.limit())));
    }

    fn limit(&self) -> Nanos {
        let patience = nanos(self.world.lock().config.patience);
        self.world.now().saturating_add(patience)
    }

    #[track_caller]
    fn enter(&self) -> Running<'_> {
        let entered = self.running.swap(true, Ordering::Relaxed);
        assert!(!entered, "the simulation runs already: await instead");
        Running(&self.running)
    }

    // The network.

    /// Changes the link of all pairs that were not given one of their own.
    ///
    /// # Panics
    /// If a probability is not between 0 and 1.
    #[track_caller]
    pub fn default_link(&self, link: Link) {
        or_panic(link.check());
        self.world.with(|state| {
            state.note_world(What::DefaultLinkSet);
            state.log.add_numbers(link.numbers());
            state.default_link_set(link);
        });
    }

    /// Changes the link between two hosts, both directions alike.
    ///
    /// # Panics
    /// If a probability is not between 0 and 1, or a host of another simulation.
    #[track_caller]
    pub fn link(&self, one: &Host, other: &Host, link: Link) {
        or_panic(self.try_link(one, other, link.clone()));
        or_panic(self.try_link(other, one, link));
    }

    /// Changes one direction of the link between two hosts.
    ///
    /// # Errors
    /// [`SetupError::BadLink`] or [`SetupError::OtherSimulation`]; nothing is changed.
    pub fn try_link(&self, from: &Host, to: &Host, link: Link) -> Result<(), SetupError> {
        link.check()?;
        let (from, to) = (self.own(from)?, self.own(to)?);
        self.world.with(|state| {
            let (one, other) = (from, to);
            state.note_world(What::LinkSet { one, other });
            state.log.add_numbers(link.numbers());
            state.link_set(from, to, link);
        });
        Ok(())
    }

    /// Cuts all links between `ones` and `others`, both ways. Connections live on and time out
    /// if it lasts; datagrams are lost.
    ///
    /// # Panics
    /// If one of the hosts belongs to another simulation.
    #[track_caller]
    pub fn partition(&self, ones: &[&Host], others: &[&Host]) -> Partition {
        self.cut(ones, others, true)
    }

    /// Cuts all links from `from` to `to`. The other direction stays.
    ///
    /// # Panics
    /// If one of the hosts belongs to another simulation.
    #[track_caller]
    pub fn partition_one_way(&self, from: &[&Host], to: &[&Host]) -> Partition {
        self.cut(from, to, false)
    }

    #[track_caller]
    fn cut(&self, ones: &[&Host], others: &[&Host], both_ways: bool) -> Partition {
        let ids = |hosts: &[&Host]| hosts.iter().map(|host| self.own(host)).collect();
        let ones: Vec<HostId> = or_panic(ids(ones));
        let others: Vec<HostId> = or_panic(ids(others));
        self.world.with(|state| {
            let cut = state.net.links.cut(&ones, &others, both_ways);
            state.note_world(What::Partitioned { cut, both_ways });
            for (hosts, first) in [(ones, true), (others, false)] {
                for host in hosts {
                    state.note(host, What::CutOff { cut, first });
                }
            }
            Partition(cut)
        })
    }

    /// Ends one partition. Does nothing if it is over.
    pub fn heal(&self, partition: Partition) {
        self.world.with(|state| {
            if state.net.links.heal(partition.0) {
                let cut = partition.0;
                state.note_world(What::Healed { cut });
            }
        });
    }

    /// Ends all partitions.
    pub fn heal_all(&self) {
        self.world.with(|state| {
            state.net.links.heal_all();
            state.note_world(What::HealedAll);
        });
    }

    // Looking.

    /// Starts to count what passes between two hosts, from zero.
    ///
    /// # Panics
    /// If they are the same host, or one of them belongs to another simulation.
    #[track_caller]
    pub fn count_flights(&self, one: &Host, other: &Host) {
        let (one, other) = (or_panic(self.own(one)), or_panic(self.own(other)));
        assert!(one != other, "flights are between two different hosts");
        self.world.lock().tap_start(one, other);
    }

    /// What has passed between two hosts since [`Sim::count_flights`]; zero without it.
    ///
    /// # Panics
    /// If one of the hosts belongs to another simulation.
    #[track_caller]
    pub fn flights(&self, one: &Host, other: &Host) -> Flights {
        let (one, other) = (or_panic(self.own(one)), or_panic(self.own(other)));
        self.world.lock().tap_read(one, other).unwrap_or_default()
    }

    /// The hash over the log so far.
    pub fn hash(&self) -> EventHash {
        self.world.lock().log.hash()
    }

    /// How much it has done so far.
    pub fn stats(&self) -> Stats {
        let state = self.world.lock();
        Stats {
            events: state.log.count,
            polls: state.tasks.polls_total,
        }
    }

    /// What is alive: tasks, sockets, timers of each host.
    pub fn census(&self) -> Census {
        Census::take(&self.world.lock())
    }

    /// Prints every event to standard error as it happens, or stops to.
    pub fn trace(&self, on: bool) {
        self.world.lock().log.print = on;
    }

    /// Keeps the last `events` events; see [`Sim::last_events`].
    pub fn keep_events(&self, events: usize) {
        self.world.lock().log.set_keep(events);
    }

    /// The last events as lines of text, oldest first.
    pub fn last_events(&self) -> Vec<String> {
        let state = self.world.lock();
        state.log.lines(&state.hosts)
    }

    /// The id of a host of this simulation.
    fn own(&self, host: &Host) -> Result<HostId, SetupError> {
        if Arc::ptr_eq(&self.world, &host.world) {
            Ok(host.id)
        } else {
            Err(SetupError::OtherSimulation(host.name()))
        }
    }

    fn report_panic(&self) {
        let state = self.world.lock();
        let lines = state.log.lines(&state.hosts).join("\n");
        eprintln!("the last events of the simulation:\n{lines}");
        if let Some((host, name)) = state.tasks.current {
            let host = &state.host(host).name;
            eprintln!("it happened in the task {name} of host {host}");
        }
        let (seed, at) = (self.world.seed, Instant::from_nanos(state.now));
        eprintln!("seed {seed} failed at {at:?}; see it again with P2P_SIM_SEED={seed}");
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.report_panic();
        }
        // Tasks hold runtimes and those hold the world: this breaks the circle. Destructors may
        // not spawn any more.
        for host in &mut self.world.lock().hosts {
            host.up = false;
        }
        drop(self.world.take_tasks(None));
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.world, f)
    }
}

/// The simulation runs while this lives.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[track_caller]
pub(crate) fn or_panic<T, E: fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

impl State {
    pub(crate) fn add_host(
        &mut self,
        seed: u64,
        name: &str,
        addrs: Option<Vec<IpAddr>>,
        nat: Option<NatId>,
    ) -> Result<HostId, SetupError> {
        if self.hosts.iter().any(|host| &*host.name == name) {
            return Err(SetupError::NameUsed(name.to_owned()));
        }
        let index = u32::try_from(self.hosts.len()).expect("fewer than 2^32 hosts");
        let addrs = addrs.unwrap_or_else(|| self.default_addrs());
        for (place, addr) in addrs.iter().enumerate() {
            let earlier = addrs.iter().take(place);
            self.check_addr(name, *addr, nat, earlier)?;
        }
        let id = HostId(index);
        for addr in &addrs {
            self.net.addrs.insert((nat, *addr), Owner::Host(id));
        }
        let first = addrs.first().copied();
        self.hosts.push(HostState {
            name: name.into(),
            addrs,
            up: true,
            life: 0,
            rng: Rng::new(seed, &format!("host {name}")),
            skew: 0,
            nat,
            upload: None,
            download: None,
            next_port: FIRST_PORT,
        });
        self.note(id, What::HostAdded { addr: first });
        Ok(id)
    }

    /// Checks that `addr` can belong to a new host.
    pub(crate) fn check_addr<'a>(
        &self,
        host: &str,
        addr: IpAddr,
        nat: Option<NatId>,
        mut earlier: impl Iterator<Item = &'a IpAddr>,
    ) -> Result<(), SetupError> {
        let host = host.to_owned();
        if addr.is_loopback() || addr.is_unspecified() || addr.is_multicast() {
            let why = "loopback, unspecified and multicast addresses belong to nobody";
            return Err(SetupError::BadAddress { addr, host, why });
        }
        if earlier.any(|other| *other == addr) {
            let by = host.clone();
            return Err(SetupError::AddressUsed { addr, host, by });
        }
        let by = match self.net.addrs.get(&(nat, addr)) {
            None => return Ok(()),
            Some(Owner::Host(id)) => self.host(*id).name.to_string(),
            Some(Owner::Nat(nat)) => self.nat_name(*nat),
        };
        Err(SetupError::AddressUsed { addr, host, by })
    }
    /// 10.0.0.n and fd00::n for the next host, going on in the next part when one is full.
    pub(crate) fn default_addrs(&self) -> Vec<IpAddr> {
        let n = u32::try_from(self.hosts.len() + 1).unwrap_or(u32::MAX);
        let [_, a, b, c] = n.to_be_bytes();
        let (high, low) = (u16::from_be_bytes([0, a]), u16::from_be_bytes([b, c]));
        vec![
            Ipv4Addr::new(10, a, b, c).into(),
            Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, high, low).into(),
        ]
    }
}
