//! Identify as a service of a swarm.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Shared as FutureShared, select};
use p2p_core::{Elapsed, ErrorCode, Exceeded, Multiaddr, PeerId, Rt};
use p2p_keys::{Keypair, RecordSeq, SignError};
use p2p_swarm::{
    Connection, ConnectionId, HandlerOptions, Publisher, Reach, Stream, Swarm, WeakConnection,
    WeakSwarm,
};

use crate::announcement::Announcement;
use crate::config::Config;
use crate::error::{IdentifyError, SetupError};
use crate::events::{Event, Events};
use crate::exchange::{receive_paid, request_paid, send};
use crate::info::IdentifyInfo;
use crate::state::{Announcements, Current, Outcome, State};
use crate::{PROTOCOL, PUSH_PROTOCOL, push};

/// Tells peers who we are, and learns who they are. Cheap to clone; does not keep its swarm
/// alive.
#[derive(Clone)]
pub struct Identify {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) swarm: WeakSwarm,
    pub(crate) rt: Rt,
    pub(crate) config: Config,
    keypair: Keypair,
    seq: RecordSeq,
    events: Publisher<Event>,
    current: Mutex<Option<Current>>,
    state: Mutex<State>,
}

impl Identify {
    /// Registers both protocols with `swarm`, asks on every connection, those that exist and
    /// those to come, and pushes when our listen addresses or protocols change.
    ///
    /// `keypair` is the one that the swarm secures its connections with.
    ///
    /// # Errors
    /// [`SetupError`] if the swarm has a handler for one of the protocols already, or a setting
    /// makes no sense.
    pub fn new(swarm: &Swarm, keypair: Keypair, config: Config) -> Result<Self, SetupError> {
        config.check()?;
        let options = HandlerOptions::default()
            .max_streams(config.max_inbound)
            .keeps_alive(false);
        let shared = Arc::new(Shared {
            swarm: swarm.downgrade(),
            rt: swarm.rt().clone(),
            config,
            keypair,
            seq: RecordSeq::new(),
            events: Publisher::default(),
            current: Mutex::default(),
            state: Mutex::default(),
        });
        let answer = Arc::clone(&shared);
        swarm.handle_with(PROTOCOL, options.clone(), move |stream| {
            Arc::clone(&answer).answer(stream)
        })?;
        let take = Arc::clone(&shared);
        let taken = swarm.handle_with(PUSH_PROTOCOL, options, move |stream| {
            Arc::clone(&take).take_push(stream)
        });
        if let Err(error) = taken {
            swarm.unhandle(&PROTOCOL);
            return Err(error.into());
        }
        let ask = Arc::clone(&shared);
        swarm.watch_connections("identify", move |connection| {
            let (sender, receiver) = oneshot::channel();
            ask.state().add(connection.clone(), receiver);
            let entry = Entry {
                shared: Arc::clone(&ask),
                peer: connection.peer(),
                id: connection.id(),
            };
            look_after(entry, connection, sender)
        });
        swarm.spawn(
            "identify push",
            push::run(Arc::clone(&shared), swarm.events()),
        );
        Ok(Self { shared })
    }

    /// What is known of `peer`, as long as we are connected with it.
    pub fn info(&self, peer: &PeerId) -> Option<IdentifyInfo> {
        let info = self.shared.state().info(peer)?;
        Some(IdentifyInfo::clone(&info))
    }

    /// Where our peers see us, each with the connection on which it said so. Relayed connections
    /// are left out: what is seen there is the relay.
    pub fn observed(&self) -> Vec<(ConnectionId, Multiaddr)> {
        self.shared.state().observed()
    }

    /// Waits until the peer at the other end of `connection` has said who it is.
    ///
    /// Takes at most [`Config::timeout`] from the start of the connection. Cancel-safe.
    ///
    /// # Errors
    /// See [`IdentifyError`].
    pub async fn identified(&self, connection: &Connection) -> Result<IdentifyInfo, IdentifyError> {
        let outcome = self.outcome(connection).await?;
        let info = outcome.await.map_err(|_| IdentifyError::Ended)??;
        Ok(IdentifyInfo::clone(&info))
    }

    async fn outcome(
        &self,
        connection: &Connection,
    ) -> Result<FutureShared<oneshot::Receiver<Outcome>>, IdentifyError> {
        let (peer, id) = (connection.peer(), connection.id());
        let added = {
            let mut state = self.shared.state();
            if let Some(outcome) = state.outcome(&peer, id) {
                return Ok(outcome);
            }
            if connection.end().is_some() {
                return Err(IdentifyError::Ended);
            }
            // It is in the swarm's books a moment earlier than in ours.
            state.when_added(id)
        };
        let after = self.shared.config.timeout;
        let ended = pin!(connection.ended());
        let added = select(added, ended);
        let added = self.shared.rt.timeout(after, added).await;
        added.map_err(|_| IdentifyError::TimedOut { after })?;
        let outcome = self.shared.state().outcome(&peer, id);
        outcome.ok_or(IdentifyError::Ended)
    }

    /// What is learned from now on. Bounded: see [`Event::Lagged`].
    pub fn events(&self) -> Events {
        let backlog = self.shared.config.event_backlog;
        self.shared.events.subscribe(backlog)
    }
}

/// Takes a connection out of the books when its task ends.
struct Entry {
    shared: Arc<Shared>,
    peer: PeerId,
    id: ConnectionId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.state().remove(self.peer, self.id);
    }
}

/// Asks on a new connection, then waits for its end.
async fn look_after(entry: Entry, connection: WeakConnection, sender: oneshot::Sender<Outcome>) {
    // Boxed, so that only the short time of asking takes its memory.
    let outcome = ask(&entry.shared, &connection).boxed().await;
    tell_of_limit(&connection, outcome.as_ref().err());
    let event = match &outcome {
        Ok(info) => Event::Identified {
            connection: entry.id,
            info: Arc::clone(info),
        },
        Err(error) => {
            let peer = entry.peer;
            tracing::debug!(%peer, connection = %entry.id, %error, "not identified");
            let (connection, error) = (entry.id, error.clone());
            Event::Failed {
                peer,
                connection,
                error,
            }
        }
    };
    // Nobody may be waiting.
    let _ = sender.send(outcome);
    entry.shared.events.publish(&event);
    drop(event);
    drop(connection);
    std::future::pending().await
}

async fn ask(shared: &Shared, connection: &WeakConnection) -> Outcome {
    let after = shared.config.timeout;
    let mut paid = connection.budget().reserve(0)?;
    let asked = async {
        let mut stream = connection.open(&PROTOCOL).await?;
        let (peer, key) = (connection.peer(), connection.info().public_key.clone());
        let limits = &shared.config.limits;
        request_paid(&mut stream, peer, key, limits, &mut paid).await
    };
    let mut info = match shared.rt.timeout(after, asked).await {
        Ok(asked) => asked?,
        Err(Elapsed) => return Err(IdentifyError::TimedOut { after }),
    };
    if is_relayed(&connection.info().remote) {
        info.observed_addr = None;
    }
    let observed = info.observed_addr.clone();
    let info = shared.state().answered(connection, info)?;
    shared.note(connection, &info, observed.as_ref());
    tracing::debug!(peer = %info.peer, connection = %connection.id(), agent = info.agent_version,
        addrs = info.listen_addrs.len(), protocols = info.protocols.len(), "identified");
    Ok(info)
}

/// A limit of ours kept us from listening to the remote.
fn tell_of_limit(connection: &WeakConnection, error: Option<&IdentifyError>) {
    if let Some(IdentifyError::Limit(exceeded)) = error {
        connection.budget().refused(exceeded);
    }
}

fn is_relayed(addr: &Multiaddr) -> bool {
    use p2p_core::multiaddr_parts::Part;
    addr.iter().any(|part| part == Part::P2pCircuit)
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a peer that asks.
    async fn answer(self: Arc<Self>, mut stream: Stream) -> Result<(), IdentifyError> {
        let current = self.current()?;
        let info = stream.info();
        let (peer, id) = (info.peer, info.id);
        let message = current.message(&info.remote);
        self.state().told(&peer, id, current.version);
        let after = self.config.timeout;
        match self.rt.timeout(after, send(&mut stream, &message)).await {
            Ok(sent) => Ok(sent?),
            Err(Elapsed) => Err(IdentifyError::TimedOut { after }),
        }
    }

    /// Takes what a peer tells unasked.
    async fn take_push(self: Arc<Self>, stream: Stream) -> Result<(), IdentifyError> {
        let connection = stream.connection();
        let taken = self.read_push(stream, &connection).await;
        tell_of_limit(&connection, taken.as_ref().err());
        taken
    }

    async fn read_push(
        &self,
        mut stream: Stream,
        connection: &WeakConnection,
    ) -> Result<(), IdentifyError> {
        let peer = connection.peer();
        if !self.state().may_push(&peer, self.rt.now(), &self.config) {
            tracing::debug!(%peer, "pushes too often");
            connection
                .budget()
                .refused(&too_many_pushes(self.config.push_burst));
            stream.reset(ErrorCode::RATE_LIMITED);
            return Ok(());
        }
        let after = self.config.timeout;
        let mut paid = connection.budget().reserve(0)?;
        let received = receive_paid(&mut stream, &self.config.limits, &mut paid);
        let mut told = match self.rt.timeout(after, received).await {
            Ok(told) => told?,
            Err(Elapsed) => return Err(IdentifyError::TimedOut { after }),
        };
        // The remote closes first; without this it would see a reset. One that has gone away
        // already, as go's over QUIC, has told everything all the same.
        let _ = futures::io::AsyncWriteExt::close(&mut stream).await;
        if is_relayed(&connection.info().remote) {
            told.observed_addr = None;
        }
        let observed = told.observed_addr.clone();
        let info = self.state().pushed(connection, told, &self.config)?;
        self.note(connection, &info, observed.as_ref());
        self.events.publish(&Event::Updated {
            connection: connection.id(),
            info,
        });
        Ok(())
    }

    /// Fills the swarm's address book, and passes on where this message says that we were seen.
    fn note(&self, connection: &WeakConnection, info: &IdentifyInfo, observed: Option<&Multiaddr>) {
        let Some(swarm) = self.swarm.upgrade() else {
            return;
        };
        let remote = connection.info();
        let seen = Reach::of(&remote.remote);
        let addrs = info.listen_addrs.iter();
        let addrs = addrs.filter(|addr| Reach::of(addr).useful_for(seen));
        let addrs: Vec<Multiaddr> = addrs.cloned().collect();
        match &info.signed_record {
            Some(record) => {
                swarm.learn_signed_addrs(info.peer, record.seq, addrs);
            }
            None => swarm.learn_addrs(info.peer, addrs),
        }
        if let Some(observed) = observed {
            swarm.observed(remote, observed);
        }
        swarm.set_protocols_of(info.peer, info.protocols.clone());
    }

    /// What we say now; made anew, and signed, only when something changed.
    pub(crate) fn current(&self) -> Result<Current, IdentifyError> {
        let swarm = self.swarm.upgrade().ok_or(IdentifyError::Ended)?;
        let (addrs, protocols) = (swarm.announced_addrs(), swarm.protocols());
        let mut slot = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &*slot
            && current.addrs == addrs
            && current.protocols == protocols
        {
            return Ok(current.clone());
        }
        let announcements = self.announce(&addrs, &protocols);
        let announcements = announcements.map_err(std::io::Error::other)?;
        let current = Current {
            announcements,
            addrs,
            protocols,
            version: slot.as_ref().map_or(1, |last| last.version + 1),
        };
        *slot = Some(current.clone());
        Ok(current)
    }

    /// What peers are told, by from how far away they are seen. The farthest gets the newest
    /// record: it is passed on most widely.
    fn announce(
        &self,
        addrs: &[Multiaddr],
        protocols: &[p2p_core::Protocol],
    ) -> Result<Announcements, SignError> {
        let config = &self.config;
        let announce = |seen: Reach| {
            let useful = |addr: &&Multiaddr| {
                let reach = Reach::of(addr);
                let told = config.announce_private && reach == Reach::Network;
                config.announce_addrs && (told || reach.useful_for(seen))
            };
            let addrs: Vec<Multiaddr> = addrs.iter().filter(useful).cloned().collect();
            let seq = self.seq.next(self.rt.unix_time());
            let (agent, version) = (&config.agent_version, &config.protocol_version);
            Announcement::new(&self.keypair, &addrs, protocols, agent, version, seq)
        };
        Ok(Announcements {
            host: announce(Reach::Host)?,
            network: announce(Reach::Network)?,
            world: announce(Reach::World)?,
        })
    }
}

impl fmt::Debug for Identify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identify")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

/// Why a push is refused to a peer that may send `burst` in a row.
pub(crate) fn too_many_pushes(burst: u32) -> Exceeded {
    let burst = usize::try_from(burst).unwrap_or(usize::MAX);
    Exceeded {
        name: "identify pushes of a peer",
        setting: "push_burst, push_interval",
        limit: burst,
        used: burst,
        wanted: 1,
    }
}
