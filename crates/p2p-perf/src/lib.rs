//! The perf protocol: how fast bytes move to and from a peer.
//!
//! ```text
//!   client                                         server
//!     how much to send back (8 bytes) ─────────────►
//!     the upload, then the end of its side ────────►  reads everything
//!     ◄──────────────── as many bytes as were asked for, then the end
//! ```
//!
//! - [`Perf`] answers, and measures, on a swarm. A host does not run it unless it is told to:
//!   whoever may ask can make it send.
//! - [`exchange`] is one measurement over any stream, and [`serve`] the answer to one.
//!
//! Some test suites put 16 bytes in front, the upload's length too: [`Form::Both`] speaks that.
//!
//! Spec: libp2p/specs `perf/perf.md`.

mod config;
mod error;
mod exchange;
mod service;
mod wire;

pub use config::Config;
pub use error::PerfError;
pub use exchange::{Pace, Step, exchange, serve};
pub use service::{Perf, Report};
pub use wire::{Form, PROTOCOL, Plan};
