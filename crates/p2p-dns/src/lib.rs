//! Names in addresses: `/dns`, `/dns4`, `/dns6` and `/dnsaddr`.
//!
//! ```text
//!   Dns (a transport) ── Resolver ──> addresses without names ──> the transports below
//!                           |
//!        cache ── UDP, then TCP to name servers; the system's resolver for plain host names
//! ```
//!
//! [`Resolver`] is useful alone; [`Dns`] is a [`p2p_core::Transport`] that dials what it finds.
//! QUIC comes first, then TCP, then WebSocket, as for addresses without names. Depth, questions,
//! addresses, dials and time are bounded, because somebody else's records decide where they lead
//! ([`Config`]). Every failure has its name ([`ResolveError`]).
//!
//! ```
//! use std::sync::Arc;
//! use p2p_core::Transport;
//! use p2p_dns::{Config, Dns};
//!
//! let rt = p2p_runtime::default_runtime();
//! let tcp = p2p_tcp::Tcp::new(rt.clone(), p2p_tcp::Config::default());
//! let dns = Dns::new(rt, Config::default(), vec![Arc::new(tcp)]);
//! assert!(dns.supports(&"/dns4/example.com/tcp/4001".parse()?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Spec: libp2p/specs `addressing/README.md`; multiformats/multiaddr `protocols/DNSADDR.md`.

mod cache;
mod client;
mod config;
mod error;
mod resolver;
mod servers;
mod transport;
mod wire;

pub use config::Config;
pub use error::{AllFailed, ResolveError};
pub use resolver::Resolver;
pub use transport::Dns;
