//! Into the books and out of them: connections that are ready, and which of them stay.
//!
//! When both ends dialed at once, both keep the connection that was dialed by the peer with the
//! lower id. New streams use it at once; the end that did not dial it closes the other one when
//! nobody has used that for `supplant_timeout`. So neither end ever closes what the other has just
//! begun to use, and one is always left.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2p_core::{ConnectionEnd, ErrorCode, Exceeded, Multiaddr, Permit, Role};

use crate::admission::Admission;
use crate::connection::{Inner, Task};
use crate::error::UpgradeError;
use crate::events::Event;
use crate::info::{ConnectionId, ConnectionInfo, Timings};
use crate::prefix::IpPrefix;
use crate::reach::is_relayed;
use crate::shared::{Shared, State};
use crate::tasks::lock;
use crate::upgrade::Upgraded;
use crate::weak::Watcher;

/// A connection that wants to be admitted.
pub(crate) struct Admitted {
    pub(crate) upgraded: Upgraded,
    pub(crate) role: Role,
    pub(crate) remote: Multiaddr,
    pub(crate) local: Option<Multiaddr>,
    pub(crate) transport_took: Duration,
}

/// What an established connection holds of the limits for as long as it exists.
pub(crate) struct Place {
    connection: Permit,
    _source: Option<SourcePlace>,
    leaving: Leaving,
}

/// Whether a connection has been asked to close. It holds its place until that is done, which can
/// take seconds; whoever asks how many there are wants to know how many stay.
struct Leaving {
    /// How many have been.
    all: Arc<AtomicUsize>,
    /// Invariant: counted in `all` exactly if true.
    this: bool,
}

impl Place {
    pub(crate) fn start_leaving(&mut self) {
        if !std::mem::replace(&mut self.leaving.this, true) {
            self.leaving.all.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.this {
            self.all.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// An incoming connection's place among those of its prefix.
struct SourcePlace {
    admission: Arc<Mutex<Admission>>,
    prefix: IpPrefix,
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        lock(&self.admission).disconnect(self.prefix);
    }
}

impl Shared {
    /// Enters a finished connection into the books, or refuses it.
    pub(crate) fn admit(self: &Arc<Self>, new: Admitted) -> Result<Task, UpgradeError> {
        let peer = new.upgraded.peer;
        if peer == self.local {
            return Err(UpgradeError::SelfDial);
        }
        self.gate_secured(&peer, &new.remote, new.role)?;
        // Once more below, when it counts; but a newcomer that is refused must not have cost
        // another connection its place.
        self.check_per_peer(&lock(&self.state), &new)?;
        let place = self.place(&new)?;
        let (task, watchers, supplanted, told, dial) = {
            let mut state = lock(&self.state);
            if state.is_closed() {
                return Err(UpgradeError::Closed);
            }
            let supplanted = self.check_per_peer(&state, &new)?;
            let info = self.info(&mut state, &new);
            if info.role == Role::Dialer {
                let until = info.established + self.config.addr_ttl;
                state.book.confirm(peer, &info.remote, until);
            }
            let task = Task::new(info, new.upgraded, self, place);
            let list = state.connections.entry(peer).or_default();
            list.push(Arc::clone(&task.inner));
            let info = Box::new(task.inner.info.clone());
            let told = self.events.enqueue(&Event::Connected { info });
            let dial = state.dial_to(peer);
            (task, state.watchers.clone(), supplanted, told, dial)
        };
        if let Some(inner) = supplanted {
            self.counters.supplanted();
            inner.close(ErrorCode::SUPPLANTED);
        }
        self.announce(&task, &watchers);
        drop(told);
        let dial = dial.filter(|_| !is_relayed(&task.inner.info.remote));
        if let Some(waker) = dial.and_then(|dial| dial.handle_connected()) {
            waker.wake();
        }
        self.supplant(&task.inner);
        self.trim();
        Ok(task)
    }

    fn place(&self, new: &Admitted) -> Result<Place, Exceeded> {
        let mut source = None;
        if new.role == Role::Listener {
            let prefix = lock(&self.admission).connect(&new.remote)?;
            source = prefix.map(|prefix| SourcePlace {
                admission: Arc::clone(&self.admission),
                prefix,
            });
        }
        let connection = match self.connections.reserve(1) {
            Ok(permit) => permit,
            Err(exceeded) => self.evict(&new.remote, exceeded)?,
        };
        Ok(Place {
            connection,
            _source: source,
            leaving: Leaving {
                all: Arc::clone(&self.leaving),
                this: false,
            },
        })
    }

    /// Established connections that nobody has asked to close.
    pub(crate) fn staying(&self) -> usize {
        let leaving = self.leaving.load(Ordering::Relaxed);
        self.connections.used().saturating_sub(leaving)
    }

    /// Whether an unused connection goes because there are more than `low_water`. If so it counts
    /// as gone at once: of many that fall idle together, no more go than must.
    pub(crate) fn let_go(&self, inner: &Inner) -> bool {
        let (low, _) = self.config.water();
        let state = lock(&self.state);
        let goes = self.staying() > low && !state.manager.is_kept(&inner.info.peer);
        if goes {
            inner.start_leaving();
        }
        goes
    }

    /// All places are taken: makes the longest unused incoming connection of the greediest prefix
    /// give its place to one from `remote`. Fair shares, as for pending ones: who fills the host
    /// from few places cannot keep others out.
    fn evict(&self, remote: &Multiaddr, exceeded: Exceeded) -> Result<Permit, Exceeded> {
        let Some(greediest) = lock(&self.admission).greediest(remote) else {
            return Err(exceeded);
        };
        let grain = self.config.limits.grain();
        let victim = {
            let state = lock(&self.state);
            let unused = state.all().filter(|inner| {
                inner.info.role == Role::Listener
                    && !inner.is_used()
                    && !inner.is_over()
                    && grain.source(&inner.info.remote) == Some(greediest)
                    && !state.manager.is_protected(&inner.info.peer)
            });
            unused.min_by_key(|inner| inner.last_used()).cloned()
        };
        let place = victim.and_then(|inner| inner.evict(ConnectionEnd::Limit(exceeded.clone())));
        self.counters.trimmed(usize::from(place.is_some()));
        place.map(|place| place.connection).ok_or(exceeded)
    }

    fn info(&self, state: &mut State, new: &Admitted) -> ConnectionInfo {
        let upgraded = &new.upgraded;
        ConnectionInfo {
            id: ConnectionId(state.next_id()),
            peer: upgraded.peer,
            public_key: upgraded.public_key.clone(),
            role: new.role,
            remote: new.remote.clone(),
            local: new.local.clone(),
            security: upgraded.security.clone(),
            muxer: upgraded.muxer.clone(),
            established: self.rt.now(),
            timings: Timings {
                transport: new.transport_took,
                security: upgraded.security_took,
                muxer: upgraded.muxer_took,
            },
        }
    }

    fn announce(&self, task: &Task, watchers: &[Arc<Watcher>]) {
        for watcher in watchers {
            watcher.watch(self, &task.inner);
        }
        let info = &task.inner.info;
        let timings = info.timings;
        let rest = (timings.security, timings.muxer);
        self.counters.connected(info.role, timings.transport, rest);
        tracing::debug!(peer = %info.peer, connection = info.id.0, role = %info.role,
            remote = %info.remote, security = ?info.security, muxer = ?info.muxer,
            timings = ?info.timings, "connected");
    }

    /// Starts `watcher` for every connection there is and every one to come.
    pub(crate) fn watch_connections(&self, watcher: Watcher) {
        let watcher = Arc::new(watcher);
        let connections: Vec<Arc<Inner>> = {
            let mut state = lock(&self.state);
            state.watchers.push(Arc::clone(&watcher));
            state.all().cloned().collect()
        };
        for inner in connections {
            watcher.watch(self, &inner);
        }
    }

    /// Whether one more connection with this peer is allowed; it may be instead of another one.
    fn check_per_peer(
        &self,
        state: &State,
        new: &Admitted,
    ) -> Result<Option<Arc<Inner>>, Exceeded> {
        let list = state.connections.get(&new.upgraded.peer);
        let held = list.map_or(0, Vec::len);
        let limits = &self.config.limits;
        let Err(exceeded) = limits.check_one_more_of_peer(held) else {
            return Ok(None);
        };
        let limit = limits.max_connections_per_peer;
        if self.is_preferred(new.upgraded.peer, new.role) && held == limit {
            let mut list = list.into_iter().flatten();
            let lesser = list.find(|inner| inner.info.role != new.role && !inner.is_over());
            if let Some(lesser) = lesser {
                return Ok(Some(Arc::clone(lesser)));
            }
        }
        Err(exceeded)
    }

    /// Whether both ends prefer this one of two connections dialed from both sides.
    fn is_preferred(&self, peer: p2p_core::PeerId, role: Role) -> bool {
        (role == Role::Dialer) == (self.local < peer)
    }

    /// How good a connection is for new streams: direct ones first, then those that both ends
    /// prefer.
    pub(crate) fn rank(&self, inner: &Inner) -> (bool, bool) {
        let info = &inner.info;
        let direct = !is_relayed(&info.remote);
        (direct, self.is_preferred(info.peer, info.role))
    }

    /// If `new` makes a pair with one dialed from the other side: sees to it that the lesser goes.
    fn supplant(self: &Arc<Self>, new: &Arc<Inner>) {
        let info = &new.info;
        // The end that dialed the better one leaves it to the other, which knows that both ends
        // have it.
        if self.is_preferred(info.peer, Role::Dialer) {
            return;
        }
        let lesser: Vec<Arc<Inner>> = {
            let state = lock(&self.state);
            let list = state.connections.get(&info.peer).into_iter().flatten();
            let list =
                list.filter(|inner| is_relayed(&inner.info.remote) == is_relayed(&info.remote));
            let list: Vec<&Arc<Inner>> = list.filter(|inner| !inner.is_over()).collect();
            let better = |inner: &Inner| inner.info.role == Role::Listener;
            if !list.iter().any(|inner| better(inner)) {
                return;
            }
            let lesser = list.into_iter().filter(|inner| !better(inner));
            lesser.cloned().collect()
        };
        for inner in lesser {
            if inner.start_supplanting() {
                let shared = Arc::clone(self);
                self.tasks.spawn("supplant", async move {
                    if inner.unused_for(shared.config.supplant_timeout).await {
                        shared.counters.supplanted();
                        inner.close(ErrorCode::SUPPLANTED);
                    }
                });
            }
        }
    }

    /// Takes a connection out of the books.
    pub(crate) fn unregister(&self, inner: &Arc<Inner>, end: &ConnectionEnd) {
        let peer = inner.info.peer;
        let now = self.rt.now();
        let (remaining, told) = {
            let mut state = lock(&self.state);
            let Some(list) = state.connections.get_mut(&peer) else {
                return;
            };
            list.retain(|other| !Arc::ptr_eq(other, inner));
            let remaining = list.len();
            if remaining == 0 {
                state.connections.remove(&peer);
            }
            state.book.keep(peer, now + self.config.addr_ttl);
            let told = self.events.enqueue(&Event::Disconnected {
                peer,
                connection: inner.info.id,
                end: end.clone(),
                remaining,
            });
            (remaining, told)
        };
        self.counters
            .ended(end.blame(), now - inner.info.established);
        tracing::debug!(%peer, connection = inner.info.id.0, why = %end, blame = %end.blame(),
            remaining, "disconnected");
        drop(told);
    }
}
