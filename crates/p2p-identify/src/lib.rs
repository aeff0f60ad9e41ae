//! Tells peers who we are, and learns who they are.
//!
//! ```text
//!   /ipfs/id/1.0.0         asker: opens, ends its side, reads      answerer: message, end
//!   /ipfs/id/push/1.0.0    pusher: opens, message, end             receiver: reads
//!
//!   message: public key, listen addresses, protocols, observed address, versions, signed record
//! ```
//!
//! - [`request`] asks over any byte stream; [`receive`] and [`Announcement`] are the two halves
//!   of a message, without I/O of their own beyond one stream.
//! - [`Identify`] is the service of a [`Swarm`](p2p_swarm::Swarm): it answers, asks on every new
//!   connection beside whatever else happens there, fills the swarm's address book, and pushes
//!   when listen addresses or protocols change. It never closes a connection.
//!
//! What a remote says is bounded before it is stored ([`Limits`]), must name the key that the
//! connection was secured with, and is believed about itself only.
//!
//! Spec: libp2p/specs `identify/README.md`; peer records: RFC 0002 and 0003.

mod announcement;
mod config;
mod error;
mod events;
mod exchange;
#[cfg(test)]
mod golden;
mod info;
mod proto;
mod push;
mod rate;
mod service;
mod state;

pub use announcement::{Announcement, MAX_SENT};
pub use config::{Config, Limits};
pub use error::{IdentifyError, SetupError};
pub use events::{Event, Events};
pub use exchange::{receive, request, send};
pub use info::{IdentifyInfo, SignedRecord};
pub use proto::{DecodeError, Told};
pub use service::Identify;

use p2p_core::Protocol;

/// The protocol for asking.
pub const PROTOCOL: Protocol = Protocol::from_static("/ipfs/id/1.0.0");
/// The protocol for telling unasked.
pub const PUSH_PROTOCOL: Protocol = Protocol::from_static("/ipfs/id/push/1.0.0");
