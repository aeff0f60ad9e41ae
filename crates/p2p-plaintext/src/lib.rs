//! plaintext 2.0: both ends say who they are, and neither proves it.
//!
//! # For tests only
//!
//! **Nothing here is secret, and nobody is who they say.** Anyone on the path reads and changes
//! everything, and anyone at all can claim any peer id. Use it to look at what goes over the
//! wire, or to measure what encryption costs, between processes that you started yourself.
//! **Never enable it beside a real secure channel**: whoever sits on the path could make both ends
//! agree on this one.
//!
//! ```text
//!   dialer                             listener
//!     | --- id, public key -----------> |     both at once
//!     | <-- id, public key ------------ |
//!     | <========= bytes =============> |
//! ```
//!
//! [`Plaintext`] is a [`p2p_core::Security`]; [`Plaintext::exchange`] works on any stream alone. It
//! checks that the remote's id is the hash of its key, and that it is the expected one: that
//! catches mistakes, not attacks.
//!
//! Spec: libp2p/specs `plaintext/README.md`.

mod config;
mod error;
mod exchange;
mod proto;

pub use config::Config;
pub use error::PlaintextError;
pub use exchange::{Exchanged, PROTOCOL, Plaintext};
