//! What can go wrong, and whose fault it is.

use std::io;

use async_tungstenite::tungstenite;
use p2p_core::Blame;

/// Why the settings do not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The certificate, its key or a root is not usable.
    #[error("the certificate, its key or a root is unusable (settings: certificate, roots)")]
    Certificate(#[from] rustls::Error),
}

impl SetupError {
    /// Who to hold responsible: always us.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// Which step towards a WebSocket failed. The source of
/// [`TransportError::Handshake`](p2p_core::TransportError::Handshake).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The other end does not take our certificate.
    #[error("the remote refuses our certificate (setting: certificate)")]
    CertificateRefused(#[source] io::Error),
    /// What the other end shows as its certificate is none.
    #[error("the certificate is malformed")]
    Malformed(#[source] io::Error),
    /// The other end does not speak TLS.
    #[error("the remote does not speak TLS: check the port, or leave /tls out")]
    NotTls(#[source] io::Error),
    /// The other end speaks TLS 1.2 or older only.
    #[error("the remote does not speak TLS 1.3, and we speak nothing older")]
    OldTls(#[source] io::Error),
    /// TLS: most often the certificate is not that of the name.
    #[error("the TLS handshake of the web failed")]
    Tls(#[source] io::Error),
    /// The certificate is of an authority that we do not trust.
    #[error("the certificate is not of an authority that we trust (setting: roots)")]
    UnknownAuthority(#[source] io::Error),
    /// The other end does not speak HTTP, or refuses to switch to WebSocket.
    #[error("the HTTP upgrade to WebSocket failed")]
    Upgrade(#[source] Box<tungstenite::Error>),
}

impl HandshakeError {
    /// Who to hold responsible. Whoever shows a certificate that we cannot trust is: it may be
    /// somebody else's.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else the library finds wrong is the remote's words"
    )]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Malformed(_) | Self::NotTls(_) | Self::OldTls(_) | Self::UnknownAuthority(_) => {
                Blame::Remote
            }
            Self::CertificateRefused(_) => Blame::Us,
            // Without a reason of TLS inside it is the link that failed.
            Self::Tls(error) => match reason(error) {
                Some(_) => Blame::Remote,
                None => Blame::Network,
            },
            Self::Upgrade(error) => match &**error {
                // The request is made of the address.
                tungstenite::Error::Url(_) | tungstenite::Error::HttpFormat(_) => Blame::Us,
                tungstenite::Error::Io(_) => Blame::Network,
                _ => Blame::Remote,
            },
        }
    }

    /// What an error of the TLS handshake means: its reason is hidden in one of I/O.
    pub(crate) fn of_tls(error: io::Error) -> Self {
        use rustls::AlertDescription as Alert;
        use rustls::{CertificateError, Error, PeerIncompatible};
        let step = match reason(&error) {
            Some(Error::InvalidMessage(_)) => Self::NotTls,
            Some(
                Error::AlertReceived(Alert::ProtocolVersion)
                | Error::PeerIncompatible(
                    PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                    | PeerIncompatible::SupportedVersionsExtensionRequired
                    | PeerIncompatible::Tls12NotOffered
                    | PeerIncompatible::Tls12NotOfferedOrEnabled,
                ),
            ) => Self::OldTls,
            // Only servers of the web show certificates: it was ours.
            Some(Error::AlertReceived(
                Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA,
            )) => Self::CertificateRefused,
            Some(Error::InvalidCertificate(CertificateError::BadEncoding)) => Self::Malformed,
            Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                Self::UnknownAuthority
            }
            _ => Self::Tls,
        };
        step(error)
    }
}

/// Why TLS failed, if it is not the link that did.
fn reason(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What an error of WebSocket means to somebody who reads or writes bytes.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else the library finds wrong is the remote's words"
)]
pub(crate) fn to_io(error: tungstenite::Error) -> io::Error {
    use tungstenite::error::{Error, ProtocolError};
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            io::ErrorKind::UnexpectedEof.into()
        }
        Error::Protocol(ProtocolError::SendAfterClosing) => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}
