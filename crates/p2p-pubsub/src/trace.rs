//! What a router did, and why.
//!
//! Every graft, prune, drop and reject has a cause. Causes are always counted; [`Trace`] events
//! are made only if [`Config::trace`](crate::Config::trace) is on.

use p2p_core::{Instant, PeerId};
use p2p_swarm::Lag;

use crate::router::Version;
use crate::wire::Control;
use crate::{MessageId, SignatureError, Topic};

/// Why a received message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reject {
    /// We do not take messages from this peer.
    BlockedPeer,
    /// We do not take messages by this author.
    BlockedSource,
    /// No memory left for it.
    Budget,
    /// The application does not want it; nobody is to blame.
    Ignored,
    /// The application says that it is invalid.
    Invalid,
    /// Too many messages are being checked.
    QueueFull,
    /// Somebody else sent us a message in our own name that we did not write.
    SelfOrigin,
    /// It breaks the signature policy, or its signature is wrong.
    Signature(SignatureError),
    /// The application is overloaded.
    Throttled,
    /// Message or message id are longer than allowed.
    TooLarge,
}

/// Why a peer came into our mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GraftCause {
    /// It asked for it.
    Asked,
    /// We joined the topic.
    Joined,
    /// The mesh has low scores, and this peer's is higher.
    Opportunistic,
    /// It subscribed while the mesh had too few peers.
    Subscribed,
    /// The mesh had too few peers.
    TooFew,
    /// The mesh had too few peers that we dialed.
    TooFewOutbound,
}

/// Why a peer left our mesh, or was kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PruneCause {
    /// It asked for it.
    Asked,
    /// It asked to come back too early.
    Backoff,
    /// It is a direct peer: those are never in a mesh.
    Direct,
    /// It is gone.
    Disconnected,
    /// It asked to come in while the mesh was full.
    Full,
    /// We left the topic.
    Left,
    /// Its score is below zero.
    NegativeScore,
    /// A peer with a better score asked for its place while half of the mesh had low scores.
    Outscored,
    /// The mesh had too many peers.
    TooMany,
    /// It left the topic.
    Unsubscribed,
}

/// Why a message went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DropCause {
    /// The receiver said that it does not want it, while it waited in our queue.
    Cancelled,
    /// The receiver is gone.
    Disconnected,
    /// We have it already.
    Duplicate,
    /// The sender may only send control messages for now.
    Gated,
    /// The sender's score is below the graylist threshold.
    Graylisted,
    /// We are not in its topic.
    NotSubscribed,
    /// The receiver does not read as fast as messages come.
    QueueFull,
}

/// A kind of control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ControlKind {
    /// The extensions that we speak.
    Extensions,
    /// GRAFT.
    Graft,
    /// IDONTWANT.
    IDontWant,
    /// IHAVE.
    IHave,
    /// IWANT.
    IWant,
    /// Parts of a message.
    Partial,
    /// PRUNE.
    Prune,
    /// That we are in a topic, or not.
    Subscription,
}

impl ControlKind {
    pub(crate) fn of(item: &Control) -> Self {
        match item {
            Control::Extensions(_) => Self::Extensions,
            Control::Graft(_) => Self::Graft,
            Control::IDontWant(_) => Self::IDontWant,
            Control::IHave(..) => Self::IHave,
            Control::IWant(_) => Self::IWant,
            Control::Partial(_) => Self::Partial,
            Control::Prune { .. } => Self::Prune,
            Control::PartialSubscription(..) | Control::Subscription(..) => Self::Subscription,
        }
    }
}

/// Why a part of an RPC was not acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refusal {
    /// The sender's score is too low.
    LowScore,
    /// Extensions announced after the first RPC.
    LateExtensions,
    /// A message id longer than allowed.
    IdTooLong,
    /// No topic, or one that is not UTF-8.
    NotATopic,
    /// Parts of messages from a peer that has not said that it sends any.
    NotNegotiated,
    /// More of this kind than is read within a heartbeat.
    TooMany,
    /// The sender is in as many topics as we remember.
    TooManyTopics,
    /// A group's name, its metadata or its parts are longer than allowed, or there is no name.
    TooLong,
    /// A topic longer than allowed.
    TopicTooLong,
    /// A topic that we are not in.
    UnknownTopic,
    /// Parts of messages that we did not request.
    Unrequested,
}

/// Why the score of a peer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ScoreCause {
    /// It delivered a message first (P2, P3).
    FirstDelivery,
    /// It came into our mesh or left it (P1, P3b).
    Mesh,
    /// It sent an invalid message (P4).
    Invalid,
    /// It misbehaved (P7).
    Misbehaviour,
    /// Time has passed: decay, time in the mesh, missing deliveries (P1, P3).
    Time,
}

/// Something that a router did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Trace {
    /// A peer is connected.
    Connected {
        /// Who.
        peer: PeerId,
        /// What it speaks.
        version: Version,
    },
    /// A control message was not sent: the peer does not read as fast as they come.
    ControlLost {
        /// Whom it was for.
        peer: PeerId,
        /// What it was.
        kind: ControlKind,
    },
    /// A message was accepted and given to our subscribers.
    Delivered {
        /// Its id.
        id: MessageId,
        /// Its topic.
        topic: Topic,
        /// Who sent it first.
        from: PeerId,
    },
    /// A peer is gone.
    Disconnected {
        /// Who.
        peer: PeerId,
    },
    /// A message went no further on one path.
    Dropped {
        /// Its id, if it was computed.
        id: Option<MessageId>,
        /// The peer that it came from or was for.
        peer: PeerId,
        /// Why.
        why: DropCause,
    },
    /// A peer came into our mesh.
    Grafted {
        /// Who.
        peer: PeerId,
        /// Of which topic.
        topic: Topic,
        /// Why.
        why: GraftCause,
    },
    /// We joined a topic.
    Joined {
        /// Which one.
        topic: Topic,
    },
    /// We left a topic.
    Left {
        /// Which one.
        topic: Topic,
    },
    /// A message of our own was published.
    Published {
        /// Its id.
        id: MessageId,
        /// Its topic.
        topic: Topic,
        /// Peers that it is queued for.
        sent: usize,
    },
    /// A peer misbehaved (P7).
    Penalised {
        /// Who.
        peer: PeerId,
        /// How many cases were added.
        count: u32,
    },
    /// A peer left our mesh, or was kept out.
    Pruned {
        /// Who.
        peer: PeerId,
        /// Of which topic.
        topic: Topic,
        /// Why.
        why: PruneCause,
    },
    /// The score of a peer changed.
    Scored {
        /// Who.
        peer: PeerId,
        /// Its score now.
        score: f64,
        /// Why.
        why: ScoreCause,
    },
    /// A part of an RPC was not acted upon.
    Refused {
        /// Who sent it.
        peer: PeerId,
        /// Why.
        why: Refusal,
    },
    /// A received message was refused.
    Rejected {
        /// Its id, if it was computed.
        id: Option<MessageId>,
        /// Who sent it.
        from: PeerId,
        /// Why.
        why: Reject,
    },
}

/// A [`Trace`] with its time.
#[derive(Clone, Debug, PartialEq)]
pub enum Traced {
    /// Something happened.
    Event {
        /// When, on the clock of the runtime.
        at: Instant,
        /// What.
        event: Trace,
    },
    /// So many of the oldest events were lost because they were not read in time.
    Lagged(u64),
}

impl Lag for Traced {
    fn lagged(lost: u64) -> Self {
        Self::Lagged(lost)
    }
}
