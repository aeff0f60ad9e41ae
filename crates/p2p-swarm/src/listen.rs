//! From a listening socket to connections.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{AbortHandle, Either, abortable, select};
use p2p_core::{AddrExt, Incoming, Instant, Link, Listener, Multiaddr, Role};

use crate::admission::{Arrived, PendingId};
use crate::admit::Admitted;
use crate::broadcast::Wake;
use crate::connection::Task;
use crate::error::{ListenError, Step, UpgradeError};
use crate::events::Event;
use crate::reach::Reach;
use crate::shared::{ListenerEntry, Shared};
use crate::tasks::lock;
use crate::upgrade::{Context, Failed, Proposal, Upgraded};

/// How long to wait after the socket failed to accept, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `addr`; returns where it can be reached.
pub(crate) async fn listen(
    shared: &Arc<Shared>,
    addr: Multiaddr,
) -> Result<Vec<Multiaddr>, ListenError> {
    if addr.peer().is_some_and(|peer| peer != shared.local) {
        return Err(ListenError::NotOurs { addr });
    }
    let addr = addr.without_peer();
    let everywhere = Reach::of(&addr) == Reach::Nowhere;
    let transport = shared.transport(&addr)?;
    let listener = transport.listen(addr).await?;
    let addrs = listener.addrs();
    let id = lock(&shared.state).next_id();
    let (run, stop) = abortable(run(Arc::clone(shared), listener, everywhere.then_some(id)));
    let told = enter(shared, id, addrs.clone(), stop)?;
    shared.tasks.spawn("listener", async move {
        // Aborted when the listener is removed.
        let _ = run.await;
    });
    for addr in &addrs {
        tracing::debug!(%addr, "listening");
    }
    drop(told);
    Ok(addrs
        .into_iter()
        .map(|addr| addr.with_peer(shared.local))
        .collect())
}

fn enter(
    shared: &Shared,
    id: u64,
    addrs: Vec<Multiaddr>,
    stop: AbortHandle,
) -> Result<Vec<Wake>, ListenError> {
    let mut state = lock(&shared.state);
    if state.is_closed() {
        return Err(ListenError::Closed);
    }
    let told = shared.enqueue_all(addrs.iter().cloned().map(Event::ListenAddr));
    state.listeners.insert(id, ListenerEntry { addrs, stop });
    Ok(told)
}

/// Stops the listener that is reachable at `addr`; false if there is none.
pub(crate) fn unlisten(shared: &Shared, addr: &Multiaddr) -> bool {
    let addr = addr.without_peer();
    let (entry, told) = {
        let mut state = lock(&shared.state);
        let found = state
            .listeners
            .iter()
            .find(|(_, entry)| entry.addrs.contains(&addr))
            .map(|(id, _)| *id);
        let Some(entry) = found.and_then(|id| state.listeners.remove(&id)) else {
            return false;
        };
        let gone = entry.addrs.iter().cloned().map(Event::ListenAddrGone);
        let told = shared.enqueue_all(gone);
        (entry, told)
    };
    entry.stop.abort();
    drop(told);
    true
}

/// Accepts; a listener on all interfaces (`everywhere` is its number) also looks for new ones.
async fn run(shared: Arc<Shared>, mut listener: Box<dyn Listener>, everywhere: Option<u64>) {
    let rt = &shared.rt;
    let interval = shared.config.interface_interval;
    let mut look = everywhere.map(|_| rt.timer(next_look(rt.now(), interval)));
    loop {
        let accepted = match &mut look {
            None => Some(listener.accept().await),
            Some(timer) => match select(&mut *timer, listener.accept()).await {
                Either::Right((accepted, _)) => Some(accepted),
                Either::Left(_) => None,
            },
        };
        let Some(accepted) = accepted else {
            if let Some(timer) = &mut look {
                timer.reset(next_look(rt.now(), interval));
            }
            expand(&shared, listener.as_ref(), everywhere);
            tell_refusals(&shared, listener.as_mut());
            continue;
        };
        tell_refusals(&shared, listener.as_mut());
        match accepted {
            Ok(incoming) => admit(&shared, incoming),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again shortly");
                rt.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn tell_refusals(shared: &Shared, listener: &mut dyn Listener) {
    if let Some((exceeded, times)) = listener.refusals() {
        shared.refusals.tell(None, &exceeded, times);
    }
}

/// The next multiple of `interval`: all listeners look at the same time, so that whoever tells
/// others of a change tells them once.
fn next_look(now: Instant, interval: Duration) -> Instant {
    let interval = u64::try_from(interval.as_nanos())
        .unwrap_or(u64::MAX)
        .max(1);
    let past = now.as_nanos() / interval;
    Instant::from_nanos(past.saturating_add(1).saturating_mul(interval))
}

/// Follows the interfaces: tells which addresses came and went.
fn expand(shared: &Shared, listener: &dyn Listener, id: Option<u64>) {
    let addrs = listener.addrs();
    let (gone, new, told) = {
        let mut state = lock(&shared.state);
        let entry = id.and_then(|id| state.listeners.get_mut(&id));
        let Some(entry) = entry.filter(|entry| entry.addrs != addrs) else {
            return;
        };
        let old = std::mem::replace(&mut entry.addrs, addrs.clone());
        let mut gone = old.clone();
        gone.retain(|addr| !addrs.contains(addr));
        let mut new = addrs;
        new.retain(|addr| !old.contains(addr));
        let lost = gone.iter().cloned().map(Event::ListenAddrGone);
        let won = new.iter().cloned().map(Event::ListenAddr);
        let told = shared.enqueue_all(lost.chain(won));
        (gone, new, told)
    };
    for addr in gone {
        tracing::debug!(%addr, "no longer listening");
    }
    for addr in new {
        tracing::debug!(%addr, "listening");
    }
    drop(told);
}

fn admit(shared: &Arc<Shared>, incoming: Incoming) {
    match enter_pending(shared, &incoming.remote) {
        Ok(Arrived { id, evicted }) => {
            tracing::debug!(remote = %incoming.remote, "incoming");
            start(shared, incoming, id);
            let evicted = evicted.and_then(|id| lock(&shared.state).upgrading.remove(&id));
            if let Some(stop) = evicted {
                stop.abort();
            }
        }
        Err(error) => shared.incoming_failed(incoming.remote, error.into()),
    }
}

fn enter_pending(shared: &Shared, remote: &Multiaddr) -> Result<Arrived, UpgradeError> {
    shared.gate_accept(remote)?;
    let now = shared.rt.now();
    Ok(lock(&shared.admission).arrive(remote, now)?)
}

/// Upgrades an incoming link and serves the connection that comes of it, in a task of its own.
fn start(shared: &Arc<Shared>, incoming: Incoming, id: PendingId) {
    let pending = Pending {
        shared: Arc::clone(shared),
        id,
    };
    let remote = incoming.remote.clone();
    let work = Arc::clone(shared);
    // Boxed, so that an established connection does not pay for the time of its making.
    let (upgrade, stop) = abortable(async move { try_upgrade(&work, incoming).await }.boxed());
    {
        let mut state = lock(&shared.state);
        if state.is_closed() {
            return;
        }
        state.upgrading.insert(id, stop);
    }
    let shared = Arc::clone(shared);
    shared.clone().tasks.spawn("incoming", async move {
        let result = upgrade.await;
        drop(pending);
        match result {
            Ok(Ok(task)) => task.run(shared).await,
            Ok(Err(failed)) => shared.incoming_failed(remote, failed),
            Err(_) => {
                let error = stopped(&shared);
                shared.incoming_failed(remote, error.into());
            }
        }
    });
}

/// Why an upgrade was stopped.
fn stopped(shared: &Shared) -> UpgradeError {
    if lock(&shared.state).is_closed() {
        return UpgradeError::Closed;
    }
    lock(&shared.admission).evicted().into()
}

/// An incoming connection being upgraded; dropping it takes it out of the books.
struct Pending {
    shared: Arc<Shared>,
    id: PendingId,
}

impl Drop for Pending {
    fn drop(&mut self) {
        lock(&self.shared.state).upgrading.remove(&self.id);
        lock(&self.shared.admission).leave(self.id);
    }
}

async fn try_upgrade(shared: &Arc<Shared>, incoming: Incoming) -> Result<Task, Failed> {
    let rt = &shared.rt;
    let timeout = shared.config.upgrade_timeout;
    let deadline = (rt.now() + timeout, timeout);
    let link = rt.timeout_at(deadline.0, incoming.link).await;
    let link = link.map_err(|_| UpgradeError::Timeout {
        step: Step::Transport,
        after: timeout,
        setting: "upgrade_timeout",
    })??;
    let upgraded: Upgraded = match link {
        Link::Muxed(established) => {
            let share = shared.shares.share(established.peer);
            let peer = established.peer;
            Upgraded::by_transport(established, share).map_err(|error| Failed::of(peer, error))?
        }
        Link::Raw(io) => {
            let cx = Context {
                role: Role::Listener,
                expect: None,
                deadline,
                proposal: Proposal::Asking,
                shared,
            };
            shared.upgrader.upgrade(io, &cx).await?
        }
    };
    let peer = upgraded.peer;
    let admitted = shared.admit(Admitted {
        upgraded,
        role: Role::Listener,
        remote: incoming.remote,
        local: Some(incoming.local),
        transport_took: Duration::ZERO,
    });
    admitted.map_err(|error| Failed::of(peer, error))
}
