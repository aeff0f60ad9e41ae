//! Time, tasks, randomness and sockets on a real runtime: the only crate that names one.
//!
//! ```text
//!              p2p_core::{Runtime, Net, Timer, TcpStream, TcpListener, UdpSocket}
//!                 ^                    ^                     ^
//!              AsyncStd              Smol                  Tokio         one file each
//!                 +---- reactor.rs ----+                     |           sockets of async-io
//!                 +---------- clock, timer, socket, names ---+           the same for all
//! ```
//!
//! | feature | provider | |
//! |---|---|---|
//! | `async-std` (default) | `AsyncStd` | its executor is discontinued upstream; smol is the same machinery, still kept |
//! | `smol` | `Smol` | |
//! | `tokio` | `Tokio` | the fastest with several threads |
//!
//! Everything else takes an [`Rt`](p2p_core::Rt) and cannot tell them apart:
//!
//! ```
//! use std::time::Duration;
//!
//! # #[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
//! p2p_runtime::block_on(async {
//!     let rt = p2p_runtime::default_runtime();
//!     let before = rt.now();
//!     rt.sleep(Duration::from_millis(5)).await;
//!     assert!(rt.now() >= before + Duration::from_millis(5));
//! });
//! ```
//!
//! # How many threads
//!
//! async-std starts a thread for each core, and its executor wakes a sleeping *other* thread for
//! almost every event. On two idle cores, medians of 7 runs with 128-byte messages over loopback
//! TCP:
//!
//! | | async-std, 2 threads | async-std, 1 thread | smol, 1 thread | tokio, 2 threads |
//! |---|--:|--:|--:|--:|
//! | round trips a second, 1 connection | 20,967 | 147,023 | 158,468 | 230,848 |
//! | … 64 connections | 174 k | 221 k | 236 k | 256 k |
//! | … 1000 connections | 172 k | 163 k | 168 k | 263 k |
//! | CPU of one round trip, 1 connection | 42.7 µs | 6.7 µs | 6.3 µs | 4.3 µs |
//! | bulk, 64 KiB writes | 1608 MiB/s | 2604 MiB/s | 2682 MiB/s | 2351 MiB/s |
//!
//! So a small node on async-std runs best with one thread: `AsyncStd::with_threads` before
//! anything else uses async-std, or `ASYNC_STD_THREAD_COUNT=1` in its environment. A node whose
//! cryptography fills more than one core needs more threads; tokio uses them best.

#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod clock;
#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod datagram;
#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod default;
#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod entropy;
#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod names;
#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod socket;
#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
mod timer;

#[cfg(feature = "async-std")]
mod async_std;
#[cfg(any(feature = "async-std", feature = "smol"))]
mod reactor;
#[cfg(any(feature = "async-std", feature = "smol"))]
mod readiness;
#[cfg(feature = "smol")]
mod smol;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "async-std")]
pub use async_std::AsyncStd;
#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
pub use default::{block_on, default_runtime};
#[cfg(feature = "smol")]
pub use smol::Smol;
#[cfg(feature = "tokio")]
pub use tokio::Tokio;
