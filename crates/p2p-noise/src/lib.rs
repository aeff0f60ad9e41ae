//! The Noise secure channel of libp2p, on any byte stream.
//!
//! ```text
//!   dialer                                       listener
//!     | --- e ------------------------------------> |
//!     | <-- e, ee, s, es, who I am, my muxers ----- |
//!     | --- s, se, who I am, my muxers -----------> |   one round trip for the dialer:
//!     | --- first bytes of the muxer -------------> |   both of these are one write
//! ```
//!
//! [`Noise`] holds our identity and runs the handshake; it is a [`p2p_core::Security`], and its
//! method [`Noise::secure`] works on any `AsyncRead + AsyncWrite` alone. It ends in a [`Channel`].
//! The handshake itself, without I/O and without libp2p's payloads, is in [`handshake`].
//!
//! It proves to each end who the other one is, keeps what is said from everybody else, and
//! agrees on a multiplexer on the way (`stream_muxers`). It does not hide who talks to whom, nor
//! how much and when.
//!
//! What this crate does not do: it has no clock, so the caller sets the deadline.
//!
//! ```
//! use futures::executor::block_on;
//! use futures::future::try_join;
//! use p2p_core::{AsyncRead, AsyncWrite, Role, SecurityError};
//! use p2p_keys::Keypair;
//! use p2p_noise::Noise;
//!
//! async fn meet<Io>(near: Io, far: Io) -> Result<(), SecurityError>
//! where
//!     Io: AsyncRead + AsyncWrite + Unpin,
//! {
//!     let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
//!     let dialer = Noise::new(&alice).expect("a working system");
//!     let listener = Noise::new(&bob).expect("a working system");
//!     let (at_alice, at_bob) = try_join(
//!         async {
//!             let mut remote = dialer.secure(near, Role::Dialer, Some(bob.to_peer_id()), &[]).await?;
//!             futures::AsyncWriteExt::flush(&mut remote.channel).await?;
//!             Ok(remote)
//!         },
//!         listener.secure(far, Role::Listener, None, &[]),
//!     )
//!     .await?;
//!     assert_eq!(at_alice.public_key, *bob.public());
//!     assert_eq!(at_bob.public_key, *alice.public());
//!     Ok(())
//! }
//! ```
//!
//! Spec: libp2p/specs `noise/README.md`; noiseprotocol.org, revision 34.

mod cipher;
mod config;
mod error;
#[cfg(test)]
mod golden;
pub mod handshake;
mod noise;
mod proto;
mod records;
mod symmetric;

pub use config::Config;
pub use error::{ChannelError, HandshakeError, SetupError};
pub use noise::{Authenticated, Noise, PROTOCOL};
pub use records::Records;

/// An established Noise channel over `Io`. Reading ends with `Ok(0)` when the stream below ends
/// between two records: whether the remote wanted to end there, only the protocol above can know.
pub type Channel<Io> = p2p_channel::Channel<Io, Records>;
