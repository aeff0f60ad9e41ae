//! Peers that a node knows from the start: dialed at once, kept connected, dialed again.
//!
//! ```text
//!            dial                     ok                      connection over
//!   Waiting ──────> Dialing ──────────────────> Connected ───────────────────> Waiting (soon)
//!      ^               │ failed: wait longer
//!      └───────────────┘
//! ```
//!
//! [`Bootstrap`] keeps the peers of a [`List`] connected, or [`Config::min_connected`] of them and
//! tries the others only when it must. Each peer has a wait of its own that doubles with every
//! failure; a connection that did not last is one. A list with nonsense in it is refused as a
//! whole, and says which line is wrong.
//!
//! ```
//! use p2p_bootstrap::List;
//!
//! let list: List = "\
//! ## Two addresses of one peer
//! /dns4/one.example/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN
//! /ip4/192.0.2.1/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN
//! ".parse()?;
//! assert_eq!(list.peers().count(), 1);
//!
//! let wrong = "/ip4/192.0.2.1/tcp/4001".parse::<List>().unwrap_err();
//! assert_eq!(wrong.to_string(), "line 1: \"/ip4/192.0.2.1/tcp/4001\" does not end in /p2p/<peer id>");
//! # Ok::<(), p2p_bootstrap::ListError>(())
//! ```

mod config;
mod list;
mod roster;
mod service;

pub use config::Config;
pub use list::{List, ListError, Wrong};
pub use service::{Bootstrap, BootstrapError, PeerStatus};
