//! The hashes and keys of a handshake: the "SymmetricState" of the Noise framework.

use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use crate::HandshakeError;
use crate::cipher::{Cipher, KEY, TAG};

/// The length of a hash, in bytes.
pub(crate) const HASH: usize = 32;

/// What a name is padded to. It is exactly as long as a hash, so it needs neither padding nor
/// hashing.
const PROTOCOL_NAME: &[u8; HASH] = b"Noise_XX_25519_ChaChaPoly_SHA256";

pub(crate) struct Symmetric {
    /// Binds every message to all that went before.
    hash: [u8; HASH],
    /// Binds every key to all that went before.
    chaining_key: Zeroizing<[u8; HASH]>,
}

impl Symmetric {
    pub(crate) fn new(prologue: &[u8]) -> Self {
        let mut symmetric = Self {
            hash: *PROTOCOL_NAME,
            chaining_key: Zeroizing::new(*PROTOCOL_NAME),
        };
        symmetric.mix_hash(prologue);
        symmetric
    }

    pub(crate) fn mix_hash(&mut self, data: &[u8]) {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.hash);
        context.update(data);
        self.hash = to_array(context.finish().as_ref());
    }

    /// Mixes a Diffie-Hellman result in; returns the cipher for what follows.
    pub(crate) fn mix_key(&mut self, secret: &[u8]) -> Cipher {
        let (chaining_key, key) = self.derive(secret);
        self.chaining_key = chaining_key;
        Cipher::new(&key)
    }

    /// Seals `plain` and appends it to `message`.
    pub(crate) fn seal(&mut self, cipher: &mut Cipher, plain: &[u8], message: &mut Vec<u8>) {
        let start = message.len();
        message.extend_from_slice(plain);
        let sealed = message.get_mut(start..).unwrap_or_default();
        let tag = cipher
            .seal(&self.hash, sealed)
            .expect("the counter of a handshake key is below 2");
        message.extend_from_slice(&tag);
        self.mix_hash(message.get(start..).unwrap_or_default());
    }

    /// Opens `sealed`.
    pub(crate) fn open(
        &mut self,
        cipher: &mut Cipher,
        sealed: &[u8],
    ) -> Result<Vec<u8>, HandshakeError> {
        let mut bytes = sealed.to_vec();
        cipher
            .open(&self.hash, &mut bytes)
            .map_err(|_| HandshakeError::Decrypt)?;
        bytes.truncate(sealed.len() - TAG);
        self.mix_hash(sealed);
        Ok(bytes)
    }

    /// The end of the handshake: the ciphers from the initiator to the responder and back, and the
    /// hash of it all.
    pub(crate) fn split(self) -> (Cipher, Cipher, [u8; HASH]) {
        let (there, back) = self.derive(&[]);
        (Cipher::new(&there), Cipher::new(&back), self.hash)
    }

    /// HKDF with two outputs.
    fn derive(&self, input: &[u8]) -> (Zeroizing<[u8; HASH]>, Zeroizing<[u8; KEY]>) {
        let sign = |key: &[u8], parts: &[&[u8]]| {
            let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
            parts.iter().for_each(|part| context.update(part));
            Zeroizing::new(to_array(context.sign().as_ref()))
        };
        let key = sign(&*self.chaining_key, &[input]);
        let first = sign(&*key, &[&[1]]);
        let second = sign(&*key, &[&*first, &[2]]);
        (first, second)
    }
}

fn to_array(bytes: &[u8]) -> [u8; HASH] {
    bytes.try_into().expect("SHA-256 gives 32 bytes")
}
