//! From a peer to a connection: several addresses, one winner.
//!
//! ```text
//!   addresses ── first at once, the next when one fails or after dial_stagger ──> attempts
//!   first attempt that is a connection wins; the others are dropped
//! ```
//!
//! Dials to the same peer share one race: it runs as long as somebody waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use p2p_core::multiaddr_parts::Part;
use p2p_core::{AddrExt, Instant, Link, Multiaddr, PeerId, Role, TransportError};

use crate::connection::{Connection, Task};
use crate::error::{Attempt, DialError, MAX_ATTEMPTS, Step, UpgradeError};
use crate::shared::{Admitted, Shared};
use crate::upgrade::{Context, Upgraded};

/// Which address to try when. Pure.
#[derive(Debug)]
pub(crate) struct Schedule {
    waiting: VecDeque<Multiaddr>,
    stagger: Duration,
    next_at: Instant,
    under_way: usize,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Every address has failed.
    Exhausted,
    /// Start this address now.
    Start(Multiaddr),
    /// Wait for an attempt to end.
    Wait,
    /// Wait for an attempt to end, at most until then.
    WaitUntil(Instant),
}

impl Schedule {
    pub(crate) fn new(addrs: Vec<Multiaddr>, stagger: Duration, now: Instant) -> Self {
        Self {
            waiting: addrs.into(),
            stagger,
            next_at: now,
            under_way: 0,
        }
    }

    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.waiting.is_empty() {
            return if self.under_way == 0 {
                Next::Exhausted
            } else {
                Next::Wait
            };
        }
        if now < self.next_at {
            return Next::WaitUntil(self.next_at);
        }
        match self.waiting.pop_front() {
            Some(addr) => {
                self.under_way += 1;
                self.next_at = now + self.stagger;
                Next::Start(addr)
            }
            None => Next::Wait,
        }
    }

    /// An attempt failed at `now`: the next one need not wait.
    pub(crate) fn handle_failure(&mut self, now: Instant) {
        self.under_way -= 1;
        self.next_at = now;
    }
}

/// Dials `addrs` until one is a connection, registers it and starts its task.
pub(crate) async fn dial(
    shared: Arc<Shared>,
    peer: Option<PeerId>,
    addrs: Vec<Multiaddr>,
) -> Result<Connection, DialError> {
    let result = race(&shared, peer, addrs).await;
    if let Err(error) = &result {
        shared.dial_failed(peer, error);
    }
    result
}

async fn race(
    shared: &Arc<Shared>,
    peer: Option<PeerId>,
    mut addrs: Vec<Multiaddr>,
) -> Result<Connection, DialError> {
    let _permit = shared.pending_dials.reserve(1)?;
    addrs.sort_by_key(|addr| !is_quic(addr));
    addrs.truncate(shared.config.max_dial_addrs);
    let rt = &shared.rt;
    let mut schedule = Schedule::new(addrs, shared.config.dial_stagger, rt.now());
    let mut attempts: FuturesUnordered<BoxFuture<'_, Result<Connection, Attempt>>> =
        FuturesUnordered::new();
    let mut failed = Vec::new();
    let mut more = 0;
    loop {
        let outcome = match schedule.next(rt.now()) {
            Next::Exhausted => {
                let attempts = failed.into();
                return Err(DialError::AllFailed { attempts, more });
            }
            Next::Start(addr) => {
                attempts.push(attempt(shared, peer, addr).boxed());
                continue;
            }
            Next::Wait => attempts.next().await,
            Next::WaitUntil(at) => match select(attempts.next(), rt.timer(at)).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => continue,
            },
        };
        match outcome {
            Some(Ok(connection)) => return Ok(connection),
            Some(Err(attempt)) => {
                tracing::debug!(addr = %attempt.addr, step = %attempt.error.step(),
                    error = %attempt.error, took = ?attempt.took, "dial failed");
                schedule.handle_failure(rt.now());
                if failed.len() < MAX_ATTEMPTS {
                    failed.push(attempt);
                } else {
                    more += 1;
                }
            }
            // Cannot be: an address waits for its turn only while another is under way.
            None => continue,
        }
    }
}

/// QUIC goes first: it takes the fewest round trips, and needs no upgrade.
fn is_quic(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Part::QuicV1))
}

async fn attempt(
    shared: &Arc<Shared>,
    peer: Option<PeerId>,
    addr: Multiaddr,
) -> Result<Connection, Attempt> {
    let start = shared.rt.now();
    connect(shared, peer, &addr).await.map_err(|error| Attempt {
        error: Arc::new(error),
        took: shared.rt.now() - start,
        addr,
    })
}

async fn connect(
    shared: &Arc<Shared>,
    peer: Option<PeerId>,
    addr: &Multiaddr,
) -> Result<Connection, UpgradeError> {
    let expect = peer.or_else(|| addr.peer());
    shared.gate.dial(expect.as_ref(), addr)?;
    let rt = &shared.rt;
    let start = rt.now();
    let timeout = shared.config.dial_timeout;
    let deadline = (start + timeout, timeout);
    tracing::debug!(%addr, "dialing");

    let transport = shared.transport(addr)?;
    let dialed = rt
        .timeout_at(deadline.0, transport.dial(addr.clone(), expect))
        .await
        .map_err(|_| UpgradeError::Timeout {
            step: Step::Transport,
            after: timeout,
        })??;
    let connected = rt.now();
    tracing::debug!(%addr, took = ?(connected - start), "transport connected");

    let upgraded: Upgraded = match dialed.link {
        Link::Muxed(established) => {
            let share = shared.shares.share(established.peer);
            Upgraded::by_transport(established, share)?
        }
        Link::Raw(io) => {
            let cx = Context {
                rt,
                role: Role::Dialer,
                expect,
                deadline,
                shares: &shared.shares,
            };
            shared.upgrader.upgrade(io, &cx).await?
        }
    };
    if let Some(expected) = expect.filter(|expected| *expected != upgraded.peer) {
        let found = upgraded.peer;
        let wrong = p2p_core::SecurityError::WrongPeer { expected, found };
        return Err(TransportError::Security(wrong).into());
    }
    let task = shared.admit(Admitted {
        upgraded,
        role: Role::Dialer,
        remote: addr.without_peer(),
        local: dialed.local,
        transport_took: connected - start,
    })?;
    Ok(start_task(shared, task))
}

/// Runs the connection's task; the handle is made first, so that it cannot be idle in between.
fn start_task(shared: &Arc<Shared>, task: Task) -> Connection {
    let connection = Connection::new(Arc::clone(&task.inner));
    let run = task.run(Arc::clone(shared));
    shared.tasks.spawn("connection", run);
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn addresses_start_one_stagger_apart_until_one_answers() {
        let stagger = Duration::from_millis(250);
        let mut schedule = Schedule::new(vec![addr(1), addr(2), addr(3)], stagger, Instant::ZERO);

        assert_eq!(schedule.next(Instant::ZERO), Next::Start(addr(1)));
        let due = Instant::ZERO + stagger;
        assert_eq!(schedule.next(Instant::ZERO), Next::WaitUntil(due));
        assert_eq!(schedule.next(due), Next::Start(addr(2)));
        assert_eq!(schedule.next(due), Next::WaitUntil(due + stagger));
        assert_eq!(schedule.next(due + stagger), Next::Start(addr(3)));
        assert_eq!(schedule.next(due + stagger), Next::Wait);
    }

    #[test]
    fn a_failure_starts_the_next_address_at_once() {
        let stagger = Duration::from_millis(250);
        let mut schedule = Schedule::new(vec![addr(1), addr(2)], stagger, Instant::ZERO);
        assert_eq!(schedule.next(Instant::ZERO), Next::Start(addr(1)));

        let failed = Instant::ZERO + Duration::from_millis(3);
        schedule.handle_failure(failed);
        assert_eq!(schedule.next(failed), Next::Start(addr(2)));
        schedule.handle_failure(failed);
        assert_eq!(schedule.next(failed), Next::Exhausted);
    }
}
