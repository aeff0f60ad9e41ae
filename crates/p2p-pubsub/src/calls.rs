//! Peers that speak first: streams of theirs that wait for a session, and connections on which
//! nothing was to be had of the peer until then.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use p2p_core::PeerId;
use p2p_swarm::{ConnectionId, WeakConnection};

use crate::state::Shared;

#[derive(Default)]
pub(crate) struct Calls {
    /// The newest stream of each peer that waits, by its number.
    waiting: BTreeMap<PeerId, u64>,
    listeners: BTreeMap<PeerId, BTreeMap<ConnectionId, Waker>>,
}

/// A stream of a peer that waits for a session. Over when dropped.
pub(crate) struct Call<'a> {
    shared: &'a Shared,
    peer: PeerId,
    number: u64,
}

impl<'a> Call<'a> {
    pub(crate) fn new(shared: &'a Shared, peer: PeerId, number: u64) -> Self {
        let listeners = {
            let mut state = shared.lock();
            state.calls.waiting.insert(peer, number);
            state.calls.listeners.remove(&peer).unwrap_or_default()
        };
        listeners.into_values().for_each(Waker::wake);
        Self {
            shared,
            peer,
            number,
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let waiting = &mut self.shared.lock().calls.waiting;
        if waiting.get(&self.peer) == Some(&self.number) {
            waiting.remove(&self.peer);
        }
    }
}

/// Waits until the peer of `connection` has opened a stream after the one with number `heard`.
///
/// Each stream of the peer ends one wait on a connection, so that a peer which only ever calls
/// has no more from us than it does itself.
pub(crate) async fn called(shared: &Shared, connection: &WeakConnection, heard: u64) {
    let (peer, id) = (connection.peer(), connection.id());
    let _listener = Listener { shared, peer, id };
    poll_fn(|cx| {
        let calls = &mut shared.lock().calls;
        if calls.waiting.get(&peer).is_some_and(|call| *call > heard) {
            return Poll::Ready(());
        }
        let listeners = calls.listeners.entry(peer).or_default();
        listeners.insert(id, cx.waker().clone());
        Poll::Pending
    })
    .await;
}

struct Listener<'a> {
    shared: &'a Shared,
    peer: PeerId,
    id: ConnectionId,
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        let listeners = &mut self.shared.lock().calls.listeners;
        if let Some(connections) = listeners.get_mut(&self.peer) {
            connections.remove(&self.id);
            if connections.is_empty() {
                listeners.remove(&self.peer);
            }
        }
    }
}
