//! A handle to a connection for those who only watch it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use p2p_core::{Budget, ConnectionEnd, ErrorCode, PeerId, Protocol, Rt};

use crate::connection::{Connection, Inner};
use crate::error::OpenError;
use crate::info::{ConnectionId, ConnectionInfo};
use crate::shared::Shared;
use crate::stream::Stream;

/// A handle to a connection that does not keep it from being idle, and neither do the streams
/// opened with it.
#[derive(Clone)]
pub struct WeakConnection(Arc<Inner>);

impl WeakConnection {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    /// What is known of it.
    pub fn info(&self) -> &ConnectionInfo {
        &self.0.info
    }

    /// Which one.
    pub fn id(&self) -> ConnectionId {
        self.0.info.id
    }

    /// Who is at the other end.
    pub fn peer(&self) -> PeerId {
        self.0.info.peer
    }

    /// A handle that keeps the connection alive. Useless once it is over.
    pub fn upgrade(&self) -> Connection {
        Connection::new(Arc::clone(&self.0))
    }

    /// The same as [`Connection::open`], for a stream that lets its connection be idle.
    ///
    /// Waits while too many opened streams are not yet acknowledged. Cancel-safe.
    ///
    /// # Errors
    /// [`OpenError::Muxer`] if the connection is over or takes no streams.
    pub async fn open(&self, protocol: &Protocol) -> Result<Stream, OpenError> {
        let (io, span) = self.0.open(protocol).await?;
        let within = Some(self.0.negotiation_timeout);
        let keep = self.clone().into();
        Ok(Stream::opened(io, protocol.clone(), keep, within).logged_in(span))
    }

    /// The same as [`Connection::close`].
    pub fn close(&self, code: ErrorCode) {
        self.0.close(code);
    }

    /// Waits until the connection is over and says why.
    ///
    /// Cancel-safe.
    pub async fn ended(&self) -> ConnectionEnd {
        self.0.ended().await
    }

    /// The memory that this connection may make us hold.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// The runtime that it runs on.
    pub fn rt(&self) -> &Rt {
        &self.0.rt
    }
}

impl fmt::Debug for WeakConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.info();
        write!(f, "{} {} {}", info.id, info.peer, info.remote)
    }
}

/// Starts a task for a connection.
pub(crate) struct Watcher {
    name: &'static str,
    start: Box<dyn Fn(WeakConnection) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Watcher {
    pub(crate) fn new<Watch>(
        name: &'static str,
        start: impl Fn(WeakConnection) -> Watch + Send + Sync + 'static,
    ) -> Self
    where
        Watch: Future<Output = ()> + Send + 'static,
    {
        Self {
            name,
            start: Box::new(move |connection| start(connection).boxed()),
        }
    }

    /// Starts the task; it is dropped when the connection ends.
    pub(crate) fn watch(&self, shared: &Shared, inner: &Arc<Inner>) {
        let connection = WeakConnection::new(Arc::clone(inner));
        let task = (self.start)(connection.clone());
        shared.tasks.spawn(self.name, async move {
            let ended = std::pin::pin!(connection.ended());
            match select(task, ended).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        });
    }
}
