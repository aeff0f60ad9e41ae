//! TLS 1.3 as libp2p uses it: both ends prove who they are, and agree on a multiplexer on the way.
//!
//! ```text
//!   dialer                                        listener
//!     | --- hello, multiplexers ------------------> |
//!     | <-- hello, certificate, finished ---------- |   one round trip, then
//!     | --- certificate, finished, first bytes ---> |   everything is encrypted
//! ```
//!
//! rustls does the handshake and makes every key. The records behind it are sealed and opened in
//! a [`p2p_channel::Channel`], as those of Noise are.
//!
//! - [`Tls`] is a [`p2p_core::Security`]; [`Tls::secure`] works on any stream alone.
//! - [`certificate`] makes and verifies the certificates; [`Verifier`] and [`Credentials`] bring
//!   them to rustls. QUIC uses the same ones.
//!
//! No certificate authorities, no server names, no tickets, no early data: who a peer is follows
//! from its key alone. The suites with AES come first where the processor has instructions for
//! it ([`cpu_has_aes`]).
//!
//! ```
//! use futures::{AsyncReadExt, AsyncWriteExt, executor::block_on, future::try_join};
//! use p2p_core::Role;
//! use p2p_keys::Keypair;
//! use p2p_tls::Tls;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
//! let (near, far) = p2p_memory::pipe(16 * 1024);
//! let (dialer, listener) = (Tls::new(&alice)?, Tls::new(&bob)?);
//! let (_dialed, mut listened) = block_on(try_join(
//!     async {
//!         let expect = Some(bob.to_peer_id());
//!         let mut remote = dialer.secure(near, Role::Dialer, expect, &[]).await?;
//!         remote.channel.write_all(b"secret").await?;
//!         remote.channel.close().await?;
//!         Ok(remote)
//!     },
//!     listener.secure(far, Role::Listener, None, &[]),
//! ))?;
//! assert_eq!(listened.public_key, *alice.public());
//! block_on(async {
//!     let mut text = String::new();
//!     listened.channel.read_to_string(&mut text).await?;
//!     assert_eq!(text, "secret");
//!     Ok(())
//! })
//! # }
//! ```
//!
//! Spec: libp2p/specs `tls/tls.md`, `connections/inlined-muxer-negotiation.md`.

pub mod certificate;
mod credentials;
mod der;
mod error;
mod handshake;
mod records;
mod tls;
mod verifier;

pub use credentials::{Credentials, cpu_has_aes};
pub use error::{CertificateError, HandshakeError, SetupError, refuses_certificate};
pub use records::{ChannelError, Records};
pub use tls::{Authenticated, Channel, PROTOCOL, Tls};
pub use verifier::{Verdict, Verifier, refusal};
