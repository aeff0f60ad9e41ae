//! A certificate authority of our own, and servers that it trusts.

use p2p_core::Rt;
use p2p_core::conformance::transport::Party;
use p2p_tcp::Tcp;
use p2p_websocket::{Config, ServerCertificate, WebSocket};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

/// A root and its key.
pub(crate) struct Web {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

#[allow(dead_code, reason = "not every test file uses every helper")]
pub(crate) fn plain(rt: Rt) -> Party {
    let tcp = Tcp::new(rt, p2p_tcp::Config::default());
    Party::raw(WebSocket::new(tcp, Config::default()).unwrap())
}

impl Web {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().into();
        let issuer = Issuer::new(params, key);
        Self { root, issuer }
    }

    /// Settings that trust the root, with a certificate for `name`.
    pub(crate) fn config(&self, name: &str) -> Config {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut config = Config::default();
        config.roots = vec![self.root.clone()];
        let chain = pem("CERTIFICATE", certificate.der());
        let key = pem("PRIVATE KEY", &key.serialize_der());
        config.certificate = Some(ServerCertificate::from_pem(&chain, &key).unwrap());
        config
    }

    #[allow(dead_code, reason = "not every test file uses every helper")]
    pub(crate) fn party(&self, rt: Rt, name: &str) -> Party {
        let tcp = Tcp::new(rt, p2p_tcp::Config::default());
        Party::raw(WebSocket::new(tcp, self.config(name)).unwrap())
    }
}

fn pem(what: &str, der: &[u8]) -> Vec<u8> {
    let text = data_encoding::BASE64.encode(der);
    format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n").into_bytes()
}
