//! Settings of the transport.

use std::fmt;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Settings of a [`WebSocket`](crate::WebSocket).
#[derive(Debug)]
#[non_exhaustive]
pub struct Config {
    /// The longest message that is read, in bytes. Default: 1 MiB.
    ///
    /// A message is held whole before any of it is read: this is what a connection costs at most
    /// beside its socket. Other implementations send at most 64 KiB at once.
    pub max_message: usize,
    /// What proves the server's name, for listening on `/tls/ws`. Default: none; only dialing
    /// works there.
    pub certificate: Option<ServerCertificate>,
    /// Certificate authorities to trust when dialing `/tls/ws`, beside those of Mozilla. Default:
    /// none.
    pub roots: Vec<CertificateDer<'static>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message: 1024 * 1024,
            certificate: None,
            roots: Vec::new(),
        }
    }
}

/// A certificate of the web, for the name that others dial.
pub struct ServerCertificate {
    /// The certificate and those between it and its authority, in this order.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerCertificate({} in its chain)", self.chain.len())
    }
}
