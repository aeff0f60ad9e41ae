//! From a raw link to one whose other end is known.

use std::fmt;
use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{Blame, BoxIo, Cause, PeerId, Protocol, Role};

/// A secure channel protocol, holding our own identity.
pub trait Security: Send + Sync + fmt::Debug + 'static {
    /// Its id for multistream-select.
    fn protocol(&self) -> Protocol;

    /// Whether it really hides and authenticates. Default: true. A channel that does not must say
    /// so: a swarm refuses to offer it beside one that does, because an attacker on the path would
    /// simply choose it.
    fn is_secure(&self) -> bool {
        true
    }

    /// Runs the handshake over `io`.
    ///
    /// `expect` is who must be there (dialers usually know). `muxers` are the multiplexers to
    /// offer inside the handshake, best first, which saves a round trip when the remote agrees;
    /// empty: offer none.
    ///
    /// The returned stream may still hold unsent bytes of the handshake: its owner writes or
    /// flushes before it waits for the remote.
    ///
    /// The caller sets the deadline. Dropping the future closes `io`.
    fn secure(
        &self,
        io: BoxIo,
        role: Role,
        expect: Option<PeerId>,
        muxers: Vec<Protocol>,
    ) -> BoxFuture<'static, Result<Secured, SecurityError>>;
}

/// A link whose other end is known.
pub struct Secured {
    /// The channel for everything that follows.
    pub io: BoxIo,
    /// Who is at the other end, proven.
    pub peer: PeerId,
    /// The remote's public key as the key protobuf of the peer-id spec.
    pub public_key: Bytes,
    /// The multiplexer agreed on inside the handshake. `None`: negotiate one.
    pub muxer: Option<Protocol>,
}

/// Why a link could not be secured. It is closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// The link failed or ended during the handshake.
    #[error("link failed during the handshake")]
    Io(#[from] io::Error),
    /// Both ends listed multiplexers, and have none in common.
    #[error("no multiplexer in common: we offer {ours:?}, the remote {theirs:?}")]
    NoCommonMuxer {
        /// What we offered.
        ours: Vec<Protocol>,
        /// What the remote offered, at most eight entries.
        theirs: Vec<String>,
    },
    /// The handshake protocol failed; the source is the protocol's own error.
    #[error("handshake failed")]
    Protocol(#[source] Cause),
    /// Somebody else answered.
    #[error("wrong peer: expected {expected}, found {found}")]
    WrongPeer {
        /// Who should have been there.
        expected: PeerId,
        /// Who was.
        found: PeerId,
    },
}

impl SecurityError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Io(_) => Blame::Network,
            Self::NoCommonMuxer { .. } | Self::WrongPeer { .. } => Blame::Remote,
            Self::Protocol(cause) => cause.blame(),
        }
    }
}
