//! Who is who: keys, peer ids, signed envelopes and peer records.
//!
//! ```text
//!   Keypair ---- seal ----> SignedEnvelope ---- open ----> PeerRecord, or another payload
//!      |                        |
//!    public                   signer
//!      v                        v
//!   PublicKey -- to_peer_id --> PeerId <-- parse_any -- 12D3KooW… | Qm… | bafz… | k51…
//! ```
//!
//! - [`Keypair`] signs, [`PublicKey`] verifies: Ed25519, secp256k1, ECDSA P-256 and RSA.
//! - [`PeerId`] is the hash of a public key, or a short key itself; [`PeerIdExt`] knows its forms.
//! - [`SignedEnvelope`] carries bytes signed for one purpose, [`PeerRecord`] a peer's addresses.
//!
//! A key has exactly one valid encoding here: two spellings of it would be two names of one peer.
//! The only crate of the workspace with signature code; it keeps no secret in memory longer than
//! its [`Keypair`].
//!
//! ```
//! use p2p_keys::{Keypair, PeerId, PeerIdExt, PublicKey};
//!
//! let keypair = Keypair::generate_ed25519();
//! let signature = keypair.sign(b"hello")?;
//!
//! // What travels: the public key in its protobuf form, and the signature.
//! let sender = PublicKey::from_protobuf(&keypair.public().to_protobuf())?;
//! assert!(sender.verify(b"hello", &signature));
//!
//! let id = sender.to_peer_id();
//! assert_eq!(PeerId::parse_any(&id.to_string())?, id);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Specs: libp2p/specs `peer-ids/peer-ids.md`, RFC 0002 (envelopes), RFC 0003 (peer records).

mod algorithm;
mod config;
mod der;
mod ecdsa;
mod ed25519;
mod envelope;
mod error;
mod file;
mod keypair;
mod peer_id;
mod proto;
mod public;
mod record;
mod rsa;
#[cfg(feature = "secp256k1")]
mod secp256k1;

pub use config::RecordLimits;
pub use envelope::SignedEnvelope;
pub use error::{
    Blame, DecodeKeyError, EnvelopeError, GenerateError, LoadError, PeerIdError, RecordError,
    SaveError, SignError,
};
pub use keypair::Keypair;
pub use multiaddr::{Multiaddr, PeerId};
pub use peer_id::{CidBase, PeerIdExt};
pub use public::{KeyType, PublicKey};
pub use record::{PeerRecord, RecordSeq};
pub use zeroize::Zeroizing;
