//! From a peer to a connection: several addresses, one winner.
//!
//! ```text
//!   addresses ── Schedule ──> attempts, each: slot (not the first), gate, transport, security, muxer
//!   first attempt that is a connection wins; the others are dropped
//! ```
//!
//! Dials to the same peer share one race: it runs as long as somebody waits for it, and tries the
//! addresses of everybody who joins. Addresses from the book that failed lately are left alone;
//! those that somebody named are tried all the same. If the peer comes to us meanwhile, that is as
//! good.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Future};
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use p2p_core::{
    AddrExt, Instant, Link, Multiaddr, PeerId, Role, SecurityError, Timer, TransportError,
};

use crate::admit::Admitted;
use crate::backoff::{Backoff, Backoffs};
use crate::config::Config;
use crate::connection::{Connection, Task};
use crate::error::{Attempt, DialError, MAX_ATTEMPTS, Step, UpgradeError};
use crate::join::{DialKey, Offers};
use crate::schedule::{Next, Schedule, ScheduleConfig};
use crate::shared::Shared;
use crate::slots::Take;
use crate::upgrade::{Context, Proposal, Upgraded};

/// What to dial.
pub(crate) struct Plan {
    pub(crate) key: DialKey,
    pub(crate) offers: Arc<Offers>,
    /// From the address book, and left alone because they failed lately.
    held_back: Vec<Backoff>,
}

impl Plan {
    /// Tries what is `named` even if it failed lately, and then what is `known`.
    pub(crate) fn new(
        key: &DialKey,
        named: &[Multiaddr],
        known: Vec<Multiaddr>,
        backoffs: &Backoffs,
        (config, now): (&Config, Instant),
    ) -> Self {
        let mut schedule = Schedule::new(
            ScheduleConfig {
                stagger: config.dial_stagger,
                max_addrs: config.limits.max_dial_addrs,
                max_under_way: config.limits.max_attempts_per_peer,
            },
            now,
        );
        schedule.offer(named);
        let mut held_back = Vec::new();
        let known = known.into_iter().filter(|addr| !named.contains(addr));
        let ready = known.filter(|addr| match backoffs.check(addr, now) {
            Some(backoff) => {
                held_back.push(backoff);
                false
            }
            None => true,
        });
        schedule.add(ready);
        Self {
            key: key.clone(),
            offers: Arc::new(Offers::new(schedule)),
            held_back,
        }
    }
}

/// Dials until one address is a connection, registers it and starts its task.
pub(crate) async fn dial(shared: Arc<Shared>, plan: Plan) -> Result<Connection, DialError> {
    let peer = plan.key.peer();
    let result = match shared.pending_dials.reserve(1) {
        Ok(_permit) => Race::new(Arc::clone(&shared), plan).run().await,
        Err(exceeded) => {
            shared.limit_hit(peer, &exceeded);
            Err(exceeded.into())
        }
    };
    if let Err(error) = &result {
        shared.dial_failed(peer, error);
    }
    result
}

struct Race {
    shared: Arc<Shared>,
    peer: Option<PeerId>,
    offers: Arc<Offers>,
    attempts: FuturesUnordered<BoxFuture<'static, Result<Connection, Attempt>>>,
    /// Which addresses these are, and since when.
    under_way: Vec<(Multiaddr, Instant)>,
    started: bool,
    deadline: Instant,
    failed: Vec<Attempt>,
    /// Failures beyond those that are listed.
    more: usize,
}

/// What a race was waiting for.
enum Woken {
    /// The swarm is closing.
    Closed,
    Ended(Result<Connection, Attempt>),
    News,
    Time,
}

impl Race {
    fn new(shared: Arc<Shared>, plan: Plan) -> Self {
        let now = shared.rt.now();
        let deadline = now + shared.config.dial_deadline;
        let mut race = Self {
            shared,
            peer: plan.key.peer(),
            offers: plan.offers,
            attempts: FuturesUnordered::new(),
            under_way: Vec::new(),
            started: false,
            deadline,
            failed: Vec::new(),
            more: 0,
        };
        for backoff in plan.held_back {
            let error = UpgradeError::Backoff {
                failures: backoff.failures,
                left: backoff.until - now,
            };
            race.note_failure(Attempt {
                addr: backoff.addr,
                error: Arc::new(error),
                took: Duration::ZERO,
            });
        }
        race
    }

    async fn run(mut self) -> Result<Connection, DialError> {
        loop {
            let now = self.shared.rt.now();
            if now >= self.deadline {
                return self.overdue(now);
            }
            let until = match self.offers.next(now) {
                Next::Exhausted => return self.exhausted(),
                Next::Start(addr) => {
                    self.start(addr, now);
                    continue;
                }
                Next::Wait => self.deadline,
                Next::WaitUntil(at) => at.min(self.deadline),
            };
            match self.wait(until).await {
                Woken::Closed => return Err(DialError::Closed),
                Woken::Ended(Ok(connection)) => return Ok(connection),
                Woken::Ended(Err(attempt)) => {
                    tracing::debug!(addr = %attempt.addr, step = %attempt.error.step(),
                        error = %attempt.error, took = ?attempt.took, "dial failed");
                    self.shared.counters.attempt_failed(attempt.error.step());
                    self.offers.handle_failure(self.shared.rt.now());
                    self.under_way.retain(|(addr, _)| *addr != attempt.addr);
                    self.note_failure(attempt);
                }
                Woken::News => {
                    if let Some(connection) = self.came() {
                        self.leave_attempts();
                        return Ok(connection);
                    }
                }
                Woken::Time => {}
            }
        }
    }

    /// The first address of a dial need not wait for those of others, which may all be dead.
    fn start(&mut self, addr: Multiaddr, now: Instant) {
        let first = !std::mem::replace(&mut self.started, true);
        let waits = (!first).then(|| self.shared.attempts.take());
        self.under_way.push((addr.clone(), now));
        let attempt = attempt(Arc::clone(&self.shared), self.peer, addr, waits);
        self.attempts.push(attempt.boxed());
    }

    async fn wait(&mut self, until: Instant) -> Woken {
        let mut timer = self.shared.rt.timer(until);
        let mut closing = self.shared.closing.clone();
        std::future::poll_fn(|cx| self.poll_wait(&mut timer, &mut closing, cx)).await
    }

    fn poll_wait(
        &mut self,
        timer: &mut Box<dyn Timer>,
        closing: &mut crate::shared::Closing,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Woken> {
        if closing.poll_unpin(cx).is_ready() {
            return Poll::Ready(Woken::Closed);
        }
        if let Poll::Ready(Some(ended)) = Pin::new(&mut self.attempts).poll_next(cx) {
            return Poll::Ready(Woken::Ended(ended));
        }
        if self.offers.poll_news(cx).is_ready() {
            return Poll::Ready(Woken::News);
        }
        Pin::new(timer).poll(cx).map(|()| Woken::Time)
    }

    fn note_failure(&mut self, attempt: Attempt) {
        if self.failed.len() < MAX_ATTEMPTS {
            self.failed.push(attempt);
        } else {
            self.more += 1;
        }
    }

    /// The dial has taken too long: nothing is waited for any more.
    fn overdue(mut self, now: Instant) -> Result<Connection, DialError> {
        let after = self.shared.config.dial_deadline;
        let begun = std::mem::take(&mut self.under_way);
        let begun = begun.into_iter().map(|(addr, since)| (addr, now - since));
        let rest = self.offers.give_up().into_iter();
        for (addr, took) in begun.chain(rest.map(|addr| (addr, Duration::ZERO))) {
            self.note_failure(Attempt {
                addr,
                error: Arc::new(UpgradeError::GivenUp { after }),
                took,
            });
        }
        self.exhausted()
    }

    /// A connection that came to be without us.
    fn came(&self) -> Option<Connection> {
        self.peer.and_then(|peer| self.shared.connection(&peer))
    }

    /// Lets what is under way end by itself. The peer may be about to do with ours as we do with
    /// its: if both hung up, none would be left. What comes of it is one too many, which the swarm
    /// closes in order.
    fn leave_attempts(self) {
        let mut attempts = self.attempts;
        self.offers.give_up();
        self.shared.tasks.spawn("dialing on", async move {
            while attempts.next().await.is_some() {}
        });
    }

    /// Every address failed; but the peer may have come to us meanwhile.
    fn exhausted(self) -> Result<Connection, DialError> {
        self.came().ok_or_else(|| DialError::AllFailed {
            attempts: self.failed.into(),
            more: self.more,
            left_out: self.offers.left_out(),
        })
    }
}

async fn attempt(
    shared: Arc<Shared>,
    peer: Option<PeerId>,
    addr: Multiaddr,
    waits: Option<Take>,
) -> Result<Connection, Attempt> {
    let _slot = match waits {
        Some(turn) => Some(turn.await),
        None => None,
    };
    let start = shared.rt.now();
    let result = connect(&shared, peer, &addr).await;
    shared.attempted(peer, &addr, result.as_ref().err());
    result.map_err(|error| Attempt {
        error: Arc::new(error),
        took: shared.rt.now() - start,
        addr,
    })
}

async fn connect(
    shared: &Arc<Shared>,
    expect: Option<PeerId>,
    addr: &Multiaddr,
) -> Result<Connection, UpgradeError> {
    shared.gate_dial(expect, addr)?;
    let start = shared.rt.now();
    let timeout = shared.config.dial_timeout;
    let deadline = (start + timeout, timeout);
    let try_to = |proposal| link_up(shared, expect, addr, deadline, proposal);
    let linked = match try_to(Proposal::Optimistic).await {
        // The remote did not want our first secure channel, and what we said in it spoiled the
        // rest: ask for each of them, on a new link.
        Err(error) if shared.upgrader.securities.len() > 1 && is_refusal(&error) => {
            tracing::debug!(%addr, "first secure channel refused, asking for each");
            try_to(Proposal::Asking).await
        }
        other => other,
    }?;
    let Linked {
        upgraded,
        local,
        connected,
    } = linked;
    if let Some(expected) = expect.filter(|expected| *expected != upgraded.peer) {
        let found = upgraded.peer;
        let wrong = SecurityError::WrongPeer { expected, found };
        return Err(TransportError::Security(wrong).into());
    }
    if expect.is_none()
        && let Some(existing) = shared.connection(&upgraded.peer)
    {
        tracing::debug!(%addr, peer = %upgraded.peer, connection = %existing.id(),
            "there is a connection with this peer already");
        shared.hang_up(upgraded);
        return Ok(existing);
    }
    let task = shared.admit(Admitted {
        upgraded,
        role: Role::Dialer,
        remote: addr.without_peer(),
        local,
        transport_took: connected - start,
    })?;
    Ok(start_task(shared, task))
}

/// Whether the remote may only have refused the secure channel that we proposed first. Its refusal
/// can be lost when it hangs up over what we said behind the proposal.
fn is_refusal(error: &UpgradeError) -> bool {
    use p2p_multistream::{Error, NegotiationError};
    let refused = matches!(
        error,
        UpgradeError::Negotiation(Error::Negotiation(NegotiationError::Refused { .. }))
    );
    let reset = matches!(
        error,
        UpgradeError::Security(SecurityError::Io(error))
            if error.kind() == std::io::ErrorKind::ConnectionReset
    );
    refused || reset
}

/// A finished link, before anybody else knows of it.
struct Linked {
    upgraded: Upgraded,
    local: Option<Multiaddr>,
    connected: Instant,
}

/// Dials `addr` once, secures the link and multiplexes it.
async fn link_up(
    shared: &Arc<Shared>,
    expect: Option<PeerId>,
    addr: &Multiaddr,
    deadline: (Instant, Duration),
    proposal: Proposal,
) -> Result<Linked, UpgradeError> {
    let (rt, start) = (&shared.rt, shared.rt.now());
    tracing::debug!(%addr, "dialing");
    let transport = shared.transport(addr)?;
    let dialed = rt
        .timeout_at(deadline.0, transport.dial(addr.clone(), expect))
        .await
        .map_err(|_| UpgradeError::Timeout {
            step: Step::Transport,
            after: deadline.1,
            setting: "dial_timeout",
        })??;
    let connected = rt.now();
    tracing::debug!(%addr, took = ?(connected - start), "transport connected");
    let upgraded = match dialed.link {
        Link::Muxed(established) => {
            let share = shared.shares.share(established.peer);
            Upgraded::by_transport(established, share)?
        }
        Link::Raw(io) => {
            let cx = Context {
                role: Role::Dialer,
                expect,
                deadline,
                proposal,
                shared,
            };
            let upgraded = shared.upgrader.upgrade(io, &cx).await;
            upgraded.map_err(|failed| failed.error)?
        }
    };
    Ok(Linked {
        upgraded,
        local: dialed.local,
        connected,
    })
}

/// Runs the connection's task; the handle is made first, so that it cannot be idle in between.
fn start_task(shared: &Arc<Shared>, task: Task) -> Connection {
    let connection = Connection::new(Arc::clone(&task.inner));
    let run = task.run(Arc::clone(shared));
    shared.tasks.spawn("connection", run);
    connection
}
