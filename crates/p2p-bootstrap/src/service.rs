//! Bootstrap as a service of a swarm.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use p2p_core::{Instant, Multiaddr, PeerId, Rt, Timer};
use p2p_swarm::{DialError, Event, Events, KeepAlive, Swarm, WeakSwarm};

use crate::config::Config;
use crate::list::List;
use crate::roster::{Next, Roster};

/// Keeps a node connected with the peers of a list. Cheap to clone; does not keep its swarm alive,
/// and goes on when it is dropped.
#[derive(Clone)]
pub struct Bootstrap {
    shared: Arc<Shared>,
}

struct Shared {
    rt: Rt,
    list: List,
    roster: Mutex<Roster>,
}

/// Why a [`Bootstrap`] cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// Nobody is on the list, or only we.
    #[error("the bootstrap list names nobody but ourselves")]
    Nobody,
    /// The first wait is longer than the longest.
    #[error("first_wait ({first:?}) is more than longest_wait ({longest:?})")]
    Waits {
        /// [`Config::first_wait`].
        first: Duration,
        /// [`Config::longest_wait`].
        longest: Duration,
    },
    /// The setting must be above zero.
    #[error("{setting} must be above zero")]
    Zero {
        /// The field of [`Config`].
        setting: &'static str,
    },
}

/// How it stands with one peer of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Who.
    pub peer: PeerId,
    /// Whether we are connected.
    pub connected: bool,
    /// Dials that failed, and connections that did not last, since it was last connected for
    /// [`Config::settled_after`].
    pub failures: u32,
    /// When it is tried again, if more connections are needed then. `None`: it is connected or
    /// being dialed.
    pub again: Option<Instant>,
}

impl Bootstrap {
    /// Adds the addresses of `list` to the swarm's address book, dials its peers, and keeps
    /// connected with all of them, or with [`Config::min_connected`], until the swarm ends.
    ///
    /// # Errors
    /// [`BootstrapError::Nobody`] if nobody else is on the list, others if the settings make no
    /// sense. The address book is as it was.
    pub fn new(swarm: &Swarm, list: &List, config: Config) -> Result<Self, BootstrapError> {
        check(&config)?;
        let own = swarm.local_peer();
        let mut peers = Vec::new();
        for (peer, addrs) in list.peers().filter(|(peer, _)| *peer != own) {
            swarm.add_addrs(peer, addrs.iter().cloned());
            peers.push(peer);
        }
        if peers.is_empty() {
            return Err(BootstrapError::Nobody);
        }
        let rt = swarm.rt().clone();
        let keep: Vec<KeepAlive> = peers.iter().map(|peer| swarm.keep_alive(*peer)).collect();
        let now = rt.now();
        let mut roster = Roster::new(peers, config, now);
        let events = swarm.events();
        for peer in swarm.peers() {
            roster.handle_connected(&peer, now);
        }
        let shared = Arc::new(Shared {
            rt,
            list: list.clone(),
            roster: Mutex::new(roster),
        });
        let run = run(Arc::clone(&shared), swarm.downgrade(), events);
        swarm.spawn("bootstrap", async move {
            run.await;
            drop(keep);
        });
        Ok(Self { shared })
    }

    /// How it stands with each peer, in the order of the list.
    pub fn status(&self) -> Vec<PeerStatus> {
        let roster = self.shared.roster();
        let status =
            roster
                .status(self.shared.rt.now())
                .map(|(peer, connected, failures, again)| PeerStatus {
                    peer,
                    connected,
                    failures,
                    again,
                });
        status.collect()
    }
}

fn check(config: &Config) -> Result<(), BootstrapError> {
    let (first, longest) = (config.first_wait, config.longest_wait);
    if first.is_zero() {
        let setting = "first_wait";
        return Err(BootstrapError::Zero { setting });
    }
    if first > longest {
        return Err(BootstrapError::Waits { first, longest });
    }
    Ok(())
}

type Dials = FuturesUnordered<BoxFuture<'static, (PeerId, Result<(), DialError>)>>;

/// What the task was waiting for.
enum Woken {
    Dialed(PeerId, Result<(), DialError>),
    Ended,
    Event(Event),
    Time,
}

async fn run(shared: Arc<Shared>, swarm: WeakSwarm, mut events: Events) {
    let mut dials = Dials::new();
    loop {
        let next = shared.roster().next(shared.rt.now());
        let timer = match next {
            Next::Dial(peer) => {
                let Some(swarm) = swarm.upgrade() else { return };
                // Its own waits are longer than the swarm's.
                swarm.reset_backoff(&peer);
                let (weak, addrs) = (swarm.downgrade(), shared.list.addrs(&peer));
                dials.push(dial(weak, peer, addrs).boxed());
                continue;
            }
            Next::Wait => None,
            Next::WaitUntil(at) => Some(shared.rt.timer(at)),
        };
        match wait(&mut dials, &mut events, timer).await {
            Woken::Dialed(peer, result) => shared.dialed(&swarm, &peer, result),
            Woken::Ended => return,
            Woken::Event(event) => shared.happened(&swarm, event),
            Woken::Time => {}
        }
    }
}

/// Dials `peer` at `addrs`, and wherever else it is known to be: the program may have taken the
/// list's addresses out of the book.
async fn dial(
    swarm: WeakSwarm,
    peer: PeerId,
    addrs: Vec<Multiaddr>,
) -> (PeerId, Result<(), DialError>) {
    let Some(swarm) = swarm.upgrade() else {
        return (peer, Err(DialError::Closed));
    };
    let dialed = swarm.dial((peer, addrs)).await;
    (peer, dialed.map(drop))
}

async fn wait(dials: &mut Dials, events: &mut Events, mut timer: Option<Box<dyn Timer>>) -> Woken {
    futures::future::poll_fn(|cx| {
        if let Poll::Ready(Some((peer, result))) = dials.poll_next_unpin(cx) {
            return Poll::Ready(Woken::Dialed(peer, result));
        }
        if let Poll::Ready(event) = events.poll_next_unpin(cx) {
            return Poll::Ready(event.map_or(Woken::Ended, Woken::Event));
        }
        match &mut timer {
            Some(timer) => timer.poll_unpin(cx).map(|()| Woken::Time),
            None => Poll::Pending,
        }
    })
    .await
}

impl Shared {
    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dialed(&self, swarm: &WeakSwarm, peer: &PeerId, result: Result<(), DialError>) {
        let (now, luck) = (self.rt.now(), self.luck());
        match result {
            Ok(()) => {
                let mut roster = self.roster();
                roster.handle_connected(peer, now);
                // What is told of its end may have come before.
                let is_connected = |swarm: Swarm| swarm.is_connected(peer);
                if !swarm.upgrade().is_some_and(is_connected) {
                    roster.handle_disconnected(peer, now, luck);
                }
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "bootstrap peer not reached");
                self.roster().handle_failure(peer, now, luck);
            }
        }
    }

    fn happened(&self, swarm: &WeakSwarm, event: Event) {
        if let Event::Connected { info } = &event {
            self.roster().handle_connected(&info.peer, info.established);
        } else if let Event::Disconnected {
            peer, remaining: 0, ..
        } = &event
        {
            let (now, luck) = (self.rt.now(), self.luck());
            self.roster().handle_disconnected(peer, now, luck);
        } else if let Event::Lagged(_) = event {
            self.look_again(swarm);
        }
    }

    /// Events were lost: asks the swarm how it stands.
    fn look_again(&self, swarm: &WeakSwarm) {
        let Some(swarm) = swarm.upgrade() else {
            return;
        };
        let mut roster = self.roster();
        let peers: Vec<PeerId> = roster
            .status(self.rt.now())
            .map(|(peer, ..)| peer)
            .collect();
        for peer in peers {
            if swarm.is_connected(&peer) {
                roster.handle_connected(&peer, self.rt.now());
            } else {
                // Changes nothing unless it was connected.
                roster.handle_disconnected(&peer, self.rt.now(), 0.5);
            }
        }
    }

    /// A number between 0 and 1.
    fn luck(&self) -> f64 {
        let bytes: [u8; 4] = self.rt.random();
        f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
    }
}

impl fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.status()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2p_keys::Keypair;
    use p2p_plaintext::Plaintext;
    use p2p_sim::Sim;
    use p2p_tcp::Tcp;
    use p2p_yamux::Yamux;

    #[test]
    fn a_dial_whose_connection_is_over_when_it_is_heard_of_is_made_again() {
        let sim = Sim::new(1);
        let rt = sim.host("alice").rt();
        let [ours, theirs] = [1, 2].map(|n| Keypair::ed25519_from_seed([n; 32]));
        let swarm = Swarm::builder(rt.clone(), ours.to_peer_id())
            .transport(Tcp::new(rt, p2p_tcp::Config::default()))
            .security(Plaintext::new(&ours))
            .muxer(Yamux::default())
            .build()
            .unwrap();
        let peer = theirs.to_peer_id();
        let list = format!("/ip4/192.0.2.1/tcp/1/p2p/{peer}").parse().unwrap();
        let bootstrap = Bootstrap::new(&swarm, &list, Config::default()).unwrap();
        sim.run_for(Duration::from_millis(1));
        assert_eq!(bootstrap.status()[0].again, None, "being dialed");

        // Connected and Disconnected were handled before.
        let shared = &bootstrap.shared;
        shared.dialed(&swarm.downgrade(), &peer, Ok(()));
        let status = &bootstrap.status()[0];
        assert!(!status.connected && status.again.is_some(), "{status:?}");
    }
}
