//! The handle that a program holds.

use std::fmt;
use std::sync::{Arc, Weak};

use p2p_core::{
    Budget, ErrorCode, InvalidProtocol, Multiaddr, OpenError as MuxerError, PeerId, Protocol, Rt,
};

use crate::builder::SwarmBuilder;
use crate::config::Config;
use crate::connection::Connection;
use crate::error::{DialError, HandleError, ListenError, OpenError};
use crate::events::Events;
use crate::handler::{Entry, Handler, HandlerOptions, Outcome};
use crate::info::ConnectionId;
use crate::join::DialKey;
use crate::listen;
use crate::shared::Shared;
use crate::stream::Stream;
use crate::target::{IntoTarget, Target};
use crate::tasks::lock;
use crate::weak::{Watcher, WeakConnection};

/// Dials, listens, keeps connections and hands out streams.
///
/// Cheap to clone; clones are the same swarm. Dropping the last one ends every task and socket of
/// the swarm at once; [`Swarm::close`] does it in order. A handler or task that keeps a clone
/// keeps the swarm alive: give it a [`WeakSwarm`] instead.
#[derive(Clone)]
pub struct Swarm {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

/// A reference to a swarm that does not keep it alive.
#[derive(Clone)]
pub struct WeakSwarm {
    shared: Weak<Shared>,
    guard: Weak<Guard>,
}

/// Ends the swarm when its last handle is dropped.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Swarm {
    /// Starts to put a swarm together for the peer `local`.
    pub fn builder(rt: Rt, local: PeerId) -> SwarmBuilder {
        SwarmBuilder::new(rt, local)
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let guard = Arc::new(Guard(Arc::clone(&shared)));
        Self {
            shared,
            _guard: guard,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Our own peer id.
    pub fn local_peer(&self) -> PeerId {
        self.shared.local
    }

    /// The runtime that everything runs on.
    pub fn rt(&self) -> &Rt {
        &self.shared.rt
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The memory that all remotes together can make us hold: the parent of what a service keeps
    /// for them.
    pub fn budget(&self) -> &Budget {
        &self.shared.memory
    }

    /// A reference that does not keep the swarm alive.
    pub fn downgrade(&self) -> WeakSwarm {
        WeakSwarm {
            shared: Arc::downgrade(&self.shared),
            guard: Arc::downgrade(&self._guard),
        }
    }

    /// Listens on `addr` and returns where it can be reached: real ports, an unspecified address
    /// replaced by those of the interfaces, each with our `/p2p/<id>`. At least one.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`ListenError`]. Nothing stays open.
    pub async fn listen(&self, addr: Multiaddr) -> Result<Vec<Multiaddr>, ListenError> {
        listen::listen(&self.shared, addr).await
    }

    /// Stops listening on the socket that is reachable at `addr`. Its connections stay. Returns
    /// whether there was one.
    pub fn unlisten(&self, addr: &Multiaddr) -> bool {
        listen::unlisten(&self.shared, addr)
    }

    /// Where we can be reached, each address with our `/p2p/<id>`.
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.shared.listen_addrs()
    }

    /// Answers incoming streams of `protocol` with `handler`, each in a task of its own. An error
    /// that it returns is logged at debug level; a stream that it drops unclosed is reset.
    ///
    /// # Errors
    /// [`HandleError`] if the protocol has a handler already or is not an id.
    pub fn handle<P, Served>(
        &self,
        protocol: P,
        handler: impl Fn(Stream) -> Served + Send + Sync + 'static,
    ) -> Result<(), HandleError>
    where
        P: TryInto<Protocol, Error: Into<InvalidProtocol>>,
        Served: Future<Output: Outcome> + Send + 'static,
    {
        self.handle_with(protocol, HandlerOptions::default(), handler)
    }

    /// The same with options, and with any [`Handler`].
    ///
    /// # Errors
    /// See [`Swarm::handle`].
    pub fn handle_with<P>(
        &self,
        protocol: P,
        options: HandlerOptions,
        handler: impl Handler,
    ) -> Result<(), HandleError>
    where
        P: TryInto<Protocol, Error: Into<InvalidProtocol>>,
    {
        let protocol = protocol.try_into().map_err(Into::into)?;
        let entry = Entry {
            protocol: protocol.clone(),
            handler: Arc::new(handler),
            options,
        };
        if self.shared.change_handlers(|handlers| handlers.with(entry)) {
            Ok(())
        } else {
            Err(HandleError::Taken(protocol))
        }
    }

    /// Removes the handler of `protocol`. Streams being served go on. Returns whether there was
    /// one.
    pub fn unhandle(&self, protocol: &Protocol) -> bool {
        self.shared
            .change_handlers(|handlers| handlers.without(protocol))
    }

    /// The protocols that we answer, in order.
    pub fn protocols(&self) -> Vec<Protocol> {
        self.shared.handlers().protocols.clone()
    }

    /// A connection to `target`: one that exists, or the result of a dial. Dials to the same peer
    /// are joined, and try the addresses of everybody who joins.
    ///
    /// Addresses are tried in the order of [`rank_addrs`](crate::rank_addrs), one
    /// [`Config::dial_stagger`] apart, each for at most [`Config::dial_timeout`], and all of them
    /// together for at most [`Config::dial_deadline`]. Those that failed lately are left alone unless `target` names them. Cancel-safe: a dial goes on while
    /// somebody else waits for it.
    ///
    /// # Errors
    /// [`DialError`] lists every address with its cause, and how many there was no place for.
    pub async fn dial(&self, target: impl IntoTarget) -> Result<Connection, DialError> {
        let target = target.into_target()?;
        if let Some(connection) = self.existing(&target) {
            return Ok(connection);
        }
        let (key, named) = target.to_dial();
        self.dial_fresh(&key, &named).await
    }

    /// A connection that there is already.
    fn existing(&self, target: &Target) -> Option<Connection> {
        match target.peer() {
            Some(peer) => self.shared.connection(&peer),
            None => match target {
                Target::Addr(addr) => self.shared.connection_at(addr),
                Target::Peer(_) | Target::PeerAt(..) => None,
            },
        }
    }

    async fn dial_fresh(
        &self,
        key: &DialKey,
        named: &[Multiaddr],
    ) -> Result<Connection, DialError> {
        self.shared.dial(key, named)?.await
    }

    /// Opens a stream for `protocol` to `target`, dialing if needed. On an existing connection
    /// this costs no round trip: see [`Connection::open`]. A connection that turns out to be over,
    /// or to take no streams, is replaced by a new one once.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open<P>(&self, target: impl IntoTarget, protocol: P) -> Result<Stream, OpenError>
    where
        P: TryInto<Protocol, Error: Into<InvalidProtocol>>,
    {
        let protocol = protocol.try_into().map_err(Into::into)?;
        self.open_any(target, &[protocol]).await
    }

    /// Opens a stream for the first of `protocols` that the remote knows: see
    /// [`Connection::open_any`].
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_any(
        &self,
        target: impl IntoTarget,
        protocols: &[Protocol],
    ) -> Result<Stream, OpenError> {
        let target = target.into_target().map_err(DialError::from)?;
        let (mut key, named) = target.to_dial();
        let mut ended = None;
        if let Some(connection) = self.existing(&target) {
            match connection.open_any(protocols).await {
                Err(OpenError::Muxer(error @ (MuxerError::Ended(_) | MuxerError::GoneAway))) => {
                    key = DialKey::Peer(connection.peer());
                    ended = Some(error);
                }
                result => return result,
            }
        }
        match (self.dial_fresh(&key, &named).await, ended) {
            // What happened to the connection says more than that there is no other way.
            (Err(DialError::NoAddress { .. }), Some(error)) => Err(OpenError::Muxer(error)),
            (connection, _) => connection?.open_any(protocols).await,
        }
    }

    /// The connections with `peer`, oldest first.
    pub fn connections(&self, peer: &PeerId) -> Vec<Connection> {
        let state = lock(&self.shared.state);
        let list = state.connections.get(peer).into_iter().flatten();
        list.map(|inner| Connection::new(Arc::clone(inner)))
            .collect()
    }

    /// Closes every connection with `peer`, telling it `code`; returns how many there were.
    pub fn disconnect(&self, peer: &PeerId, code: ErrorCode) -> usize {
        let connections = self.connections(peer);
        for connection in &connections {
            connection.close(code);
        }
        connections.len()
    }

    /// The connection `id`, if it is not over.
    pub fn connection(&self, id: ConnectionId) -> Option<Connection> {
        let state = lock(&self.shared.state);
        let inner = state.all().find(|inner| inner.info.id == id)?;
        Some(Connection::new(Arc::clone(inner)))
    }

    /// The peers that we are connected with, in order.
    pub fn peers(&self) -> Vec<PeerId> {
        lock(&self.shared.state)
            .connections
            .keys()
            .copied()
            .collect()
    }

    /// What happens from now on. Bounded: see [`Event::Lagged`](crate::Event::Lagged).
    pub fn events(&self) -> Events {
        self.shared
            .events
            .subscribe(self.shared.config.event_backlog)
    }

    /// Runs `task` as one of the swarm's: it ends with the swarm.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(name, task);
    }

    /// Runs `watch` for every connection, those that exist and those to come, in a task of its own
    /// that ends with the connection at the latest.
    ///
    /// `watch` is called when the connection is already in the books: somebody else may have opened
    /// or accepted a stream on it before. Only the future that it returns may take time. It must
    /// not keep the swarm alive: give it a [`WeakSwarm`].
    pub fn watch_connections<Watch>(
        &self,
        name: &'static str,
        watch: impl Fn(WeakConnection) -> Watch + Send + Sync + 'static,
    ) where
        Watch: Future<Output = ()> + Send + 'static,
    {
        self.shared.watch_connections(Watcher::new(name, watch));
    }

    /// What is held at the moment, for tests and for a curious operator.
    pub fn census(&self) -> Census {
        let state = lock(&self.shared.state);
        Census {
            connections: state.connections.values().map(Vec::len).sum(),
            listeners: state.listeners.len(),
            tasks: self.shared.tasks.names(),
            memory: self.shared.memory.used(),
            sharing_peers: self.shared.shares.peers(),
        }
    }

    /// Closes listeners and connections in order, ends dials with [`DialError::Closed`], and waits
    /// until every task of the swarm has ended. What is not done within
    /// [`Config::shutdown_timeout`] is dropped; a task that blocks its thread, and so cannot be
    /// dropped, is waited for once more as long and then left to itself. Afterwards the swarm
    /// refuses everything, and [`Swarm::events`] ends once it has told how every connection ended.
    ///
    /// Not cancel-safe in the sense that a dropped call leaves the swarm half closed; dropping the
    /// swarm finishes the work.
    pub async fn close(&self) {
        let shared = &self.shared;
        shared.start_closing();
        let ended = async {
            let connections: Vec<_> = lock(&shared.state).all().cloned().collect();
            for inner in connections {
                inner.ended().await;
            }
        };
        let timeout = shared.config.shutdown_timeout;
        if shared.rt.timeout(timeout, ended).await.is_err() {
            tracing::debug!(
                ?timeout,
                "connections did not close in time and are dropped"
            );
        }
        shared.store_book_within(timeout).await;
        shared.abort();
        let ended = shared.tasks.ended();
        if shared.rt.timeout(timeout, ended).await.is_err() {
            let tasks = shared.tasks.names();
            tracing::error!(
                ?tasks,
                "tasks block their threads and are left to themselves"
            );
            shared.events.close();
        }
    }
}

/// What a swarm holds at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Connections that are ready.
    pub connections: usize,
    /// Listening sockets.
    pub listeners: usize,
    /// The names of live tasks, one entry each.
    pub tasks: Vec<&'static str>,
    /// Bytes taken from the memory budget.
    pub memory: usize,
    /// Peers that have a share of the memory budget.
    pub sharing_peers: usize,
}

impl WeakSwarm {
    /// The swarm, if a handle to it still exists.
    pub fn upgrade(&self) -> Option<Swarm> {
        Some(Swarm {
            shared: self.shared.upgrade()?,
            _guard: self.guard.upgrade()?,
        })
    }

    /// Whether nothing of the swarm is in memory any more: no handle, no task, no table.
    ///
    /// So it is as soon as the runtime has dropped the tasks of a swarm whose last handle is gone.
    pub fn is_gone(&self) -> bool {
        self.shared.strong_count() == 0
    }
}

impl fmt::Debug for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Swarm of {}", self.shared.local)
    }
}

impl fmt::Debug for WeakSwarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakSwarm")
    }
}
