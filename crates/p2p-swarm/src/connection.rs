//! A connection: what it is, and the task that serves it.
//!
//! One task per connection drives the multiplexer, takes incoming streams, and notices when
//! nobody uses the connection any more. Each incoming stream is negotiated and served in a task of
//! its own, so that a slow remote or a slow handler delays nobody else.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{AbortHandle, BoxFuture, Shared as SharedFuture, abortable};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{AsyncWriteExt, FutureExt};
use p2p_core::{
    BoxStream, Budget, ConnectionEnd, ErrorCode, Exceeded, Instant, Muxer, PeerId, Permit,
    Protocol, Rt,
};
use p2p_multistream::{self as multistream, Negotiated};
use tracing::{Instrument, Span};

use crate::admit::Place;
use crate::error::{OpenError, StreamError};
use crate::info::{ConnectionId, ConnectionInfo};
use crate::serve::{Serve, Served};
use crate::share::{Share, StreamShare};
use crate::shared::Shared;
use crate::slots::{Slot, Slots};
use crate::stats::{Counters, Traffic};
use crate::stream::Stream;
use crate::tasks::lock;
use crate::upgrade::Upgraded;
use crate::weak::WeakConnection;

/// A handle to a connection. While one exists the connection is not idle.
pub struct Connection(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) info: ConnectionInfo,
    muxer: Arc<dyn Muxer>,
    pub(crate) rt: Rt,
    pub(crate) budget: Budget,
    streams: Arc<StreamShare>,
    traffic: Option<Arc<Traffic>>,
    counters: Arc<Counters>,
    pub(crate) negotiation_timeout: Duration,
    /// Whether we have asked it to close.
    closing: AtomicBool,
    /// Whether somebody waits for it to be unused because there is a better one.
    supplanting: AtomicBool,
    /// Handles and keeping-alive streams. The connection is idle when this is zero.
    users: AtomicUsize,
    /// When a user last left, in nanoseconds of the runtime's clock.
    idle_since: AtomicU64,
    ended: SharedFuture<oneshot::Receiver<ConnectionEnd>>,
    /// What it holds of the limits until it ends, or until another one takes it over.
    place: Mutex<Option<Place>>,
    /// Ends its task where it stands, once that runs.
    stop: OnceLock<AbortHandle>,
    /// Why, if it was us who ended it because of a limit.
    verdict: OnceLock<ConnectionEnd>,
    /// What its streams are logged in, if anybody listens to that, until it ends.
    span: Mutex<Option<Arc<Span>>>,
    /// Places for streams that we open, per protocol that asked for a limit.
    opening: Mutex<BTreeMap<Protocol, Slots>>,
}

impl Inner {
    pub(crate) fn close(&self, code: ErrorCode) {
        self.start_leaving();
        self.muxer.close(code);
    }

    /// It is about to close: no longer offered to anybody, and counted as gone.
    pub(crate) fn start_leaving(&self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(place) = &mut *lock(&self.place) {
            place.start_leaving();
        }
    }

    /// Closes it in order, because of a limit: the remote hears of it, and we say which.
    pub(crate) fn trim(&self, exceeded: Exceeded) {
        // Whoever was first to say why is right.
        let _ = self.verdict.set(ConnectionEnd::Limit(exceeded));
        self.close(ErrorCode::RESOURCE_LIMIT_EXCEEDED);
    }

    /// Ends it where it stands, because of `end`, and takes what it held of the limits. `None` if
    /// it is ending already.
    pub(crate) fn evict(&self, end: ConnectionEnd) -> Option<Place> {
        let stop = self.stop.get()?;
        let place = lock(&self.place).take()?;
        self.closing.store(true, Ordering::Relaxed);
        // Set once: the place was there, so nobody else has stopped it.
        let _ = self.verdict.set(end);
        stop.abort();
        Some(place)
    }

    /// Whether it has ended or is about to.
    pub(crate) fn is_over(&self) -> bool {
        self.closing.load(Ordering::Relaxed) || self.end().is_some()
    }

    /// Why it ended, if it has. Asks the channel: `peek` sees only what somebody has waited for.
    fn end(&self) -> Option<ConnectionEnd> {
        let ended = self.ended.clone().now_or_never()?;
        Some(ended.unwrap_or(ConnectionEnd::Dropped))
    }

    /// A stream that proposes `protocol` with its first bytes, and what it is logged in.
    pub(crate) async fn open(
        &self,
        protocol: &Protocol,
    ) -> Result<(Negotiated<BoxStream>, Span), OpenError> {
        let (stream, span) = self.open_unnamed().await?;
        span.record("protocol", protocol.as_str());
        let info = &self.info;
        span.in_scope(|| {
            tracing::debug!(peer = %info.peer, connection = info.id.0, %protocol, "stream opened");
        });
        Ok((multistream::dial_lazy(stream, protocol.clone()), span))
    }

    /// A stream whose protocol is not known yet.
    async fn open_unnamed(&self) -> Result<(BoxStream, Span), OpenError> {
        let stream = self.muxer.open().await?;
        self.counters.stream_opened();
        let span = self.stream_span("out", stream.id());
        Ok((stream, span))
    }

    /// What a stream is logged in: nothing if nobody looks at its connection.
    fn stream_span(&self, direction: &str, number: u64) -> Span {
        let Some(connection) = lock(&self.span).clone() else {
            return Span::none();
        };
        let protocol = tracing::field::Empty;
        tracing::debug_span!(parent: &*connection, "stream", direction, number, protocol)
    }

    pub(crate) async fn ended(&self) -> ConnectionEnd {
        let ended = self.ended.clone();
        ended.await.unwrap_or(ConnectionEnd::Dropped)
    }

    /// Whether a handle or a stream that keeps it alive exists.
    pub(crate) fn is_used(&self) -> bool {
        self.users.load(Ordering::Acquire) > 0
    }

    /// When a user last left; for a connection in use, now.
    pub(crate) fn last_used(&self) -> Instant {
        if self.is_used() {
            return self.rt.now();
        }
        Instant::from_nanos(self.idle_since.load(Ordering::Relaxed))
    }

    /// Streams that are open, in both directions together.
    pub(crate) fn streams(&self) -> usize {
        self.muxer.streams()
    }

    /// Streams of the remote, those being negotiated included.
    pub(crate) fn incoming(&self) -> usize {
        self.streams.accepted()
    }

    /// Streams of the remote that our handlers serve.
    pub(crate) fn serving(&self) -> BTreeMap<Protocol, usize> {
        self.streams.serving()
    }

    /// Bytes read and written, if they are counted.
    pub(crate) fn traffic(&self) -> Option<(u64, u64)> {
        let traffic = self.traffic.as_ref()?;
        let read = traffic.read.load(Ordering::Relaxed);
        Some((read, traffic.written.load(Ordering::Relaxed)))
    }

    /// Whether the caller is the first to wait for it to be unused.
    pub(crate) fn start_supplanting(&self) -> bool {
        !self.supplanting.swap(true, Ordering::Relaxed)
    }

    /// Waits until nobody has used it for `timeout`; false if it ended before.
    pub(crate) async fn unused_for(&self, timeout: Duration) -> bool {
        loop {
            if self.is_over() {
                return false;
            }
            let now = self.rt.now();
            let due = self.last_used() + timeout;
            if !self.is_used() && now >= due {
                return true;
            }
            let next = if due > now { due } else { now + timeout };
            // Ended or not, the next look tells.
            let _ = self.rt.timeout_at(next, self.ended()).await;
        }
    }
}

impl Connection {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        inner.users.fetch_add(1, Ordering::Relaxed);
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

    /// Opens a stream for `protocol` without waiting for the remote's consent: the proposal
    /// travels with the first bytes written. If the remote does not know the protocol, reading
    /// fails with a [`p2p_multistream::NegotiationError`] inside the [`std::io::Error`].
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

    /// Waits for one of `max` places for `protocol` on this connection, for callers that limit
    /// how many streams they have open at a time. The first caller's `max` counts.
    ///
    /// First come, first served. Cancel-safe.
    pub async fn slot(&self, protocol: &Protocol, max: NonZeroUsize) -> Slot {
        let slots = lock(&self.0.opening)
            .entry(protocol.clone())
            .or_insert_with(|| Slots::new(max.get()))
            .clone();
        slots.take().await
    }

    /// Opens a stream for the first of `protocols` that the remote knows, which costs one round
    /// trip for each proposal.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`OpenError::Negotiation`] if the remote knows none of them, [`OpenError::Timeout`] if it
    /// does not answer within [`Config::negotiation_timeout`](crate::Config::negotiation_timeout).
    pub async fn open_any(&self, protocols: &[Protocol]) -> Result<Stream, OpenError> {
        if let [only] = protocols {
            return self.open(only).await;
        }
        let (stream, span) = self.0.open_unnamed().await?;
        let config = multistream::Config::default();
        let agreed = multistream::dial(stream, protocols, &config).instrument(span.clone());
        let timeout = self.0.negotiation_timeout;
        match self.0.rt.timeout(timeout, agreed).await {
            Ok(Ok((protocol, io))) => {
                span.record("protocol", protocol.as_str());
                Ok(Stream::opened(io, protocol, self.clone().into(), None).logged_in(span))
            }
            Ok(Err(error)) => Err(OpenError::Negotiation(Arc::new(error))),
            Err(_) => Err(OpenError::Timeout(timeout)),
        }
    }

    /// Starts to close the connection: the remote is told `code`, open streams fail. Returns at
    /// once; [`Connection::ended`] tells when it is over.
    pub fn close(&self, code: ErrorCode) {
        self.0.close(code);
    }

    /// Why it ended, if it has.
    pub fn end(&self) -> Option<ConnectionEnd> {
        self.0.end()
    }

    /// Waits until the connection is over and says why.
    ///
    /// Cancel-safe.
    pub async fn ended(&self) -> ConnectionEnd {
        self.0.ended().await
    }

    /// Streams that are open, in both directions together.
    pub fn streams(&self) -> usize {
        self.0.muxer.streams()
    }

    /// Bytes read from and written to its link, if
    /// [`Config::count_bytes`](crate::Config::count_bytes) is set and the transport's links are
    /// raw.
    pub fn traffic(&self) -> Option<(u64, u64)> {
        self.0.traffic()
    }

    /// The memory that this connection may make us hold.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// The runtime that it runs on.
    pub fn rt(&self) -> &Rt {
        &self.0.rt
    }

    /// A handle that does not keep the connection from being idle.
    pub fn downgrade(&self) -> WeakConnection {
        WeakConnection::new(Arc::clone(&self.0))
    }
}

impl Clone for Connection {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The time is stored first, and by every user, since two may leave at once and neither
        // knows that it is the last: whoever sees zero users sees when that began, or later.
        let now = self.0.rt.now().as_nanos();
        self.0.idle_since.fetch_max(now, Ordering::Relaxed);
        self.0.users.fetch_sub(1, Ordering::Release);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.info();
        write!(f, "{} {} {}", info.id, info.peer, info.remote)
    }
}

/// A connection that is ready, before its task runs.
pub(crate) struct Task {
    pub(crate) inner: Arc<Inner>,
    driver: BoxFuture<'static, ConnectionEnd>,
    ended: oneshot::Sender<ConnectionEnd>,
    /// Held as long as the connection exists.
    share: Share,
}

impl Task {
    pub(crate) fn new(
        info: ConnectionInfo,
        upgraded: Upgraded,
        shared: &Shared,
        place: Place,
    ) -> Self {
        let (ended, receiver) = oneshot::channel();
        let share = upgraded.share;
        let inner = Arc::new(Inner {
            idle_since: AtomicU64::new(info.established.as_nanos()),
            info,
            muxer: upgraded.muxing.muxer,
            rt: Rt::clone(&shared.rt),
            budget: share.budget.clone(),
            streams: Arc::clone(&share.streams),
            traffic: upgraded.traffic,
            counters: Arc::clone(&shared.counters),
            negotiation_timeout: shared.config.negotiation_timeout,
            closing: AtomicBool::new(false),
            supplanting: AtomicBool::new(false),
            users: AtomicUsize::new(0),
            ended: receiver.shared(),
            place: Mutex::new(Some(place)),
            stop: OnceLock::new(),
            verdict: OnceLock::new(),
            span: Mutex::default(),
            opening: Mutex::default(),
        });
        Self {
            inner,
            driver: upgraded.muxing.driver,
            ended,
            share,
        }
    }

    /// Serves the connection until it ends. A future that is dropped before it is polled takes the
    /// connection out of the books as well.
    pub(crate) fn run(self, shared: Arc<Shared>) -> impl Future<Output = ()> + Send + 'static {
        let Self {
            inner,
            driver,
            ended,
            share,
        } = self;
        let mut goodbye = Goodbye {
            shared: Arc::clone(&shared),
            inner: Arc::clone(&inner),
            end: ConnectionEnd::Dropped,
            ended: Some(ended),
            share: Some(share),
        };
        let stoppable = Arc::clone(&inner);
        // Three futures with a waker each: a wake-up of one does not poll the others.
        let parts: FuturesUnordered<BoxFuture<'static, Option<ConnectionEnd>>> =
            FuturesUnordered::new();
        parts.push(accept(Arc::clone(&shared), Arc::clone(&inner)).boxed());
        parts.push(idle(shared, inner).boxed());
        parts.push(driver.map(Some).boxed());
        let served = async move {
            let mut parts = parts;
            while let Some(part) = parts.next().await {
                if let Some(end) = part {
                    goodbye.end = end;
                    break;
                }
            }
            drop(goodbye);
        };
        let info = &stoppable.info;
        let span = tracing::debug_span!("connection", peer = %info.peer, id = info.id.0,
            role = %info.role, remote = %info.remote);
        if !span.is_disabled() {
            *lock(&stoppable.span) = Some(Arc::new(span.clone()));
        }
        let (served, stop) = abortable(served.instrument(span));
        // Run once.
        let _ = stoppable.stop.set(stop);
        served.map(|_| ())
    }
}

/// Takes incoming streams while there is room to negotiate them.
async fn accept(shared: Arc<Shared>, inner: Arc<Inner>) -> Option<ConnectionEnd> {
    let slots = Slots::new(shared.config.limits.max_negotiating_streams);
    loop {
        let slot = slots.take().await;
        // The driver reports the end of the connection.
        let mut stream = inner.muxer.accept().await.ok()?;
        match inner.streams.accept() {
            Ok(permit) => {
                let span = inner.stream_span("in", stream.id());
                let stream = (stream, span.clone());
                let permits = (permit, slot);
                let agreed =
                    accept_stream(Arc::clone(&shared), Arc::clone(&inner), stream, permits);
                shared.tasks.spawn("stream", Serve::new(agreed, span));
            }
            Err(exceeded) => {
                let peer = inner.info.peer;
                tracing::debug!(%peer, %exceeded, "incoming stream refused");
                shared.limit_hit(Some(peer), &exceeded);
                stream.reset(ErrorCode::RESOURCE_LIMIT_EXCEEDED);
            }
        }
    }
}

/// Agrees on the protocol of an incoming stream; returns what its handler does with it. Until then it
/// holds a slot, its place among those that negotiate.
async fn accept_stream(
    shared: Arc<Shared>,
    inner: Arc<Inner>,
    (stream, span): (BoxStream, Span),
    (permit, _slot): (Permit, Slot),
) -> Option<Served> {
    let handlers = shared.handlers();
    let config = multistream::Config::default();
    let agreed = async {
        let (protocol, mut io) =
            multistream::listen(stream, handlers.protocols.as_slice(), &config).await?;
        // Our consent must not wait for a handler that is slow to write: the remote has a
        // deadline for it. It still shares a packet with an answer that is written at once. A
        // remote that listens no more may have sent something worth reading all the same.
        let _ = io.flush().await;
        Ok::<_, multistream::Error>((protocol, io))
    };
    let timeout = shared.config.negotiation_timeout;
    let peer = inner.info.peer;
    let (protocol, mut io) = match inner.rt.timeout(timeout, agreed).await {
        Ok(Ok(agreed)) => agreed,
        Ok(Err(error)) => {
            shared.stream_failed(&inner, StreamError::Negotiation(Arc::new(error)));
            return None;
        }
        Err(_) => {
            shared.stream_failed(&inner, StreamError::Timeout(timeout));
            return None;
        }
    };
    span.record("protocol", protocol.as_str());
    let entry = handlers.find(&protocol)?.clone();
    drop(handlers);
    let (max, setting) = match entry.options.max_streams {
        Some(max) => (max, "HandlerOptions::max_streams"),
        None => {
            let max = shared.config.limits.max_streams_per_protocol;
            (max, "max_streams_per_protocol")
        }
    };
    let served = match inner.streams.serve(&protocol, max, setting) {
        Ok(served) => served,
        Err(exceeded) => {
            tracing::debug!(%peer, %protocol, %exceeded, "incoming stream refused");
            shared.limit_hit(Some(peer), &exceeded);
            io.get_mut().reset(ErrorCode::RESOURCE_LIMIT_EXCEEDED);
            return None;
        }
    };
    shared.counters.stream_accepted();
    drop(shared);
    tracing::debug!(%peer, connection = inner.info.id.0, %protocol, "stream accepted");
    let keep = if entry.options.keeps_alive {
        Connection::new(inner).into()
    } else {
        WeakConnection::new(inner).into()
    };
    let stream = Stream::served(io, served, permit, keep).logged_in(span);
    Some(entry.handler.serve(stream))
}

/// Closes the connection when nobody has used it for `idle_timeout` and there are more than
/// `low_water`. Where it was only kept, or one of few, that is looked at again `idle_timeout` later.
///
/// Looks only now and then instead of being woken by every stream: use must cost nothing.
async fn idle(shared: Arc<Shared>, inner: Arc<Inner>) -> Option<ConnectionEnd> {
    let timeout = shared.config.idle_timeout;
    let mut timer = inner.rt.timer(inner.rt.now() + timeout);
    loop {
        (&mut timer).await;
        let now = inner.rt.now();
        let due = inner.last_used() + timeout;
        if now < due {
            timer.reset(due);
        } else if shared.let_go(&inner) {
            inner.close(ErrorCode::GARBAGE_COLLECTED);
            return None;
        } else {
            timer.reset(now + timeout);
        }
    }
}

/// Takes the connection out of the books, however its task ended.
struct Goodbye {
    shared: Arc<Shared>,
    inner: Arc<Inner>,
    end: ConnectionEnd,
    ended: Option<oneshot::Sender<ConnectionEnd>>,
    share: Option<Share>,
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        // Whoever hears of the end finds the limits free and the books in order.
        self.share = None;
        let span = lock(&self.inner.span).take();
        drop(span);
        let place = lock(&self.inner.place).take();
        drop(place);
        if let Some(verdict) = self.inner.verdict.get() {
            self.end = verdict.clone();
        }
        self.shared.unregister(&self.inner, &self.end);
        if let Some(ended) = self.ended.take() {
            // Nobody may be waiting.
            let _ = ended.send(self.end.clone());
        }
    }
}
