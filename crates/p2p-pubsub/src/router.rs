//! What every router is: a pure machine between peers, applications and time.
//!
//! ```text
//!   connected, RPCs, verdicts, publish, time ──> Router ──> Output: Validate, Deliver, Ready, …
//!                                                      └──> take_frame: what to send to a peer
//! ```
//!
//! No I/O, no clock, no entropy but a seed. Whoever drives it reads frames and writes what
//! [`Router::take_frame`] gives after [`Output::Ready`], checks messages (see
//! [`SignaturePolicy::verify`](crate::SignaturePolicy::verify)) after [`Output::Validate`], and
//! calls [`Router::handle_timeout`] when [`Router::poll_timeout`] says so.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use p2p_core::{Blame, Instant, PeerId, Protocol};
use p2p_keys::PeerRecord;

use crate::partial::{Partial, PartialError, PartialMode, PartialSent, Parts};
use crate::score_params::{ParamError, TopicParams};
use crate::trace::{ControlKind, DropCause, GraftCause, PruneCause, Refusal, Reject, Trace};
use crate::wire::WireError;
use crate::{Message, MessageId, SignatureError, Topic};

/// Decides who gets which message. The same methods for floodsub and gossipsub.
pub trait Router: Send {
    /// The protocols that it speaks, best first.
    fn protocols(&self) -> Vec<Protocol>;

    /// A peer that speaks one of our protocols is connected. Its first RPC is ready to be sent.
    fn handle_peer_connected(&mut self, remote: Remote, now: Instant);

    /// The last connection with a peer is gone. What waits for it is dropped.
    fn handle_peer_disconnected(&mut self, peer: &PeerId, now: Instant);

    /// A connected peer speaks on a new stream from now on: what it said on the one before holds
    /// until its first RPC.
    fn handle_stream_opened(&mut self, peer: &PeerId);

    /// An RPC from a connected peer, without its length prefix. An empty one is nothing.
    ///
    /// # Errors
    /// [`WireError`] if it is not one: reset the stream. Nothing has changed.
    fn handle_rpc(&mut self, peer: &PeerId, rpc: Bytes, now: Instant) -> Result<(), WireError>;

    /// The signature of this message is right, and judging it will take a while.
    fn handle_judging(&mut self, ticket: Ticket) {
        let _ = ticket;
    }

    /// The answer to [`Output::Validate`]. Every ticket needs one; a second one does nothing.
    fn handle_verdict(&mut self, ticket: Ticket, verdict: Verdict, now: Instant);

    /// Time has passed. Early calls are harmless.
    fn handle_timeout(&mut self, now: Instant);

    /// Joins a topic; false if we are in it already.
    fn subscribe(&mut self, topic: &Topic, now: Instant) -> bool;

    /// Leaves a topic; false if we are not in it.
    fn unsubscribe(&mut self, topic: &Topic, now: Instant) -> bool;

    /// Sends a message of our own.
    ///
    /// # Errors
    /// [`PublishError`]; nothing has changed, and the message can be published again.
    fn publish(&mut self, message: &Arc<Message>, now: Instant) -> Result<Published, PublishError>;

    /// What the owner must do next; call until `None` after every other call.
    fn poll_output(&mut self) -> Option<Output>;

    /// When to call [`Router::handle_timeout`] next.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Appends the next frame for `peer`, length in front, to `buffer`; false if nothing waits.
    fn take_frame(&mut self, peer: &PeerId, buffer: &mut Vec<u8>) -> bool;

    /// What has been counted so far.
    fn stats(&self) -> &Stats;

    /// How many peers are connected.
    fn connected(&self) -> usize;

    /// The connected peers in `topic`.
    fn topic_peers(&self, topic: &Topic) -> Vec<PeerId>;

    /// The peers that get messages of `topic` at once: the mesh, or everybody without one.
    fn mesh_peers(&self, topic: &Topic) -> Vec<PeerId>;

    /// The score of a peer; 0 if it is not known or nothing is scored.
    fn score_of_peer(&self, peer: &PeerId) -> f64;

    /// P5: what the application thinks of a connected peer. Does nothing without scores.
    fn set_application_score(&mut self, peer: &PeerId, score: f64);

    /// Takes no more messages from a peer or by it, or takes them again.
    fn block(&mut self, peer: PeerId, blocked: bool);

    /// Replaces the score parameters of a topic. Does nothing without scores.
    ///
    /// # Errors
    /// [`ParamError`]; nothing has changed.
    fn set_topic_params(&mut self, topic: Topic, params: TopicParams) -> Result<(), ParamError> {
        let _ = topic;
        params.check()
    }

    /// The signed peer record of a connected peer, to be sent when others are told of it. One
    /// longer than 4 KiB is not kept. Does nothing if this router tells of nobody.
    fn set_record(&mut self, peer: &PeerId, record: Bytes) {
        let _ = (peer, record);
    }

    /// How we take part in the partial messages of `topic`; `None`: not. False if this router has
    /// none.
    fn set_partial(&mut self, topic: &Topic, mode: Option<PartialMode>) -> bool {
        let _ = (topic, mode);
        false
    }

    /// Sends what the peers in `topic` lack of a message, and what we have of it to those that do
    /// not know. The same again sends nothing twice.
    ///
    /// # Errors
    /// [`PartialError`]; nothing has changed.
    fn publish_parts(
        &mut self,
        topic: &Topic,
        partial: &dyn Partial,
    ) -> Result<PartialSent, PartialError> {
        let _ = (topic, partial);
        Err(PartialError::NotInTopic)
    }

    /// [`Router::publish_parts`] to these peers alone. The others of `topic` are told by the next
    /// heartbeat, or when it is published to all.
    ///
    /// # Errors
    /// [`PartialError`]; nothing has changed.
    fn publish_parts_to(
        &mut self,
        topic: &Topic,
        partial: &dyn Partial,
        peers: &[PeerId],
    ) -> Result<PartialSent, PartialError> {
        let _ = (topic, partial, peers);
        Err(PartialError::NotInTopic)
    }

    /// Turns [`Output::Trace`] on or off.
    fn set_trace(&mut self, on: bool);
}

/// A connected peer.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Who.
    pub peer: PeerId,
    /// What it speaks.
    pub version: Version,
    /// We dialed.
    pub outbound: bool,
    /// Its addresses, without relayed ones. For scores.
    pub ips: Vec<IpAddr>,
}

/// A protocol version, negotiated with each peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `/floodsub/1.0.0`: no control messages.
    Floodsub,
    /// `/meshsub/1.0.0`.
    V1_0,
    /// `/meshsub/1.1.0`: backoff and peer exchange in PRUNE.
    V1_1,
    /// `/meshsub/1.2.0`: IDONTWANT.
    V1_2,
    /// `/meshsub/1.3.0`: extensions.
    V1_3,
}

impl Version {
    /// All of them, newest first.
    pub const ALL: [Self; 5] = [
        Self::V1_3,
        Self::V1_2,
        Self::V1_1,
        Self::V1_0,
        Self::Floodsub,
    ];

    /// Its id in negotiation.
    pub const fn protocol(self) -> Protocol {
        Protocol::from_static(match self {
            Self::Floodsub => "/floodsub/1.0.0",
            Self::V1_0 => "/meshsub/1.0.0",
            Self::V1_1 => "/meshsub/1.1.0",
            Self::V1_2 => "/meshsub/1.2.0",
            Self::V1_3 => "/meshsub/1.3.0",
        })
    }

    /// The version with this id.
    pub fn of(protocol: &Protocol) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.protocol() == *protocol)
    }
}

/// Names a message that is being checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

/// What the check of a message said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Deliver and forward it.
    Accept,
    /// Its signature is wrong: it may be a forgery of a message that is still to come.
    BadSignature(SignatureError),
    /// Neither deliver nor forward it; nobody is to blame.
    Ignore,
    /// Invalid: whoever sent it is to blame (P4).
    Reject,
    /// It could not be checked for lack of time or space. Another copy may be.
    Throttled,
}

/// What the owner of a router must do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Dial this peer: it was proposed by another one, or is a direct peer.
    Connect {
        /// Who.
        peer: PeerId,
        /// Its verified addresses, if they came with the proposal.
        record: Option<PeerRecord>,
    },
    /// Give a message to our subscribers.
    Deliver {
        /// Its id.
        id: MessageId,
        /// Who sent it first.
        from: PeerId,
        /// The message.
        message: Arc<Message>,
    },
    /// A peer joined a topic.
    Joined {
        /// Who.
        peer: PeerId,
        /// Which one.
        topic: Topic,
    },
    /// A peer left a topic, or left altogether.
    Left {
        /// Who.
        peer: PeerId,
        /// Which one.
        topic: Topic,
    },
    /// A peer has sent parts of a message, or says which it has and wants.
    Parts(Arc<Parts>),
    /// Something waits for this peer: call [`Router::take_frame`] until it gives nothing.
    Ready {
        /// Who.
        peer: PeerId,
    },
    /// What was done and why; only if [`Config::trace`](crate::Config::trace) is on.
    Trace(Trace),
    /// Check this message and answer with [`Router::handle_verdict`].
    Validate {
        /// To answer with.
        ticket: Ticket,
        /// Its id.
        id: MessageId,
        /// Who sent it.
        from: PeerId,
        /// The message.
        message: Arc<Message>,
    },
}

/// A message was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub id: MessageId,
    /// Peers that it is queued for.
    pub sent: usize,
    /// Peers that should get it and whose queues are full; they may get it from others.
    pub full: usize,
}

/// Why a message was not published. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A message with the same id was here before.
    #[error("a message with the same id was published or received before")]
    Duplicate,
    /// No connected peer is in the topic.
    #[error("no connected peer is in the topic")]
    NoPeers,
    /// Every peer that should get it has a full queue: wait for one to be read.
    #[error("every peer in the topic has a full queue")]
    QueuesFull,
    /// The message does not fit the signature policy.
    #[error("the message does not fit the signature policy")]
    Policy(#[from] SignatureError),
    /// The message or its id is longer than allowed.
    #[error("{what} of {len} bytes, at most {max} allowed (setting: {setting})")]
    TooLarge {
        /// Which of them.
        what: &'static str,
        /// What allows more.
        setting: &'static str,
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
}

impl PublishError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Duplicate | Self::Policy(_) | Self::TooLarge { .. } => Blame::Us,
            Self::NoPeers | Self::QueuesFull => Blame::Network,
        }
    }
}

/// What a router has counted.
///
/// Every received message is counted once more: `received` = `delivered` + all `rejected` + the
/// `dropped_in` + those still being checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages received, copies included.
    pub received: u64,
    /// Messages given to our subscribers.
    pub delivered: u64,
    /// Messages of our own.
    pub published: u64,
    /// Copies queued for peers.
    pub queued: u64,
    /// Copies written into frames.
    pub sent: u64,
    /// Received messages refused, by cause.
    pub rejected: BTreeMap<Reject, u64>,
    /// Received messages that went no further, by cause.
    pub dropped_in: BTreeMap<DropCause, u64>,
    /// Copies that were not sent, by cause.
    pub dropped_out: BTreeMap<DropCause, u64>,
    /// Control messages that were not sent because the peer does not read as fast as they come.
    pub lost_control: BTreeMap<ControlKind, u64>,
    /// Parts of RPCs that were not acted upon, by cause.
    pub refused: BTreeMap<Refusal, u64>,
    /// Peers taken into the mesh, by cause.
    pub grafted: BTreeMap<GraftCause, u64>,
    /// Peers taken out of the mesh or kept out, by cause.
    pub pruned: BTreeMap<PruneCause, u64>,
}
