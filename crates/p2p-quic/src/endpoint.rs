//! One socket, and all connections that go through it, in both directions.
//!
//! ```text
//!   socket ──> receiver task ──┬── a connection's datagram ──> its state; its driver is woken
//!                              ├── a first datagram ──> refused, asked to try again, or queued
//!                              │                        for the listener
//!                              └── a straggler's ──> the end is told again
//!   socket <── drivers, each for its own connection
//! ```
//!
//! The socket lives as long as a listener or a connection does.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::channel::oneshot;
use futures::future::{BoxFuture, FutureExt, Shared as SharedFuture};
use p2p_core::{Budget, Datagram, Exceeded, Instant, Permit, Received, Rt, UdpOptions, UdpSocket};
use quinn_proto::{
    ClientConfig, ConnectionEvent, ConnectionHandle, DatagramEvent, EcnCodepoint, EndpointEvent,
    Incoming, ServerConfig, Transmit,
};

use crate::Config;
use crate::clock::Clock;
use crate::connection::Shared;
use crate::driver::{Driver, datagram};
use crate::ids::ConnectionIds;
use crate::receiver::Receiver;
use crate::renewal::Renewal;

/// Ended connections of which the end is repeated to stragglers; the oldest is forgotten first.
const MAX_LINGERING: usize = 256;

/// A socket with its connections.
pub(crate) struct Endpoint {
    pub(crate) rt: Rt,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) at: SocketAddr,
    pub(crate) socket: Arc<dyn UdpSocket>,
    senders: Arc<Senders>,
    /// Wakes `senders`.
    send_waker: Waker,
    inner: Mutex<Inner>,
    /// Dropped after `socket`.
    _in_use: oneshot::Sender<Infallible>,
}

/// Resolves when a socket is closed.
pub(crate) type Freed = SharedFuture<BoxFuture<'static, ()>>;

struct Inner {
    quic: quinn_proto::Endpoint,
    ids: ConnectionIds,
    connections: BTreeMap<ConnectionHandle, Route>,
    /// Handles in `connections` that linger, oldest first.
    lingering: VecDeque<ConnectionHandle>,
    /// First datagrams that wait for the listener. Each holds a permit of `handshakes`.
    arrivals: VecDeque<Arrival>,
    handshakes: Budget,
    /// First datagrams refused for want of room since somebody asked.
    refusals: Option<(Exceeded, u64)>,
    listener: Listener,
    receiver: Option<Waker>,
    /// Nobody needs the socket any more.
    released: bool,
}

enum Listener {
    None,
    Listening(Option<Waker>),
}

/// Where a connection's datagrams go.
enum Route {
    Live(Arc<Shared>),
    Lingering(Linger),
}

/// The end of a connection, for those who have not heard it (RFC 9000, section 10.2.1).
pub(crate) struct Linger {
    last: Bytes,
    to: SocketAddr,
    lasts: Duration,
    until: Instant,
    /// Datagrams that came since; each power of two is answered.
    came: u32,
}

impl Linger {
    /// `last` is the datagram that told it.
    pub(crate) fn new(last: Bytes, to: SocketAddr, rtt: Duration) -> Self {
        Self {
            last,
            to,
            lasts: rtt * 6 + Duration::from_millis(100),
            until: Instant::ZERO,
            came: 0,
        }
    }

    /// Something came: whom to tell what again, if it is time.
    fn tell_again(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.came = self.came.saturating_add(1);
        let due = self.came.is_power_of_two();
        due.then(|| (self.to, self.last.clone()))
    }
}

/// An incoming connection before its handshake. Dropping it forgets it.
pub(crate) struct Arrival {
    incoming: Option<Incoming>,
    permit: Option<Permit>,
}

/// Nobody needs the socket any more.
pub(crate) struct Released;

/// Keeps an [`Endpoint`] alive.
pub(crate) struct Attached(Arc<Endpoint>);

impl std::ops::Deref for Attached {
    type Target = Arc<Endpoint>;

    fn deref(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.released = true;
        let receiver = inner.receiver.take();
        drop(inner);
        receiver.into_iter().for_each(Waker::wake);
    }
}

impl Endpoint {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the receiver has to know before it receives.
    ///
    /// # Errors
    /// Nobody needs the socket any more.
    pub(crate) fn attend(&self, waker: &Waker, now: Instant) -> Result<Option<Instant>, Released> {
        let mut inner = self.lock();
        if inner.released {
            return Err(Released);
        }
        match &mut inner.receiver {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        Ok(inner.expire(now))
    }

    /// Takes one datagram in. What is for a connection goes to `out`.
    pub(crate) fn handle(
        &self,
        received: &Received,
        one: BytesMut,
        now: std::time::Instant,
        out: &mut Vec<(Arc<Shared>, ConnectionEvent)>,
        answer: &mut Vec<u8>,
    ) {
        answer.clear();
        let mut inner = self.lock();
        let ecn = EcnCodepoint::from_bits(received.ecn);
        let (from, to) = (received.from, received.to);
        let transmit = match inner.quic.handle(now, from, to, ecn, one, answer) {
            None => return,
            Some(DatagramEvent::Response(transmit)) => transmit,
            Some(DatagramEvent::NewConnection(incoming)) => {
                let (waker, transmit) = inner.admit(incoming, &self.config, answer);
                drop(inner);
                waker.into_iter().for_each(Waker::wake);
                let Some(transmit) = transmit else { return };
                return self.send_now(&datagram(&transmit, answer));
            }
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                match inner.connections.get_mut(&handle) {
                    Some(Route::Live(shared)) => out.push((shared.clone(), event)),
                    Some(Route::Lingering(linger)) => {
                        if let Some((to, last)) = linger.tell_again() {
                            drop(inner);
                            self.send_now(&Datagram::new(to, &last));
                        }
                    }
                    None => {}
                }
                return;
            }
        };
        drop(inner);
        self.send_now(&datagram(&transmit, answer));
    }

    /// Whether new connections are accepted.
    pub(crate) fn listens(&self) -> bool {
        matches!(self.lock().listener, Listener::Listening(_))
    }

    /// Accepts no new connections from now on.
    pub(crate) fn stop_listening(&self) {
        let mut inner = self.lock();
        inner.listener = Listener::None;
        inner.quic.set_server_config(None);
        for mut arrival in std::mem::take(&mut inner.arrivals) {
            inner.forget(&mut arrival);
        }
    }

    /// Accepts new connections again.
    pub(crate) fn listen_again(&self, server: Arc<ServerConfig>) {
        let mut inner = self.lock();
        inner.listener = Listener::Listening(None);
        inner.quic.set_server_config(Some(server));
    }

    /// The next incoming connection.
    pub(crate) fn poll_arrival(&self, waker: &Waker) -> Poll<Arrival> {
        let mut inner = self.lock();
        match inner.arrivals.pop_front() {
            Some(arrival) => Poll::Ready(arrival),
            None => {
                inner.listener = Listener::Listening(Some(waker.clone()));
                Poll::Pending
            }
        }
    }

    /// How many datagrams go out in one call.
    pub(crate) fn max_segments(&self) -> usize {
        self.socket.max_segments()
    }

    /// Sends, or wakes the task when it can.
    pub(crate) fn poll_send(
        &self,
        cx: &Context<'_>,
        datagram: &Datagram<'_>,
    ) -> Poll<io::Result<()>> {
        // A socket remembers one task for each direction: here that is one that wakes them all.
        let mut all = Context::from_waker(&self.send_waker);
        if let Poll::Ready(sent) = self.socket.poll_send(&mut all, datagram) {
            return Poll::Ready(sent);
        }
        self.senders.add(cx.waker());
        // It may have become ready before this task was known.
        self.socket.poll_send(&mut all, datagram)
    }

    /// Sends if that needs no waiting. What is not sent is lost.
    fn send_now(&self, datagram: &Datagram<'_>) {
        let mut cx = Context::from_waker(&self.send_waker);
        if let Poll::Ready(Err(error)) = self.socket.poll_send(&mut cx, datagram) {
            tracing::trace!(to = %datagram.to, %error, "cannot send");
        }
    }

    /// Passes on what a connection tells; returns the answers.
    pub(crate) fn tell(
        &self,
        handle: ConnectionHandle,
        events: impl Iterator<Item = EndpointEvent>,
    ) -> Vec<ConnectionEvent> {
        let mut inner = self.lock();
        let mut answers = Vec::new();
        for event in events {
            if event.is_drained() {
                inner.connections.remove(&handle);
            }
            answers.extend(inner.quic.handle_event(handle, event));
        }
        answers
    }

    /// Nobody serves a connection any more. With `linger`, its end is repeated for a time to a
    /// remote that has not heard it.
    pub(crate) fn release(&self, handle: ConnectionHandle, linger: Option<Linger>) {
        let now = self.rt.now();
        let mut inner = self.lock();
        match linger {
            None => inner.remove(handle),
            Some(mut linger) => {
                if inner.lingering.len() >= MAX_LINGERING
                    && let Some(oldest) = inner.lingering.pop_front()
                {
                    inner.remove(oldest);
                }
                linger.until = now + linger.lasts;
                inner.connections.insert(handle, Route::Lingering(linger));
                inner.lingering.push_back(handle);
            }
        }
        let receiver = inner.receiver.take();
        drop(inner);
        receiver.into_iter().for_each(Waker::wake);
    }
}

impl Inner {
    /// Forgets a connection that is over.
    fn remove(&mut self, handle: ConnectionHandle) {
        if self.connections.remove(&handle).is_some() {
            self.quic.handle_event(handle, EndpointEvent::drained());
        }
    }

    /// Forgets the connections that have lingered long enough; when to come again.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        while let Some(handle) = self.lingering.front().copied() {
            if let Some(Route::Lingering(linger)) = self.connections.get(&handle)
                && linger.until > now
            {
                return Some(linger.until);
            }
            self.lingering.pop_front();
            self.remove(handle);
        }
        None
    }

    /// A first datagram: queued for the listener, who is woken, or answered at once.
    fn admit(
        &mut self,
        incoming: Incoming,
        config: &Config,
        answer: &mut Vec<u8>,
    ) -> (Option<Waker>, Option<Transmit>) {
        if self.ids.is_ours(incoming.orig_dst_cid()) {
            // A straggler of a connection that is forgotten.
            self.quic.ignore(incoming);
            return (None, None);
        }
        let Listener::Listening(waker) = &mut self.listener else {
            return (None, Some(self.quic.refuse(incoming, answer)));
        };
        if self.handshakes.used() >= config.retry_above && incoming.may_retry() {
            let transmit = match self.quic.retry(incoming, answer) {
                Ok(transmit) => transmit,
                Err(error) => self.quic.refuse(error.into_incoming(), answer),
            };
            return (None, Some(transmit));
        }
        match self.handshakes.reserve(1) {
            Err(error) => {
                tracing::debug!(from = %incoming.remote_address(), %error, "refused");
                let before = self.refusals.take().map_or(0, |(_, times)| times);
                self.refusals = Some((error, before + 1));
                (None, Some(self.quic.refuse(incoming, answer)))
            }
            Ok(permit) => {
                self.arrivals.push_back(Arrival {
                    incoming: Some(incoming),
                    permit: Some(permit),
                });
                (waker.take(), None)
            }
        }
    }

    fn forget(&mut self, arrival: &mut Arrival) {
        if let Some(incoming) = arrival.incoming.take() {
            self.quic.ignore(incoming);
        }
    }
}

impl Attached {
    /// Binds a socket to `at` and starts its receiver. Listens if there is a `server`. It may be
    /// closed a little later than the last user drops it.
    pub(crate) fn bind(
        rt: &Rt,
        config: &Arc<Config>,
        renewal: &Renewal,
        at: SocketAddr,
        server: Option<Arc<ServerConfig>>,
    ) -> io::Result<(Arc<Self>, Freed)> {
        let mut options = UdpOptions::default();
        options.bulk = true;
        options.buffer = Some(config.socket_buffer);
        let socket = rt.net().udp_open(at, &options)?;
        let listener = match server {
            None => Listener::None,
            Some(_) => Listener::Listening(None),
        };
        let senders = Arc::new(Senders::default());
        let at = socket.local_addr()?;
        let (mut settings, ids) = renewal.settings(at, rt);
        settings.rng_seed(Some(rt.random()));
        let may_discover = !socket.may_fragment();
        let quic = quinn_proto::Endpoint::new(Arc::new(settings), server, may_discover, None);
        let (in_use, freed) = oneshot::channel();
        let endpoint = Arc::new(Endpoint {
            at,
            rt: rt.clone(),
            clock: Clock::new(),
            config: config.clone(),
            socket,
            send_waker: Waker::from(senders.clone()),
            senders,
            inner: Mutex::new(Inner {
                quic,
                ids,
                connections: BTreeMap::new(),
                lingering: VecDeque::new(),
                arrivals: VecDeque::new(),
                handshakes: handshakes(config),
                refusals: None,
                listener,
                receiver: None,
                released: false,
            }),
            _in_use: in_use,
        });
        let receiver = Receiver::new(endpoint.clone());
        rt.spawn("quic socket", Box::pin(receiver.run()));
        let freed = freed.map(|_| ()).boxed().shared();
        Ok((Arc::new(Self(endpoint)), freed))
    }

    /// Starts to connect to `to`.
    pub(crate) fn connect(
        self: &Arc<Self>,
        client: ClientConfig,
        to: SocketAddr,
    ) -> Result<Driver, quinn_proto::ConnectError> {
        let now = self.clock.to_std(self.rt.now());
        let mut inner = self.lock();
        // An IP address as a name is not sent, as the spec wants it.
        let name = to.ip().to_string();
        let (handle, quic) = inner.quic.connect(now, client, to, &name)?;
        Ok(self.start(&mut inner, handle, quic))
    }

    /// What was refused for want of room since this was last asked.
    pub(crate) fn refusals(&self) -> Option<(Exceeded, u64)> {
        self.lock().refusals.take()
    }

    /// Starts the handshake with `arrival`. Its place is free again when the permit is dropped.
    pub(crate) fn accept(
        self: &Arc<Self>,
        mut arrival: Arrival,
        server: Arc<ServerConfig>,
    ) -> Result<(Driver, Option<Permit>), quinn_proto::ConnectionError> {
        let Some(incoming) = arrival.incoming.take() else {
            return Err(quinn_proto::ConnectionError::LocallyClosed);
        };
        let now = self.clock.to_std(self.rt.now());
        let mut answer = Vec::new();
        let mut inner = self.lock();
        match inner.quic.accept(incoming, now, &mut answer, Some(server)) {
            Ok((handle, quic)) => {
                let driver = self.start(&mut inner, handle, quic);
                Ok((driver, arrival.permit.take()))
            }
            Err(error) => {
                drop(inner);
                if let Some(transmit) = error.response {
                    self.send_now(&datagram(&transmit, &answer));
                }
                Err(error.cause)
            }
        }
    }

    /// Forgets `arrival`.
    pub(crate) fn ignore(&self, arrival: &mut Arrival) {
        self.lock().forget(arrival);
    }

    fn start(
        self: &Arc<Self>,
        inner: &mut Inner,
        handle: ConnectionHandle,
        quic: quinn_proto::Connection,
    ) -> Driver {
        let (rt, clock, config) = (self.rt.clone(), self.clock, self.config.clone());
        let shared = Shared::new(rt, clock, config, quic);
        inner
            .connections
            .insert(handle, Route::Live(shared.clone()));
        Driver::new(shared, self.clone(), handle)
    }
}

impl Arrival {
    /// Where it comes from.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        Some(self.incoming.as_ref()?.remote_address())
    }

    /// Which of our addresses it came to, where the system tells.
    pub(crate) fn local_ip(&self) -> Option<std::net::IpAddr> {
        self.incoming.as_ref()?.local_ip()
    }
}

/// The tasks that wait to send: the socket wakes them all.
#[derive(Default)]
struct Senders(Mutex<Vec<Waker>>);

impl Senders {
    fn add(&self, waker: &Waker) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }
}

impl Wake for Senders {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = std::mem::take(&mut *waiting);
        drop(waiting);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// One for each incoming handshake that is not finished.
pub(crate) fn handshakes(config: &Config) -> Budget {
    let name = "unfinished QUIC handshakes";
    Budget::new(name, "max_handshakes", config.max_handshakes)
}
