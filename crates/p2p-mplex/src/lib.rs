//! The mplex stream multiplexer: deprecated, and still what some nodes speak.
//!
//! Many streams over one link, without flow control:
//!
//! ```text
//!   header │ payload │ header │ payload │ header │ …
//!   3, New │ (name)  │ 3, Msg │ 4 KiB   │ 3, Close
//! ```
//!
//! - [`Mplex`] is the [`Multiplex`] to give to a swarm, or to use on any link of your own.
//! - [`Session`] is the protocol alone: a state machine without I/O, clock or tasks.
//! - [`wire`] is the header.
//!
//! A stream that nobody reads fills a bounded queue, then a bounded overflow, then stops the
//! connection for at most five seconds, and is reset; [`Config`] says how much each is. A refused
//! stream is reset; the connection goes on.
//!
//! ```
//! use p2p_core::{Budget, Multiplex, Role, Rt};
//! use p2p_mplex::{Config, Mplex};
//!
//! fn multiplex(link: p2p_core::BoxIo, rt: &Rt) -> p2p_core::Muxing {
//!     let mut config = Config::default();
//!     config.max_inbound = 100;
//!     Mplex::new(config).start(link, Role::Dialer, rt, &Budget::unlimited())
//! }
//! ```
//!
//! Spec: libp2p/specs `mplex/README.md`.

mod config;
#[cfg(test)]
mod golden;
mod session;
pub mod wire;

use p2p_core::{BoxIo, Budget, Multiplex, Muxing, Protocol, Role, Rt};

pub use config::Config;
pub use session::Session;

/// The id of mplex in negotiation.
pub const PROTOCOL: Protocol = Protocol::from_static("/mplex/6.7.0");

/// Starts mplex sessions.
#[derive(Clone, Debug, Default)]
pub struct Mplex {
    config: Config,
}

impl Mplex {
    /// Mplex with these settings.
    pub fn new(config: Config) -> Self {
        Self { config }
    }
}

impl Multiplex for Mplex {
    fn protocol(&self) -> Protocol {
        PROTOCOL
    }

    fn start(&self, io: BoxIo, _: Role, rt: &Rt, budget: &Budget) -> Muxing {
        let session = Session::new(self.config.clone(), budget);
        p2p_mux::start(session, io, rt, budget, self.config.session.clone())
    }
}
