//! What the parts of a swarm share, and the books: who is connected, being dialed, listened for.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{AbortHandle, BoxFuture, Shared as SharedFuture};
use p2p_core::{
    AddrExt, Budget, Chain, Denied, ErrorCode, Exceeded, Gate, Multiaddr, PeerId, Role, Rt,
    Transport, TransportError,
};

use crate::admission::{Admission, PendingId};
use crate::backoff::Backoffs;
use crate::book::AddressBook;
use crate::broadcast::{Publisher, Wake};
use crate::config::Config;
use crate::connection::{Connection, Inner};
use crate::dial::{Plan, dial};
use crate::error::{DialError, StreamError, UpgradeError};
use crate::events::Event;
use crate::external::{Change, External};
use crate::gates::Gates;
use crate::handler::Handlers;
use crate::join::{DialKey, Offers, Running};
use crate::manager::Manager;
use crate::refusals::Refusals;
use crate::share::Shares;
use crate::slots::Slots;
use crate::stats::Counters;
use crate::store::Keeper;
use crate::tasks::{Tasks, lock};
use crate::upgrade::{Failed, Upgraded, Upgrader};
use crate::weak::Watcher;

pub(crate) type DialFuture = BoxFuture<'static, Result<Connection, DialError>>;

/// Done when the swarm begins to close.
pub(crate) type Closing = SharedFuture<oneshot::Receiver<()>>;

pub(crate) struct Shared {
    pub(crate) rt: Rt,
    pub(crate) config: Config,
    pub(crate) local: PeerId,
    pub(crate) transports: Vec<Arc<dyn Transport>>,
    pub(crate) upgrader: Upgrader,
    pub(crate) gates: Gates,
    pub(crate) memory: Budget,
    pub(crate) streams: Budget,
    pub(crate) shares: Arc<Shares>,
    pub(crate) connections: Budget,
    /// How many of them have been asked to close.
    pub(crate) leaving: Arc<AtomicUsize>,
    pub(crate) pending_dials: Budget,
    /// Places for addresses being tried.
    pub(crate) attempts: Slots,
    pub(crate) admission: Arc<Mutex<Admission>>,
    pub(crate) tasks: Tasks,
    pub(crate) events: Arc<Publisher<Event>>,
    pub(crate) refusals: Refusals,
    pub(crate) counters: Arc<Counters>,
    pub(crate) closing: Closing,
    pub(crate) keeper: Option<Keeper>,
    pub(crate) state: Mutex<State>,
}

pub(crate) struct State {
    /// No new dial, listener or connection. `None` once it is so; dropping it tells the dials.
    open: Option<oneshot::Sender<()>>,
    next_id: u64,
    /// Connections per peer, oldest first. Invariant: no empty list.
    pub(crate) connections: BTreeMap<PeerId, Vec<Arc<Inner>>>,
    dials: BTreeMap<DialKey, Running>,
    /// Incoming connections being upgraded.
    pub(crate) upgrading: BTreeMap<PendingId, AbortHandle>,
    pub(crate) listeners: BTreeMap<u64, ListenerEntry>,
    pub(crate) book: AddressBook,
    pub(crate) backoffs: Backoffs,
    pub(crate) manager: Manager,
    pub(crate) external: External,
    handlers: Arc<Handlers>,
    pub(crate) watchers: Vec<Arc<Watcher>>,
}

pub(crate) struct ListenerEntry {
    pub(crate) addrs: Vec<Multiaddr>,
    pub(crate) stop: AbortHandle,
}

impl State {
    /// The second is done when the swarm begins to close.
    pub(crate) fn new(config: &Config, stored: bool) -> (Self, Closing) {
        let (open, closing) = oneshot::channel();
        let limits = &config.limits;
        let state = Self {
            open: Some(open),
            next_id: 0,
            connections: BTreeMap::new(),
            dials: BTreeMap::new(),
            upgrading: BTreeMap::new(),
            listeners: BTreeMap::new(),
            book: AddressBook::new(limits, stored),
            backoffs: Backoffs::new(
                config.dial_backoff,
                config.dial_backoff_max,
                limits.max_backoffs,
            ),
            manager: Manager::default(),
            external: External::new(
                config.observers_needed,
                config.observation_ttl,
                (limits.max_observations, limits.max_external_addrs),
            ),
            handlers: Arc::default(),
            watchers: Vec::new(),
        };
        (state, closing.shared())
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.open.is_none()
    }

    /// All connections.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Inner>> {
        self.connections.values().flatten()
    }

    /// The dial to `peer` under way, if there is one.
    pub(crate) fn dial_to(&self, peer: PeerId) -> Option<Arc<Offers>> {
        let running = self.dials.get(&DialKey::Peer(peer))?;
        Some(Arc::clone(&running.offers))
    }

    /// Dials under way.
    pub(crate) fn dials(&self) -> usize {
        self.dials.len()
    }

    /// Where we listen, without our peer id.
    pub(crate) fn listen_addrs(&self) -> impl Iterator<Item = &Multiaddr> {
        self.listeners.values().flat_map(|entry| &entry.addrs)
    }
}

impl Shared {
    pub(crate) fn transport(
        &self,
        addr: &Multiaddr,
    ) -> Result<&Arc<dyn Transport>, TransportError> {
        let mut all = self.transports.iter();
        all.find(|transport| transport.supports(addr))
            .ok_or_else(|| TransportError::Unsupported { addr: addr.clone() })
    }

    pub(crate) fn handlers(&self) -> Arc<Handlers> {
        Arc::clone(&lock(&self.state).handlers)
    }

    /// Replaces the handlers by what `change` makes of them; false if it makes nothing.
    pub(crate) fn change_handlers(
        &self,
        change: impl FnOnce(&Handlers) -> Option<Handlers>,
    ) -> bool {
        // What a handler captured may call the swarm when it is dropped: not under the lock.
        let replaced = {
            let mut state = lock(&self.state);
            change(&state.handlers)
                .map(|changed| std::mem::replace(&mut state.handlers, Arc::new(changed)))
        };
        let changed = replaced.is_some();
        drop(replaced);
        if changed {
            self.events.publish(&Event::ProtocolsChanged);
        }
        changed
    }

    /// Joins the dial to `key` under way, which then tries `named` too, or starts one if there is
    /// none with places for them.
    pub(crate) fn dial(
        self: &Arc<Self>,
        key: &DialKey,
        named: &[Multiaddr],
    ) -> Result<SharedFuture<DialFuture>, DialError> {
        let peer = key.peer();
        if let Some(peer) = peer.filter(|peer| *peer == self.local) {
            return Err(DialError::SelfDial { peer });
        }
        let mut over = None;
        loop {
            let mut state = lock(&self.state);
            if state.is_closed() {
                return Err(DialError::Closed);
            }
            let running = state
                .dials
                .get(key)
                .filter(|running| Some(running.id) != over);
            let Some((id, future, offers)) = running.and_then(Running::upgrade) else {
                return self.start_dial(&mut state, key, named);
            };
            // Offering wakes the dial, and dropping its last handle takes it out of the books:
            // neither under the lock.
            drop(state);
            if future.peek().is_none() && offers.offer(named) {
                return Ok(future);
            }
            over = Some(id);
        }
    }

    fn start_dial(
        self: &Arc<Self>,
        state: &mut State,
        key: &DialKey,
        named: &[Multiaddr],
    ) -> Result<SharedFuture<DialFuture>, DialError> {
        let peer = key.peer();
        let now = self.rt.now();
        let known = peer
            .map(|peer| state.book.addrs(&peer, now))
            .unwrap_or_default();
        if let Some(peer) = peer
            && named.is_empty()
            && known.is_empty()
        {
            return Err(DialError::NoAddress { peer });
        }
        let plan = Plan::new(key, named, known, &state.backoffs, (&self.config, now));
        let offers = Arc::clone(&plan.offers);
        let id = state.next_id();
        // Forgets the dial also when everybody who waited for it has gone.
        let entry = DialEntry {
            shared: Arc::clone(self),
            key: key.clone(),
            id,
        };
        let shared = Arc::clone(self);
        let run = async move {
            let _entry = entry;
            dial(shared, plan).await
        };
        let future = run.boxed().shared();
        if let Some(weak) = future.downgrade() {
            let running = Running {
                id,
                future: weak,
                offers,
            };
            state.dials.insert(key.clone(), running);
        }
        Ok(future)
    }

    /// Whether `addr` may be dialed: by policy, and because it is not our own.
    pub(crate) fn gate_dial(
        &self,
        expect: Option<PeerId>,
        addr: &Multiaddr,
    ) -> Result<(), UpgradeError> {
        self.gates.dial(expect.as_ref(), addr)?;
        let bare = addr.without_peer();
        if lock(&self.state).listen_addrs().any(|own| *own == bare) {
            return Err(UpgradeError::SelfDial);
        }
        Ok(())
    }

    pub(crate) fn gate_accept(&self, remote: &Multiaddr) -> Result<(), Denied> {
        self.gates.accept(remote)
    }

    pub(crate) fn gate_secured(
        &self,
        peer: &PeerId,
        addr: &Multiaddr,
        role: Role,
    ) -> Result<(), Denied> {
        self.gates.secured(peer, addr, role)
    }

    /// Learns from an attempt to dial `addr`.
    pub(crate) fn attempted(
        &self,
        peer: Option<PeerId>,
        addr: &Multiaddr,
        error: Option<&UpgradeError>,
    ) {
        if let Some(exceeded) = error.and_then(UpgradeError::exceeded) {
            self.limit_hit(peer, exceeded);
        }
        let now = self.rt.now();
        let mut state = lock(&self.state);
        match error {
            None => state.backoffs.handle_success(addr),
            Some(error) if error.concerns_address() => {
                state.backoffs.handle_failure(addr, now);
                if let Some(peer) = peer {
                    state.book.failed(peer, addr);
                    if error.is_wrong_peer() {
                        state.book.disprove(peer, addr);
                    }
                }
            }
            Some(_) => {}
        }
    }

    pub(crate) fn dial_failed(&self, peer: Option<PeerId>, error: &DialError) {
        self.counters.dial_failed();
        let error = error.clone();
        self.events.publish(&Event::DialFailed { peer, error });
    }

    pub(crate) fn incoming_failed(&self, remote: Multiaddr, failed: Failed) {
        let Failed { peer, error } = failed;
        tracing::debug!(%remote, step = %error.step(), error = %Chain(&error), "incoming failed");
        self.counters.incoming_failed(error.step());
        if let Some(exceeded) = error.exceeded() {
            self.limit_hit(peer, exceeded);
        }
        self.events.publish(&Event::IncomingFailed {
            remote,
            peer,
            error: Arc::new(error),
        });
    }

    /// An incoming stream that found no handler.
    pub(crate) fn stream_failed(&self, inner: &Inner, error: StreamError) {
        let (peer, connection) = (inner.info.peer, inner.info.id);
        tracing::debug!(%peer, connection = connection.0, %error, "incoming stream failed");
        if let Some(times) = self.counters.stream_failed(&error, self.rt.now()) {
            self.events.publish(&Event::StreamFailed {
                peer,
                connection,
                error,
                times,
            });
        }
    }

    /// Counts a refusal, and now and then tells of it.
    pub(crate) fn limit_hit(&self, peer: Option<PeerId>, exceeded: &Exceeded) {
        self.refusals.tell(peer, exceeded, 1);
    }

    /// Does something to our external addresses, and tells of what it changed.
    pub(crate) fn change_external<T>(
        &self,
        change: impl FnOnce(&mut State) -> (Vec<Change>, T),
    ) -> T {
        let (events, told, result) = {
            let mut state = lock(&self.state);
            let (changes, result) = change(&mut state);
            let events = changes.into_iter().map(|change| match change {
                Change::Confirmed(addr) => Event::ExternalAddr(addr),
                Change::Lost(addr) => Event::ExternalAddrGone(addr),
            });
            let events: Vec<Event> = events.collect();
            (events.clone(), self.enqueue_all(events), result)
        };
        for event in events {
            tracing::debug!(?event, "external address");
        }
        drop(told);
        result
    }

    /// Tells of `events` in the order that the lock of the books gives them.
    pub(crate) fn enqueue_all(&self, events: impl IntoIterator<Item = Event>) -> Vec<Wake> {
        let events = events.into_iter();
        events.map(|event| self.events.enqueue(&event)).collect()
    }

    /// The connection with `peer` to use: among those that are not over, the newest of those that
    /// both ends prefer.
    pub(crate) fn connection(&self, peer: &PeerId) -> Option<Connection> {
        let state = lock(&self.state);
        let list = state.connections.get(peer)?.iter();
        let usable = list.filter(|inner| !inner.is_over());
        let best = usable.max_by_key(|inner| (self.rank(inner), inner.info.id))?;
        Some(Connection::new(Arc::clone(best)))
    }

    /// The connection that we dialed at `addr`, if there is one.
    pub(crate) fn connection_at(&self, addr: &Multiaddr) -> Option<Connection> {
        let state = lock(&self.state);
        let mut dialed = state.all().filter(|inner| inner.info.role == Role::Dialer);
        let found = dialed.find(|inner| inner.info.remote == *addr && !inner.is_over())?;
        Some(Connection::new(Arc::clone(found)))
    }

    /// Ends a finished connection that was never entered in the books, in order.
    pub(crate) fn hang_up(&self, upgraded: Upgraded) {
        let timeout = self.config.shutdown_timeout;
        let rt = Rt::clone(&self.rt);
        let Upgraded { muxing, share, .. } = upgraded;
        muxing.muxer.close(ErrorCode::SUPPLANTED);
        self.tasks.spawn("hanging up", async move {
            let _share = share;
            // What is not over by then is dropped.
            let _ = rt.timeout(timeout, muxing.driver).await;
        });
    }

    /// Stops everything where it stands. Events end when every task has: a connection that is
    /// dropped is still told of.
    pub(crate) fn abort(&self) {
        self.stop_listening();
        let events = Arc::clone(&self.events);
        self.tasks.abort_all(move || events.close());
    }

    /// Closes listeners and connections in order and ends dials, without waiting.
    pub(crate) fn start_closing(&self) {
        self.stop_listening();
        let connections: Vec<Arc<Inner>> = lock(&self.state).all().cloned().collect();
        for connection in connections {
            connection.close(ErrorCode::SHUTDOWN);
        }
    }

    fn stop_listening(&self) {
        let (open, listeners, upgrading, told) = {
            let mut state = lock(&self.state);
            let addrs: Vec<Multiaddr> = state.listen_addrs().cloned().collect();
            let told = self.enqueue_all(addrs.into_iter().map(Event::ListenAddrGone));
            let listeners = std::mem::take(&mut state.listeners);
            let upgrading = std::mem::take(&mut state.upgrading);
            (state.open.take(), listeners, upgrading, told)
        };
        // Wakes the dials: not under the lock.
        drop((open, told));
        let listeners = listeners.into_values().map(|entry| entry.stop);
        for stop in listeners.chain(upgrading.into_values()) {
            stop.abort();
        }
    }

    /// Known listen addresses, with our peer id.
    pub(crate) fn listen_addrs(&self) -> Vec<Multiaddr> {
        let state = lock(&self.state);
        let addrs = state.listen_addrs();
        addrs.map(|addr| addr.with_peer(self.local)).collect()
    }
}

struct DialEntry {
    shared: Arc<Shared>,
    key: DialKey,
    id: u64,
}

impl Drop for DialEntry {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        // Another dial may have taken its place.
        if state
            .dials
            .get(&self.key)
            .is_some_and(|running| running.id == self.id)
        {
            state.dials.remove(&self.key);
        }
    }
}
