//! The certificate vectors, certificates that break one rule each, and arbitrary bytes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

use std::time::Duration;

use p2p_keys::{DecodeKeyError, KeyType, Keypair};
use p2p_tls::CertificateError;
use p2p_tls::certificate::{generate, generate_from_seed, host_key, verify};
use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData, SignatureAlgorithm};
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

/// 2026-01-01.
const NOW: Duration = Duration::from_secs(1_767_225_600);
const EXTENSION: [u64; 9] = [1, 3, 6, 1, 4, 1, 53594, 1, 1];

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/tls_certificates.json")).unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn the_certificates_of_the_vectors_are_valid_or_refused_as_they_say() {
    let vectors = vectors();
    let cases = vectors["certificates"].as_array().unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let verified = verify(&unhex(&case["der_hex"]), NOW);
        if case["valid"].as_bool().unwrap() {
            let peer = verified.unwrap().to_peer_id().to_string();
            assert_eq!(peer, case["peer_id"].as_str().unwrap(), "{}", case["name"]);
        } else {
            let error = verified.unwrap_err();
            let forged = matches!(
                error,
                CertificateError::HostSignature | CertificateError::SelfSignature
            );
            assert!(forged, "{}: {error}", case["name"]);
        }
    }
}

#[test]
fn certificates_that_do_not_prove_their_host_key_are_refused() {
    let vectors = vectors();
    let cases = vectors["generic_certificates"].as_array().unwrap();
    assert!(cases.len() > 10);
    // They were made on 2021-12-15 for a month.
    let then = Duration::from_secs(1_640_000_000);
    for case in cases {
        let der = unhex(&case["der_hex"]);
        let valid = case["libp2p_valid"].as_bool().unwrap();
        let verified = verify(&der, then);
        assert_eq!(verified.is_ok(), valid, "{}: {verified:?}", case["name"]);
    }
}

#[test]
fn a_certificate_names_the_peer_that_made_it_whatever_its_key() {
    for identity in [
        Keypair::generate_ed25519(),
        Keypair::generate(KeyType::Secp256k1).unwrap(),
        Keypair::generate(KeyType::Ecdsa).unwrap(),
        Keypair::generate_rsa(2048).unwrap(),
    ] {
        for made in [
            generate(&identity).unwrap(),
            generate_from_seed(&identity, [7; 32]).unwrap(),
        ] {
            assert_eq!(verify(&made.certificate, NOW).unwrap(), *identity.public());
            assert_eq!(host_key(&made.certificate).unwrap(), *identity.public());
            let (rest, parsed) = X509Certificate::from_der(&made.certificate).unwrap();
            assert!(rest.is_empty() && parsed.version.0 == 2);
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_certificate() {
    let identity = Keypair::ed25519_from_seed([1; 32]);
    let make = |seed| {
        generate_from_seed(&identity, [seed; 32])
            .unwrap()
            .certificate
    };
    assert_eq!(make(1), make(1));
    assert_ne!(make(1), make(2));
    assert_eq!(make(1).len(), make(2).len());
}

#[test]
fn a_certificate_counts_only_while_it_is_valid() {
    let made = Made {
        years: (2020, 2025),
        ..Made::default()
    };
    let der = made.build();
    let second = Duration::from_secs(1);
    let (first, last) = (
        Duration::from_secs(1_577_836_800),
        Duration::from_secs(1_735_689_600),
    );
    for now in [first, last] {
        verify(&der, now).unwrap();
    }
    for now in [first - second, last + second, Duration::ZERO, Duration::MAX] {
        let error = verify(&der, now).unwrap_err();
        assert!(
            matches!(error, CertificateError::OutOfDate { .. }),
            "{error}"
        );
    }
}

#[test]
fn each_broken_rule_has_its_own_error() {
    let good = || Made::default();
    assert!(verify(&good().build(), NOW).is_ok());
    let refused = |made: Made| verify(&made.build(), NOW).unwrap_err();

    let mut none = good();
    none.extensions.clear();
    assert_eq!(refused(none), CertificateError::NoExtension);

    let mut two = good();
    two.extensions.push(two.extensions[0].clone());
    assert_eq!(refused(two), CertificateError::SeveralExtensions);

    let mut unknown = good();
    let mut other = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    unknown.extensions.push(other.clone());
    assert!(
        verify(&unknown.build(), NOW).is_ok(),
        "an unknown extension is fine"
    );
    other.set_criticality(true);
    unknown.extensions.push(other);
    assert_eq!(refused(unknown), CertificateError::CriticalExtension);

    let mut critical = good();
    critical.extensions[0].set_criticality(true);
    assert!(
        verify(&critical.build(), NOW).is_ok(),
        "ours may be critical"
    );

    for (content, what) in [
        (vec![], "the signed key is missing"),
        (vec![0x30, 0], "the host key is missing"),
        (vec![0x30, 2, 4, 0], "the host signature is missing"),
        (vec![0x30, 4, 4, 0, 4, 0, 0], "bytes follow the signed key"),
        (
            vec![0x30, 6, 4, 0, 4, 0, 4, 0],
            "bytes follow the host signature",
        ),
    ] {
        let mut broken = good();
        broken.extensions = vec![CustomExtension::from_oid_content(&EXTENSION, content)];
        assert_eq!(refused(broken), CertificateError::Malformed(what));
    }

    let mut no_key = good();
    no_key.extensions = vec![signed_key(&[8, 1], &[0; 64])];
    assert!(matches!(refused(no_key), CertificateError::HostKey(_)));

    let identity = Keypair::generate_ed25519();
    let protobuf = identity.public().as_protobuf();
    for signature in [&[][..], &[1; 10], &[1; 64]] {
        let mut forged = good();
        forged.extensions = vec![signed_key(protobuf, signature)];
        assert_eq!(refused(forged), CertificateError::HostSignature);
    }
}

/// What a certificate with this change is said to be malformed in.
fn malformed(change: impl FnOnce(&mut Parts)) -> String {
    let mut parts = Parts::of(&Made::default().build());
    change(&mut parts);
    let error = verify(&parts.whole(), NOW).unwrap_err();
    assert!(matches!(error, CertificateError::Malformed(_)), "{error}");
    let text = error.to_string();
    let what = text.strip_prefix("the certificate is malformed: ");
    what.unwrap().to_owned()
}

#[test]
fn what_is_no_x509_is_refused_with_what_is_wrong_with_it() {
    let good = Made::default().build();
    for (bytes, what) in [
        (&good[..good.len() - 1], "it is not in DER"),
        (b"dear peer", "it is not in DER"),
        (&[&good[..], &[0]].concat(), "bytes follow it"),
        (&[0x30, 0], "what is signed is missing"),
    ] {
        let error = verify(bytes, NOW).unwrap_err();
        let expected = format!("the certificate is malformed: {what}");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_certificate_that_lacks_a_part_is_refused_with_what_it_lacks() {
    for (at, what) in [
        (0, "the signature algorithm is missing"),
        (1, "the signature is missing"),
    ] {
        assert_eq!(malformed(|parts| parts.outer[at] = null()), what);
    }
    assert_eq!(
        malformed(|parts| parts.outer.push(null())),
        "bytes follow the signature"
    );
    assert_eq!(
        malformed(|parts| parts.outer[1] = vec![3, 2, 3, 8]),
        "a bit string does not end with a whole byte"
    );
    for (at, what) in [
        (0, "the version is missing"),
        (1, "the serial number is missing"),
        (2, "the inner signature algorithm is missing"),
        (3, "the issuer is missing"),
        (4, "the validity is missing"),
        (5, "the subject is missing"),
        (6, "the public key is missing"),
        (7, "the extensions are missing"),
    ] {
        assert_eq!(malformed(|parts| parts.signed[at] = null()), what);
    }
}

#[test]
fn a_certificate_with_a_wrong_part_is_refused_with_what_is_wrong_with_it() {
    for (at, element, what) in [
        (0, der(0xa0, &[2, 1, 0]), "its version is not 3"),
        (0, der(0xa0, &null()), "the version is no number"),
        (
            0,
            der(0xa0, &[2, 1, 2, 2, 1, 2]),
            "bytes follow the version",
        ),
        (2, der(0x30, &null()), "its two signature algorithms differ"),
        (4, der(0x30, &[]), "an element is cut short or not in DER"),
        (
            4,
            der(0x30, &[der(23, b"today"), der(23, b"tomorrow")].concat()),
            "a time in it is none",
        ),
        (6, der(0x30, &[]), "the algorithm of the key is missing"),
        (6, der(0x30, &[0x30, 0]), "the key is missing"),
        (
            6,
            der(0x30, &[0x30, 0, 3, 1, 0, 5, 0]),
            "bytes follow the key",
        ),
        (7, der(0xa3, &null()), "the extensions are no list"),
        (
            7,
            der(0xa3, &[0x30, 0, 5, 0]),
            "bytes follow the extensions",
        ),
        (7, extensions(&null()), "an extension is no sequence"),
        (7, extensions(&[0x30, 0]), "an extension has no name"),
        (
            7,
            extensions(&[0x30, 3, 6, 1, 9]),
            "an extension has no value",
        ),
        (
            7,
            extensions(&[0x30, 6, 6, 1, 9, 1, 1, 7]),
            "a flag is neither true nor left out",
        ),
        (
            7,
            extensions(&[0x30, 7, 6, 1, 9, 4, 0, 5, 0]),
            "bytes follow an extension",
        ),
    ] {
        assert_eq!(malformed(|parts| parts.signed[at] = element), what);
    }
    assert_eq!(
        malformed(|parts| parts.signed.push(null())),
        "bytes follow the extensions"
    );
    let three_times = [der(23, b"700101000000Z"), der(23, b"490101000000Z"), null()];
    assert_eq!(
        malformed(|parts| parts.signed[4] = der(0x30, &three_times.concat())),
        "bytes follow the validity"
    );
}

/// An element that is right nowhere.
fn null() -> Vec<u8> {
    vec![5, 0]
}

fn extensions(list: &[u8]) -> Vec<u8> {
    der(0xa3, &der(0x30, list))
}

/// A host key of type RSA whose data takes `len` bytes, as protobuf.
fn rsa_key(len: u16) -> Vec<u8> {
    let [low, high] = [(len & 0x7f) as u8 | 0x80, (len >> 7) as u8];
    [&[8, 0, 0x12, low, high][..], &vec![0x30; len.into()]].concat()
}

/// CVE-2023-39533: a host key of 16,384 bits, or of any length, would cost a verification as long.
#[test]
fn a_huge_rsa_host_key_is_refused_unread() {
    // The data of an RSA key of 16,384 bits, and what it could be at most.
    for len in [2086, 3000, 16_000] {
        let key = rsa_key(len);
        let huge = Made {
            extensions: vec![signed_key(&key, &[1; 256])],
            ..Made::default()
        };
        let der = huge.build();
        let refused = CertificateError::HostKey(DecodeKeyError::TooLong {
            len: key.len(),
            max: 1100,
        });
        assert_eq!(verify(&der, NOW), Err(refused.clone()));
        assert_eq!(host_key(&der), Err(refused));
    }
}

#[test]
fn a_certificate_of_any_sound_algorithm_counts() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_RSA_SHA512,
    ] {
        let made = Made {
            algorithm,
            ..Made::default()
        };
        verify(&made.build(), NOW).unwrap();
    }
}

#[test]
fn a_changed_certificate_is_never_that_of_its_peer() {
    let identity = Keypair::ed25519_from_seed([3; 32]);
    let der = generate_from_seed(&identity, [4; 32]).unwrap().certificate;
    for at in 0..der.len() {
        for bit in [0x01, 0x80] {
            let mut changed = der.to_vec();
            changed[at] ^= bit;
            assert!(verify(&changed, NOW).is_err(), "byte {at} ^ {bit}");
        }
        assert!(verify(&der[..at], NOW).is_err(), "cut at {at}");
    }
    assert!(verify(&[&der[..], &[0]].concat(), NOW).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_certificate(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verify(&bytes, NOW).is_err());
    }

    /// What we take apart, another parser takes apart alike.
    #[test]
    fn whatever_we_parse_another_parser_parses(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        let der = generate_from_seed(&Keypair::ed25519_from_seed([3; 32]), [4; 32]).unwrap();
        let mut der = der.certificate.to_vec();
        for (at, byte) in changes {
            let len = der.len();
            der[at % len] = byte;
        }
        if host_key(&der).is_ok() {
            let parsed = X509Certificate::from_der(&der);
            prop_assert!(parsed.is_ok() || verify(&der, NOW).is_err(), "{:?}", parsed.err());
        }
    }
}

/// A certificate taken apart.
struct Parts {
    /// What is signed: version, serial number, algorithm, issuer, validity, subject, key,
    /// extensions.
    signed: Vec<Vec<u8>>,
    /// The algorithm and the signature.
    outer: Vec<Vec<u8>>,
}

impl Parts {
    fn of(certificate: &[u8]) -> Self {
        let mut outer = children(certificate);
        let signed = children(&outer.remove(0));
        assert_eq!((signed.len(), outer.len()), (8, 2));
        Self { signed, outer }
    }

    fn whole(&self) -> Vec<u8> {
        let signed = der(0x30, &self.signed.concat());
        der(0x30, &[signed, self.outer.concat()].concat())
    }
}

/// The elements inside of one.
fn children(element: &[u8]) -> Vec<Vec<u8>> {
    let header = |bytes: &[u8]| match bytes[1] {
        0x81 => (3, usize::from(bytes[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        short => (2, usize::from(short)),
    };
    let mut rest = &element[header(element).0..];
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (start, len) = header(rest);
        let (one, more) = rest.split_at(start + len);
        all.push(one.to_vec());
        rest = more;
    }
    all
}

/// A certificate in the making.
struct Made {
    algorithm: &'static SignatureAlgorithm,
    years: (i32, i32),
    extensions: Vec<CustomExtension>,
    key: Option<KeyPair>,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
            years: (1975, 4096),
            extensions: vec![signed_key(&[], &[])],
            key: None,
        }
        .with_key()
    }
}

impl Made {
    fn with_key(mut self) -> Self {
        let (key, extension) = proven(self.algorithm);
        self.key = Some(key);
        self.extensions = vec![extension];
        self
    }

    fn build(&self) -> Vec<u8> {
        let (fresh, extension);
        let (key, extensions) = match &self.key {
            Some(key) if key.is_compatible(self.algorithm) => (key, self.extensions.clone()),
            _ => {
                (fresh, extension) = proven(self.algorithm);
                (&fresh, vec![extension])
            }
        };
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(self.years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(self.years.1, 1, 1);
        params.custom_extensions = extensions;
        params.self_signed(key).unwrap().der().to_vec()
    }
}

/// A key and the extension that proves it.
fn proven(algorithm: &'static SignatureAlgorithm) -> (KeyPair, CustomExtension) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let identity = Keypair::generate_ed25519();
    let signed = [b"libp2p-tls-handshake:", &key.subject_public_key_info()[..]].concat();
    let signature = identity.sign(&signed).unwrap();
    let extension = signed_key(identity.public().as_protobuf(), &signature);
    (key, extension)
}

fn signed_key(key: &[u8], signature: &[u8]) -> CustomExtension {
    let content = [der(4, key), der(4, signature)].concat();
    CustomExtension::from_oid_content(&EXTENSION, der(0x30, &content))
}

/// A tag, a length in its shortest form, and the content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    let header = match len {
        [0, short] if short < 128 => vec![tag, short],
        [0, one] => vec![tag, 0x81, one],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}
