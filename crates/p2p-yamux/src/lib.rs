//! The yamux stream multiplexer.
//!
//! Many streams over one link, each with its own flow control:
//!
//! ```text
//!   12-byte header │ payload │ header │ header │ payload │ …
//!   stream 1, Data │ 4 KiB   │ credit │ 5, SYN │ 100 B   │
//! ```
//!
//! - [`Yamux`] is the [`Multiplex`] to give to a swarm, or to use on any link of your own.
//! - [`Session`] is the protocol alone: a state machine without I/O, clock or tasks.
//! - [`wire`] is the header.
//!
//! The remote never makes us hold more than it was granted: windows per stream, limits on streams
//! and their backlog, and one budget for all of it. A refused stream is reset; the connection
//! goes on.
//!
//! ```
//! use p2p_core::{Budget, Multiplex, Role, Rt};
//! use p2p_yamux::{Config, Yamux};
//!
//! fn multiplex(link: p2p_core::BoxIo, rt: &Rt) -> p2p_core::Muxing {
//!     let mut config = Config::default();
//!     config.max_inbound = 100;
//!     Yamux::new(config).start(link, Role::Dialer, rt, &Budget::unlimited())
//! }
//! ```
//!
//! Spec: libp2p/specs `yamux/README.md`.

mod config;
#[cfg(test)]
mod golden;
mod ping;
mod session;
mod windows;
pub mod wire;

use p2p_core::{BoxIo, Budget, Multiplex, Muxing, Protocol, Role, Rt};

pub use config::{Config, INITIAL_WINDOW};
pub use session::Session;

/// The id of yamux in negotiation.
pub const PROTOCOL: Protocol = Protocol::from_static("/yamux/1.0.0");

/// Starts yamux sessions.
#[derive(Clone, Debug, Default)]
pub struct Yamux {
    config: Config,
}

impl Yamux {
    /// Yamux with these settings.
    pub fn new(config: Config) -> Self {
        Self { config }
    }
}

impl Multiplex for Yamux {
    fn protocol(&self) -> Protocol {
        PROTOCOL
    }

    fn start(&self, io: BoxIo, role: Role, rt: &Rt, budget: &Budget) -> Muxing {
        let session = Session::new(self.config.clone(), role, budget, rt.now());
        p2p_mux::start(session, io, rt, budget, self.config.session.clone())
    }
}
