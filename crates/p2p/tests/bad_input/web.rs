//! The certificates of the web, for WebSocket on TLS.

use std::sync::Arc;

use futures::{AsyncReadExt, AsyncWriteExt};
use p2p::websocket::{Config, ServerCertificate};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection};

use crate::{World, plain, same};

const AT: &str = "/ip4/10.0.0.2/tcp/4001/tls/ws";
const TO: &str = "/ip4/10.0.0.2/tcp/4001/tls/sni/far.test/ws";
const START: &str = "transport failed after 40.0ms: handshake of the transport failed: ";

/// Serves with a certificate for `name` that is valid in these years, signed by an authority; the
/// dialer trusts that one, or another.
fn refuse(name: &str, (from, until): (i32, i32), trusted: bool, expected: &str) {
    let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let authority = |name: &str| {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key();
        let root = params.self_signed(&key).unwrap();
        (root, Issuer::new(params, key))
    };
    let ((root, issuer), (other, _)) = (authority("one"), authority("other"));
    let server_key = key();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&server_key, &issuer).unwrap();
    let mut serving = Config::default();
    let pem = |what: &str, der: &[u8]| {
        let text = data_encoding::BASE64.encode(der);
        format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n").into_bytes()
    };
    let chain = pem("CERTIFICATE", certificate.der());
    let server_key = pem("PRIVATE KEY", &server_key.serialize_der());
    serving.certificate = Some(ServerCertificate::from_pem(&chain, &server_key).unwrap());
    let mut dialing = Config::default();
    dialing.roots = vec![if trusted { root.into() } else { other.into() }];

    let world = World::new();
    let _far = world.listen(plain().websocket(Some(serving)), AT);
    let text = world.fail(plain().websocket(Some(dialing)), TO);

    // The web's certificates are held against the system's clock.
    let text = match text.split_once("verification time") {
        Some((before, _)) => format!("{before}verification time .."),
        None => text,
    };
    same(&text, TO, &format!("{START}{expected}"));
}

#[test]
fn an_expired_certificate_of_the_web_is_refused() {
    let expected = "the TLS handshake of the web failed: invalid peer certificate: certificate expired: verification time ..";
    refuse("far.test", (1975, 1999), true, expected);
}

#[test]
fn a_certificate_of_the_web_that_is_not_valid_yet_is_refused() {
    let expected = "the TLS handshake of the web failed: invalid peer certificate: certificate not valid yet: verification time ..";
    refuse("far.test", (4000, 4096), true, expected);
}

/// Somebody far away who speaks TLS and shows these bytes as the certificate.
fn show(world: &World, bytes: &[u8]) {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = provider.key_provider.load_private_key(key.into()).unwrap();
    let shown = CertifiedKey::new(vec![bytes.to_vec().into()], key);
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let rt = world.far.rt();
    let options = p2p::core::TcpOptions::default();
    let listener = rt.net().tcp_listen(world.far.socket(4001), &options);
    let mut listener = listener.unwrap();
    world.far.spawn("shows", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut buffer).await {
            tls.read_tls(&mut &buffer[..len]).unwrap();
            // The end comes as an alert.
            let _ = tls.process_new_packets();
            let mut answer = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut answer).unwrap();
            }
            stream.write_all(&answer).await.unwrap();
        }
    });
}

#[test]
fn a_certificate_of_the_web_that_is_malformed_is_refused_as_such() {
    let world = World::new();
    show(&world, b"dear peer");
    let text = world.fail(plain(), TO);
    let expected = "the certificate is malformed: invalid peer certificate: BadEncoding";
    same(&text, TO, &format!("{START}{expected}"));
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let expected = "the certificate is not of an authority that we trust (setting: roots): invalid peer \
                    certificate: UnknownIssuer";
    refuse("far.test", (1975, 4096), false, expected);
}

#[test]
fn a_certificate_of_the_web_for_another_name_is_refused() {
    let expected = "the TLS handshake of the web failed: invalid peer certificate: certificate not valid for name \
                    \"far.test\"; certificate is only valid for DnsName(\"other.test\")";
    refuse("other.test", (1975, 4096), true, expected);
}

#[test]
fn what_is_no_certificate_or_no_key_of_the_web_is_told_apart() {
    use p2p::Chain;
    let wrong = |chain: &[u8]| {
        let error = ServerCertificate::from_pem(chain, b"dear peer").unwrap_err();
        Chain(&error).to_string()
    };
    let chain = wrong(b"dear peer");
    assert!(
        chain.starts_with("not a chain of certificates in PEM: "),
        "{chain}"
    );
    let key = wrong(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(key.starts_with("not a private key in PEM: "), "{key}");
}
