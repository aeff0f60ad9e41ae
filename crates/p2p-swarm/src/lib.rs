//! From addresses to streams: dials, listens, upgrades, keeps connections and peers.
//!
//! ```text
//!   dial ── race of addresses ──> link ──┐
//!                                        ├─ upgrade ──> connection ──> streams, one per protocol
//!   listen ── accept ───────────> link ──┘   (security, multiplexer)
//! ```
//!
//! A [`Swarm`] is a handle: clone it, send it to other threads, drop it. There is nothing to poll.
//! It owns connections and tasks; what is said on a stream is decided by handlers and by whoever
//! opened it.
//!
//! - A connection lives while a [`Connection`] or a [`Stream`] does, and an idle timeout after.
//! - Every wait has a deadline, every map a limit; both are fields of [`Config`].
//! - An application that does not read its events or streams slows nobody else.
//!
//! Specs: libp2p/specs `connections/README.md`, `connections/inlined-muxer-negotiation.md`.

mod book;
mod broadcast;
mod config;
mod connection;
mod dial;
mod error;
mod events;
mod handler;
mod listen;
mod share;
mod shared;
mod slots;
mod stream;
mod swarm;
mod tasks;
mod upgrade;
mod weak;

pub use broadcast::{Lag, Publisher, Subscription};
pub use config::Config;
pub use connection::{Connection, ConnectionId, ConnectionInfo, Timings};
pub use error::{
    Attempt, BuildError, Chain, DialError, HandleError, ListenError, OpenError, Step, UpgradeError,
};
pub use events::{Event, Events};
pub use handler::{Handler, HandlerOptions, Outcome};
pub use slots::Slot;
pub use stream::Stream;
pub use swarm::{Census, Swarm, SwarmBuilder, Target, WeakSwarm};
pub use weak::WeakConnection;
