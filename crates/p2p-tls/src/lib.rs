//! TLS 1.3 as libp2p uses it: both ends prove who they are, and agree on a multiplexer on the way.
//!
//! ```text
//!   dialer                                        listener
//!     | --- hello, multiplexers ------------------> |
//!     | <-- hello, certificate, finished ---------- |   one round trip, then
//!     | --- certificate, finished, first bytes ---> |   everything is encrypted
//! ```
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
//! let (mut dialed, mut listened) = block_on(try_join(
//!     dialer.secure(near, Role::Dialer, Some(bob.to_peer_id()), &[]),
//!     listener.secure(far, Role::Listener, None, &[]),
//! ))?;
//! assert_eq!(listened.public_key, *alice.public());
//! block_on(async {
//!     dialed.channel.write_all(b"secret").await?;
//!     dialed.channel.close().await?;
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
mod read_ahead;
mod tls;
mod verifier;

pub use credentials::{Credentials, cpu_has_aes};
pub use error::{CertificateError, HandshakeError, SetupError, refuses_certificate};
pub use read_ahead::ReadAhead;
pub use tls::{Authenticated, PROTOCOL, Tls};
pub use verifier::{Verdict, Verifier, refusal};
