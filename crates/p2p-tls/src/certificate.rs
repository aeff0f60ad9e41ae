//! Certificates that say which peer a TLS key belongs to.
//!
//! ```text
//!   X.509 v3, self-signed by a key made for this
//!     extension 1.3.6.1.4.1.53594.1.1 = SEQUENCE {
//!       host public key (protobuf),
//!       signature of the host key over "libp2p-tls-handshake:" + the certificate's public key }
//! ```
//!
//! TLS and QUIC use the same ones. The algorithms that may sign a certificate are those of
//! rustls, each hash only with its curve; SHA-1 and RSA below 2048 bits are not among them.
//!
//! Spec: libp2p/specs `tls/tls.md`.

use std::time::Duration;

use p2p_keys::{Keypair, PublicKey};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, PublicKeyData};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::der::{self, Der, Element};
use crate::{CertificateError, SetupError};

const EXTENSION: &[u64] = &[1, 3, 6, 1, 4, 1, 53594, 1, 1];
/// The same as bytes of DER.
const EXTENSION_DER: &[u8] = &[0x2b, 6, 1, 4, 1, 0x83, 0xa2, 0x5a, 1, 1];
/// What precedes the key in the signed bytes.
const PREFIX: &[u8] = b"libp2p-tls-handshake:";
/// The header of an Ed25519 private key in PKCS #8.
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];

/// A certificate with its key.
#[derive(Debug)]
pub struct Certified {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

/// Makes a certificate for the peer with this key, with an ECDSA P-256 key of its own.
///
/// # Errors
/// [`SetupError`] if the system gives no randomness or the identity cannot sign.
pub fn generate(identity: &Keypair) -> Result<Certified, SetupError> {
    generate_for(
        identity,
        &KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?,
    )
}

/// Makes a certificate whose own key is the Ed25519 key with this seed. Signatures of Ed25519 do
/// not differ from run to run in length, which a reproducible simulation needs.
///
/// # Errors
/// [`SetupError`] if the identity cannot sign.
pub fn generate_from_seed(identity: &Keypair, seed: [u8; 32]) -> Result<Certified, SetupError> {
    let key = [&ED25519_PKCS8[..], &seed].concat();
    let key = PrivatePkcs8KeyDer::from(key);
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519)?;
    generate_for(identity, &key)
}

fn generate_for(identity: &Keypair, key: &KeyPair) -> Result<Certified, SetupError> {
    let signature = identity.sign(&[PREFIX, &key.subject_public_key_info()].concat())?;
    let signed_key = der::encode(
        der::SEQUENCE,
        &[
            &der::encode(der::OCTET_STRING, &[identity.public().as_protobuf()]),
            &der::encode(der::OCTET_STRING, &[&signature]),
        ],
    );
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = rcgen::date_time_ymd(1975, 1, 1);
    params.not_after = rcgen::date_time_ymd(4096, 1, 1);
    params.custom_extensions = vec![CustomExtension::from_oid_content(EXTENSION, signed_key)];
    let certificate = params.self_signed(key)?;
    Ok(Certified {
        certificate: certificate.into(),
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    })
}

/// Checks everything that the spec asks of a certificate, at `now` after the Unix epoch, and
/// returns the host key. That the remote has the certificate's own key, TLS must show.
///
/// # Errors
/// [`CertificateError`] says which check failed.
pub fn verify(certificate: &[u8], now: Duration) -> Result<PublicKey, CertificateError> {
    let parsed = Parsed::new(certificate)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (not_before, not_after) = parsed.validity;
    if now < not_before || now > not_after {
        return Err(CertificateError::OutOfDate {
            not_before,
            not_after,
            now,
        });
    }
    parsed.check_self_signature()?;
    let host_key = PublicKey::from_protobuf(parsed.host_key)?;
    let signed = [PREFIX, parsed.spki].concat();
    if !host_key.verify(&signed, parsed.host_signature) {
        return Err(CertificateError::HostSignature);
    }
    Ok(host_key)
}

/// The host key in a certificate that was verified before.
///
/// # Errors
/// [`CertificateError`] if it cannot have been.
pub fn host_key(certificate: &[u8]) -> Result<PublicKey, CertificateError> {
    Ok(PublicKey::from_protobuf(
        Parsed::new(certificate)?.host_key,
    )?)
}

/// The SubjectPublicKeyInfo of a certificate.
pub(crate) fn subject_public_key(certificate: &[u8]) -> Result<&[u8], CertificateError> {
    Ok(Parsed::new(certificate)?.spki)
}

pub(crate) fn algorithms() -> WebPkiSupportedAlgorithms {
    rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms
}

/// A certificate as slices of its bytes.
struct Parsed<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// First and last second, Unix time.
    validity: (i64, i64),
    spki: &'a [u8],
    key_algorithm: &'a [u8],
    key: &'a [u8],
    host_key: &'a [u8],
    host_signature: &'a [u8],
}

impl<'a> Parsed<'a> {
    fn new(certificate: &'a [u8]) -> Result<Self, CertificateError> {
        let mut outer = Der::new(certificate);
        let mut parts = outer.expect(der::SEQUENCE, "it is not in DER")?.inside();
        outer.end("bytes follow it")?;
        let signed = parts.expect(der::SEQUENCE, "what is signed is missing")?;
        let algorithm = parts.expect(der::SEQUENCE, "the signature algorithm is missing")?;
        let signature = parts
            .expect(der::BIT_STRING, "the signature is missing")?
            .bits()?;
        parts.end("bytes follow the signature")?;

        let mut fields = signed.inside();
        check_version(&mut fields)?;
        fields.expect(der::INTEGER, "the serial number is missing")?;
        let inner = fields.expect(der::SEQUENCE, "the inner signature algorithm is missing")?;
        if inner.content != algorithm.content {
            return Err(CertificateError::Malformed(
                "its two signature algorithms differ",
            ));
        }
        fields.expect(der::SEQUENCE, "the issuer is missing")?;
        let validity = fields.expect(der::SEQUENCE, "the validity is missing")?;
        fields.expect(der::SEQUENCE, "the subject is missing")?;
        let spki = fields.expect(der::SEQUENCE, "the public key is missing")?;
        let mut key = spki.inside();
        let key_algorithm = key
            .expect(der::SEQUENCE, "the algorithm of the key is missing")?
            .content;
        let bits = key.expect(der::BIT_STRING, "the key is missing")?.bits()?;
        key.end("bytes follow the key")?;
        // Unique ids have the tags [1] and [2] and are not allowed: what follows must be [3].
        if fields.is_empty() {
            return Err(CertificateError::NoExtension);
        }
        let extensions = fields.expect(0xa3, "the extensions are missing")?;
        fields.end("bytes follow the extensions")?;
        let (host_key, host_signature) = find_extension(extensions)?;
        Ok(Self {
            signed: signed.whole,
            algorithm: algorithm.content,
            signature,
            validity: read_validity(validity)?,
            spki: spki.whole,
            key_algorithm,
            key: bits,
            host_key,
            host_signature,
        })
    }

    fn check_self_signature(&self) -> Result<(), CertificateError> {
        // The first algorithm of a scheme is the one whose curve fits the hash.
        let fitting = algorithms()
            .mapping
            .iter()
            .filter_map(|(_, algorithms)| algorithms.first())
            .find(|one| {
                one.signature_alg_id().as_ref() == self.algorithm
                    && one.public_key_alg_id().as_ref() == self.key_algorithm
            });
        let algorithm = fitting.ok_or(CertificateError::SignatureAlgorithm)?;
        algorithm
            .verify_signature(self.key, self.signed, self.signature)
            .map_err(|_| CertificateError::SelfSignature)
    }
}

fn check_version(fields: &mut Der<'_>) -> Result<(), CertificateError> {
    let mut version = fields.expect(0xa0, "the version is missing")?.inside();
    let number = version.expect(der::INTEGER, "the version is no number")?;
    version.end("bytes follow the version")?;
    if number.content == [2] {
        Ok(())
    } else {
        Err(CertificateError::Malformed("its version is not 3"))
    }
}

fn read_validity(validity: Element<'_>) -> Result<(i64, i64), CertificateError> {
    let mut times = validity.inside();
    let both = (
        der::unix_time(times.next()?)?,
        der::unix_time(times.next()?)?,
    );
    times.end("bytes follow the validity")?;
    Ok(both)
}

/// Host key and signature from the one libp2p extension.
fn find_extension<'a>(extensions: Element<'a>) -> Result<(&'a [u8], &'a [u8]), CertificateError> {
    let mut outer = extensions.inside();
    let mut list = outer
        .expect(der::SEQUENCE, "the extensions are no list")?
        .inside();
    outer.end("bytes follow the extensions")?;
    let mut found = None;
    while !list.is_empty() {
        let mut extension = list
            .expect(der::SEQUENCE, "an extension is no sequence")?
            .inside();
        let oid = extension.expect(der::OID, "an extension has no name")?;
        let critical = match extension.optional(der::BOOLEAN)? {
            None => false,
            Some(flag) if flag.content == [0xff] => true,
            Some(_) => {
                return Err(CertificateError::Malformed(
                    "a flag is neither true nor left out",
                ));
            }
        };
        let value = extension.expect(der::OCTET_STRING, "an extension has no value")?;
        extension.end("bytes follow an extension")?;
        if oid.content == EXTENSION_DER {
            if found.replace(value).is_some() {
                return Err(CertificateError::SeveralExtensions);
            }
        } else if critical {
            return Err(CertificateError::CriticalExtension);
        }
    }
    let mut value = found.ok_or(CertificateError::NoExtension)?.inside();
    let mut signed_key = value
        .expect(der::SEQUENCE, "the signed key is missing")?
        .inside();
    value.end("bytes follow the signed key")?;
    let host_key = signed_key.expect(der::OCTET_STRING, "the host key is missing")?;
    let signature = signed_key.expect(der::OCTET_STRING, "the host signature is missing")?;
    signed_key.end("bytes follow the host signature")?;
    Ok((host_key.content, signature.content))
}
