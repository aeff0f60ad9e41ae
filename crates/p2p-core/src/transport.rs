//! From an address to a link.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{Blame, BoxIo, Cause, Exceeded, Multiaddr, Muxing, PeerId, SecurityError};

/// Which end of a connection we are. Decides the roles of the handshake and the stream ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// We opened the connection: initiator, client.
    Dialer,
    /// The remote opened it: responder, server.
    Listener,
}

impl Role {
    /// The remote's role.
    pub fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dialer => "dialer",
            Self::Listener => "listener",
        })
    }
}

/// What a transport delivers.
pub enum Link {
    /// Bytes only: still to be secured and multiplexed.
    Raw(BoxIo),
    /// Secured and multiplexed by the transport itself, as QUIC is.
    Muxed(Established),
}

/// A secured and multiplexed connection.
pub struct Established {
    /// Who is at the other end, proven.
    pub peer: PeerId,
    /// The remote's public key as the key protobuf of the peer-id spec.
    pub public_key: Bytes,
    /// The streams.
    pub muxing: Muxing,
}

/// An outgoing connection.
pub struct Dialed {
    /// The connection.
    pub link: Link,
    /// Our end, where the transport knows it.
    pub local: Option<Multiaddr>,
}

/// An incoming connection.
pub struct Incoming {
    /// The remote's end, without `/p2p`.
    pub remote: Multiaddr,
    /// The listen address that it came in on, with our real IP address.
    pub local: Multiaddr,
    /// Completes the connection. Awaited apart from the listener, so that a slow remote delays
    /// nobody else.
    pub link: BoxFuture<'static, Result<Link, TransportError>>,
}

/// Makes connections of one kind: TCP, QUIC, in memory.
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Whether it can dial or listen on `addr` (with or without `/p2p/<id>` at its end).
    fn supports(&self, addr: &Multiaddr) -> bool;

    /// Whether its links still have to be secured and multiplexed. Default: true. A transport
    /// whose links are all [`Link::Muxed`] says no: a swarm of such needs nothing else.
    fn needs_upgrade(&self) -> bool {
        true
    }

    /// Connects to `addr`. `expect` is who should be there; only transports that secure their
    /// links themselves need it.
    ///
    /// The caller sets the deadline. Cancel-safe: dropping the future closes what was opened.
    fn dial(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>>;

    /// Listens on `addr`.
    ///
    /// Cancel-safe.
    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>>;
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn supports(&self, addr: &Multiaddr) -> bool {
        T::supports(self, addr)
    }

    fn needs_upgrade(&self) -> bool {
        T::needs_upgrade(self)
    }

    fn dial(
        &self,
        addr: Multiaddr,
        expect: Option<PeerId>,
    ) -> BoxFuture<'static, Result<Dialed, TransportError>> {
        T::dial(self, addr, expect)
    }

    fn listen(
        &self,
        addr: Multiaddr,
    ) -> BoxFuture<'static, Result<Box<dyn Listener>, TransportError>> {
        T::listen(self, addr)
    }
}

/// A listening socket. Dropping it closes it.
pub trait Listener: Send {
    /// Where it can be reached now: real ports, and unspecified addresses replaced by those of
    /// the interfaces.
    fn addrs(&self) -> Vec<Multiaddr>;

    /// The next connection.
    ///
    /// An error is about one connection or about resources, never about the listener: wait a
    /// little and call again. Cancel-safe: no connection is lost by dropping the future.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Incoming>>;

    /// What it refused by itself, before anybody could accept it: the limit and how often since
    /// this was last asked. Default: nothing.
    fn refusals(&mut self) -> Option<(Exceeded, u64)> {
        None
    }
}

/// Why a transport could not dial or listen. Nothing stays open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The socket could not be connected.
    #[error("cannot connect to {addr}")]
    Connect {
        /// The dialed address.
        addr: Multiaddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// A limit of ours.
    #[error(transparent)]
    Limit(#[from] Exceeded),
    /// The socket could not be bound.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address to listen on.
        addr: Multiaddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The transport's own handshake failed.
    #[error("handshake of the transport failed")]
    Handshake(#[source] Cause),
    /// The link could not be secured.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// No transport speaks this kind of address.
    #[error(
        "no transport for {addr}: the address is not complete, or its transport is not enabled"
    )]
    Unsupported {
        /// The address.
        addr: Multiaddr,
    },
}

impl TransportError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            // An address that no socket can connect to, such as port 0.
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                Blame::Us
            }
            Self::Connect { .. } => Blame::Network,
            Self::Limit(_) | Self::Listen { .. } | Self::Unsupported { .. } => Blame::Us,
            Self::Handshake(cause) => cause.blame(),
            Self::Security(error) => error.blame(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_blamed_on_whom_its_own_error_blames() {
        for blame in [Blame::Us, Blame::Remote, Blame::Network] {
            let handshake = TransportError::Handshake(Cause::new(blame, "no entropy"));
            assert_eq!(handshake.blame(), blame);
            let security = SecurityError::Protocol(Cause::new(blame, "no entropy"));
            assert_eq!(security.blame(), blame);
            assert_eq!(TransportError::from(security).blame(), blame);
        }
    }

    #[test]
    fn the_error_of_a_protocol_is_found_behind_its_cause() {
        let own: io::Error = io::ErrorKind::TimedOut.into();
        let handshake = TransportError::Handshake(Cause::new(Blame::Network, own));

        let source = std::error::Error::source(&handshake);
        let found = source.and_then(|source| source.downcast_ref::<io::Error>());
        assert!(found.is_some(), "{handshake:?}");
        let TransportError::Handshake(cause) = &handshake else {
            panic!("{handshake:?}");
        };
        assert!(cause.downcast_ref::<io::Error>().is_some());
    }

    #[test]
    fn an_address_that_cannot_be_connected_to_is_our_mistake() {
        let failed = |kind: io::ErrorKind| TransportError::Connect {
            addr: Multiaddr::empty(),
            source: kind.into(),
        };
        assert_eq!(failed(io::ErrorKind::InvalidInput).blame(), Blame::Us);
        assert_eq!(
            failed(io::ErrorKind::ConnectionRefused).blame(),
            Blame::Network
        );
    }
}
