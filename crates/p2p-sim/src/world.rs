//! All that is simulated, behind one lock.
//!
//! User code (tasks, wakers, destructors of futures) never runs under the lock: what is to be
//! woken or dropped is collected and handled after it is released.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use p2p_core::Instant;

use crate::Config;
use crate::executor::{Ready, Tasks};
use crate::net::Network;
use crate::net::nat::NatId;
use crate::net::shaper::ShaperId;
use crate::rng::Rng;
use crate::timers::{Queue, Timers};
use crate::trace::{Log, What};

/// Virtual time since the start, in nanoseconds.
pub(crate) type Nanos = u64;

/// Seconds from the Unix epoch to the start of every simulation: 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600;

/// A host, by its place in [`State::hosts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostId(pub(crate) u32);

/// One simulation, shared by its handles.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) ready: Arc<Ready>,
    now: AtomicU64,
    state: Mutex<State>,
}

/// Everything behind the lock.
pub(crate) struct State {
    pub(crate) now: Nanos,
    pub(crate) config: Config,
    pub(crate) queue: Queue,
    pub(crate) timers: Timers,
    pub(crate) tasks: Tasks,
    pub(crate) hosts: Vec<HostState>,
    pub(crate) net: Network,
    pub(crate) log: Log,
    /// To wake once the lock is released.
    pub(crate) wakes: Vec<Waker>,
    /// To drop once the lock is released: a waker's destructor may be anything.
    pub(crate) retired: Vec<Waker>,
}

/// One host.
#[derive(Debug)]
pub(crate) struct HostState {
    pub(crate) name: Arc<str>,
    pub(crate) addrs: Vec<IpAddr>,
    pub(crate) up: bool,
    /// Grows with each crash; handles of earlier lives do nothing.
    pub(crate) life: u32,
    pub(crate) rng: Rng,
    /// How far the Unix clock is ahead (or behind, if negative) of the true time, in nanoseconds.
    pub(crate) skew: i128,
    /// The NAT that it is behind.
    pub(crate) nat: Option<NatId>,
    /// Limits of its network card: sending, receiving.
    pub(crate) upload: Option<ShaperId>,
    pub(crate) download: Option<ShaperId>,
    pub(crate) next_port: u16,
}

impl World {
    pub(crate) fn new(seed: u64, config: Config) -> Self {
        let log = Log::new(config.kept_events.get());
        Self {
            seed,
            ready: Arc::new(Ready::new(seed)),
            now: AtomicU64::new(0),
            state: Mutex::new(State {
                now: 0,
                config,
                queue: Queue::default(),
                timers: Timers::default(),
                tasks: Tasks::default(),
                hosts: Vec::new(),
                net: Network::new(seed),
                log,
                wakes: Vec::new(),
                retired: Vec::new(),
            }),
        }
    }

    pub(crate) fn now(&self) -> Nanos {
        self.now.load(Ordering::Relaxed)
    }

    /// Moves the clock; never back.
    pub(crate) fn set_now(&self, state: &mut State, now: Nanos) {
        debug_assert!(now >= state.now, "time runs forward");
        state.now = now;
        self.now.store(now, Ordering::Relaxed);
    }

    /// Only for code that wakes nobody; see [`World::with`].
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on the state, then wakes whom it wants woken.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state);
        if state.wakes.is_empty() && state.retired.is_empty() {
            return result;
        }
        let wakes = std::mem::take(&mut state.wakes);
        let retired = std::mem::take(&mut state.retired);
        drop(state);
        for waker in wakes {
            waker.wake();
        }
        drop(retired);
        result
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = Instant::from_nanos(self.now());
        write!(f, "simulation with seed {} at {now:?}", self.seed)
    }
}

impl State {
    /// Writes an event of `host` to the log.
    pub(crate) fn note(&mut self, host: HostId, what: What) {
        self.log.add(self.now, Some(host), what, &self.hosts);
    }

    /// Writes an event that belongs to no host to the log.
    pub(crate) fn note_world(&mut self, what: What) {
        self.log.add(self.now, None, what, &self.hosts);
    }

    pub(crate) fn host(&self, id: HostId) -> &HostState {
        self.hosts
            .get(id.0 as usize)
            .expect("ids are made with their hosts, which stay")
    }

    pub(crate) fn host_mut(&mut self, id: HostId) -> &mut HostState {
        self.hosts
            .get_mut(id.0 as usize)
            .expect("ids are made with their hosts, which stay")
    }

    /// Whether `host` is up and still in its `life`.
    pub(crate) fn alive(&self, host: HostId, life: u32) -> bool {
        let host = self.host(host);
        host.up && host.life == life
    }

    pub(crate) fn unix_time(&self, host: HostId) -> Duration {
        let since_epoch = i128::from(START) * 1_000_000_000 + i128::from(self.now);
        let shown = since_epoch.saturating_add(self.host(host).skew);
        Duration::from_nanos(u64::try_from(shown.max(0)).unwrap_or(u64::MAX))
    }
}

/// Stores `waker` in `slot`; returns the one it replaces, to be dropped after the lock.
pub(crate) fn register(slot: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match slot {
        Some(old) if old.will_wake(waker) => None,
        _ => slot.replace(waker.clone()),
    }
}

/// A duration as virtual time; saturates.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
