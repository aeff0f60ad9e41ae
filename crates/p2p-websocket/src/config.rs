//! Settings of the transport.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else the library finds wrong with PEM, it found no section"
)]

use std::fmt;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Settings of a [`WebSocket`](crate::WebSocket).
#[derive(Debug)]
#[non_exhaustive]
pub struct Config {
    /// The longest message that is read, in bytes. Default: 512 KiB.
    ///
    /// A message is held whole before any of it is read, also before it is known who sends it,
    /// and while it comes in several frames one of them too: this, up to twice, and 16 KiB to read
    /// with is what a connection costs at most beside its socket. Most implementations send at
    /// most 64 KiB at once, some a whole window of yamux, 256 KiB with what secures it.
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
            max_message: 512 << 10,
            certificate: None,
            roots: Vec::new(),
        }
    }
}

impl Config {
    /// Also trusts these authorities, from PEM.
    ///
    /// # Errors
    /// [`PemError::Chain`]; nothing has changed.
    pub fn trust_pem(&mut self, authorities: &[u8]) -> Result<(), PemError> {
        self.roots.extend(certificates(authorities)?);
        Ok(())
    }
}

/// One certificate at least.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, pem::Error>>()
        .map_err(|error| PemError::Chain(error.into()))?;
    if all.is_empty() {
        return Err(PemError::Chain(PemFault::Missing));
    }
    Ok(all)
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
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|error| PemError::Key(error.into()))?;
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
    Chain(#[source] PemFault),
    /// The key.
    #[error("not a private key in PEM")]
    Key(#[source] PemFault),
}

/// What is wrong with the PEM. Nothing of it is repeated: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemFault {
    /// What stands in a section is not base64.
    #[error("a section in it is not base64")]
    Base64,
    /// No section is of the kind asked for.
    #[error("it has no section of that kind")]
    Missing,
    /// A line begins a section and does not end with five dashes.
    #[error("a -----BEGIN line in it has no end, as if line breaks were lost")]
    Start,
    /// A section is larger than anything of this kind.
    #[error("a section in it is too large")]
    TooLarge,
    /// A section has no last line.
    #[error("a section in it has no -----END line")]
    Unended,
}

impl From<pem::Error> for PemFault {
    fn from(error: pem::Error) -> Self {
        match error {
            pem::Error::Base64Decode(_) => Self::Base64,
            pem::Error::IllegalSectionStart { .. } => Self::Start,
            pem::Error::MissingSectionEnd { .. } => Self::Unended,
            pem::Error::SectionTooLarge => Self::TooLarge,
            // Bytes in memory do not fail to be read.
            _ => Self::Missing,
        }
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerCertificate({} in its chain)", self.chain.len())
    }
}
