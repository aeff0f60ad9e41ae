//! The handle that most programs hold.

use std::fmt;

use futures::Future;
use p2p_core::multiaddr_parts::Error as AddrError;
use p2p_core::{InvalidProtocol, Multiaddr, PeerId, Protocol};
use p2p_identify::Identify;
use p2p_keys::Keypair;
use p2p_ping::Ping;
use p2p_request::{Call, Refusal, RequestError, RequestExt};
use p2p_swarm::{
    Connection, DialError, Events, HandleError, IntoTarget, ListenError, OpenError, Outcome,
    Stream, Swarm,
};

use crate::HostBuilder;

/// A node: an identity, the ways to reach others, and the protocols it answers.
///
/// Cheap to clone; clones are the same host. Dropping the last one ends everything that it
/// started; [`Host::close`] does so in order. A handler that needs the host takes
/// [`Swarm::downgrade`] of [`Host::swarm`] instead of a clone.
#[derive(Clone)]
pub struct Host {
    pub(crate) swarm: Swarm,
    pub(crate) identity: Keypair,
    pub(crate) identify: Option<Identify>,
    pub(crate) ping: Option<Ping>,
    #[cfg(feature = "bootstrap")]
    pub(crate) bootstrap: Option<p2p_bootstrap::Bootstrap>,
    #[cfg(feature = "mdns")]
    pub(crate) mdns: Option<p2p_mdns::Mdns>,
}

/// Why a host cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostListenError {
    /// The text is not an address.
    #[error("{text:?} is not an address such as /ip4/127.0.0.1/tcp/4001")]
    Addr {
        /// The text, cut to its first 64 characters.
        text: String,
        /// What the parser says.
        source: AddrError,
    },
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl Host {
    /// Starts to put a host together: TCP and QUIC, Noise, yamux and mplex, identify and ping.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// Our peer id.
    pub fn peer_id(&self) -> PeerId {
        self.swarm.local_peer()
    }

    /// Our key pair.
    pub fn identity(&self) -> &Keypair {
        &self.identity
    }

    /// Listens on `addr` (an address or its text) and returns where it can be reached, with our
    /// `/p2p/<id>`: the real port, and for an unspecified address that of the first interface;
    /// [`Host::listen_addrs`] has them all.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`HostListenError`].
    pub async fn listen(&self, addr: impl IntoAddr) -> Result<Multiaddr, HostListenError> {
        let addr = addr.into_addr()?;
        let fallback = addr.clone();
        let addrs = self.swarm.listen(addr).await?;
        Ok(addrs.into_iter().next().unwrap_or(fallback))
    }

    /// Where we can be reached, each address with our `/p2p/<id>`.
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.swarm.listen_addrs()
    }

    /// Answers incoming streams of `protocol` with `handler`: see [`Swarm::handle`].
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
        self.swarm.handle(protocol, handler)
    }

    /// A connection to `target`, a peer id or an address: one that exists, or the result of a
    /// dial. Dials to the same peer are joined.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`DialError`] lists every address with its cause.
    pub async fn dial(&self, target: impl IntoTarget) -> Result<Connection, DialError> {
        self.swarm.dial(target).await
    }

    /// Opens a stream for `protocol` to `target`, dialing if needed: see [`Swarm::open`].
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open<P>(&self, target: impl IntoTarget, protocol: P) -> Result<Stream, OpenError>
    where
        P: TryInto<Protocol, Error: Into<InvalidProtocol>>,
    {
        self.swarm.open(target, protocol).await
    }

    /// Asks `target` and waits for the answer: see [`RequestExt::request`].
    ///
    /// Cancel-safe in that a dropped call resets the stream.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request<Q: Sync, A: Send>(
        &self,
        target: impl IntoTarget + Send,
        call: &Call<Q, A>,
        question: &Q,
    ) -> Result<A, RequestError> {
        self.swarm.request(target, call, question).await
    }

    /// Answers every question of `call` with what `handler` makes of it: see
    /// [`RequestExt::answer`].
    ///
    /// # Errors
    /// [`HandleError::Taken`] if the protocol has a handler already.
    pub fn answer<Q, A, Answering>(
        &self,
        call: &Call<Q, A>,
        handler: impl Fn(Q, PeerId) -> Answering + Send + Sync + 'static,
    ) -> Result<(), HandleError>
    where
        Q: Send + 'static,
        A: Send + 'static,
        Answering: Future<Output = Result<A, Refusal>> + Send + 'static,
    {
        self.swarm.answer(call, handler)
    }

    /// What happens from now on. Bounded: a slow reader is told how much it missed. From the very
    /// first moment on: [`HostBuilder::build_with_events`](crate::HostBuilder::build_with_events).
    pub fn events(&self) -> Events {
        self.swarm.events()
    }

    /// The swarm below, for everything else.
    pub fn swarm(&self) -> &Swarm {
        &self.swarm
    }

    /// The identify service, unless the host was built without it.
    pub fn identify(&self) -> Option<&Identify> {
        self.identify.as_ref()
    }

    /// The ping service, unless the host was built without it.
    pub fn ping(&self) -> Option<&Ping> {
        self.ping.as_ref()
    }

    /// Who of the bootstrap list is there, if the host was built with one.
    #[cfg(feature = "bootstrap")]
    pub fn bootstrap(&self) -> Option<&p2p_bootstrap::Bootstrap> {
        self.bootstrap.as_ref()
    }

    /// Who is in the local network, if the host was built to look.
    #[cfg(feature = "mdns")]
    pub fn mdns(&self) -> Option<&p2p_mdns::Mdns> {
        self.mdns.as_ref()
    }

    /// Closes everything in order: see [`Swarm::close`].
    pub async fn close(&self) {
        self.swarm.close().await;
    }
}

#[cfg(feature = "pubsub")]
impl p2p_pubsub::Node for Host {
    fn swarm(&self) -> &Swarm {
        &self.swarm
    }

    fn identity(&self) -> &Keypair {
        &self.identity
    }

    fn records(&self) -> Option<p2p_pubsub::Records> {
        use futures::StreamExt as _;
        use p2p_identify::Event;

        let identify = self.identify.clone()?;
        let swarm = self.swarm.downgrade();
        let changes = identify.events().flat_map(move |event| {
            futures::stream::iter(match event {
                Event::Identified { info, .. } | Event::Updated { info, .. } => vec![info.peer],
                Event::Lagged(_) => {
                    let swarm = swarm.upgrade();
                    swarm.map(|swarm| swarm.peers()).unwrap_or_default()
                }
                Event::Failed { .. } | _ => Vec::new(),
            })
        });
        let record = move |peer: &PeerId| Some(identify.info(peer)?.signed_record?.envelope);
        Some(p2p_pubsub::Records::new(record, changes))
    }
}

/// An address, or the text of one.
pub trait IntoAddr {
    /// The address.
    ///
    /// # Errors
    /// [`HostListenError::Addr`].
    fn into_addr(self) -> Result<Multiaddr, HostListenError>;
}

impl IntoAddr for Multiaddr {
    fn into_addr(self) -> Result<Multiaddr, HostListenError> {
        Ok(self)
    }
}

impl IntoAddr for &Multiaddr {
    fn into_addr(self) -> Result<Multiaddr, HostListenError> {
        Ok(self.clone())
    }
}

impl IntoAddr for &str {
    fn into_addr(self) -> Result<Multiaddr, HostListenError> {
        self.parse().map_err(|source| HostListenError::Addr {
            text: self.chars().take(64).collect(),
            source,
        })
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host {}", self.peer_id())
    }
}
