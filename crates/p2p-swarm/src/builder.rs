//! Putting a swarm together.

use std::fmt;
use std::sync::{Arc, Mutex};

use p2p_core::{Budget, Exceeded, Gate, Multiplex, PeerId, Rt, Security, Transport};

use crate::Swarm;
use crate::admission::Admission;
use crate::config::Config;
use crate::error::BuildError;
use crate::gates::Gates;
use crate::refusals::Refusals;
use crate::share::Shares;
use crate::shared::{Shared, State};
use crate::slots::Slots;
use crate::store::{BookStore, Keeper};
use crate::tasks::Tasks;
use crate::upgrade::Upgrader;

/// Puts a [`Swarm`] together.
pub struct SwarmBuilder {
    rt: Rt,
    local: PeerId,
    config: Config,
    transports: Vec<Arc<dyn Transport>>,
    upgrader: Upgrader,
    gates: Gates,
    store: Option<Arc<dyn BookStore>>,
}

impl SwarmBuilder {
    pub(crate) fn new(rt: Rt, local: PeerId) -> Self {
        Self {
            rt,
            local,
            config: Config::default(),
            transports: Vec::new(),
            upgrader: Upgrader::default(),
            gates: Gates::default(),
            store: None,
        }
    }

    /// Replaces the settings.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a transport. The first that supports an address is used.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transports.push(Arc::new(transport));
        self
    }

    /// Adds a secure channel, behind those already added in preference.
    pub fn security(mut self, security: impl Security) -> Self {
        self.upgrader.securities.push(Arc::new(security));
        self
    }

    /// Adds a multiplexer, behind those already added in preference.
    pub fn muxer(mut self, muxer: impl Multiplex) -> Self {
        self.upgrader.muxers.push(Arc::new(muxer));
        self
    }

    /// Adds a policy; all that were added must agree. Default: everything is allowed.
    pub fn gate(mut self, gate: impl Gate) -> Self {
        self.gates.push(Arc::new(gate));
        self
    }

    /// Sets where the address book is kept between runs. Default: nowhere.
    pub fn book_store(mut self, store: impl BookStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Starts the swarm.
    ///
    /// # Errors
    /// [`BuildError`] names the missing part or the contradictory setting.
    pub fn build(self) -> Result<Swarm, BuildError> {
        self.config.check()?;
        self.check_parts()?;
        let config = self.config;
        let limits = &config.limits;
        let memory = Budget::new("memory of the host", "memory_budget", limits.memory_budget);
        let streams = Budget::new("incoming streams", "max_streams", limits.max_streams);
        let (state, closing) = State::new(&config, self.store.is_some());
        let refusals = Refusals::new(Rt::clone(&self.rt));
        let tell = refusals.clone();
        let tell = Arc::new(move |peer, exceeded: &Exceeded| tell.tell(Some(peer), exceeded, 1));
        let shared = Arc::new(Shared {
            shares: Arc::new(Shares::new(memory.clone(), streams.clone(), limits, tell)),
            memory,
            streams,
            connections: Budget::new("connections", "max_connections", limits.max_connections),
            leaving: Arc::default(),
            pending_dials: limits.dials(),
            attempts: Slots::new(limits.max_attempts),
            admission: Arc::new(Mutex::new(Admission::new(limits))),
            tasks: Tasks::new(Rt::clone(&self.rt)),
            events: Arc::clone(&refusals.events),
            counters: Arc::clone(&refusals.counters),
            refusals,
            closing,
            keeper: self.store.map(Keeper::new),
            state: Mutex::new(state),
            rt: self.rt,
            local: self.local,
            transports: self.transports,
            upgrader: self.upgrader,
            gates: self.gates,
            config,
        });
        shared.load_book();
        Ok(Swarm::new(shared))
    }

    fn check_parts(&self) -> Result<(), BuildError> {
        if self.transports.is_empty() {
            return Err(BuildError::NoTransport);
        }
        let Upgrader { securities, muxers } = &self.upgrader;
        if let Some(open) = securities.iter().find(|channel| !channel.is_secure())
            && securities.iter().any(|channel| channel.is_secure())
        {
            return Err(BuildError::Insecure(open.protocol()));
        }
        let needs_upgrade = self.transports.iter().any(|one| one.needs_upgrade());
        if needs_upgrade && securities.is_empty() {
            return Err(BuildError::NoSecurity);
        }
        if needs_upgrade && muxers.is_empty() {
            return Err(BuildError::NoMuxer);
        }
        Ok(())
    }
}

impl fmt::Debug for SwarmBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwarmBuilder for {}", self.local)
    }
}
