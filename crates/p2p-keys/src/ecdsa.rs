//! ECDSA on P-256 with SHA-256; signatures are ASN.1 DER.

use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    ParsedPublicKey,
};
use zeroize::Zeroizing;

use crate::algorithm::{Private, Sign, Verify};

/// A SubjectPublicKeyInfo for P-256 up to the point: algorithm, curve and bit string header.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Uncompressed: `04`, x, y.
const POINT_LEN: usize = 65;
/// An RFC 5915 ECPrivateKey for P-256: up to the scalar, and from there to the point.
const BEFORE_SCALAR: [u8; 7] = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
const BEFORE_POINT: [u8; 17] = [
    0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0xa1, 0x44, 0x03, 0x42,
    0x00,
];
/// More than any form of a P-256 private key.
const MAX_PRIVATE_LEN: usize = 256;

/// A SubjectPublicKeyInfo with an uncompressed point, as all implementations write it.
pub(crate) fn public(data: &[u8]) -> Result<Box<dyn Verify>, &'static str> {
    let point = data
        .strip_prefix(&SPKI)
        .filter(|point| point.len() == POINT_LEN && point.starts_with(&[0x04]))
        .ok_or("not the SubjectPublicKeyInfo of an uncompressed P-256 point")?;
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .map_err(|_| "the point is not on the curve")?;
    Ok(Box::new(Public(key)))
}

/// An RFC 5915 ECPrivateKey.
pub(crate) fn private(data: &[u8]) -> Result<Private, &'static str> {
    if data.len() > MAX_PRIVATE_LEN {
        return Err("too long for a P-256 private key");
    }
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, data)
        .ok()
        .and_then(from_pair)
        .ok_or("not the ECPrivateKey of a P-256 key")
}

pub(crate) fn generate() -> Option<Private> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).ok()?;
    from_pair(pair)
}

fn from_pair(pair: EcdsaKeyPair) -> Option<Private> {
    let point = pair.public_key().as_ref();
    let scalar: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().ok()?;
    if point.len() != POINT_LEN || scalar.as_ref().len() != 32 {
        return None;
    }
    let mut data = Zeroizing::new(Vec::with_capacity(121));
    data.extend_from_slice(&BEFORE_SCALAR);
    data.extend_from_slice(scalar.as_ref());
    data.extend_from_slice(&BEFORE_POINT);
    data.extend_from_slice(point);
    let public = [&SPKI, point].concat();
    Some(Private {
        signer: Box::new(Secret(pair)),
        data,
        public,
    })
}

struct Public(ParsedPublicKey);

impl Verify for Public {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

struct Secret(EcdsaKeyPair);

impl Sign for Secret {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature = self.0.sign(&SystemRandom::new(), message).ok()?;
        Some(signature.as_ref().to_vec())
    }
}
