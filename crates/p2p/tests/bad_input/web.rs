//! The certificates of the web, for WebSocket on TLS.

use p2p::websocket::{Config, ServerCertificate};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::{World, plain, same};

const AT: &str = "/ip4/10.0.0.2/tcp/4001/tls/ws";

/// Serves with a certificate for `name` that is valid until the year `until`, signed by an
/// authority; the dialer trusts that one, or another.
fn refuse(name: &str, until: i32, trusted: bool, expected: &str) {
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
    let to = "/ip4/10.0.0.2/tcp/4001/tls/sni/far.test/ws";
    let text = world.fail(plain().websocket(Some(dialing)), to);

    // The web's certificates are held against the system's clock.
    let text = match text.split_once("verification time") {
        Some((before, _)) => format!("{before}verification time .."),
        None => text,
    };
    let start = "transport failed after 40.0ms: handshake of the transport failed: ";
    same(&text, to, &format!("{start}{expected}"));
}

#[test]
fn an_expired_certificate_of_the_web_is_refused() {
    let expected = "the TLS handshake of the web failed: invalid peer certificate: certificate expired: verification time ..";
    refuse("far.test", 1999, true, expected);
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let expected = "the certificate is not of an authority that we trust (setting: roots): invalid peer \
                    certificate: UnknownIssuer";
    refuse("far.test", 4096, false, expected);
}

#[test]
fn a_certificate_of_the_web_for_another_name_is_refused() {
    let expected = "the TLS handshake of the web failed: invalid peer certificate: certificate not valid for name \
                    \"far.test\"; certificate is only valid for DnsName(\"other.test\")";
    refuse("other.test", 4096, true, expected);
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
