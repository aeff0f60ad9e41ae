//! Connections within one process: a bounded pipe, and the `/memory/<number>` transport on it.
//!
//! ```text
//!   Memory::dial ──> Hub: number -> backlog ──> Listener::accept
//!        |                                          |
//!      Pipe  ═══════ two lanes of bytes ════════  Pipe
//! ```
//!
//! [`pipe`] is useful alone, as the link of a test or a benchmark:
//!
//! ```
//! use futures::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # futures::executor::block_on(async {
//! let (mut near, mut far) = p2p_memory::pipe(1024);
//! near.write_all(b"hello").await?;
//! near.close().await?;
//! let mut text = String::new();
//! far.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello");
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```
//!
//! Nothing here needs a runtime, and everything is bounded: the bytes under way on a connection
//! and the connections that wait for a listener ([`Config`]).

mod config;
mod hub;
mod pipe;
mod transport;

pub use config::Config;
pub use hub::Hub;
pub use pipe::{Pipe, pipe};
pub use transport::Memory;
