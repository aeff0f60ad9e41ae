//! Why our node did not do what it was asked.

use std::{path::PathBuf, time::Duration};

use futures::io;

/// Why our node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NodeError {
    /// The address is not one.
    #[error("not an address")]
    Addr(#[source] p2p::core::multiaddr_parts::Error),
    /// The test was not done in time.
    #[error("not done within {0:?}")]
    Deadline(Duration),
    /// The other end could not be reached.
    #[error(transparent)]
    Dial(#[from] p2p::DialError),
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Our own host could not be built.
    #[error(transparent)]
    Host(#[from] p2p::HostError),
    /// Our own host does not answer what it should.
    #[error(transparent)]
    Handle(#[from] p2p::HandleError),
    /// Nothing was learned of the other end.
    #[error(transparent)]
    Identify(#[from] p2p::identify::IdentifyError),
    /// A stream failed.
    #[error("{step}: {source}")]
    Io {
        /// What was being done.
        step: String,
        /// What happened.
        source: io::Error,
    },
    /// An identity could not be made.
    #[error("no identity")]
    Key(#[from] p2p::keys::GenerateError),
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] p2p::HostListenError),
    /// No stream could be opened.
    #[error(transparent)]
    Open(#[from] p2p::OpenError),
    /// A message could not be published.
    #[error(transparent)]
    Publish(#[from] p2p::pubsub::PublishFailed),
    /// Pubsub could not be started.
    #[error(transparent)]
    Pubsub(#[from] p2p::pubsub::StartError),
    /// The certificate of the web is not one.
    #[error(transparent)]
    Pem(#[from] p2p::websocket::PemError),
    /// A ping failed.
    #[error(transparent)]
    Ping(#[from] p2p::ping::PingError),
    /// The key file of the private network holds none.
    #[error(transparent)]
    SwarmKey(#[from] p2p::pnet::KeyError),
    /// We do not have what was asked for.
    #[error("we have no {what} {name:?}")]
    Unsupported {
        /// Transport, security, muxer, key or test.
        what: &'static str,
        /// The name given.
        name: String,
    },
    /// The other end did something else than the test wants.
    #[error("{0}")]
    Unexpected(String),
}

impl NodeError {
    /// Says what was being done when a stream failed.
    pub(super) fn at(step: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let step = step.to_owned();
        |source| Self::Io { step, source }
    }
}

pub(super) fn unsupported(what: &'static str, name: &str) -> NodeError {
    NodeError::Unsupported {
        what,
        name: name.to_owned(),
    }
}
