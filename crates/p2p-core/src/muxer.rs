//! From a secured link to streams.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::io::{AsyncRead, AsyncWrite};

use crate::{Blame, BoxIo, Budget, ErrorCode, Exceeded, Protocol, Role, Rt};

/// A multiplexing protocol and its settings.
pub trait Multiplex: Send + Sync + fmt::Debug + 'static {
    /// Its id for multistream-select.
    fn protocol(&self) -> Protocol;

    /// Starts a session over `io`. Everything that the remote makes us hold is taken from
    /// `budget`.
    fn start(&self, io: BoxIo, role: Role, rt: &Rt, budget: &Budget) -> Muxing;
}

/// A running session.
pub struct Muxing {
    /// The handle.
    pub muxer: Arc<dyn Muxer>,
    /// Does the work; must be polled until it ends. It says why the connection ended. Dropping
    /// it ends the connection at once, without a word to the remote.
    pub driver: BoxFuture<'static, ConnectionEnd>,
}

/// Opens and accepts streams of one connection.
pub trait Muxer: Send + Sync + fmt::Debug {
    /// Opens a stream. Costs no round trip; waits while too many opened streams are not yet
    /// acknowledged by the remote.
    ///
    /// Cancel-safe.
    fn open(&self) -> BoxFuture<'static, Result<BoxStream, OpenError>>;

    /// The next stream opened by the remote.
    ///
    /// Cancel-safe: no stream is lost by dropping the future.
    fn accept(&self) -> BoxFuture<'static, Result<BoxStream, ConnectionEnd>>;

    /// Ends the connection in order: no stream opens any more, what was written is flushed, the
    /// remote is told `code`, and the driver ends. Streams that are still open fail. Returns at
    /// once; the end of the driver is the end of the connection. Later calls change nothing.
    fn close(&self, code: ErrorCode);

    /// Streams that are open, in both directions together.
    fn streams(&self) -> usize;

    /// From now on, everything that the remote makes us hold is taken from `budget`. Called once,
    /// before the driver runs, for connections that were made without one: those of transports
    /// that multiplex themselves. Default: does nothing.
    ///
    /// # Errors
    /// [`Exceeded`] if there is no room for a connection: drop it.
    fn charge(&self, budget: &Budget) -> Result<(), Exceeded> {
        let _ = budget;
        Ok(())
    }
}

/// One stream of a connection.
///
/// - Reading ends with `Ok(0)` only if the remote closed its side. A reset is
///   [`io::ErrorKind::ConnectionReset`] with a [`StreamReset`] inside, the end of the connection
///   [`io::ErrorKind::ConnectionAborted`] with a [`ConnectionEnd`] inside.
/// - `close` ends our direction; the other one stays open. It does not wait for the remote.
/// - Dropping a stream whose writing side is closed lets everything written be delivered;
///   dropping one that is not resets it.
pub trait MuxedStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Ends both directions at once and tells the remote `code`. Unsent bytes are dropped.
    /// Later calls change nothing.
    fn reset(&mut self, code: ErrorCode);

    /// A number for logs, unique within the connection.
    fn id(&self) -> u64;
}

/// A boxed [`MuxedStream`].
pub type BoxStream = Box<dyn MuxedStream>;

/// A stream was reset. Found inside an [`io::Error`] of kind `ConnectionReset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stream reset by {}: {code}", in_words(*.by))]
pub struct StreamReset {
    /// Who reset it: `Us` or `Remote`.
    pub by: Blame,
    /// The reason given.
    pub code: ErrorCode,
}

fn in_words(by: Blame) -> &'static str {
    match by {
        Blame::Us => "us",
        Blame::Remote => "the remote",
        Blame::Network => "the network",
    }
}

impl StreamReset {
    /// The reset inside `error`, if it is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<StreamReset> for io::Error {
    fn from(reset: StreamReset) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, reset)
    }
}

/// Why no stream could be opened. The connection is unchanged.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The connection is over.
    #[error("connection ended")]
    Ended(#[from] ConnectionEnd),
    /// The remote takes no new streams; those that are open go on.
    #[error("the remote accepts no new streams on this connection")]
    GoneAway,
    /// A limit of ours.
    #[error(transparent)]
    Limit(#[from] Exceeded),
}

impl OpenError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Ended(end) => end.blame(),
            Self::GoneAway => Blame::Remote,
            Self::Limit(_) => Blame::Us,
        }
    }
}

/// Why a connection ended. Every stream, and whoever waits, is told the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// The task that served the connection was dropped.
    #[error("connection dropped by us")]
    Dropped,
    /// The remote hung up without saying goodbye.
    #[error("the remote hung up")]
    Eof,
    /// The link failed.
    #[error("link failed: {0}")]
    Io(#[source] Arc<io::Error>),
    /// A limit of ours that no single stream could be blamed for.
    #[error(transparent)]
    Limit(Exceeded),
    /// We closed it.
    #[error("closed by us: {0}")]
    Local(ErrorCode),
    /// The remote broke the multiplexer's protocol.
    #[error("the remote broke {protocol}: {what}")]
    Protocol {
        /// The multiplexer.
        protocol: Protocol,
        /// Which rule was broken, and how.
        what: String,
    },
    /// The remote closed it.
    #[error("closed by the remote: {0}")]
    Remote(ErrorCode),
    /// Nothing came back in this time.
    #[error("no sign of life for {0:?}")]
    Silent(Duration),
}

impl ConnectionEnd {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Dropped | Self::Limit(_) | Self::Local(_) => Blame::Us,
            // Forged or malformed bytes, found by what is below.
            Self::Io(error) if error.kind() == io::ErrorKind::InvalidData => Blame::Remote,
            Self::Eof | Self::Io(_) | Self::Silent(_) => Blame::Network,
            Self::Protocol { .. } | Self::Remote(_) => Blame::Remote,
        }
    }

    /// The end inside `error`, if it is one.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<io::Error> for ConnectionEnd {
    /// A clean or unclean end of the link is [`ConnectionEnd::Eof`], anything else
    /// [`ConnectionEnd::Io`].
    fn from(error: io::Error) -> Self {
        let hung_up = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
        );
        if hung_up {
            Self::Eof
        } else {
            Self::Io(Arc::new(error))
        }
    }
}

impl From<ConnectionEnd> for io::Error {
    fn from(end: ConnectionEnd) -> Self {
        Self::new(io::ErrorKind::ConnectionAborted, end)
    }
}
