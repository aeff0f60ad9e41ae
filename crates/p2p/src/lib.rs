//! libp2p for Rust: hosts that find, dial and secure each other and speak protocols over streams.
//!
//! ```
//! use futures::{AsyncReadExt, AsyncWriteExt, io};
//! use p2p::Host;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! p2p::block_on(async {
//!     let server = Host::builder().build().await?;
//!     server.handle("/echo/1.0.0", |stream| async move {
//!         let (reader, mut writer) = stream.split();
//!         io::copy(reader, &mut writer).await?;
//!         writer.close().await
//!     })?;
//!     let addr = server.listen("/ip4/127.0.0.1/tcp/0").await?;
//!
//!     let client = Host::builder().build().await?;
//!     let mut stream = client.open(addr, "/echo/1.0.0").await?;
//!     stream.write_all(b"hello").await?;
//!     stream.close().await?;
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer).await?;
//!     assert_eq!(answer, "hello");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! A [`Host`] is a handle without type parameters: clone it, send it to other threads, drop it;
//! there is nothing to poll. Its parts are crates of their own that can be used alone; they are
//! re-exported here as modules.

mod builder;
mod host;
mod presets;

pub use builder::{HostBuilder, HostError, Multiplexer, SecureChannel};
pub use host::{Host, HostListenError, IntoAddr};

pub use p2p_core::{
    AddrExt, Blame, ConnectionEnd, ErrorCode, Multiaddr, PeerId, Protocol, Rt, StreamReset,
};
pub use p2p_identify::{Identify, IdentifyInfo};
pub use p2p_keys::{KeyType, Keypair, PublicKey};
pub use p2p_perf::Perf;
pub use p2p_ping::Ping;
pub use p2p_request::{Call, Refusal, RequestError};
pub use p2p_swarm::{
    Chain, Config, Connection, ConnectionId, ConnectionInfo, DialError, Event, Events, HandleError,
    HandlerOptions, IntoTarget, InvalidTarget, Limits, ListenError, OpenError, Stream, Swarm,
    Target, WeakSwarm,
};

pub use {
    p2p_core as core, p2p_identify as identify, p2p_keys as keys, p2p_memory as memory,
    p2p_mplex as mplex, p2p_multistream as multistream, p2p_noise as noise, p2p_perf as perf,
    p2p_ping as ping, p2p_plaintext as plaintext, p2p_request as request, p2p_runtime as runtime,
    p2p_swarm as swarm, p2p_tcp as tcp, p2p_yamux as yamux,
};

#[cfg(feature = "pubsub")]
pub use {
    p2p_pubsub as pubsub,
    p2p_pubsub::{GossipConfig, Pubsub},
};

#[cfg(feature = "bootstrap")]
pub use p2p_bootstrap as bootstrap;
#[cfg(feature = "dns")]
pub use p2p_dns as dns;
#[cfg(feature = "mdns")]
pub use p2p_mdns as mdns;
#[cfg(feature = "pnet")]
pub use p2p_pnet as pnet;
#[cfg(feature = "quic")]
pub use p2p_quic as quic;
#[cfg(feature = "socks")]
pub use p2p_socks as socks;
#[cfg(feature = "tls")]
pub use p2p_tls as tls;
#[cfg(feature = "unix")]
pub use p2p_unix as unix;
#[cfg(feature = "websocket")]
pub use p2p_websocket as websocket;

#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
pub use p2p_runtime::block_on;

/// The runtime of a host that was given none.
#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
pub(crate) fn default_runtime() -> Option<Rt> {
    Some(p2p_runtime::default_runtime())
}

/// The runtime of a host that was given none.
#[cfg(not(any(feature = "async-std", feature = "smol", feature = "tokio")))]
pub(crate) fn default_runtime() -> Option<Rt> {
    None
}

/// The examples of the README, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
