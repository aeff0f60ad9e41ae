//! WebSocket as a transport: `/ws`, and `/wss` or `/tls/ws` over the TLS of the web.
//!
//! ```text
//!   /ip4/…/tcp/443 /tls/sni/example.com /ws
//!   `--- below --' `------- TLS ------' `- HTTP upgrade, then binary messages
//! ```
//!
//! For networks that let only the web through, and for browsers. The TLS here proves the name of
//! a server and is not the secure channel of libp2p: the link that comes out is still
//! [`Link::Raw`](p2p_core::Link::Raw), to be secured as any other. It is TLS 1.3 in both roles, never
//! 1.2. Messages are never compressed.
//! Names are resolved before: `p2p-dns` turns `/dns4/example.com/tcp/443/wss` into the form above.
//!
//! A WebSocket cannot end in one direction alone: after a `close` the remote cannot write either.
//!
//! ```
//! use p2p_core::{Listener, Transport};
//! use p2p_websocket::{Config, WebSocket};
//!
//! # p2p_runtime::block_on(async {
//! let tcp = p2p_tcp::Tcp::new(p2p_runtime::default_runtime(), p2p_tcp::Config::default());
//! let ws = WebSocket::new(tcp, Config::default())?;
//! let mut listener = ws.listen("/ip4/127.0.0.1/tcp/0/ws".parse()?).await?;
//! let addr = listener.addrs().remove(0);
//! let (dialed, link) = futures::future::try_join(ws.dial(addr, None), async {
//!     listener.accept().await.unwrap().link.await
//! })
//! .await?;
//! # drop((dialed, link));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Spec: RFC 6455; libp2p/specs `websockets/README.md`.

mod addr;
mod config;
mod error;
mod stream;
mod transport;

pub use config::{Config, PemError, PemFault, ServerCertificate};
pub use error::{HandshakeError, SetupError};
pub use transport::WebSocket;
