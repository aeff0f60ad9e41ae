//! The handle that a program holds.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use p2p_core::{
    AddrExt, AllowAll, Budget, Gate, InvalidProtocol, Multiaddr, Multiplex,
    OpenError as MuxerError, PeerId, Protocol, Rt, Security, Transport,
};

use crate::broadcast::Publisher;
use crate::config::Config;
use crate::connection::{Connection, ConnectionId};
use crate::error::{BuildError, DialError, HandleError, ListenError, OpenError};
use crate::events::Events;
use crate::handler::{Entry, Handler, HandlerOptions, Outcome};
use crate::share::Shares;
use crate::shared::{Shared, State};
use crate::stream::Stream;
use crate::tasks::{Tasks, lock};
use crate::upgrade::Upgrader;
use crate::weak::{Watcher, WeakConnection};
use crate::{dial, listen};

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

/// Who or what to dial.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Target {
    /// An address, with or without `/p2p/<id>` at its end. Without, whoever answers is fine.
    Addr(Multiaddr),
    /// A peer, at the addresses known of it.
    Peer(PeerId),
    /// A peer, at these addresses first.
    PeerAt(PeerId, Vec<Multiaddr>),
}

impl From<Multiaddr> for Target {
    fn from(addr: Multiaddr) -> Self {
        Self::Addr(addr)
    }
}

impl From<&Multiaddr> for Target {
    fn from(addr: &Multiaddr) -> Self {
        Self::Addr(addr.clone())
    }
}

impl From<PeerId> for Target {
    fn from(peer: PeerId) -> Self {
        Self::Peer(peer)
    }
}

impl From<(PeerId, Vec<Multiaddr>)> for Target {
    fn from((peer, addrs): (PeerId, Vec<Multiaddr>)) -> Self {
        Self::PeerAt(peer, addrs)
    }
}

/// What to dial when no connection will do.
enum Fresh {
    Anybody(Multiaddr),
    Peer(PeerId, Vec<Multiaddr>),
}

/// Puts a [`Swarm`] together.
pub struct SwarmBuilder {
    rt: Rt,
    local: PeerId,
    config: Config,
    transports: Vec<Arc<dyn Transport>>,
    upgrader: Upgrader,
    gate: Arc<dyn Gate>,
}

impl SwarmBuilder {
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

    /// Sets the policy. Default: everything is allowed.
    pub fn gate(mut self, gate: impl Gate) -> Self {
        self.gate = Arc::new(gate);
        self
    }

    /// Starts the swarm.
    ///
    /// # Errors
    /// [`BuildError`] names the missing part or the contradictory setting.
    pub fn build(self) -> Result<Swarm, BuildError> {
        let config = self.config;
        check(&config)?;
        if self.transports.is_empty() {
            return Err(BuildError::NoTransport);
        }
        let channels = &self.upgrader.securities;
        if let Some(open) = channels.iter().find(|channel| !channel.is_secure())
            && channels.iter().any(|channel| channel.is_secure())
        {
            return Err(BuildError::Insecure(open.protocol()));
        }
        let memory = Budget::new("memory of the host", "memory_budget", config.memory_budget);
        let shared = Arc::new(Shared {
            shares: Arc::new(Shares::new(memory.clone(), &config)),
            memory,
            connections: Budget::new("connections", "max_connections", config.max_connections),
            pending_incoming: Budget::new(
                "incoming connections being upgraded",
                "max_pending_incoming",
                config.max_pending_incoming,
            ),
            pending_dials: Budget::new(
                "dials under way",
                "max_pending_dials",
                config.max_pending_dials,
            ),
            tasks: Tasks::new(Rt::clone(&self.rt)),
            events: Publisher::default(),
            state: Mutex::new(State::new(&config)),
            rt: self.rt,
            local: self.local,
            transports: self.transports,
            upgrader: self.upgrader,
            gate: self.gate,
            config,
        });
        let guard = Arc::new(Guard(Arc::clone(&shared)));
        Ok(Swarm {
            shared,
            _guard: guard,
        })
    }
}

fn check(config: &Config) -> Result<(), BuildError> {
    let counts = [
        ("max_connections", config.max_connections),
        ("max_connections_per_peer", config.max_connections_per_peer),
        ("max_pending_incoming", config.max_pending_incoming),
        ("max_pending_dials", config.max_pending_dials),
        ("max_dial_addrs", config.max_dial_addrs),
        ("max_negotiating_streams", config.max_negotiating_streams),
        ("memory_budget", config.memory_budget),
        ("peer_memory", config.peer_memory),
        ("connection_memory", config.connection_memory),
    ];
    if let Some((setting, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
        return Err(BuildError::Zero { setting });
    }
    let tree = [
        ("connection_memory", config.connection_memory),
        ("peer_memory", config.peer_memory),
        ("memory_budget", config.memory_budget),
    ];
    for pair in tree.windows(2) {
        if let [(part, wanted), (whole, limit)] = *pair
            && wanted > limit
        {
            return Err(BuildError::Memory {
                part,
                wanted,
                whole,
                limit,
            });
        }
    }
    Ok(())
}

impl Swarm {
    /// Starts to put a swarm together for the peer `local`.
    pub fn builder(rt: Rt, local: PeerId) -> SwarmBuilder {
        SwarmBuilder {
            rt,
            local,
            config: Config::default(),
            transports: Vec::new(),
            upgrader: Upgrader::default(),
            gate: Arc::new(AllowAll),
        }
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
    /// are joined.
    ///
    /// Each address has [`Config::dial_timeout`]. Cancel-safe: a dial goes on while somebody else
    /// waits for it.
    ///
    /// # Errors
    /// [`DialError`] lists every address with its cause.
    pub async fn dial(&self, target: impl Into<Target>) -> Result<Connection, DialError> {
        match self.existing(target.into()) {
            Ok(connection) => Ok(connection),
            Err(fresh) => self.dial_fresh(fresh).await,
        }
    }

    /// A connection that there is already, or what to dial.
    fn existing(&self, target: Target) -> Result<Connection, Fresh> {
        let (peer, addrs) = match target {
            Target::Peer(peer) => (peer, Vec::new()),
            Target::PeerAt(peer, addrs) => (peer, addrs),
            Target::Addr(addr) => match addr.peer() {
                Some(peer) => (peer, vec![addr]),
                None => return Err(Fresh::Anybody(addr)),
            },
        };
        let connection = self.shared.connection(&peer);
        connection.ok_or(Fresh::Peer(peer, addrs))
    }

    async fn dial_fresh(&self, fresh: Fresh) -> Result<Connection, DialError> {
        match fresh {
            Fresh::Peer(peer, addrs) => loop {
                let (dial, joined) = self.shared.dial_peer(peer, addrs.clone())?;
                match dial.await {
                    Err(error) if joined && !error.tried_all(&addrs) => {}
                    result => return result,
                }
            },
            Fresh::Anybody(addr) => {
                if lock(&self.shared.state).closed {
                    return Err(DialError::Closed);
                }
                dial::dial(Arc::clone(&self.shared), None, vec![addr]).await
            }
        }
    }

    /// Opens a stream for `protocol` to `target`, dialing if needed. On an existing connection
    /// this costs no round trip: see [`Connection::open`]. A connection that turns out to be over,
    /// or to take no streams, is replaced by a new one once.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open<P>(&self, target: impl Into<Target>, protocol: P) -> Result<Stream, OpenError>
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
        target: impl Into<Target>,
        protocols: &[Protocol],
    ) -> Result<Stream, OpenError> {
        let target = target.into();
        let fresh = match self.existing(target.clone()) {
            Err(fresh) => fresh,
            Ok(connection) => match connection.open_any(protocols).await {
                Err(OpenError::Muxer(MuxerError::Ended(_) | MuxerError::GoneAway)) => {
                    let peer = connection.peer();
                    let addrs = match target {
                        Target::Addr(addr) => vec![addr],
                        Target::PeerAt(_, addrs) => addrs,
                        Target::Peer(_) => Vec::new(),
                    };
                    Fresh::Peer(peer, addrs)
                }
                result => return result,
            },
        };
        self.dial_fresh(fresh).await?.open_any(protocols).await
    }

    /// The connections with `peer`, oldest first.
    pub fn connections(&self, peer: &PeerId) -> Vec<Connection> {
        let state = lock(&self.shared.state);
        let list = state.connections.get(peer).into_iter().flatten();
        list.map(|inner| Connection::new(Arc::clone(inner)))
            .collect()
    }

    /// The connection `id`, if it is not over.
    pub fn connection(&self, id: ConnectionId) -> Option<Connection> {
        let state = lock(&self.shared.state);
        let mut all = state.connections.values().flatten();
        let inner = all.find(|inner| inner.info.id == id)?;
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

    /// Remembers addresses of `peer` for later dials; addresses that name somebody else and those
    /// beyond [`Config::max_addrs_per_peer`] are left out.
    pub fn add_addrs(&self, peer: PeerId, addrs: impl IntoIterator<Item = Multiaddr>) {
        lock(&self.shared.state).book.add(peer, addrs);
    }

    /// The addresses known of `peer`, best first.
    pub fn addrs(&self, peer: &PeerId) -> Vec<Multiaddr> {
        lock(&self.shared.state).book.addrs(peer)
    }

    /// Remembers which protocols `peer` answers.
    pub fn set_protocols_of(&self, peer: PeerId, protocols: Vec<Protocol>) {
        lock(&self.shared.state).book.set_protocols(peer, protocols);
    }

    /// The protocols that `peer` is known to answer; empty if nothing is known.
    pub fn protocols_of(&self, peer: &PeerId) -> Vec<Protocol> {
        lock(&self.shared.state).book.protocols(peer)
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
    /// `watch` is called before anybody else can use the connection; only the future that it
    /// returns may take time. It must not keep the swarm alive: give it a [`WeakSwarm`].
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

    /// Closes listeners and connections in order and waits until every task of the swarm has
    /// ended; what is not done within [`Config::shutdown_timeout`] is dropped. Afterwards the
    /// swarm refuses everything.
    ///
    /// Not cancel-safe in the sense that a dropped call leaves the swarm half closed; dropping the
    /// swarm finishes the work.
    pub async fn close(&self) {
        let shared = &self.shared;
        shared.start_closing();
        let ended = async {
            let connections: Vec<_> = {
                let state = lock(&shared.state);
                state.connections.values().flatten().cloned().collect()
            };
            for inner in connections {
                Connection::new(inner).ended().await;
            }
        };
        let timeout = shared.config.shutdown_timeout;
        if shared.rt.timeout(timeout, ended).await.is_err() {
            tracing::debug!(
                ?timeout,
                "connections did not close in time and are dropped"
            );
        }
        shared.abort();
        shared.tasks.ended().await;
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

impl fmt::Debug for SwarmBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwarmBuilder for {}", self.local)
    }
}
