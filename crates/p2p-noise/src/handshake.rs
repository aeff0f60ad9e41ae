//! The handshake `Noise_XX_25519_ChaChaPoly_SHA256`, without I/O.
//!
//! ```text
//!   initiator                                         responder
//!     initiate ----- 1: e --------------------------> respond
//!     Initiated <--- 2: e, ee, s, es + payload ------ Responding::write
//!     Proven ------- 3: s, se + payload ------------> Responded::read
//!        |                                                |
//!        v                                                v
//!     Session                                          Session
//! ```
//!
//! Each step consumes the one before it, so no message can be taken twice or in another order.
//! Payloads are opaque here; libp2p's are in `proto`. After message 2 and 3 the other end has
//! proven that it holds its static key. Whose key that is, the payload must say.
//!
//! This is our own implementation of one fixed pattern, not a framework: XX is three messages,
//! and knowing them at compile time leaves no state to get wrong. It runs on the same
//! cryptography library as the rest of the stack, whose X25519 takes half the time; it does not
//! derive the static public key anew for each handshake; and the ciphers it ends in work in
//! place. The crate `snow` is its oracle in the tests.
//!
//! Spec: noiseprotocol.org, revision 34; libp2p/specs `noise/README.md`.

use std::fmt;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};

use crate::HandshakeError;
use crate::cipher::{Cipher, TAG};
use crate::symmetric::{HASH, Symmetric};

/// The length of an X25519 key, in bytes.
pub const DH: usize = 32;

/// An X25519 key pair, with the public half at hand.
pub struct DhKey {
    private: PrivateKey,
    public: [u8; DH],
}

impl DhKey {
    /// A new key.
    ///
    /// # Errors
    /// [`HandshakeError::Entropy`]
    pub fn generate() -> Result<Self, HandshakeError> {
        Self::new(PrivateKey::generate(&X25519).ok())
    }

    /// The key with these private bytes.
    ///
    /// # Errors
    /// [`HandshakeError::Entropy`] if the cryptography library has no memory for it.
    pub fn from_bytes(private: &[u8; DH]) -> Result<Self, HandshakeError> {
        Self::new(PrivateKey::from_private_key(&X25519, private).ok())
    }

    fn new(private: Option<PrivateKey>) -> Result<Self, HandshakeError> {
        let private = private.ok_or(HandshakeError::Entropy)?;
        let public = private
            .compute_public_key()
            .ok()
            .and_then(|public| public.as_ref().try_into().ok())
            .ok_or(HandshakeError::Entropy)?;
        Ok(Self { private, public })
    }

    /// The public half.
    pub fn public(&self) -> &[u8; DH] {
        &self.public
    }

    /// Mixes what this key and `remote` have in common into `symmetric`.
    fn mix(&self, remote: &[u8; DH], symmetric: &mut Symmetric) -> Result<Cipher, HandshakeError> {
        let remote = UnparsedPublicKey::new(&X25519, remote);
        agree(
            &self.private,
            remote,
            HandshakeError::BadPublicKey,
            |secret| Ok(symmetric.mix_key(secret)),
        )
    }
}

impl fmt::Debug for DhKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhKey")
    }
}

/// What a finished handshake leaves.
#[derive(Debug)]
pub struct Session {
    pub(crate) send: Cipher,
    pub(crate) receive: Cipher,
    /// The remote's static key.
    pub remote_static: [u8; DH],
    /// The hash of the whole handshake: the same at both ends, and in no other handshake.
    pub hash: [u8; HASH],
}

impl Session {
    /// Seals the next record.
    ///
    /// # Errors
    /// [`HandshakeError::Decrypt`] if the key is used up, after 2^64 - 1 records.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let mut sealed = plain.to_vec();
        let tag = self
            .send
            .seal(&[], &mut sealed)
            .map_err(|_| HandshakeError::Decrypt)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens the next record.
    ///
    /// # Errors
    /// [`HandshakeError::Decrypt`] if it is not the next record of the remote.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let mut bytes = sealed.to_vec();
        let plain = self
            .receive
            .open(&[], &mut bytes)
            .map_err(|_| HandshakeError::Decrypt)?;
        let len = plain.len();
        bytes.truncate(len);
        Ok(bytes)
    }
}

/// Starts as initiator; returns message 1. libp2p's has no payload: it would not be encrypted.
pub fn initiate(prologue: &[u8], ephemeral: DhKey, payload: &[u8]) -> (Vec<u8>, Initiated) {
    let mut symmetric = Symmetric::new(prologue);
    symmetric.mix_hash(&ephemeral.public);
    symmetric.mix_hash(payload);
    let message = [&ephemeral.public, payload].concat();
    (
        message,
        Initiated {
            symmetric,
            ephemeral,
        },
    )
}

/// An initiator that waits for message 2.
pub struct Initiated {
    symmetric: Symmetric,
    ephemeral: DhKey,
}

impl Initiated {
    /// Takes message 2; returns its payload.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub fn read(self, message: &[u8]) -> Result<(Vec<u8>, Proven), HandshakeError> {
        let Self {
            mut symmetric,
            ephemeral,
        } = self;
        let (remote_ephemeral, rest) = split_key(message, DH + DH + TAG + TAG)?;
        symmetric.mix_hash(&remote_ephemeral);
        let mut cipher = ephemeral.mix(&remote_ephemeral, &mut symmetric)?;
        let (sealed_static, sealed_payload) = split_at(rest, DH + TAG)?;
        let remote_static = to_key(&symmetric.open(&mut cipher, sealed_static)?)?;
        let mut cipher = ephemeral.mix(&remote_static, &mut symmetric)?;
        let payload = symmetric.open(&mut cipher, sealed_payload)?;
        Ok((
            payload,
            Proven {
                symmetric,
                cipher,
                remote_ephemeral,
                remote_static,
            },
        ))
    }
}

/// An initiator that knows the remote's static key and has not shown its own.
pub struct Proven {
    symmetric: Symmetric,
    cipher: Cipher,
    remote_ephemeral: [u8; DH],
    remote_static: [u8; DH],
}

impl Proven {
    /// The remote's static key.
    pub fn remote_static(&self) -> &[u8; DH] {
        &self.remote_static
    }

    /// Ends the handshake; returns message 3.
    ///
    /// # Errors
    /// [`HandshakeError::BadPublicKey`]
    pub fn write(
        self,
        own_static: &DhKey,
        payload: &[u8],
    ) -> Result<(Vec<u8>, Session), HandshakeError> {
        let Self {
            mut symmetric,
            mut cipher,
            remote_ephemeral,
            remote_static,
        } = self;
        let mut message = Vec::with_capacity(DH + TAG + payload.len() + TAG);
        symmetric.seal(&mut cipher, &own_static.public, &mut message);
        let mut cipher = own_static.mix(&remote_ephemeral, &mut symmetric)?;
        symmetric.seal(&mut cipher, payload, &mut message);
        let (send, receive, hash) = symmetric.split();
        Ok((
            message,
            Session {
                send,
                receive,
                remote_static,
                hash,
            },
        ))
    }
}

/// Starts as responder with message 1; returns its payload, which nobody has authenticated.
///
/// # Errors
/// [`HandshakeError::TooShort`]
pub fn respond(prologue: &[u8], message: &[u8]) -> Result<(Vec<u8>, Responding), HandshakeError> {
    let (remote_ephemeral, payload) = split_key(message, DH)?;
    let mut symmetric = Symmetric::new(prologue);
    symmetric.mix_hash(&remote_ephemeral);
    symmetric.mix_hash(payload);
    Ok((
        payload.to_vec(),
        Responding {
            symmetric,
            remote_ephemeral,
        },
    ))
}

/// A responder that has to answer message 1.
pub struct Responding {
    symmetric: Symmetric,
    remote_ephemeral: [u8; DH],
}

impl Responding {
    /// Returns message 2.
    ///
    /// # Errors
    /// [`HandshakeError::BadPublicKey`]
    pub fn write(
        self,
        ephemeral: DhKey,
        own_static: &DhKey,
        payload: &[u8],
    ) -> Result<(Vec<u8>, Responded), HandshakeError> {
        let Self {
            mut symmetric,
            remote_ephemeral,
        } = self;
        let mut message = Vec::with_capacity(DH + DH + TAG + payload.len() + TAG);
        message.extend_from_slice(&ephemeral.public);
        symmetric.mix_hash(&ephemeral.public);
        let mut cipher = ephemeral.mix(&remote_ephemeral, &mut symmetric)?;
        symmetric.seal(&mut cipher, &own_static.public, &mut message);
        let mut cipher = own_static.mix(&remote_ephemeral, &mut symmetric)?;
        symmetric.seal(&mut cipher, payload, &mut message);
        Ok((
            message,
            Responded {
                symmetric,
                cipher,
                ephemeral,
            },
        ))
    }
}

/// A responder that waits for message 3.
pub struct Responded {
    symmetric: Symmetric,
    cipher: Cipher,
    ephemeral: DhKey,
}

impl Responded {
    /// Takes message 3 and ends the handshake; returns its payload.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub fn read(self, message: &[u8]) -> Result<(Vec<u8>, Session), HandshakeError> {
        let Self {
            mut symmetric,
            mut cipher,
            ephemeral,
        } = self;
        let (sealed_static, sealed_payload) = split_at(message, DH + TAG)?;
        at_least(sealed_payload, TAG)?;
        let remote_static = to_key(&symmetric.open(&mut cipher, sealed_static)?)?;
        let mut cipher = ephemeral.mix(&remote_static, &mut symmetric)?;
        let payload = symmetric.open(&mut cipher, sealed_payload)?;
        let (receive, send, hash) = symmetric.split();
        Ok((
            payload,
            Session {
                send,
                receive,
                remote_static,
                hash,
            },
        ))
    }
}

/// The key at the front of a message of at least `min` bytes.
fn split_key(message: &[u8], min: usize) -> Result<([u8; DH], &[u8]), HandshakeError> {
    at_least(message, min)?;
    let (key, rest) = split_at(message, DH)?;
    Ok((to_key(key)?, rest))
}

fn split_at(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), HandshakeError> {
    let len = bytes.len();
    bytes
        .split_at_checked(at)
        .ok_or(HandshakeError::TooShort { len, min: at })
}

fn at_least(bytes: &[u8], min: usize) -> Result<(), HandshakeError> {
    let len = bytes.len();
    if len < min {
        Err(HandshakeError::TooShort { len, min })
    } else {
        Ok(())
    }
}

fn to_key(bytes: &[u8]) -> Result<[u8; DH], HandshakeError> {
    let len = bytes.len();
    bytes
        .try_into()
        .map_err(|_| HandshakeError::TooShort { len, min: DH })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_key() -> DhKey {
        DhKey::generate().unwrap()
    }

    /// Shows a public half that is not that of its private one.
    fn showing(public: [u8; DH]) -> DhKey {
        DhKey {
            public,
            ..new_key()
        }
    }

    /// Points of small order, as static keys: those travel sealed, so that only who has agreed on
    /// a key with us can show one. `tests/handshake.rs` has the ephemeral keys.
    #[test]
    fn static_keys_of_small_order_are_refused_in_both_roles() {
        let mut one = [0; DH];
        one[0] = 1;
        let mut minus_one = [0xff; DH];
        (minus_one[0], minus_one[DH - 1]) = (0xec, 0x7f);
        for point in [[0; DH], one, minus_one] {
            // In message 2.
            let (first, initiated) = initiate(&[], new_key(), &[]);
            let (_, responding) = respond(&[], &first).unwrap();
            let (second, _) = responding.write(new_key(), &showing(point), &[]).unwrap();
            let error = initiated.read(&second).err();
            assert_eq!(error, Some(HandshakeError::BadPublicKey), "{point:?}");
            // In message 3.
            let (first, initiated) = initiate(&[], new_key(), &[]);
            let (_, responding) = respond(&[], &first).unwrap();
            let (second, responded) = responding.write(new_key(), &new_key(), &[]).unwrap();
            let (_, proven) = initiated.read(&second).unwrap();
            let (third, _) = proven.write(&showing(point), &[]).unwrap();
            let error = responded.read(&third).err();
            assert_eq!(error, Some(HandshakeError::BadPublicKey), "{point:?}");
        }
    }
}
