//! The certificates of libp2p, over TLS and over QUIC.

use p2p::tls::{Credentials, Tls, certificate};
use p2p::{Host, SecureChannel, quic};
use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{World, key, peer, same};

/// The extension of libp2p in a certificate.
const EXTENSION: [u64; 9] = [1, 3, 6, 1, 4, 1, 53594, 1, 1];

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A certificate that is in order.
fn good() -> Shown {
    let made = certificate::generate(&key(2)).unwrap();
    (vec![made.certificate], made.key)
}

/// A certificate as a web server has it, with such an extension of libp2p.
fn web(extension: Option<&[u8]>) -> Shown {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    let extension = extension.map(|it| CustomExtension::from_oid_content(&EXTENSION, it.to_vec()));
    params.custom_extensions.extend(extension);
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    (vec![certificate.into()], key.into())
}

/// A certificate with all that it needs that was valid for the last time at the end of 1998.
fn expired() -> Shown {
    let own = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let identity = key(2);
    let signed = [b"libp2p-tls-handshake:", &*own.subject_public_key_info()].concat();
    let octets = |bytes: &[u8]| [&[4, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let parts = [
        octets(identity.public().as_protobuf()),
        octets(&identity.sign(&signed).unwrap()),
    ];
    let parts = parts.concat();
    let extension = [&[0x30, u8::try_from(parts.len()).unwrap()], &*parts].concat();
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(1999, 1, 1);
    params.custom_extensions = vec![CustomExtension::from_oid_content(&EXTENSION, extension)];
    let certificate = params.self_signed(&own).unwrap();
    let own = PrivatePkcs8KeyDer::from(own.serialize_der());
    (vec![certificate.into()], own.into())
}

/// Dials somebody who shows this, over TLS and over QUIC.
fn refuse(shown: &Shown, expected: &str) {
    let roads = [
        ("/ip4/10.0.0.2/tcp/4001", "40.0ms"),
        ("/ip4/10.0.0.2/udp/4001/quic-v1", "20.0ms"),
    ];
    for (to, took) in roads {
        let world = World::new();
        let rt = world.far.rt();
        let (chain, own) = (shown.0.clone(), shown.1.clone_key());
        let credentials = Credentials::with_certificates(peer(2), chain, own, rt.clone());
        let credentials = credentials.unwrap();
        let far = Host::builder().quic(None);
        let far = if to.contains("quic") {
            let config = quic::Config::default();
            let quic = quic::Quic::with_credentials(rt, &key(2), credentials, config);
            far.with_transport(quic.unwrap())
        } else {
            let tls = Tls::with_credentials(credentials);
            far.secure_channels(&[]).with_security(tls)
        };
        let _far = world.listen(far, to);
        let near = Host::builder().secure_channels(&[SecureChannel::Tls]);
        let text = world.fail(near, &format!("{to}/p2p/{}", peer(2)));
        let expected = format!("security failed after {took}: {expected}");
        same(&text, &format!("{to}/p2p/FAR"), &expected);
    }
}

#[test]
fn an_expired_certificate_is_refused_with_its_dates() {
    refuse(
        &expired(),
        "handshake failed: the certificate expired at 1999-01-01 00:00:00 UTC; our clock says 2026-01-01 00:00:00 UTC",
    );
}

#[test]
fn two_certificates_are_refused_with_their_number() {
    let (mut chain, key) = good();
    chain.extend(good().0);
    refuse(
        &(chain, key),
        "handshake failed: the remote showed 2 certificates, and must show exactly one",
    );
}

#[test]
fn a_certificate_of_the_web_is_refused_as_none_of_libp2p() {
    refuse(
        &web(None),
        "handshake failed: no libp2p extension in the certificate",
    );
}

#[test]
fn a_malformed_certificate_is_refused_with_what_is_malformed() {
    refuse(
        &web(Some(&[0x30, 0])),
        "handshake failed: the certificate is malformed: the host key is missing",
    );
}

#[test]
fn the_certificate_of_somebody_else_is_refused_with_both_names() {
    let made = certificate::generate(&key(3)).unwrap();
    refuse(
        &(vec![made.certificate], made.key),
        "wrong peer: expected FAR, found OTHER",
    );
}
