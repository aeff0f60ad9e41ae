//! A certificate authority of one's own, and a server that it vouches for.

use data_encoding::BASE64;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::TempDir;

/// Files in PEM.
pub(crate) struct Authority {
    /// The certificate of the authority.
    pub(crate) root: String,
    /// That of a server at 127.0.0.1.
    pub(crate) cert: String,
    /// Its private key.
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(dir: &TempDir) -> Self {
        let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = key();
        let root = params.self_signed(&own).unwrap();
        let (issuer, server) = (Issuer::new(params, own), key());
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let cert = params.signed_by(&server, &issuer).unwrap();
        let write = |name: &str, what: &str, der: &[u8]| {
            let text = BASE64.encode(der);
            let pem = format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n");
            let file = dir.path(name);
            std::fs::write(&file, pem).unwrap();
            file
        };
        Self {
            root: write("root.pem", "CERTIFICATE", root.der()),
            cert: write("cert.pem", "CERTIFICATE", cert.der()),
            key: write("key.pem", "PRIVATE KEY", &server.serialize_der()),
        }
    }
}
