//! What answers incoming streams.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use p2p_core::Protocol;

use crate::Stream;

/// Answers the incoming streams of a protocol.
///
/// Implemented for closures from a [`Stream`] to a future of `()` or of `Result<(), E>`; an error
/// is logged at debug level.
pub trait Handler: Send + Sync + 'static {
    /// Serves one stream, in a task of its own. A stream that is dropped before it is closed is
    /// reset.
    fn serve(&self, stream: Stream) -> BoxFuture<'static, ()>;
}

impl<F, Served> Handler for F
where
    F: Fn(Stream) -> Served + Send + Sync + 'static,
    Served: Future<Output: Outcome> + Send + 'static,
{
    fn serve(&self, stream: Stream) -> BoxFuture<'static, ()> {
        // Kept only if anybody listens: there is one for each stream.
        let listened = tracing::enabled!(tracing::Level::DEBUG);
        let whose = listened.then(|| Box::new((stream.protocol().clone(), stream.peer())));
        let served = self(stream).map(move |outcome| {
            if let (Some(whose), Some(error)) = (whose, outcome.error()) {
                let (protocol, peer) = *whose;
                tracing::debug!(%protocol, %peer, %error, "handler ended with an error");
            }
        });
        served.boxed()
    }
}

/// What a handler's future may return.
pub trait Outcome {
    /// The error to log, if it is one.
    fn error(self) -> Option<String>;
}

impl Outcome for () {
    fn error(self) -> Option<String> {
        None
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn error(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// How a protocol is served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HandlerOptions {
    /// Streams served at the same time on one connection; more are reset. Default: none, which
    /// means [`Limits::max_streams_per_protocol`](crate::Limits::max_streams_per_protocol).
    pub max_streams: Option<usize>,
    /// Whether a stream of this protocol keeps its connection from being idle. Default: true.
    pub keeps_alive: bool,
}

impl Default for HandlerOptions {
    fn default() -> Self {
        Self {
            max_streams: None,
            keeps_alive: true,
        }
    }
}

impl HandlerOptions {
    /// Sets [`HandlerOptions::max_streams`].
    pub fn max_streams(mut self, max: usize) -> Self {
        self.max_streams = Some(max);
        self
    }

    /// Sets [`HandlerOptions::keeps_alive`].
    pub fn keeps_alive(mut self, keeps: bool) -> Self {
        self.keeps_alive = keeps;
        self
    }
}

/// A registered handler.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) protocol: Protocol,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) options: HandlerOptions,
}

/// The registered handlers, ordered by protocol, copied on change.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    pub(crate) entries: Vec<Entry>,
    pub(crate) protocols: Vec<Protocol>,
}

impl Handlers {
    pub(crate) fn find(&self, protocol: &Protocol) -> Option<&Entry> {
        let at = self.protocols.binary_search(protocol).ok()?;
        self.entries.get(at)
    }

    /// A copy with `entry` in it; `None` if its protocol is taken.
    pub(crate) fn with(&self, entry: Entry) -> Option<Self> {
        let at = self.protocols.binary_search(&entry.protocol).err()?;
        let mut copy = self.clone();
        copy.protocols.insert(at, entry.protocol.clone());
        copy.entries.insert(at, entry);
        Some(copy)
    }

    /// A copy without `protocol`; `None` if it has no handler.
    pub(crate) fn without(&self, protocol: &Protocol) -> Option<Self> {
        let at = self.protocols.binary_search(protocol).ok()?;
        let mut copy = self.clone();
        copy.protocols.remove(at);
        copy.entries.remove(at);
        Some(copy)
    }
}
