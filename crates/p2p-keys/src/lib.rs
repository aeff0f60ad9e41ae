//! Keys, peer ids, signed envelopes and peer records.
//!
//! ```text
//!   Keypair ── sign ──> signature
//!      │                    │
//!    public                 v
//!      v                 verify
//!   PublicKey ── hash ──> PeerId ── text ──> 12D3KooW… · bafz… · k51…
//! ```
//!
//! The only crate of the workspace with signature code.

mod algorithm;
mod der;
mod ecdsa;
mod ed25519;
mod error;
mod keypair;
mod peer_id;
mod proto;
mod public;
mod rsa;
#[cfg(feature = "secp256k1")]
mod secp256k1;

pub use error::{
    Blame, DecodeKeyError, EnvelopeError, GenerateError, LoadError, PeerIdError, RecordError,
    SaveError, SignError,
};
pub use keypair::Keypair;
pub use multiaddr::{Multiaddr, PeerId};
pub use peer_id::{CidBase, PeerIdExt};
pub use public::{KeyType, PublicKey};
pub use zeroize::Zeroizing;
