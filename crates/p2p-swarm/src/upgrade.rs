//! From a raw link to streams: who is there, and which multiplexer.
//!
//! ```text
//!   link ── multistream ── secure channel ──┬── muxer agreed inside the handshake ──┬── streams
//!                                           └── multistream ── muxer ───────────────┘
//! ```
//!
//! With one secure channel the proposal travels with the first bytes of its handshake, and with a
//! muxer agreed inside the handshake nothing else is negotiated: one round trip on the dialer's
//! side.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::{
    Blame, BoxIo, Cause, Established, Instant, Multiplex, Muxing, PeerId, Protocol, Role, Secured,
    Security, SecurityError,
};
use p2p_multistream as multistream;

use crate::counted::Counted;
use crate::error::{Step, UpgradeError};
use crate::share::Share;
use crate::shared::Shared;
use crate::stats::Traffic;

/// The secure channels and multiplexers of a swarm, best first.
#[derive(Default)]
pub(crate) struct Upgrader {
    pub(crate) securities: Vec<Arc<dyn Security>>,
    pub(crate) muxers: Vec<Arc<dyn Multiplex>>,
}

/// A finished upgrade.
pub(crate) struct Upgraded {
    pub(crate) peer: PeerId,
    pub(crate) public_key: Bytes,
    pub(crate) muxing: Muxing,
    /// `None`: the transport's own.
    pub(crate) security: Option<Protocol>,
    /// `None`: the transport's own.
    pub(crate) muxer: Option<Protocol>,
    pub(crate) security_took: Duration,
    pub(crate) muxer_took: Duration,
    /// Its bytes, if they are counted.
    pub(crate) traffic: Option<Arc<Traffic>>,
    /// What it may make us hold.
    pub(crate) share: Share,
}

impl Upgraded {
    /// A link that its transport secured and multiplexed itself. `share` pays for it from now
    /// on.
    pub(crate) fn by_transport(done: Established, share: Share) -> Result<Self, UpgradeError> {
        done.muxing.muxer.charge(&share.budget)?;
        Ok(Self {
            peer: done.peer,
            public_key: done.public_key,
            muxing: done.muxing,
            security: None,
            muxer: None,
            security_took: Duration::ZERO,
            muxer_took: Duration::ZERO,
            traffic: None,
            share,
        })
    }
}

/// Why a link did not become a connection, and who was at its other end, if that was proved.
pub(crate) struct Failed {
    pub(crate) peer: Option<PeerId>,
    pub(crate) error: UpgradeError,
}

impl Failed {
    /// With a peer that has proved who it is.
    pub(crate) fn of(peer: PeerId, error: impl Into<UpgradeError>) -> Self {
        Self {
            peer: Some(peer),
            error: error.into(),
        }
    }
}

impl<E: Into<UpgradeError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self {
            peer: None,
            error: error.into(),
        }
    }
}

/// How a dialer proposes a secure channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proposal {
    /// Each in turn, waiting for the answer: a round trip more.
    Asking,
    /// The best one, together with the first bytes of its handshake.
    Optimistic,
}

/// What an upgrade needs from its surroundings.
pub(crate) struct Context<'a> {
    pub(crate) role: Role,
    pub(crate) expect: Option<PeerId>,
    /// When to give up, and how long that was from the start.
    pub(crate) deadline: (Instant, Duration),
    pub(crate) proposal: Proposal,
    pub(crate) shared: &'a Arc<Shared>,
}

impl Context<'_> {
    async fn in_time<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, UpgradeError>>,
    ) -> Result<T, UpgradeError> {
        let (at, after) = self.deadline;
        match self.shared.rt.timeout_at(at, work).await {
            Ok(result) => result,
            Err(_) => Err(UpgradeError::Timeout {
                step,
                after,
                setting: match self.role {
                    Role::Dialer => "dial_timeout",
                    Role::Listener => "upgrade_timeout",
                },
            }),
        }
    }
}

impl Upgrader {
    /// Secures and multiplexes `io`.
    pub(crate) async fn upgrade(&self, io: BoxIo, cx: &Context<'_>) -> Result<Upgraded, Failed> {
        let rt = &cx.shared.rt;
        let start = rt.now();
        let (io, traffic) = counted(io, cx.shared);
        let (security, secured) = cx.in_time(Step::Security, self.secure(io, cx)).await?;
        let secured_at = rt.now();
        tracing::debug!(role = %cx.role, peer = %secured.peer, %security,
            took = ?(secured_at - start), "secured");
        let Secured {
            io,
            peer,
            public_key,
            muxer,
        } = secured;
        let early = muxer.is_some();
        let (muxer, io) = cx
            .in_time(Step::Muxer, self.choose_muxer(io, muxer, cx.role))
            .await
            .map_err(|error| Failed::of(peer, error))?;
        let muxer_took = rt.now() - secured_at;
        tracing::debug!(role = %cx.role, %peer, muxer = %muxer.protocol(), early,
            took = ?muxer_took, "multiplexed");
        let share = cx.shared.shares.share(peer);
        Ok(Upgraded {
            peer,
            public_key,
            security: Some(security),
            muxer: Some(muxer.protocol()),
            security_took: secured_at - start,
            muxer_took,
            muxing: muxer.start(io, cx.role, rt, &share.budget),
            traffic,
            share,
        })
    }

    async fn secure(
        &self,
        io: BoxIo,
        cx: &Context<'_>,
    ) -> Result<(Protocol, Secured), UpgradeError> {
        let offered: Vec<Protocol> = self.securities.iter().map(|one| one.protocol()).collect();
        let (chosen, io) = negotiate_security(io, &offered, cx)
            .await
            .map_err(UpgradeError::Negotiation)?;
        let security = find(&self.securities, |one| one.protocol() == chosen)?;
        let muxers = self.muxers.iter().map(|one| one.protocol()).collect();
        match security.secure(io, cx.role, cx.expect, muxers).await {
            Ok(secured) => Ok((chosen, secured)),
            Err(error) => Err(late_refusal(error)),
        }
    }

    async fn choose_muxer(
        &self,
        io: BoxIo,
        agreed: Option<Protocol>,
        role: Role,
    ) -> Result<(&Arc<dyn Multiplex>, BoxIo), UpgradeError> {
        let (chosen, io) = match agreed {
            Some(agreed) => (agreed, io),
            None => {
                let offered: Vec<Protocol> = self.muxers.iter().map(|one| one.protocol()).collect();
                // Not optimistic: a refusal must fail the dial, not the first stream after it.
                negotiate(io, &offered, role)
                    .await
                    .map_err(UpgradeError::Muxer)?
            }
        };
        let muxer = find(&self.muxers, |one| one.protocol() == chosen)?;
        Ok((muxer, io))
    }
}

/// Counts the bytes of `io`, if that is wanted.
fn counted(io: BoxIo, shared: &Shared) -> (BoxIo, Option<Arc<Traffic>>) {
    if !shared.config.count_bytes {
        return (io, None);
    }
    let own = Arc::new(Traffic::default());
    let io = Counted {
        io,
        own: Arc::clone(&own),
        all: Arc::clone(&shared.counters.traffic),
    };
    (Box::new(io), Some(own))
}

/// Agrees on one of `offered`. A dialer that is optimistic, or has a single offer, does not wait
/// for the answer: the handshake that follows does.
async fn negotiate_security(
    io: BoxIo,
    offered: &[Protocol],
    cx: &Context<'_>,
) -> Result<(Protocol, BoxIo), multistream::Error> {
    match (cx.role, cx.proposal, offered) {
        (Role::Dialer, _, [best]) | (Role::Dialer, Proposal::Optimistic, [best, ..]) => {
            let io = multistream::dial_lazy(io, best.clone());
            Ok((best.clone(), Box::new(io)))
        }
        (role, ..) => negotiate(io, offered, role).await,
    }
}

/// Agrees on one of `offered`.
async fn negotiate(
    io: BoxIo,
    offered: &[Protocol],
    role: Role,
) -> Result<(Protocol, BoxIo), multistream::Error> {
    let config = multistream::Config::default();
    match role {
        Role::Dialer => {
            let (chosen, io) = multistream::dial(io, offered, &config).await?;
            Ok((chosen, Box::new(io)))
        }
        Role::Listener => {
            let (chosen, io) = multistream::listen(io, offered, &config).await?;
            Ok((chosen, Box::new(io)))
        }
    }
}

/// The entry that was offered and chosen; its absence would be a handshake that agreed on what
/// nobody offered.
fn find<T>(all: &[T], is: impl Fn(&T) -> bool) -> Result<&T, UpgradeError> {
    all.iter().find(|one| is(one)).ok_or_else(|| {
        let what = "the handshake agreed on a protocol that was not offered";
        UpgradeError::Security(SecurityError::Protocol(Cause::new(Blame::Us, what)))
    })
}

/// A single proposal is refused only when the handshake already runs: say so, instead of calling
/// it a failed handshake.
fn late_refusal(error: SecurityError) -> UpgradeError {
    if let SecurityError::Io(io) = &error
        && let Some(refused) = multistream::NegotiationError::of(io)
    {
        return UpgradeError::Negotiation(refused.clone().into());
    }
    UpgradeError::Security(error)
}
