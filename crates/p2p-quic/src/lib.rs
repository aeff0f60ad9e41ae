//! QUIC: `/ip4|ip6/<address>/udp/<port>/quic-v1`, with or without a `/p2p/<id>` behind.
//!
//! ```text
//!   dial(addr, expect) ──> [socket] ──> Link::Muxed: secured, multiplexed, after one round trip
//!   listen(addr)       ──> [socket] ──> accept(): one Incoming after the other
//!
//!   a socket             endpoint.rs   who gets what comes; receiver.rs, the task that receives
//!   a connection's       driver.rs     timers, events, datagrams to send
//!   what all see of it   connection.rs, account.rs (what it may make us hold), stream.rs
//!   its names            ids.rs, which only we can have made; renewal.rs, from what key
//! ```
//!
//! A host that listens dials from the same socket, so remotes and routers see one address of it
//! for both directions. The streams are QUIC's own: each ends, is reset and waits alone. The
//! certificates are those of `p2p-tls`. The protocol itself is quinn-proto's; sockets, time and
//! tasks are those of the [runtime](p2p_core::Runtime), real or simulated.
//!
//! What this crate does not do: 0-RTT, datagrams of applications, QUIC's draft 29 (`/quic`). It
//! sets no deadline for a handshake: the caller does.
//!
//! A debug assertion of quinn-proto 0.11.19 fails when a remote changes its address at the wrong
//! moment, and ends the task that drives its connection ([quinn#2658]). Builds without debug
//! assertions, such as `--release`, are not concerned. For others, in the manifest of a workspace:
//!
//! ```toml
//! [profile.dev.package.quinn-proto]
//! debug-assertions = false
//! ```
//!
//! [quinn#2658]: https://github.com/quinn-rs/quinn/issues/2658
//!
//! ```
//! use futures::future::try_join;
//! use p2p_core::{Link, Listener, Transport};
//! use p2p_keys::Keypair;
//! use p2p_quic::{Config, Quic};
//!
//! # p2p_runtime::block_on(async {
//! let rt = p2p_runtime::default_runtime();
//! let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
//! let dialer = Quic::new(rt.clone(), &alice, Config::default())?;
//! let server = Quic::new(rt, &bob, Config::default())?;
//! let mut listener = server.listen("/ip4/127.0.0.1/udp/0/quic-v1".parse()?).await?;
//!
//! let dial = dialer.dial(listener.addrs().remove(0), Some(bob.to_peer_id()));
//! let accept = async { Ok(listener.accept().await.expect("comes").link.await?) };
//! let (dialed, accepted) = try_join(dial, accept).await?;
//! let (Link::Muxed(at_alice), Link::Muxed(at_bob)) = (dialed.link, accepted) else {
//!     unreachable!("QUIC needs no upgrade");
//! };
//! assert_eq!(at_alice.peer, bob.to_peer_id());
//! assert_eq!(at_bob.peer, alice.to_peer_id());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Spec: libp2p/specs `quic/README.md`, `tls/tls.md`; RFC 9000, 9001, 9002.

mod account;
mod addr;
mod clock;
mod config;
mod connection;
mod driver;
mod endpoint;
mod error;
#[cfg(test)]
mod golden;
mod handshake;
mod ids;
mod listen;
mod receiver;
mod renewal;
mod stream;
mod tls;
mod transport;

pub use config::Config;
pub use error::{HandshakeError, SetupError};
pub use transport::Quic;
