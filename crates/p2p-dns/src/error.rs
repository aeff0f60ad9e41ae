//! What can go wrong with a name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use p2p_core::{Blame, Chain, Denied, Multiaddr, TransportError};

/// Why a name did not become an address. Cheap to clone: it is remembered for a while.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It is not a name that can be asked for.
    #[error("{name:?} is not a host name")]
    BadName {
        /// The name.
        name: String,
    },
    /// The gate allows none of the addresses.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It has `/dnsaddr` records, but none for the peer that was asked for.
    #[error("none of the dnsaddr records of {name} ({records}) ends with {suffix}")]
    NoMatch {
        /// The name.
        name: String,
        /// What the address goes on with.
        suffix: Multiaddr,
        /// How many records there were.
        records: usize,
    },
    /// The name is known, or its server answers, but there is no address of the kind asked for.
    #[error("{name} has no {kind}")]
    Nothing {
        /// The name.
        name: String,
        /// What was asked for.
        kind: &'static str,
    },
    /// No name server is set and the system names none.
    #[error("no name server is known (setting: servers)")]
    NoServer,
    /// There is no such name.
    #[error("{name} does not exist")]
    NoSuchName {
        /// The name.
        name: String,
    },
    /// The name server answered, but not the question.
    #[error("name server {server}: {what}")]
    Server {
        /// Who was asked.
        server: SocketAddr,
        /// What it answered.
        what: String,
    },
    /// The system's resolver failed.
    #[error("cannot resolve {name}: {source}")]
    System {
        /// The name.
        name: String,
        /// What it says.
        source: Arc<io::Error>,
    },
    /// No name server answered in time.
    #[error("no name server answered for {name} ({servers} asked; setting: timeout)")]
    Timeout {
        /// The name.
        name: String,
        /// How many were asked.
        servers: usize,
    },
    /// One `/dnsaddr` leads to the next, and none to an address.
    #[error("{name} leads to ever more names (settings: max_depth, max_questions)")]
    TooDeep {
        /// Where it was given up.
        name: String,
    },
}

impl ResolveError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::BadName { .. } | Self::Denied(_) | Self::NoServer => Blame::Us,
            Self::Nothing { .. }
            | Self::NoMatch { .. }
            | Self::NoSuchName { .. }
            | Self::Server { .. }
            | Self::System { .. }
            | Self::Timeout { .. }
            | Self::TooDeep { .. } => Blame::Network,
        }
    }
}

impl From<ResolveError> for io::Error {
    fn from(error: ResolveError) -> Self {
        let kind = match &error {
            ResolveError::Timeout { .. } => io::ErrorKind::TimedOut,
            ResolveError::Denied(_) => io::ErrorKind::PermissionDenied,
            ResolveError::BadName { .. } | ResolveError::NoServer => io::ErrorKind::InvalidInput,
            ResolveError::NoMatch { .. }
            | ResolveError::Nothing { .. }
            | ResolveError::NoSuchName { .. }
            | ResolveError::Server { .. }
            | ResolveError::System { .. }
            | ResolveError::TooDeep { .. } => io::ErrorKind::NotFound,
        };
        Self::new(kind, error)
    }
}

/// A name came to several addresses, and none of them could be dialed.
#[derive(Debug, thiserror::Error)]
#[error("none of {} addresses worked: {}", .attempts.len(), list(.attempts))]
pub struct AllFailed {
    /// Each address with its error.
    pub attempts: Vec<(Multiaddr, TransportError)>,
}

fn list(attempts: &[(Multiaddr, TransportError)]) -> String {
    const SHOWN: usize = 8;
    let shown = attempts.iter().take(SHOWN);
    let mut lines: Vec<String> = shown
        .map(|(addr, error)| {
            // Its own text names the address again.
            let cause = std::error::Error::source(error).unwrap_or(error);
            format!("{addr} ({})", Chain(cause))
        })
        .collect();
    let more = attempts.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join(", ")
}
