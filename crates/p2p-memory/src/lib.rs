//! Connections within one process: a bounded pipe, and the `/memory/<number>` transport on it.
//!
//! ```text
//!   Memory (dial, listen) ──> Hub: number -> backlog of a listener
//!                              each connection: two ends of a pipe
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

mod pipe;

pub use pipe::{Pipe, pipe};
