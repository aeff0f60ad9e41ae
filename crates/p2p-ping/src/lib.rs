//! Answers pings, measures round trips, and notices that a connection is dead.
//!
//! ```text
//!   dialer                          listener
//!     | 32 random bytes -----------> |
//!     | <----------- the same bytes  |     as often as the dialer likes
//!     | end of stream -------------> |
//! ```
//!
//! - [`ping`] and [`answer`] are the two ends of the exchange, over any byte stream.
//! - [`Liveness`] decides when to ping and when to give up. It is pure: time comes in as an
//!   argument, pings go out as values; [`drive`] connects it to a stream and a clock.
//! - [`Ping`] is the service of a [`Swarm`](p2p_swarm::Swarm): it answers, watches every
//!   connection, and pings on request.
//!
//! ```
//! use futures::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # futures::executor::block_on(async {
//! let (mut near, mut far) = p2p_memory::pipe(1024);
//! near.write_all(&[7; p2p_ping::SIZE]).await?;
//! near.close().await?;
//! assert_eq!(p2p_ping::answer(&mut far).await?, 1);
//! let mut echo = Vec::new();
//! near.read_to_end(&mut echo).await?;
//! assert_eq!(echo, [7; p2p_ping::SIZE]);
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```
//!
//! Wire format: libp2p/specs `ping/ping.md`. The schedule is our own.

mod config;
mod driver;
mod error;
mod events;
mod exchange;
mod liveness;
mod service;
mod wire;

pub use config::Config;
pub use driver::{Ended, drive};
pub use error::{EchoError, PingError};
pub use events::{Event, Events};
pub use exchange::{answer, ping};
pub use liveness::{Liveness, Output};
pub use service::{Ping, Pinger};
pub use wire::{PROTOCOL, Payload, SIZE};
