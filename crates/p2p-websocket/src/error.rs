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
    /// The other end does not speak TLS.
    #[error("the remote does not speak TLS: check the port, or leave /tls out")]
    NotTls(#[source] io::Error),
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
    /// Who to hold responsible: always the remote.
    pub fn blame(&self) -> Blame {
        Blame::Remote
    }
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
