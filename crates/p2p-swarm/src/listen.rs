//! From a listening socket to connections.

use std::sync::Arc;

use futures::future::{AbortHandle, abortable};
use p2p_core::{AddrExt, Incoming, Link, Listener, Multiaddr, Permit, Role};

use crate::error::{ListenError, Step, UpgradeError};
use crate::events::Event;
use crate::shared::{Admitted, ListenerEntry, Shared};
use crate::tasks::lock;
use crate::upgrade::{Context, Upgraded};

/// How long to wait after the socket failed to accept, for instance for want of descriptors.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Listens on `addr`; returns where it can be reached.
pub(crate) async fn listen(
    shared: &Arc<Shared>,
    addr: Multiaddr,
) -> Result<Vec<Multiaddr>, ListenError> {
    if addr.peer().is_some_and(|peer| peer != shared.local) {
        return Err(ListenError::NotOurs { addr });
    }
    let addr = addr.without_peer();
    let transport = shared.transport(&addr)?;
    let listener = transport.listen(addr).await?;
    let addrs = listener.addrs();
    let (run, stop) = abortable(run(Arc::clone(shared), listener));
    enter(shared, addrs.clone(), stop)?;
    shared.tasks.spawn("listener", async move {
        // Aborted when the listener is removed.
        let _ = run.await;
    });
    for addr in &addrs {
        tracing::debug!(%addr, "listening");
        shared.events.publish(&Event::ListenAddr(addr.clone()));
    }
    Ok(addrs
        .into_iter()
        .map(|addr| addr.with_peer(shared.local))
        .collect())
}

fn enter(shared: &Shared, addrs: Vec<Multiaddr>, stop: AbortHandle) -> Result<(), ListenError> {
    let mut state = lock(&shared.state);
    if state.closed {
        return Err(ListenError::Closed);
    }
    let id = state.next_id();
    state.listeners.insert(id, ListenerEntry { addrs, stop });
    Ok(())
}

/// Stops the listener that is reachable at `addr`; false if there is none.
pub(crate) fn unlisten(shared: &Shared, addr: &Multiaddr) -> bool {
    let addr = addr.without_peer();
    let entry = {
        let mut state = lock(&shared.state);
        let found = state
            .listeners
            .iter()
            .find(|(_, entry)| entry.addrs.contains(&addr))
            .map(|(id, _)| *id);
        found.and_then(|id| state.listeners.remove(&id))
    };
    let Some(entry) = entry else {
        return false;
    };
    entry.stop.abort();
    for addr in entry.addrs {
        shared.events.publish(&Event::ListenAddrGone(addr));
    }
    true
}

async fn run(shared: Arc<Shared>, mut listener: Box<dyn Listener>) {
    loop {
        match listener.accept().await {
            Ok(incoming) => admit(&shared, incoming),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again shortly");
                shared.rt.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(shared: &Arc<Shared>, incoming: Incoming) {
    let permit = match shared.gate.accept(&incoming.remote) {
        Err(denied) => Err(denied.into()),
        Ok(()) => shared
            .pending_incoming
            .reserve(1)
            .map_err(UpgradeError::from),
    };
    match permit {
        Ok(permit) => {
            tracing::debug!(remote = %incoming.remote, "incoming");
            let upgraded = upgrade(Arc::clone(shared), incoming, permit);
            shared.tasks.spawn("incoming", upgraded);
        }
        Err(error) => shared.incoming_failed(incoming.remote, error),
    }
}

/// Upgrades an incoming link and serves the connection that comes of it.
async fn upgrade(shared: Arc<Shared>, incoming: Incoming, permit: Permit) {
    let remote = incoming.remote.clone();
    // In a box of its own: what the upgrade needs is given back before the connection begins.
    let upgraded = Box::pin(try_upgrade(&shared, incoming)).await;
    match upgraded {
        Ok(task) => {
            drop(permit);
            task.run(shared).await;
        }
        Err(error) => shared.incoming_failed(remote, error),
    }
}

async fn try_upgrade(
    shared: &Arc<Shared>,
    incoming: Incoming,
) -> Result<crate::connection::Task, UpgradeError> {
    let rt = &shared.rt;
    let timeout = shared.config.upgrade_timeout;
    let deadline = (rt.now() + timeout, timeout);
    let link = rt.timeout_at(deadline.0, incoming.link).await;
    let link = link.map_err(|_| UpgradeError::Timeout {
        step: Step::Transport,
        after: timeout,
    })??;
    let upgraded: Upgraded = match link {
        Link::Muxed(established) => {
            let share = shared.shares.share(established.peer);
            Upgraded::by_transport(established, share)
        }
        Link::Raw(io) => {
            let cx = Context {
                rt,
                role: Role::Listener,
                expect: None,
                deadline,
                shares: &shared.shares,
            };
            shared.upgrader.upgrade(io, &cx).await?
        }
    };
    shared.admit(Admitted {
        upgraded,
        role: Role::Listener,
        remote: incoming.remote,
        local: Some(incoming.local),
        transport_took: std::time::Duration::ZERO,
    })
}
