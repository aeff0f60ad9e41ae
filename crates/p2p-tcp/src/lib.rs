//! TCP over IPv4 and IPv6: `/ip4|ip6/<address>/tcp/<port>`, with or without a `/p2p/<id>` behind.
//!
//! ```text
//!   dial(addr)   ──> [socket] ──> Link::Raw          secure it, multiplex it
//!   listen(addr) ──> addrs(): real ports, real interface addresses
//!                └─> accept(): one Incoming after the other, come what may
//! ```
//!
//! Names are resolved before: `/dns4/…` is another transport's. Deadlines are the caller's.
//!
//! ```
//! use p2p_core::{Listener, Transport};
//! use p2p_tcp::{Config, Tcp};
//!
//! # p2p_runtime::block_on(async {
//! let tcp = Tcp::new(p2p_runtime::default_runtime(), Config::default());
//! let mut listener = tcp.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap()).await?;
//! let addr = listener.addrs().remove(0);
//! let (dialed, incoming) = futures::join!(tcp.dial(addr, None), listener.accept());
//! assert_eq!(dialed?.local, Some(incoming.unwrap().remote));
//! # Ok::<(), p2p_core::TransportError>(())
//! # }).unwrap();
//! ```

mod config;
mod dial;
mod listen;

use std::net::SocketAddr;

use futures::future::{BoxFuture, FutureExt};
use p2p_core::{
    AddrExt, Dialed, Listener, Multiaddr, PeerId, Rt, TcpOptions, Transport, TransportError,
};

pub use config::Config;

use listen::ListeningPorts;

/// The TCP transport. Cheap to clone; clones know each other's listening ports.
#[derive(Clone, Debug)]
pub struct Tcp {
    rt: Rt,
    config: Config,
    ports: ListeningPorts,
}

impl Tcp {
    /// Uses the sockets of `rt`.
    pub fn new(rt: Rt, config: Config) -> Self {
        Self {
            rt,
            config,
            ports: ListeningPorts::default(),
        }
    }

    fn options(&self) -> TcpOptions {
        let mut options = TcpOptions::default();
        options.nodelay = self.config.nodelay;
        options.backlog = self.config.backlog;
        options.multipath = self.config.multipath;
        options
    }
}

impl Transport for Tcp {
    fn supports(&self, addr: &Multiaddr) -> bool {
        addr.tcp_socket().is_some()
    }

    fn dial(
        &self,
        addr: Multiaddr,
        _: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        let tcp = self.clone();
        async move { tcp.dial_addr(addr).await }.boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        let tcp = self.clone();
        async move { tcp.listen_on(addr) }.boxed()
    }
}

/// Where `addr` points. IPv4 written as IPv6 becomes IPv4: our IPv6 sockets carry IPv6 only.
fn socket_addr(addr: &Multiaddr) -> Result<SocketAddr, TransportError> {
    match addr.tcp_socket() {
        Some(socket) => Ok(SocketAddr::new(socket.ip().to_canonical(), socket.port())),
        None => Err(TransportError::Unsupported { addr: addr.clone() }),
    }
}
