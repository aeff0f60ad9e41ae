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
//! - A connection lives while a [`Connection`], a [`Stream`] or a [`KeepAlive`] does, and an idle
//!   timeout after.
//! - Every wait has a deadline, every map a limit: fields of [`Config`] and [`Limits`]. A refusal
//!   names the limit and the setting, and a flood from one place keeps nobody else out.
//! - An application that does not read its events or streams slows nobody else: it is told how much
//!   it missed, and [`Swarm::snapshot`] has the rest.
//!
//! Features: `redb` keeps the address book in a file (`RedbStore`); `metrics` renders what happens
//! as OpenMetrics text.
//!
//! # What is logged
//!
//! With [`tracing`], at debug level unless something is wrong. Two spans say where an event
//! belongs:
//!
//! | span | from, to | fields |
//! |---|---|---|
//! | `connection` | ready for streams, ended | `peer`, `id` (the number of [`ConnectionId`]), `role` (`dialer`, `listener`), `remote` (its address) |
//! | `stream`, in its `connection` | opened, dropped | `direction` (`in`, `out`), `number` (the multiplexer's, if it has one), `protocol` (once it is known) |
//!
//! Handlers run in the span of their stream. For streams that we open, [`Stream::span`] is there to
//! be entered. Nobody who listens: no span is made.
//!
//! Specs: libp2p/specs `connections/README.md`, `connections/inlined-muxer-negotiation.md`.

mod admission;
mod admit;
mod backoff;
mod book;
mod broadcast;
mod builder;
mod config;
mod connection;
mod counted;
mod dial;
mod error;
mod events;
mod external;
mod gates;
#[cfg(test)]
mod golden;
mod handler;
mod info;
mod join;
mod limits;
mod listen;
mod manager;
#[cfg(feature = "metrics")]
pub mod metrics;
mod peers;
mod prefix;
mod rank;
mod reach;
#[cfg(feature = "redb")]
mod redb_store;
mod refusals;
mod schedule;
mod serve;
mod share;
mod shared;
mod slots;
mod snapshot;
mod stats;
mod store;
mod stream;
mod swarm;
mod target;
mod tasks;
mod trim;
mod upgrade;
mod weak;

pub use backoff::Backoff;
pub use book::{AddrSource, KnownAddr};
pub use broadcast::{Lag, Publisher, Subscription};
pub use builder::SwarmBuilder;
pub use config::Config;
pub use connection::Connection;
pub use error::{
    Attempt, BuildError, DialError, HandleError, ListenError, OpenError, Step, StreamError,
    UpgradeError,
};
pub use events::{Event, Events};
pub use gates::{GateList, Gates};
pub use handler::{Handler, HandlerOptions, Outcome};
pub use info::{ConnectionId, ConnectionInfo, Timings};
pub use limits::{LimitRow, Limits, PeerCost, Scope, Unit};
pub use p2p_core::Chain;
pub use peers::KeepAlive;
pub use prefix::{InvalidPrefix, IpPrefix};
pub use rank::rank_addrs;
pub use reach::Reach;
#[cfg(feature = "redb")]
pub use redb_store::{Opened, RedbStore};
pub use slots::Slot;
pub use snapshot::{ConnectionState, Snapshot, Usage};
pub use stats::{Histogram, Stats};
pub use store::{BookStore, Damaged, StoreError, StoredAddr, StoredPeer};
pub use stream::Stream;
pub use swarm::{Census, Swarm, WeakSwarm};
pub use target::{IntoTarget, InvalidTarget, Target};
pub use weak::WeakConnection;
