//! What the parts of a swarm share, and the books: who is connected, being dialed, listened for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{AbortHandle, BoxFuture, Shared as SharedFuture, WeakShared};
use p2p_core::{
    AddrExt, Budget, ConnectionEnd, ErrorCode, Exceeded, Gate, Multiaddr, PeerId, Permit, Role, Rt,
    Transport, TransportError,
};

use crate::book::AddressBook;
use crate::broadcast::Publisher;
use crate::config::Config;
use crate::connection::{Connection, ConnectionId, ConnectionInfo, Inner, Task, Timings};
use crate::dial::dial;
use crate::error::{Chain, DialError, UpgradeError};
use crate::events::Event;
use crate::handler::Handlers;
use crate::share::Shares;
use crate::tasks::{Tasks, lock};
use crate::upgrade::{Upgraded, Upgrader};
use crate::weak::Watcher;

pub(crate) type DialFuture = BoxFuture<'static, Result<Connection, DialError>>;

pub(crate) struct Shared {
    pub(crate) rt: Rt,
    pub(crate) config: Config,
    pub(crate) local: PeerId,
    pub(crate) transports: Vec<Arc<dyn Transport>>,
    pub(crate) upgrader: Upgrader,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) memory: Budget,
    pub(crate) shares: Arc<Shares>,
    pub(crate) connections: Budget,
    pub(crate) pending_incoming: Budget,
    pub(crate) pending_dials: Budget,
    pub(crate) tasks: Tasks,
    pub(crate) events: Publisher<Event>,
    pub(crate) state: Mutex<State>,
}

pub(crate) struct State {
    /// No new dial, listener or connection.
    pub(crate) closed: bool,
    next_id: u64,
    /// Connections per peer, oldest first. Invariant: no empty list.
    pub(crate) connections: BTreeMap<PeerId, Vec<Arc<Inner>>>,
    dials: BTreeMap<PeerId, WeakShared<DialFuture>>,
    pub(crate) listeners: BTreeMap<u64, ListenerEntry>,
    pub(crate) book: AddressBook,
    handlers: Arc<Handlers>,
    watchers: Vec<Arc<Watcher>>,
}

pub(crate) struct ListenerEntry {
    pub(crate) addrs: Vec<Multiaddr>,
    pub(crate) stop: AbortHandle,
}

/// A connection that wants to be admitted.
pub(crate) struct Admitted {
    pub(crate) upgraded: Upgraded,
    pub(crate) role: Role,
    pub(crate) remote: Multiaddr,
    pub(crate) local: Option<Multiaddr>,
    pub(crate) transport_took: Duration,
}

impl State {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            closed: false,
            next_id: 0,
            connections: BTreeMap::new(),
            dials: BTreeMap::new(),
            listeners: BTreeMap::new(),
            book: AddressBook::new(
                config.max_known_peers,
                config.max_addrs_per_peer,
                config.max_known_bytes,
            ),
            handlers: Arc::default(),
            watchers: Vec::new(),
        }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
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

    /// Joins the dial to `peer` under way, or starts one; says whether it joined one, which tries
    /// the addresses of whoever started it.
    pub(crate) fn dial_peer(
        self: &Arc<Self>,
        peer: PeerId,
        extra: Vec<Multiaddr>,
    ) -> Result<(SharedFuture<DialFuture>, bool), DialError> {
        if peer == self.local {
            return Err(DialError::SelfDial { peer });
        }
        let mut state = lock(&self.state);
        if state.closed {
            return Err(DialError::Closed);
        }
        if let Some(running) = state.dials.get(&peer).and_then(WeakShared::upgrade)
            && running.peek().is_none()
        {
            return Ok((running, true));
        }
        let mut addrs = extra;
        for addr in state.book.addrs(&peer) {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        if addrs.is_empty() {
            return Err(DialError::NoAddress { peer });
        }
        let shared = Arc::clone(self);
        let run = async move {
            // Forgets the dial also when everybody who waited for it has gone.
            let _entry = DialEntry {
                shared: Arc::clone(&shared),
                peer,
            };
            dial(shared, Some(peer), addrs).await
        };
        let running = run.boxed().shared();
        if let Some(weak) = running.downgrade() {
            state.dials.insert(peer, weak);
        }
        Ok((running, false))
    }

    pub(crate) fn dial_failed(&self, peer: Option<PeerId>, error: &DialError) {
        let error = error.clone();
        self.events.publish(&Event::DialFailed { peer, error });
    }

    /// Enters a finished connection into the books, or refuses it.
    pub(crate) fn admit(&self, new: Admitted) -> Result<Task, UpgradeError> {
        let peer = new.upgraded.peer;
        if peer == self.local {
            return Err(UpgradeError::SelfDial);
        }
        self.gate.secured(&peer, &new.remote, new.role)?;
        let mut permits: Vec<Permit> = vec![self.connections.reserve(1)?];
        let (task, watchers) = {
            let mut state = lock(&self.state);
            if state.closed {
                return Err(UpgradeError::Closed);
            }
            let held = state.connections.get(&peer).map_or(0, Vec::len);
            self.check_per_peer(held)?;
            let info = ConnectionInfo {
                id: ConnectionId(state.next_id()),
                peer,
                public_key: new.upgraded.public_key,
                role: new.role,
                remote: new.remote,
                local: new.local,
                security: new.upgraded.security,
                muxer: new.upgraded.muxer,
                established: self.rt.now(),
                timings: Timings {
                    transport: new.transport_took,
                    security: new.upgraded.security_took,
                    muxer: new.upgraded.muxer_took,
                },
            };
            if info.role == Role::Dialer {
                state.book.confirm(peer, &info.remote);
            }
            let task = Task::new(
                info,
                new.upgraded.muxing,
                new.upgraded.share,
                self,
                std::mem::take(&mut permits),
            );
            let list = state.connections.entry(peer).or_default();
            list.push(Arc::clone(&task.inner));
            (task, state.watchers.clone())
        };
        for watcher in watchers {
            watcher.watch(self, &task.inner);
        }
        let info = &task.inner.info;
        tracing::debug!(%peer, connection = info.id.0, role = %info.role, remote = %info.remote,
            security = ?info.security, muxer = ?info.muxer, timings = ?info.timings, "connected");
        self.events.publish(&Event::Connected {
            info: Box::new(info.clone()),
        });
        Ok(task)
    }

    /// Starts `watcher` for every connection there is and every one to come.
    pub(crate) fn watch_connections(&self, watcher: Watcher) {
        let watcher = Arc::new(watcher);
        let connections: Vec<Arc<Inner>> = {
            let mut state = lock(&self.state);
            state.watchers.push(Arc::clone(&watcher));
            state.connections.values().flatten().cloned().collect()
        };
        for inner in connections {
            watcher.watch(self, &inner);
        }
    }

    fn check_per_peer(&self, held: usize) -> Result<(), Exceeded> {
        let limit = self.config.max_connections_per_peer;
        if held < limit {
            return Ok(());
        }
        Err(Exceeded {
            name: "connections with one peer",
            setting: "max_connections_per_peer",
            limit,
            used: held,
            wanted: 1,
        })
    }

    /// Takes a connection out of the books.
    pub(crate) fn unregister(&self, inner: &Arc<Inner>, end: &ConnectionEnd) {
        let peer = inner.info.peer;
        let remaining = {
            let mut state = lock(&self.state);
            let Some(list) = state.connections.get_mut(&peer) else {
                return;
            };
            list.retain(|other| !Arc::ptr_eq(other, inner));
            let remaining = list.len();
            if remaining == 0 {
                state.connections.remove(&peer);
            }
            remaining
        };
        tracing::debug!(%peer, connection = inner.info.id.0, why = %end, blame = %end.blame(),
            remaining, "disconnected");
        self.events.publish(&Event::Disconnected {
            peer,
            connection: inner.info.id,
            end: end.clone(),
            remaining,
        });
    }

    pub(crate) fn incoming_failed(&self, remote: Multiaddr, error: UpgradeError) {
        tracing::debug!(%remote, step = %error.step(), error = %Chain(&error), "incoming failed");
        let error = Arc::new(error);
        self.events
            .publish(&Event::IncomingFailed { remote, error });
    }

    /// The newest connection with `peer` that is not over.
    pub(crate) fn connection(&self, peer: &PeerId) -> Option<Connection> {
        let state = lock(&self.state);
        let mut newest = state.connections.get(peer)?.iter().rev();
        let inner = newest.find(|inner| !inner.is_over())?;
        Some(Connection::new(Arc::clone(inner)))
    }

    /// Stops everything where it stands.
    pub(crate) fn abort(&self) {
        let listeners = {
            let mut state = lock(&self.state);
            state.closed = true;
            std::mem::take(&mut state.listeners)
        };
        for entry in listeners.into_values() {
            entry.stop.abort();
        }
        self.tasks.abort_all();
        self.events.close();
    }

    /// Closes listeners and connections in order, without waiting.
    pub(crate) fn start_closing(&self) {
        let (listeners, connections) = {
            let mut state = lock(&self.state);
            state.closed = true;
            let listeners = std::mem::take(&mut state.listeners);
            let connections: Vec<Arc<Inner>> =
                state.connections.values().flatten().cloned().collect();
            (listeners, connections)
        };
        for entry in listeners.into_values() {
            entry.stop.abort();
        }
        for connection in connections {
            connection.close(ErrorCode::SHUTDOWN);
        }
    }

    /// Known listen addresses, with our peer id.
    pub(crate) fn listen_addrs(&self) -> Vec<Multiaddr> {
        let state = lock(&self.state);
        let addrs = state.listeners.values().flat_map(|entry| &entry.addrs);
        addrs.map(|addr| addr.with_peer(self.local)).collect()
    }
}

struct DialEntry {
    shared: Arc<Shared>,
    peer: PeerId,
}

impl Drop for DialEntry {
    fn drop(&mut self) {
        lock(&self.shared.state).dials.remove(&self.peer);
    }
}
