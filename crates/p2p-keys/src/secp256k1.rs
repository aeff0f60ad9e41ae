//! ECDSA on secp256k1 with SHA-256; signatures are ASN.1 DER with the low one of the two
//! possible `s`.
//!
//! The only file that names `libsecp256k1`, which is no longer maintained: everything that it
//! parses is checked here first, and the tests hold it against `k256`.

use aws_lc_rs::digest::{SHA256, digest};
use libsecp256k1::{Message, PublicKey, SecretKey, Signature};
use zeroize::Zeroizing;

use crate::algorithm::{Private, Sign, Verify};
use crate::der::{self, Reader, SEQUENCE};

/// A compressed point.
pub(crate) fn public(data: &[u8]) -> Result<Box<dyn Verify>, &'static str> {
    let compressed = data
        .try_into()
        .map_err(|_| "the public key must be a compressed point of 33 bytes")?;
    let key =
        PublicKey::parse_compressed(compressed).map_err(|_| "the point is not on the curve")?;
    Ok(Box::new(Public(key)))
}

/// A big-endian scalar between 1 and the order of the group.
pub(crate) fn private(data: &[u8]) -> Result<Private, &'static str> {
    let scalar: &[u8; 32] = data
        .try_into()
        .map_err(|_| "the private key must have 32 bytes")?;
    from_scalar(scalar).ok_or("the private key is zero or not below the order of the group")
}

pub(crate) fn generate() -> Option<Private> {
    let mut scalar = Zeroizing::new([0; 32]);
    // One try in 2^128 is out of range.
    aws_lc_rs::rand::fill(scalar.as_mut_slice()).ok()?;
    from_scalar(&scalar)
}

fn from_scalar(scalar: &[u8; 32]) -> Option<Private> {
    let secret = Secret(SecretKey::parse(scalar).ok()?);
    let public = PublicKey::from_secret_key(&secret.0);
    Some(Private {
        public: public.serialize_compressed().to_vec(),
        data: Zeroizing::new(scalar.to_vec()),
        signer: Box::new(secret),
    })
}

struct Public(PublicKey);

impl Verify for Public {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        read_signature(signature)
            .is_some_and(|signature| libsecp256k1::verify(&hash(message), &signature, &self.0))
    }
}

struct Secret(SecretKey);

impl Sign for Secret {
    /// Deterministic (RFC 6979), with the low `s`.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (mut signature, _) = libsecp256k1::sign(&hash(message), &self.0);
        signature.normalize_s();
        Some(write_signature(&signature))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.clear();
    }
}

fn hash(message: &[u8]) -> Message {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, message).as_ref());
    Message::parse(&hash)
}

/// `r` and `s`, if they are strict DER, between 1 and the order, and `s` is the low one.
fn read_signature(der: &[u8]) -> Option<Signature> {
    let mut outer = Reader::new(der);
    let mut numbers = outer.nested(SEQUENCE)?;
    let (r, s) = (numbers.unsigned()?, numbers.unsigned()?);
    let mut fixed = [0; 64];
    let (r_fixed, s_fixed) = fixed.split_at_mut(32);
    for (number, to) in [(r, r_fixed), (s, s_fixed)] {
        let start = to.len().checked_sub(number.len())?;
        to.get_mut(start..)?.copy_from_slice(number);
    }
    // Refuses numbers that are not below the order.
    let signature = Signature::parse_standard(&fixed).ok()?;
    let zero = signature.r.is_zero() || signature.s.is_zero();
    let valid = outer.at_end() && numbers.at_end() && !zero && !signature.s.is_high();
    valid.then_some(signature)
}

fn write_signature(signature: &Signature) -> Vec<u8> {
    let fixed = signature.serialize();
    let (r, s) = fixed.split_at(32);
    let mut numbers = Vec::with_capacity(70);
    for number in [r, s] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        der::put_unsigned(&mut numbers, number.get(zeros..).unwrap_or_default());
    }
    let mut der = Vec::with_capacity(72);
    der::put(&mut der, SEQUENCE, &numbers);
    der
}
