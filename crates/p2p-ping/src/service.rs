//! Ping as a service of a swarm.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Elapsed, ErrorCode, PeerId};
use p2p_swarm::{
    Connection, ConnectionId, DialError, HandleError, HandlerOptions, IntoTarget, Publisher, Slot,
    Stream, Swarm, WeakConnection, WeakSwarm,
};

use crate::config::Config;
use crate::driver::{Ended, drive};
use crate::error::PingError;
use crate::events::{Event, Events};
use crate::exchange::{answer, ping};
use crate::liveness::Liveness;
use crate::wire::{PROTOCOL, SIZE};

/// Answers pings, watches connections, and pings on request. Cheap to clone; does not keep its
/// swarm alive.
#[derive(Clone)]
pub struct Ping {
    swarm: WeakSwarm,
    shared: Arc<Shared>,
}

type Rtts = BTreeMap<(PeerId, ConnectionId), Option<Duration>>;

struct Shared {
    config: Config,
    events: Publisher<Event>,
    /// The last round trip of each watched connection. Invariant: no empty map inside.
    rtts: Mutex<Rtts>,
}

impl Ping {
    /// Registers the protocol with `swarm` and, unless [`Config::watch`] is off, watches every
    /// connection, those that exist and those to come.
    ///
    /// # Errors
    /// [`HandleError::Taken`] if the swarm has a handler for [`PROTOCOL`] already.
    pub fn new(swarm: &Swarm, config: Config) -> Result<Self, HandleError> {
        let options = HandlerOptions::default()
            .max_streams(config.max_inbound)
            .keeps_alive(false);
        swarm.handle_with(PROTOCOL, options, |mut stream: Stream| async move {
            answer(&mut stream).await.map(|_| ())
        })?;
        let shared = Arc::new(Shared {
            config,
            events: Publisher::default(),
            rtts: Mutex::default(),
        });
        if shared.config.watch {
            let shared = Arc::clone(&shared);
            swarm.watch_connections("ping", move |connection| {
                watch(Arc::clone(&shared), connection)
            });
        }
        Ok(Self {
            swarm: swarm.downgrade(),
            shared,
        })
    }

    /// The last round trip to `peer`; over several connections the shortest. `None` until a ping
    /// on a watched connection was echoed, and when nothing connects us any more.
    pub fn rtt(&self, peer: &PeerId) -> Option<Duration> {
        let rtts = self.shared.rtts();
        let of_peer = rtts.range(ConnectionId::all_of(*peer));
        of_peer.filter_map(|(_, rtt)| *rtt).min()
    }

    /// What the watch learns from now on. Bounded: see [`Event::Lagged`].
    pub fn events(&self) -> Events {
        self.shared
            .events
            .subscribe(self.shared.config.event_backlog)
    }

    /// Pings `target` once, dialing if needed.
    ///
    /// Waits at most [`Config::patience`] for the echo; the dial has the deadlines of the swarm.
    /// Cancel-safe.
    ///
    /// # Errors
    /// See [`PingError`].
    pub async fn ping(&self, target: impl IntoTarget) -> Result<Duration, PingError> {
        let mut pinger = self.pinger(target).await?;
        let rtt = pinger.ping().await?;
        pinger.close().await;
        Ok(rtt)
    }

    /// Connects with `target`, dialing if needed, for a series of pings on one stream.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`PingError::Open`].
    pub async fn pinger(&self, target: impl IntoTarget) -> Result<Pinger, PingError> {
        let closed = PingError::Open(DialError::Closed.into());
        let swarm = self.swarm.upgrade().ok_or(closed)?;
        let connection = swarm.dial(target).await;
        let connection = connection.map_err(|error| PingError::Open(error.into()))?;
        Ok(Pinger {
            rt: swarm.rt().clone(),
            connection,
            place: None,
            stream: None,
            swarm: self.swarm.clone(),
            shared: Arc::clone(&self.shared),
        })
    }
}

/// Pings one peer over and over on one stream. Keeps its connection alive.
pub struct Pinger {
    rt: p2p_core::Rt,
    connection: Connection,
    /// The right to have a stream open.
    place: Option<Slot>,
    /// The stream of the last ping, if that was echoed.
    stream: Option<Stream>,
    swarm: WeakSwarm,
    shared: Arc<Shared>,
}

impl Pinger {
    /// The connection that is pinged.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// One ping; returns the round trip.
    ///
    /// A remote answers two streams on a connection, of which the watch takes one. So only one
    /// pinger at a time pings on a connection; the first ping of another waits for the end of its
    /// predecessor, which counts as a part of its patience. Opens a stream if there is none, or if the remote has ended the last one meanwhile, as go
    /// does after half a minute. Waits at most [`Config::patience`]. Cancel-safe: a dropped call
    /// drops the stream, and the next one opens another.
    ///
    /// # Errors
    /// See [`PingError`].
    pub async fn ping(&mut self) -> Result<Duration, PingError> {
        if let Some(used) = self.stream.take() {
            match self.ping_on(used).await {
                Err(PingError::Closed | PingError::Io(_)) => {}
                other => return other,
            }
        }
        if self.place.is_none() {
            let after = self.shared.config.patience;
            let (connection, protocol) = (&self.connection, PROTOCOL);
            let place = connection.slot(&protocol, NonZeroUsize::MIN);
            let place = self.rt.timeout(after, place).await;
            self.place = Some(place.map_err(|Elapsed| PingError::TimedOut { after })?);
        }
        let stream = self.connection.open(&PROTOCOL).await?;
        self.ping_on(stream).await
    }

    async fn ping_on(&mut self, mut stream: Stream) -> Result<Duration, PingError> {
        let after = self.shared.config.patience;
        let start = self.rt.now();
        match self.rt.timeout(after, ping(&self.rt, &mut stream)).await {
            Ok(Ok(rtt)) => {
                self.stream = Some(stream);
                let (peer, id) = (self.connection.peer(), self.connection.id());
                self.shared.record(peer, id, rtt);
                Ok(rtt)
            }
            // The remote did not even agree to the protocol.
            Ok(Err(PingError::Io(error))) if error.kind() == ErrorKind::TimedOut => {
                let after = self.rt.now() - start;
                Err(PingError::TimedOut { after })
            }
            Ok(Err(error)) => Err(error),
            Err(Elapsed) => Err(PingError::TimedOut { after }),
        }
    }

    /// Ends the stream in order, so that the remote does not take it for lost.
    ///
    /// Cancel-safe. Dropping a [`Pinger`] without it resets the stream, which is harmless.
    #[expect(
        clippy::unused_async,
        reason = "whether closing has to wait is not for callers to know"
    )]
    pub async fn close(mut self) {
        let (Some(stream), Some(swarm)) = (self.stream.take(), self.swarm.upgrade()) else {
            return;
        };
        let farewell = farewell(stream, self.place.take());
        let rt = self.rt.clone();
        swarm.spawn("ping end", async move {
            // Nothing depends on it, and a stuck remote must not hold up the next pinger.
            let _ = rt.timeout(CLOSE, farewell).await;
        });
    }
}

/// Ends a stream in order and keeps its place until the remote has ended it too: until then it
/// counts it, and would refuse another one.
async fn farewell(mut stream: Stream, place: Option<Slot>) -> std::io::Result<()> {
    stream.close().await?;
    while stream.read(&mut [0; SIZE]).await? > 0 {}
    drop(place);
    Ok(())
}

/// How long the end of a stream may take.
const CLOSE: Duration = Duration::from_secs(5);

/// Pings on `connection` until it ends or is dead.
async fn watch(shared: Arc<Shared>, connection: WeakConnection) {
    let rt = connection.rt().clone();
    let (peer, id) = (connection.peer(), connection.id());
    let _watched = Watched::new(&shared, peer, id);
    let mut machine = Liveness::new(&shared.config, rt.now());
    while let Some(due) = machine.poll_timeout() {
        rt.sleep_until(due).await;
        machine.handle_timeout(rt.now(), rt.random());
        if !machine.is_waiting() {
            // A miss on a stream that is gone already.
            while machine.poll_output().is_some() {}
            continue;
        }
        let stream = match connection.open(&PROTOCOL).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%peer, connection = %id, %error, "no longer watched");
                return;
            }
        };
        let on_rtt = |rtt| {
            tracing::trace!(%peer, connection = %id, ?rtt, "echo");
            shared.record(peer, id, rtt);
            shared.events.publish(&Event::Echoed {
                peer,
                connection: id,
                rtt,
            });
        };
        match drive(&mut machine, stream, &rt, on_rtt).await {
            Ended::Abandoned => {
                tracing::debug!(%peer, connection = %id, "no echo in time");
                shared.missed(peer, id);
            }
            Ended::Dead => {
                shared.missed(peer, id);
                break;
            }
            Ended::Echo(error) => {
                tracing::debug!(%peer, connection = %id, %error, "no longer watched");
                return;
            }
            Ended::Stream(error) if error.kind() == ErrorKind::Unsupported => return,
            // Not even the protocol was agreed on: silence, which patience goes on to measure.
            Ended::Stream(error) if error.kind() == ErrorKind::TimedOut => {}
            Ended::Stream(_) => machine.handle_stream_end(rt.now()),
        }
    }
    tracing::info!(%peer, connection = %id, close = shared.config.close_dead, "no sign of life");
    shared.events.publish(&Event::Dead {
        peer,
        connection: id,
    });
    if shared.config.close_dead {
        connection.close(ErrorCode::GARBAGE_COLLECTED);
    }
}

/// The place for the round trip of a connection, as long as that is watched.
struct Watched {
    shared: Arc<Shared>,
    peer: PeerId,
    id: ConnectionId,
}

impl Watched {
    fn new(shared: &Arc<Shared>, peer: PeerId, id: ConnectionId) -> Self {
        shared.rtts().insert((peer, id), None);
        Self {
            shared: Arc::clone(shared),
            peer,
            id,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.rtts().remove(&(self.peer, self.id));
    }
}

impl Shared {
    fn rtts(&self) -> MutexGuard<'_, Rtts> {
        self.rtts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missed(&self, peer: PeerId, connection: ConnectionId) {
        self.events.publish(&Event::Missed { peer, connection });
    }

    /// Stores the round trip of a watched connection; those of others would never be forgotten.
    fn record(&self, peer: PeerId, id: ConnectionId, rtt: Duration) {
        if let Some(last) = self.rtts().get_mut(&(peer, id)) {
            *last = Some(rtt);
        }
    }
}

impl fmt::Debug for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ping")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Pinger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinger on {:?}", self.connection)
    }
}
