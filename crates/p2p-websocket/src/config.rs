//! Settings of the transport.

use std::fmt;

use rustls::pki_types::pem::{self, PemObject};
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

impl ServerCertificate {
    /// Reads both from PEM, as most authorities and tools write them.
    ///
    /// # Errors
    /// [`PemError`] says which of the two is wrong.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PemError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(PemError::Chain)?;
        if chain.is_empty() {
            return Err(PemError::Chain(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(PemError::Key)?;
        Ok(Self { chain, key })
    }
}

impl Clone for ServerCertificate {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

/// What is no certificate with its key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// The certificates.
    #[error("not a chain of certificates in PEM")]
    Chain(#[source] pem::Error),
    /// The key.
    #[error("not a private key in PEM")]
    Key(#[source] pem::Error),
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerCertificate({} in its chain)", self.chain.len())
    }
}
