//! Dialing through a SOCKS5 proxy, such as that of Tor.
//!
//! ```text
//!   dial(/ip4/… | /dns/… | /onion3/… ) ──> proxy ──> there
//!   greeting, [user and password], CONNECT                Link::Raw
//! ```
//!
//! Names are sent to the proxy as they are: nothing is asked of a name server here, which would
//! tell it whom we meet. It listens only with another transport's sockets
//! ([`Socks5::listen_with`]), and it does not say where we are ([`Dialed::local`] is `None`): with
//! [`p2p-identify`'s](https://docs.rs/p2p-identify) `private` no address of ours is told at all.
//!
//! In a swarm nothing else may dial what this one supports, or it goes around the proxy:
//! `HostBuilder::socks5` of the [facade](https://docs.rs/p2p) sees to all of this.
//!
//! The deadline is the caller's.
//!
//! ```
//! use p2p_core::Transport;
//! use p2p_socks::{Config, Socks5};
//!
//! let rt = p2p_runtime::default_runtime();
//! let tor = Socks5::new(rt, Config::new("127.0.0.1:9050".parse()?));
//! assert!(tor.supports(&"/dns4/example.com/tcp/4001".parse()?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Spec: RFC 1928, RFC 1929.

mod error;
mod exchange;
mod transport;

pub use error::{Refused, SocksError};
pub use exchange::{Destination, connect};
pub use transport::{Config, Login, Socks5};

#[cfg(doc)]
use p2p_core::Dialed;
