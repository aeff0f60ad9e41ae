//! What can go wrong, and whose fault it is.

use p2p_core::{Blame, PeerId};
use p2p_keys::{DecodeKeyError, SignError};
use rustls::AlertDescription;

use crate::der::date;

/// Why no [`Tls`](crate::Tls) could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// rustls does not take our certificate or our settings.
    #[error("cannot set up TLS")]
    Rustls(#[from] rustls::Error),
    /// The identity could not sign the certificate's key.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl SetupError {
    /// Who to hold responsible: always us.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// What is wrong with a certificate (libp2p/specs tls/tls.md, "Peer Authentication").
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// There must be exactly one.
    #[error("the remote showed {found} certificates, and must show exactly one")]
    Count {
        /// How many there were.
        found: usize,
    },
    /// An extension that must be understood is not.
    #[error("the certificate has an unknown extension that is critical")]
    CriticalExtension,
    /// The host key is not a usable key.
    #[error("the host key in the certificate is unusable")]
    HostKey(#[from] DecodeKeyError),
    /// The host key did not sign the key of the certificate.
    #[error("the host key did not sign the key of the certificate")]
    HostSignature,
    /// It is not X.509 version 3 in DER, or an extension is not what the spec says; what is wrong
    /// with it.
    #[error("the certificate is malformed: {0}")]
    Malformed(&'static str),
    /// There is no libp2p extension.
    #[error("no libp2p extension in the certificate")]
    NoExtension,
    /// It is not valid at this time.
    #[error("{}; our clock says {}", validity(*.not_before, *.not_after, *.now), date(*.now))]
    OutOfDate {
        /// Its first second, Unix time.
        not_before: i64,
        /// Its last second, Unix time.
        not_after: i64,
        /// What time it is, Unix time.
        now: i64,
    },
    /// The certificate's own key did not sign it.
    #[error("the certificate is not signed with its own key")]
    SelfSignature,
    /// The libp2p extension appears more than once.
    #[error("more than one libp2p extension in the certificate")]
    SeveralExtensions,
    /// It is signed with an algorithm that is weak, unknown or does not fit the key.
    #[error("the certificate is signed with an algorithm that is not allowed")]
    SignatureAlgorithm,
    /// It is somebody else's.
    #[error("the certificate is that of {found}, not of {expected}")]
    WrongPeer {
        /// Who should have been there.
        expected: PeerId,
        /// Whose certificate it is.
        found: PeerId,
    },
}

impl CertificateError {
    /// Who to hold responsible: always the remote.
    pub fn blame(&self) -> Blame {
        Blame::Remote
    }
}

/// Why a handshake failed. The source of [`SecurityError::Protocol`](p2p_core::SecurityError).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The remote's certificate proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The remote does not take our certificate, or expects somebody else here; its alert.
    #[error("the remote refuses our certificate, or expects somebody else (alert {0:?})")]
    CertificateRefused(AlertDescription),
    /// The remote's part is longer than any certificate makes it.
    #[error("a handshake of more than {max} bytes")]
    TooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// TLS itself failed; the error says what the remote did, or which alert it sent.
    #[error("TLS failed: {0}")]
    Tls(rustls::Error),
}

impl HandshakeError {
    /// Who to hold responsible. Nobody where the remote refuses our certificate: who dials an
    /// address that has changed hands does so too, and its alert does not say.
    pub fn blame(&self) -> Blame {
        match self {
            Self::CertificateRefused(_) => Blame::Network,
            Self::Tls(error) if is_ours(error) => Blame::Us,
            Self::Certificate(_) | Self::TooLong { .. } | Self::Tls(_) => Blame::Remote,
        }
    }
}

/// Whether TLS failed for want of something here, whatever the remote said.
fn is_ours(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::EncryptError
            | rustls::Error::FailedToGetCurrentTime
            | rustls::Error::FailedToGetRandomBytes
            | rustls::Error::HandshakeNotComplete
            | rustls::Error::InconsistentKeys(_)
    )
}

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        if let rustls::Error::AlertReceived(alert) = error
            && refuses_certificate(alert)
        {
            Self::CertificateRefused(alert)
        } else {
            Self::Tls(error)
        }
    }
}

/// Whether a remote that sends this alert refuses our certificate (RFC 8446, section 6.2).
pub fn refuses_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
}

fn validity(not_before: i64, not_after: i64, now: i64) -> String {
    if now < not_before {
        let from = date(not_before);
        format!("the certificate is not valid before {from}")
    } else {
        format!("the certificate expired at {}", date(not_after))
    }
}
