//! What can go wrong, and how QUIC's words for it become those of the seams.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use p2p_core::{Blame, ConnectionEnd, ErrorCode, Protocol};
use p2p_tls::{CertificateError, refuses_certificate};
use quinn_proto::{ConnectionClose, ConnectionError, TransportErrorCode, VarInt};
use rustls::AlertDescription;

use crate::Config;

/// Why no [`Quic`](crate::Quic) could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The time cannot be told to the remote.
    #[error("idle_timeout is {idle_timeout:?}, and must be from 1 ms to 2^62 ms")]
    IdleTimeout {
        /// [`Config::idle_timeout`].
        idle_timeout: Duration,
    },
    /// Signs of life would come without pause, or after the connection is dead.
    #[error(
        "keep_alive is {keep_alive:?}, and must be above zero and below idle_timeout, \
         {idle_timeout:?}"
    )]
    KeepAlive {
        /// [`Config::keep_alive`].
        keep_alive: Duration,
        /// [`Config::idle_timeout`].
        idle_timeout: Duration,
    },
    /// TLS has no suite for the first packets.
    #[error("QUIC cannot be set up")]
    Quic(#[from] quinn_proto::crypto::rustls::NoInitialCipherSuite),
    /// No certificate could be made for the identity.
    #[error(transparent)]
    Tls(#[from] p2p_tls::SetupError),
}

impl SetupError {
    /// Who to hold responsible: always us.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// Why a handshake failed. The source of
/// [`TransportError::Handshake`](p2p_core::TransportError).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The remote's certificate proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The remote does not take our certificate, or expects somebody else here; its alert.
    #[error("the remote refuses our certificate, or expects somebody else (alert {0:?})")]
    CertificateRefused(AlertDescription),
    /// We ended it ourselves.
    #[error("we ended the QUIC handshake: {reason}")]
    Ours {
        /// Why.
        reason: String,
    },
    /// The remote has no room, or accepts no connections on this socket.
    #[error("the remote refuses connections")]
    Refused,
    /// The remote did not go on.
    #[error("the remote stopped answering during the handshake")]
    Silent,
    /// The two ends could not agree, or one of them broke the protocol.
    #[error("QUIC handshake failed: {reason}")]
    Quic {
        /// What the end that noticed says.
        reason: String,
    },
    /// The remote speaks other versions of QUIC only.
    #[error("the remote does not speak QUIC version 1")]
    Version,
}

impl HandshakeError {
    /// Who to hold responsible. Nobody where the remote refuses our certificate: who dials an
    /// address that has changed hands does so too, and its alert does not say.
    pub fn blame(&self) -> Blame {
        match self {
            Self::CertificateRefused(_) | Self::Silent => Blame::Network,
            Self::Ours { .. } => Blame::Us,
            Self::Certificate(_) | Self::Quic { .. } | Self::Refused | Self::Version => {
                Blame::Remote
            }
        }
    }
}

impl From<ConnectionError> for HandshakeError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::VersionMismatch => Self::Version,
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                Self::Refused
            }
            ConnectionError::ConnectionClosed(close) => match refusal(&close) {
                Some(alert) => Self::CertificateRefused(alert),
                None => Self::Quic {
                    reason: ConnectionError::ConnectionClosed(close).to_string(),
                },
            },
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::TransportError(_)
            | ConnectionError::ApplicationClosed(_)
            | ConnectionError::Reset => Self::Quic {
                reason: error.to_string(),
            },
            ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => Self::Ours {
                reason: error.to_string(),
            },
        }
    }
}

/// The alert of a remote that refuses our certificate (RFC 9001, section 4.8).
fn refusal(close: &ConnectionClose) -> Option<AlertDescription> {
    let alert = u64::from(close.error_code).checked_sub(0x100)?;
    let alert = AlertDescription::from(u8::try_from(alert).ok()?);
    refuses_certificate(alert).then_some(alert)
}

/// The end of an established connection.
pub(crate) fn end(error: &ConnectionError, config: &Config) -> ConnectionEnd {
    match error {
        ConnectionError::ApplicationClosed(close) => ConnectionEnd::Remote(code(close.error_code)),
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::NO_ERROR =>
        {
            ConnectionEnd::Remote(ErrorCode::NONE)
        }
        ConnectionError::TransportError(broken) => ConnectionEnd::Protocol {
            protocol: Protocol::from_static("/quic-v1"),
            what: broken.to_string(),
        },
        ConnectionError::TimedOut => ConnectionEnd::Silent(config.idle_timeout),
        ConnectionError::Reset => ConnectionEnd::Eof,
        ConnectionError::LocallyClosed => ConnectionEnd::Local(ErrorCode::NONE),
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::VersionMismatch
        | ConnectionError::CidsExhausted => {
            let reason = io::Error::new(io::ErrorKind::ConnectionAborted, error.to_string());
            ConnectionEnd::Io(Arc::new(reason))
        }
    }
}

/// A code of the wire. Those beyond 32 bits have no meaning in libp2p.
pub(crate) fn code(code: VarInt) -> ErrorCode {
    u32::try_from(code.into_inner()).map_or(ErrorCode::CODE_OUT_OF_RANGE, ErrorCode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_beyond_32_bits_are_out_of_range() {
        assert_eq!(code(VarInt::from_u32(7)), ErrorCode(7));
        assert_eq!(code(VarInt::MAX), ErrorCode::CODE_OUT_OF_RANGE);
    }

    #[test]
    fn silence_is_the_networks_fault_and_a_broken_protocol_the_remotes() {
        let config = Config::default();
        let blame = |error: ConnectionError| end(&error, &config).blame();
        assert_eq!(blame(ConnectionError::TimedOut), Blame::Network);
        assert_eq!(blame(ConnectionError::Reset), Blame::Network);
        let silent = HandshakeError::from(ConnectionError::TimedOut);
        assert_eq!(silent.blame(), Blame::Network);
        let version = HandshakeError::from(ConnectionError::VersionMismatch);
        assert_eq!(version.blame(), Blame::Remote);
        let ours = HandshakeError::from(ConnectionError::LocallyClosed);
        assert_eq!(ours.blame(), Blame::Us);
    }
}
