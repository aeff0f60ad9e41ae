//! Agrees on a protocol over any byte stream: multistream-select 1.0.
//!
//! ```text
//!   dialer                                listener
//!     | header, /proposal  ---------------> |
//!     | <---------------  header, /proposal |   agreed
//!     |                         or      na  |   refused: propose the next
//! ```
//!
//! - [`dial`] proposes protocols one after the other and waits for each answer.
//! - [`dial_lazy`] proposes one and does not wait: the proposal travels with the first bytes of
//!   the protocol itself, and the answer is checked before the first read returns. Use it when
//!   the remote is known to speak the protocol; it saves a round trip.
//! - [`listen`] answers. Its answer travels with the first bytes that it writes itself, or goes
//!   out alone as soon as it would otherwise wait.
//!
//! All three give a [`Negotiated`] stream: the same stream, from the byte after the negotiation.
//! Once that is settled it holds no buffer and adds nothing but a branch to each call.
//!
//! What this crate does not do: it has no clock, so the caller sets the deadline; and it does not
//! decide which protocols are spoken ([`Supported`] does). The messages themselves are in
//! [`wire`].
//!
//! ```
//! use futures::executor::block_on;
//! use futures::io::{AsyncReadExt, AsyncWriteExt, Cursor};
//! use p2p_core::Protocol;
//! use p2p_multistream::{Config, listen};
//!
//! const ECHO: Protocol = Protocol::from_static("/echo/1.0.0");
//!
//! # block_on(async {
//! let sent_by_a_dialer = b"\x13/multistream/1.0.0\n\x0c/echo/1.0.0\nhello";
//! let (protocol, mut stream) = listen(Cursor::new(sent_by_a_dialer.to_vec()), &[ECHO], &Config::default()).await?;
//! assert_eq!(protocol, ECHO);
//! let mut message = String::new();
//! stream.read_to_string(&mut message).await?;
//! assert_eq!(message, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! Spec: libp2p/specs `connections/README.md` and multiformats/multistream-select.

mod buffer;
mod config;
mod dialer;
mod error;
mod exchange;
mod listener;
mod negotiated;
pub mod wire;

pub use config::Config;
pub use dialer::{dial, dial_lazy};
pub use error::{Error, NegotiationError};
pub use listener::{Supported, listen};
pub use negotiated::Negotiated;
