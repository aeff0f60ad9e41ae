//! The transport: which socket serves whom.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::future::{BoxFuture, FutureExt};
use p2p_core::{Dialed, Link, Listener, Multiaddr, PeerId, Rt, Transport, TransportError};
use p2p_keys::Keypair;
use p2p_tls::Credentials;
use quinn_proto::{ServerConfig, TransportConfig};

use crate::Config;
use crate::addr::{multiaddr, reaches, socket_addr};
use crate::endpoint::{Attached, Freed};
use crate::error::SetupError;
use crate::handshake::establish;
use crate::listen::Listening;
use crate::renewal::Renewal;
use crate::tls::{Identity, explain};

/// The QUIC transport. Cheap to clone; clones share their sockets.
#[derive(Clone)]
pub struct Quic(Arc<Inner>);

struct Inner {
    rt: Rt,
    config: Arc<Config>,
    identity: Identity,
    renewal: Renewal,
    transport: Arc<TransportConfig>,
    server: Arc<ServerConfig>,
    /// All sockets that are open. Listeners and connections own them.
    sockets: Mutex<Vec<Socket>>,
}

struct Socket {
    attached: Weak<Attached>,
    at: SocketAddr,
    freed: Freed,
}

impl Quic {
    /// Uses the sockets of `rt` and proves that it is `identity`.
    ///
    /// # Errors
    /// [`SetupError`] if no certificate can be made for `identity`, or a setting is out of range.
    pub fn new(rt: Rt, identity: &Keypair, config: Config) -> Result<Self, SetupError> {
        let credentials = Credentials::with_runtime(identity, rt.clone())?;
        Self::with_credentials(rt, identity, credentials, config)
    }

    /// Uses the sockets of `rt` and shows the certificate of `credentials`.
    ///
    /// # Errors
    /// [`SetupError`] if a setting is out of range.
    pub fn with_credentials(
        rt: Rt,
        identity: &Keypair,
        credentials: Credentials,
        config: Config,
    ) -> Result<Self, SetupError> {
        let transport = config.transport()?;
        let renewal = Renewal::new(identity);
        let identity = Identity::new(credentials);
        let server = identity.server(&rt, &transport, &config)?;
        Ok(Self(Arc::new(Inner {
            rt,
            config: Arc::new(config),
            identity,
            renewal,
            transport,
            server,
            sockets: Mutex::default(),
        })))
    }

    async fn dial_addr(
        self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> Result<Dialed, TransportError> {
        let to = supported(&addr)?;
        let refuse = |source| TransportError::Connect {
            addr: addr.clone(),
            source,
        };
        check_destination(to).map_err(refuse)?;
        let socket = self.0.socket_to(to).map_err(refuse)?;
        let (client, verdict) = self
            .0
            .identity
            .client(&self.0.rt, &self.0.transport, expect)
            .map_err(|error| refuse(io::Error::other(error)))?;
        let driver = socket
            .connect(client, to)
            .map_err(|error| refuse(io::Error::other(error)))?;
        let shared = driver.shared.clone();
        let established = match establish(driver, expect).await {
            Err(TransportError::Connect { source, .. }) => return Err(refuse(source)),
            Err(error) => return Err(explain(error, &verdict)),
            Ok(established) => established,
        };
        let at = socket.at;
        let ip = shared.with(|state| state.quic.local_ip());
        let local = ip.unwrap_or_else(|| at.ip());
        let local = Some(SocketAddr::new(local, at.port()));
        Ok(Dialed {
            link: Link::Muxed(established),
            local: local
                .filter(|local| !local.ip().is_unspecified())
                .map(multiaddr),
        })
    }

    async fn listen_on(self, addr: Multiaddr) -> Result<Box<dyn Listener>, TransportError> {
        let at = supported(&addr)?;
        loop {
            let given_up = self.0.given_up(at.port());
            let listening = self.0.listen(at).and_then(|socket| {
                let (identity, server) = (self.0.identity.clone(), self.0.server.clone());
                Listening::new(socket, identity, server)
            });
            match (listening, given_up) {
                (Ok(listener), _) => return Ok(Box::new(listener)),
                (Err(error), Some(freed)) if error.kind() == io::ErrorKind::AddrInUse => {
                    freed.await;
                }
                (Err(source), _) => return Err(TransportError::Listen { addr, source }),
            }
        }
    }
}

impl Inner {
    /// The socket to dial `to` from: one that listens, or else one that dialed before, or else a
    /// new one.
    fn socket_to(&self, to: SocketAddr) -> io::Result<Arc<Attached>> {
        let mut sockets = self.lock();
        let mut dialing = None;
        for socket in alive(&mut sockets) {
            if !reaches(socket.at, to.ip()) {
                continue;
            }
            if socket.listens() {
                return Ok(socket);
            }
            dialing.get_or_insert(socket);
        }
        if let Some(socket) = dialing {
            return Ok(socket);
        }
        let any = match to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        self.bind(&mut sockets, any, None)
    }

    /// A socket that listens at `at`: a new one, or one that is there for its connections only.
    fn listen(&self, at: SocketAddr) -> io::Result<Arc<Attached>> {
        let mut sockets = self.lock();
        let server = self.server.clone();
        let known = alive(&mut sockets)
            .into_iter()
            .find(|socket| socket.at == at);
        if let Some(socket) = known {
            if socket.listens() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            socket.listen_again(server);
            return Ok(socket);
        }
        self.bind(&mut sockets, at, Some(server))
    }

    fn bind(
        &self,
        sockets: &mut Vec<Socket>,
        at: SocketAddr,
        server: Option<Arc<ServerConfig>>,
    ) -> io::Result<Arc<Attached>> {
        let (attached, freed) = Attached::bind(&self.rt, &self.config, &self.renewal, at, server)?;
        sockets.push(Socket {
            attached: Arc::downgrade(&attached),
            at: attached.at,
            freed,
        });
        Ok(attached)
    }

    /// Resolves when a socket at `port` that nobody needs any more is free; `None` if there is
    /// none.
    fn given_up(&self, port: u16) -> Option<Freed> {
        let sockets = self.lock();
        let mut given_up = sockets
            .iter()
            .filter(|socket| socket.at.port() == port && socket.attached.strong_count() == 0);
        given_up.next().map(|socket| socket.freed.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Socket>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Quic {
    fn supports(&self, addr: &Multiaddr) -> bool {
        socket_addr(addr).is_some()
    }

    fn needs_upgrade(&self) -> bool {
        false
    }

    fn dial(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        self.clone().dial_addr(addr, expect).boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        self.clone().listen_on(addr).boxed()
    }
}

impl fmt::Debug for Quic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quic")
            .field("rt", &self.0.rt)
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

/// The sockets that are still used; those that are free are forgotten.
fn alive(sockets: &mut Vec<Socket>) -> Vec<Arc<Attached>> {
    sockets.retain(|socket| socket.freed.clone().now_or_never().is_none());
    let attached = sockets.iter().map(|socket| &socket.attached);
    attached.filter_map(Weak::upgrade).collect()
}

fn supported(addr: &Multiaddr) -> Result<SocketAddr, TransportError> {
    socket_addr(addr).ok_or_else(|| TransportError::Unsupported { addr: addr.clone() })
}

/// Refuses what no datagram can be sent to.
fn check_destination(to: SocketAddr) -> io::Result<()> {
    let fault = if to.ip().is_unspecified() {
        "an unspecified address is for listening only"
    } else if to.port() == 0 {
        "port 0 is for listening only"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, fault))
}
