//! At which step the proxy failed us.

use std::fmt;
use std::io;

use p2p_core::Blame;

/// Why there is no connection through the proxy. The source of
/// [`TransportError::Connect`](p2p_core::TransportError::Connect), inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocksError {
    /// The proxy takes none of the ways to log in that we offer.
    #[error("the proxy wants another way to log in (setting: login)")]
    Method,
    /// The proxy does not speak SOCKS5.
    #[error("the proxy does not speak SOCKS5: {0}")]
    NotSocks(&'static str),
    /// User or password are wrong.
    #[error("the proxy refuses the login: user or password is wrong (setting: login)")]
    Login,
    /// User, password or name are longer than the protocol allows.
    #[error("{0} is longer than 255 bytes")]
    TooLong(&'static str),
    /// The proxy ended the connection instead of an answer.
    #[error("the proxy hung up before it answered")]
    HungUp(#[source] io::Error),
    /// The proxy itself cannot be reached.
    #[error("the proxy cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The proxy did not connect us.
    #[error("the proxy refuses: {0}")]
    Refused(Refused),
}

/// Why a proxy refuses to connect (RFC 1928 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u8);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "general failure",
            2 => "not allowed by its rules",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused by the destination",
            6 => "too many hops",
            7 => "it cannot connect",
            8 => "it does not know this kind of address",
            other => return write!(f, "code {other}"),
        })
    }
}

impl SocksError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Method | Self::Login | Self::TooLong(_) => Blame::Us,
            Self::HungUp(_) | Self::NotSocks(_) | Self::Unreachable(_) | Self::Refused(_) => {
                Blame::Network
            }
        }
    }
}

impl From<SocksError> for io::Error {
    fn from(error: SocksError) -> Self {
        let kind = match &error {
            SocksError::Method | SocksError::Login => io::ErrorKind::PermissionDenied,
            SocksError::NotSocks(_) => io::ErrorKind::InvalidData,
            SocksError::TooLong(_) => io::ErrorKind::InvalidInput,
            SocksError::HungUp(error) | SocksError::Unreachable(error) => error.kind(),
            SocksError::Refused(_) => io::ErrorKind::ConnectionRefused,
        };
        Self::new(kind, error)
    }
}
