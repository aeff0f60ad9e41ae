//! Ed25519 (RFC 8032), the default.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};
use zeroize::Zeroizing;

use crate::algorithm::{Private, Sign, Verify};

/// The public key is 32 bytes and says nothing of whether it is a point; no signature verifies
/// with one that is not.
pub(crate) fn public(data: &[u8]) -> Result<Box<dyn Verify>, &'static str> {
    if data.len() != 32 {
        return Err("the public key must have 32 bytes");
    }
    let key = ParsedPublicKey::new(&ED25519, data).map_err(|_| "not a public key")?;
    Ok(Box::new(Public(key)))
}

/// Seed and public key; or the form of old go nodes, which repeats the public key.
pub(crate) fn private(data: &[u8]) -> Result<Private, &'static str> {
    let (seed, rest) = data
        .split_first_chunk::<32>()
        .ok_or("the private key must have 64 bytes")?;
    let public = match rest.split_first_chunk::<32>() {
        Some((public, [])) => public,
        Some((public, again)) if again == public => public,
        Some((_, again)) if again.len() == 32 => {
            return Err("the two copies of the public half differ");
        }
        _ => return Err("the private key must have 64 bytes"),
    };
    let key = from_seed(seed).ok_or("not a private key")?;
    if key.public == public {
        Ok(key)
    } else {
        Err("the public half belongs to another key")
    }
}

pub(crate) fn from_seed(seed: &[u8; 32]) -> Option<Private> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    let public = pair.public_key().as_ref().to_vec();
    let mut data = Zeroizing::new(Vec::with_capacity(64));
    data.extend_from_slice(seed);
    data.extend_from_slice(&public);
    Some(Private {
        signer: Box::new(Secret(pair)),
        data,
        public,
    })
}

pub(crate) fn generate() -> Option<Private> {
    let mut seed = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(seed.as_mut_slice()).ok()?;
    from_seed(&seed)
}

struct Public(ParsedPublicKey);

impl Verify for Public {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

struct Secret(Ed25519KeyPair);

impl Sign for Secret {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature = self.0.try_sign(message).ok()?;
        Some(signature.as_ref().to_vec())
    }
}
