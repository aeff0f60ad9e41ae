//! Finds the peers of the local network: multicast DNS as libp2p uses it.
//!
//! ```text
//!   interface, IPv4 ── socket ── Discovery ──┐
//!   interface, IPv6 ── socket ── Discovery ──┼──> Mdns: events, addresses for the swarm
//!   another one ...                         ─┘
//! ```
//!
//! - [`Mdns`] is a service of a swarm: it tells the link who we are, and the swarm who is there.
//! - [`Discovery`] is the machine of one link, without sockets and clock; [`wire`] its packets.
//!
//! Everybody on the link is heard, nobody from elsewhere, and nobody is believed: whether a peer is
//! at an address shows when it is dialed. What the link can make us hold is bounded ([`Config`]).
//! In the swarm's address book its word counts least, for as long as the link repeats it.
//!
//! Addresses are IP addresses, without a relay: no names, and no sockets of this machine. Questions
//! are answered to the whole group, also those that ask for an answer to themselves alone.
//!
//! ```
//! use p2p_core::Instant;
//! use p2p_mdns::{Config, Discovery, Output};
//!
//! # let peer = |n| p2p_keys::Keypair::ed25519_from_seed([n; 32]).to_peer_id();
//! let start = Instant::ZERO;
//! let mut alice = Discovery::new(peer(1), Config::default(), [1; 32], start);
//! let mut bob = Discovery::new(peer(2), Config::default(), [2; 32], start);
//! bob.set_addrs(["/ip4/10.0.0.2/udp/4001/quic-v1".parse().unwrap()], start);
//!
//! // Time passes; bob tells the link where he is.
//! let now = bob.poll_timeout() + std::time::Duration::from_millis(200);
//! bob.handle_timeout(now);
//! while let Some(Output::Send(packet)) = bob.poll_output() {
//!     alice.handle_packet(&packet, now);
//! }
//! let (found, addrs) = alice.peers().next().expect("bob");
//! assert_eq!((*found, addrs.len()), (peer(2), 1));
//! ```
//!
//! Spec: libp2p/specs `discovery/mdns.md`; RFC 6762, RFC 6763.

mod config;
mod dials;
mod discovery;
mod error;
mod service;
pub mod wire;

pub use config::Config;
pub use discovery::{Discovery, Output};
pub use error::SetupError;
pub use service::{Event, Events, Mdns};
