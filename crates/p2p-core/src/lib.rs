//! The seams of the p2p stack.
//!
//! Every other crate of the workspace stands on this one and meets its neighbours only here:
//!
//! ```text
//!            Runtime (time, tasks, randomness, Net)        Gate (policy)
//!               |                                            |
//!   Transport --+--> Link::Raw(BoxIo) --> Security --> Multiplex --> Muxer --> BoxStream
//!               +--> Link::Muxed(Muxing) --------------------------^
//! ```
//!
//! - [`Runtime`] and [`Net`]: where time, tasks, randomness and sockets come from. Real
//!   (`p2p-runtime`) or simulated (`p2p-sim`).
//! - [`Transport`], [`Security`], [`Multiplex`] and [`Muxer`]: one trait for each step from an
//!   address to a stream. They are object safe: a swarm has no type parameters.
//! - [`Budget`] and [`Permit`]: everything that a remote can make us hold is paid for first.
//! - [`uvarint`] and [`frame`]: the strict integers and length prefixes of the wire.
//! - [`Blame`] and [`ErrorCode`]: whose fault an error is, and how to tell the remote.
//!
//! This crate decides nothing: no I/O of its own, no clock, no cryptography.

mod addr;
mod budget;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub mod frame;
mod gate;
#[cfg(any(test, feature = "conformance"))]
pub mod golden;
mod io;
mod muxer;
mod protocol;
mod runtime;
mod security;
#[cfg(test)]
mod texts;
mod time;
mod transport;
pub mod uvarint;

pub use addr::{AddrExt, Carrier};
pub use budget::{Budget, Exceeded, Permit};
pub use error::{Blame, Cause, Chain, ErrorCode};
pub use futures::future::BoxFuture;
pub use futures::io::{AsyncRead, AsyncWrite};
pub use gate::{AllowAll, Denied, Gate};
pub use io::{BoxIo, Io};
pub use multiaddr::{Multiaddr, PeerId};
pub use muxer::{
    BoxStream, ConnectionEnd, Multiplex, MuxedStream, Muxer, Muxing, OpenError, StreamReset,
};
pub use protocol::{InvalidProtocol, Protocol};
pub use runtime::{
    Datagram, Elapsed, Group, Interface, Net, Received, Rt, Runtime, TcpListener, TcpOptions,
    TcpStream, Timer, UdpOptions, UdpSocket, UnixListener,
};
pub use security::{Secured, Security, SecurityError};
pub use time::Instant;
pub use transport::{
    Dialed, Established, Incoming, Link, Listener, Role, Transport, TransportError,
};

/// The parts of a [`Multiaddr`] (`/ip4/…`, `/tcp/…`), re-exported to match on them.
pub mod multiaddr_parts {
    pub use multiaddr::{Error, Protocol as Part, multiaddr};
}
