//! Key pairs.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::algorithm::{self, Private, Sign};
use crate::public::split;
use crate::{
    DecodeKeyError, GenerateError, KeyType, PeerId, PublicKey, SignError, ed25519, proto, rsa,
};

/// A private key with its public half: the identity of a peer.
///
/// Cheap to clone; clones share the secret, which is zeroed when the last one is dropped.
/// `Debug` shows the peer id and nothing else.
#[derive(Clone)]
pub struct Keypair(Arc<Inner>);

struct Inner {
    public: PublicKey,
    signer: Box<dyn Sign>,
    /// Field 2 of the protobuf form.
    data: Zeroizing<Vec<u8>>,
}

impl Keypair {
    /// The longest protobuf form accepted, in bytes: room for an RSA key of 8192 bits.
    pub const MAX_PROTOBUF_LEN: usize = 5000;

    /// A new Ed25519 key pair: what a new peer should have.
    ///
    /// # Panics
    /// If the operating system gives no randomness. [`Keypair::generate`] reports it instead.
    pub fn generate_ed25519() -> Self {
        Self::generate(KeyType::Ed25519).expect("the operating system gives randomness")
    }

    /// A new key pair; RSA keys get 2048 bits.
    ///
    /// # Errors
    /// [`GenerateError`]
    pub fn generate(key_type: KeyType) -> Result<Self, GenerateError> {
        let private = algorithm::generate(key_type)?;
        Self::new(key_type, private).map_err(|_| GenerateError::Backend(key_type))
    }

    /// A new RSA key pair of 2048, 3072, 4096 or 8192 bits. Takes up to several seconds.
    ///
    /// # Errors
    /// [`GenerateError`]
    pub fn generate_rsa(bits: usize) -> Result<Self, GenerateError> {
        let failed = GenerateError::Backend(KeyType::Rsa);
        let private = rsa::generate(bits)?.ok_or_else(|| failed.clone())?;
        Self::new(KeyType::Rsa, private).map_err(|_| failed)
    }

    /// The Ed25519 key pair of a seed, always the same one. For tests, simulations and keys
    /// derived from something secret; whoever knows the seed is this peer.
    pub fn ed25519_from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let private = ed25519::from_seed(&seed).expect("every seed is a key");
        Self::new(KeyType::Ed25519, private).expect("the public half of a key is a key")
    }

    /// Reads the protobuf form of a private key (peer-ids spec, "Keys").
    ///
    /// Ed25519 keys of 96 bytes, from old go nodes, are accepted if the two copies of the public
    /// half are equal.
    ///
    /// # Errors
    /// [`DecodeKeyError`] if it is not one, or its two halves do not belong together.
    pub fn from_protobuf(protobuf: &[u8]) -> Result<Self, DecodeKeyError> {
        let (key_type, data) = split(protobuf, Self::MAX_PROTOBUF_LEN)?;
        Self::new(key_type, algorithm::private(key_type, data)?)
    }

    fn new(key_type: KeyType, private: Private) -> Result<Self, DecodeKeyError> {
        let Private {
            signer,
            data,
            public,
        } = private;
        Ok(Self(Arc::new(Inner {
            public: PublicKey::from_data(key_type, &public)?,
            signer,
            data,
        })))
    }

    /// The protobuf form of the private key. Zeroed when dropped.
    pub fn to_protobuf(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(proto::encode_key(self.key_type() as u8, &self.0.data))
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.0.public
    }

    /// The id of the peer that has this key.
    pub fn to_peer_id(&self) -> PeerId {
        self.0.public.to_peer_id()
    }

    /// The algorithm.
    pub fn key_type(&self) -> KeyType {
        self.0.public.key_type()
    }

    /// Signs `message`. Ed25519 and RSA are deterministic, and so is secp256k1 here.
    ///
    /// # Errors
    /// [`SignError`] if the cryptography library fails. Ed25519 does not.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let key_type = self.key_type();
        let signature = self.0.signer.sign(message);
        signature.ok_or(SignError { key_type })
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({})", self.to_peer_id())
    }
}
