//! Unix sockets: `/unix/<absolute path>`, with or without a `/p2p/<id>` behind.
//!
//! ```text
//!   dial(addr)   ──> [path] ──> Link::Raw          secure it, multiplex it
//!   listen(addr) ──> [path] ──> accept(): one Incoming after the other
//!                      └─ what a process that was killed left there is taken away first
//! ```
//!
//! For processes of one machine: no port, no network, and the rights of the file say who may
//! connect. A path that ends in a slash is a directory in which a listener takes a free name, as
//! port 0 is a free port elsewhere. [`addr`] and [`parse`] make addresses: the parser of
//! [`Multiaddr`] knows no paths with slashes in them.
//!
//! Who dials has no path of its own: [`p2p_core::Incoming::remote`] is the listener's.
//!
//! ```
//! use p2p_core::{Listener, Transport};
//! use p2p_unix::{Config, Unix, addr};
//!
//! # p2p_runtime::block_on(async {
//! let unix = Unix::new(p2p_runtime::default_runtime(), Config::default());
//! let mut directory = std::env::temp_dir();
//! directory.push(""); // ends in a slash: any free name
//! let mut listener = unix.listen(addr(&directory)?).await?;
//! let to = listener.addrs().remove(0);
//! let (dialed, incoming) = futures::join!(unix.dial(to.clone(), None), listener.accept());
//! dialed?;
//! assert_eq!(incoming?.local, to);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Spec: multiformats/multiaddr `protocols.csv` (400, `unix`).

mod addr;
mod config;
mod listen;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use p2p_core::{BoxIo, Dialed, Link, Listener, Multiaddr, PeerId, Rt, Transport, TransportError};

pub use addr::{InvalidAddr, addr, parse};
pub use config::Config;

use addr::path_of;

/// From one try to connect to a listener with too many waiting connections to the next.
const RETRY: Duration = Duration::from_millis(20);

/// The transport of Unix sockets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Unix {
    rt: Rt,
    config: Config,
}

impl Unix {
    /// Uses the sockets of `rt`.
    pub fn new(rt: Rt, config: Config) -> Self {
        Self { rt, config }
    }

    /// As TCP does by itself, waits while the listener has no room.
    async fn connect(&self, path: &Path) -> io::Result<BoxIo> {
        loop {
            match self.rt.net().unix_connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.rt.sleep(RETRY).await;
                }
                done => return done,
            }
        }
    }

    async fn dial_addr(self, addr: Multiaddr) -> Result<Dialed, TransportError> {
        let path = supported(&addr)?;
        match self.connect(&path).await {
            Err(source) => Err(TransportError::Connect { addr, source }),
            Ok(io) => Ok(Dialed {
                link: Link::Raw(io),
                local: None,
            }),
        }
    }

    async fn listen_addr(self, addr: Multiaddr) -> Result<Box<dyn Listener>, TransportError> {
        let path = supported(&addr)?;
        match self.bind(path).await {
            Err(source) => Err(TransportError::Listen { addr, source }),
            Ok(listener) => Ok(Box::new(listener)),
        }
    }
}

impl Transport for Unix {
    fn supports(&self, addr: &Multiaddr) -> bool {
        path_of(addr).is_some()
    }

    fn dial(
        &self,
        addr: Multiaddr,
        _: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        self.clone().dial_addr(addr).boxed()
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        self.clone().listen_addr(addr).boxed()
    }
}

fn supported(addr: &Multiaddr) -> Result<PathBuf, TransportError> {
    path_of(addr).ok_or_else(|| TransportError::Unsupported { addr: addr.clone() })
}
