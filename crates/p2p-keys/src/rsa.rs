//! RSA with 2048 to 8192 bits, PKCS#1 v1.5 and SHA-256.
//!
//! The size is read from the DER and refused before a single operation with the key, whoever
//! wrote it: a key of 65,536 bits would cost seconds to verify with (CVE-2023-39533).

use std::ops::RangeInclusive;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

use crate::algorithm::{Private, Sign, Verify};
use crate::der::{self, BIT_STRING, OCTET_STRING, Reader, SEQUENCE};
use crate::{DecodeKeyError, GenerateError, KeyType};

/// Sizes of the modulus, in bits.
const BITS: RangeInclusive<usize> = 2048..=8192;
/// The algorithm of a SubjectPublicKeyInfo: rsaEncryption with a NULL parameter.
const ALGORITHM: [u8; 13] = [
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// A SubjectPublicKeyInfo.
pub(crate) fn public(data: &[u8]) -> Result<Box<dyn Verify>, DecodeKeyError> {
    let (modulus, exponent) =
        read_public(data).ok_or_else(|| invalid("not a SubjectPublicKeyInfo"))?;
    check_size(modulus)?;
    check_exponent(exponent)?;
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, data)
        .map_err(|_| invalid("not a usable key"))?;
    Ok(Box::new(Public(key)))
}

/// An RFC 8017 RSAPrivateKey of two primes.
pub(crate) fn private(data: &[u8]) -> Result<Private, DecodeKeyError> {
    let (modulus, exponent) = read_private(data).ok_or_else(|| invalid("not an RSAPrivateKey"))?;
    check_size(modulus)?;
    check_exponent(exponent)?;
    let pair = RsaKeyPair::from_der(data).map_err(|_| invalid("the parts do not fit together"))?;
    from_pair(pair, data, modulus, exponent).ok_or_else(|| invalid("not a usable key"))
}

pub(crate) fn generate(bits: usize) -> Result<Option<Private>, GenerateError> {
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        8192 => KeySize::Rsa8192,
        _ => return Err(GenerateError::RsaSize { bits }),
    };
    Ok(generate_sized(size))
}

fn generate_sized(size: KeySize) -> Option<Private> {
    let pair = RsaKeyPair::generate(size).ok()?;
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    let mut info = Reader::new(pkcs8.as_ref()).nested(SEQUENCE)?;
    let _version = info.unsigned()?;
    let _algorithm = info.element(SEQUENCE)?;
    let data = info.element(OCTET_STRING)?;
    let (modulus, exponent) = read_private(data)?;
    from_pair(pair, data, modulus, exponent)
}

fn from_pair(pair: RsaKeyPair, data: &[u8], modulus: &[u8], exponent: &[u8]) -> Option<Private> {
    let private = Private {
        signer: Box::new(Secret(pair)),
        data: Zeroizing::new(data.to_vec()),
        public: write_public(modulus, exponent),
    };
    // Holds by construction; checked because a wrong public key would be a wrong peer id.
    (read_public(&private.public)? == (modulus, exponent)).then_some(private)
}

/// Modulus and exponent, if `data` is the one DER form of an RSA SubjectPublicKeyInfo.
fn read_public(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Reader::new(data);
    let mut info = outer.nested(SEQUENCE)?;
    let algorithm = info.element(SEQUENCE)?;
    // The first byte says how many bits of the last are unused.
    let key = info.element(BIT_STRING)?.strip_prefix(&[0])?;
    let mut key = Reader::new(key);
    let mut numbers = key.nested(SEQUENCE)?;
    let (modulus, exponent) = (numbers.unsigned()?, numbers.unsigned()?);
    let complete = outer.at_end() && info.at_end() && key.at_end() && numbers.at_end();
    (complete && algorithm == ALGORITHM).then_some((modulus, exponent))
}

fn write_public(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let mut numbers = Vec::with_capacity(modulus.len() + 16);
    der::put_unsigned(&mut numbers, modulus);
    der::put_unsigned(&mut numbers, exponent);
    let mut key = vec![0];
    der::put(&mut key, SEQUENCE, &numbers);
    let mut info = Vec::with_capacity(key.len() + 24);
    der::put(&mut info, SEQUENCE, &ALGORITHM);
    der::put(&mut info, BIT_STRING, &key);
    let mut data = Vec::with_capacity(info.len() + 4);
    der::put(&mut data, SEQUENCE, &info);
    data
}

/// Modulus and public exponent, if `data` has the shape of a two-prime RSAPrivateKey.
fn read_private(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Reader::new(data);
    let mut numbers = outer.nested(SEQUENCE)?;
    let version = numbers.unsigned()?;
    let (modulus, exponent) = (numbers.unsigned()?, numbers.unsigned()?);
    for _private_part in 0..6 {
        numbers.unsigned()?;
    }
    let complete = outer.at_end() && numbers.at_end();
    (complete && version.is_empty()).then_some((modulus, exponent))
}

fn check_size(modulus: &[u8]) -> Result<(), DecodeKeyError> {
    let bits = der::bits(modulus);
    if BITS.contains(&bits) {
        Ok(())
    } else {
        Err(DecodeKeyError::RsaSize { bits })
    }
}

/// Odd, at least 3, and at most four bytes: a long exponent makes verifying as dear as signing.
fn check_exponent(exponent: &[u8]) -> Result<(), DecodeKeyError> {
    let odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    if odd && exponent != [1] && exponent.len() <= 4 {
        Ok(())
    } else {
        Err(invalid("the public exponent is even, 1, or too large"))
    }
}

fn invalid(reason: &'static str) -> DecodeKeyError {
    DecodeKeyError::Invalid {
        key_type: KeyType::Rsa,
        reason,
    }
}

struct Public(ParsedPublicKey);

impl Verify for Public {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

struct Secret(RsaKeyPair);

impl Sign for Secret {
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .ok()?;
        Some(signature)
    }
}
