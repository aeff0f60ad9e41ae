//! What can go wrong with a name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
    /// Its `/dnsaddr` records lead to names that were asked before, and none to an address.
    #[error("{name} leads in a circle: its records come back to names that were asked before")]
    Circle {
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
    #[error("name server {server} has no answer for {name}: {what}")]
    Server {
        /// Who was asked.
        server: SocketAddr,
        /// The name.
        name: String,
        /// What it answered.
        what: String,
    },
    /// The servers, or the system's resolver, took all the time that there was.
    #[error("looking up {name} took longer than {after:?} (setting: patience)")]
    Slow {
        /// The name that was asked for when the time was over.
        name: String,
        /// How long the address may take.
        after: Duration,
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
            Self::Circle { .. }
            | Self::Nothing { .. }
            | Self::NoMatch { .. }
            | Self::NoSuchName { .. }
            | Self::Server { .. }
            | Self::Slow { .. }
            | Self::System { .. }
            | Self::Timeout { .. }
            | Self::TooDeep { .. } => Blame::Network,
        }
    }

    /// Whether it is the answer of a server, and not that there was none.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Nothing { .. } | Self::NoSuchName { .. })
    }
}

impl From<ResolveError> for io::Error {
    fn from(error: ResolveError) -> Self {
        let kind = match &error {
            ResolveError::Slow { .. } | ResolveError::Timeout { .. } => io::ErrorKind::TimedOut,
            ResolveError::Denied(_) => io::ErrorKind::PermissionDenied,
            ResolveError::BadName { .. } | ResolveError::NoServer => io::ErrorKind::InvalidInput,
            ResolveError::Circle { .. }
            | ResolveError::NoMatch { .. }
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
#[error("none of {} addresses worked: {}{}", .attempts.len(), list(.attempts), rest(*.left_out))]
pub struct AllFailed {
    /// Each address with its error.
    pub attempts: Vec<(Multiaddr, TransportError)>,
    /// How many were not dialed, because the name came to more than
    /// [`Config::max_dials`](crate::Config::max_dials).
    pub left_out: usize,
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

fn rest(left_out: usize) -> String {
    match left_out {
        0 => String::new(),
        count => format!("; {count} more were left out (setting: max_dials)"),
    }
}
