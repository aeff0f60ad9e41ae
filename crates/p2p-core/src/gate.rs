//! Policy: who may be dialed and who may connect.

use std::fmt;
use std::sync::Arc;

use crate::{Multiaddr, PeerId, Role};

/// A gate said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("denied by policy: {reason}")]
pub struct Denied {
    /// The gate's own words, for the log and the error.
    pub reason: String,
}

/// Policy hooks of a swarm. Called synchronously, often, and before any work is done: decide
/// quickly and do not block. Everything is allowed by default.
pub trait Gate: Send + Sync + fmt::Debug + 'static {
    /// Before an address is dialed. `peer` is who is expected there, if known.
    ///
    /// # Errors
    /// [`Denied`]: the address is not dialed.
    fn dial(&self, peer: Option<&PeerId>, addr: &Multiaddr) -> Result<(), Denied> {
        let _ = (peer, addr);
        Ok(())
    }

    /// After a connection came in, before a byte is read from it.
    ///
    /// # Errors
    /// [`Denied`]: the connection is dropped.
    fn accept(&self, remote: &Multiaddr) -> Result<(), Denied> {
        let _ = remote;
        Ok(())
    }

    /// After the remote proved who it is.
    ///
    /// # Errors
    /// [`Denied`]: the connection is closed with [`ErrorCode::GATED`](crate::ErrorCode::GATED).
    fn secured(&self, peer: &PeerId, addr: &Multiaddr, role: Role) -> Result<(), Denied> {
        let _ = (peer, addr, role);
        Ok(())
    }
}

impl<G: Gate + ?Sized> Gate for Arc<G> {
    fn dial(&self, peer: Option<&PeerId>, addr: &Multiaddr) -> Result<(), Denied> {
        G::dial(self, peer, addr)
    }

    fn accept(&self, remote: &Multiaddr) -> Result<(), Denied> {
        G::accept(self, remote)
    }

    fn secured(&self, peer: &PeerId, addr: &Multiaddr, role: Role) -> Result<(), Denied> {
        G::secured(self, peer, addr, role)
    }
}

/// The default [`Gate`]: lets everybody through.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Gate for AllowAll {}
