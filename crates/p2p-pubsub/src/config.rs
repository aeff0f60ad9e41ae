//! Settings that every router has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::Topic;
use crate::queue::QueueLimits;
use crate::seen::SeenBy;
use crate::sign::SignaturePolicy;
use crate::wire::{MessageView, WireLimits};

/// Settings that every router has.
///
/// What one peer can make a router hold at most: its queue ([`QueueLimits`]), the messages of
/// its own that are being checked, and `max_topics_per_peer` topics of `max_topic_len` bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What every message must carry. Default: [`SignaturePolicy::StrictSign`].
    pub policy: SignaturePolicy,
    /// How messages are named. Default: [`MessageIdFn::AuthorAndSeqno`].
    pub message_id: MessageIdFn,
    /// How messages of single topics are named. Default: none.
    pub message_id_of: BTreeMap<Topic, MessageIdFn>,
    /// The longest message, in bytes on the wire; longer ones are rejected. Default: 1 MiB, less
    /// 1 KiB for what surrounds it.
    pub max_message_size: usize,
    /// The longest message id, in bytes. Default: 256.
    pub max_id_len: usize,
    /// The longest topic name, in bytes; longer ones are refused. Default: 1024.
    pub max_topic_len: usize,
    /// Topics remembered of one peer; more are refused. Default: 1024.
    pub max_topics_per_peer: usize,
    /// Peers that left and are remembered for their score or backoff; more are forgotten, the
    /// longest known first. Default: 10,000.
    pub max_remembered_peers: usize,
    /// What one RPC may contain. Default: see `WireLimits`.
    pub wire: WireLimits,
    /// From when on a message is remembered. Default: [`SeenBy::First`].
    pub seen_by: SeenBy,
    /// How long a message is remembered. Default: 120 s.
    pub seen_ttl: Duration,
    /// Memory for remembered message ids, in bytes; the oldest make room. Default: 32 MiB, about
    /// 230,000 ids of the usual length.
    ///
    /// Too little of it lets old messages come back.
    pub seen_bytes: usize,
    /// Messages being checked, in bytes; more are rejected. Default: 16 MiB.
    pub validating_bytes: usize,
    /// The part of `validating_bytes` that one peer can use. Default: 4 MiB.
    pub validating_bytes_per_peer: usize,
    /// Copies of one message that differ (forgeries, with at most one exception) and are checked
    /// at the same time; more are rejected. Default: 4.
    pub max_variants: usize,
    /// What waits for one peer, and how it is cut into RPCs. Default: see `QueueLimits`.
    pub queue: QueueLimits,
    /// Memory for received messages, in caches and queues together, in bytes; more are rejected.
    /// Used by [`Pubsub`](crate::Pubsub) as a part of the swarm's memory; a router alone gets a
    /// budget instead. Default: 128 MiB.
    pub memory_budget: usize,
    /// The longest RPC that is read, in bytes. A longer one resets the stream. Default: 1 MiB.
    pub max_rpc_size: usize,
    /// How long the write of one batch of RPCs may take before the stream is reset.
    /// Default: 30 s.
    pub write_timeout: Duration,
    /// Messages that a subscriber may leave unread; the oldest are lost then, and it is told how
    /// many. Default: 256.
    pub subscriber_backlog: usize,
    /// Bytes of messages that a subscriber may leave unread, besides one message; the oldest are
    /// lost then, and it is told how many. Default: 8 MiB.
    ///
    /// At most a quarter of what is free of `memory_budget`: many subscribers that do not read keep
    /// nobody else from getting messages.
    pub subscriber_backlog_bytes: usize,
    /// Tasks that help the readers to check signatures when messages come in bulk. Default: 2.
    ///
    /// None: every peer's messages are checked one after the other.
    pub verify_workers: usize,
    /// How long a validator may judge one message before it is dropped as throttled.
    /// Default: 30 s.
    pub validation_timeout: Duration,
    /// Events kept for a reader of [`Pubsub::traces`](crate::Pubsub::traces); older ones are lost
    /// and counted. Default: 4096.
    pub trace_backlog: usize,
    /// Report what is done and why as [`Output::Trace`](crate::Output::Trace). Default: false.
    pub trace: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: SignaturePolicy::default(),
            message_id: MessageIdFn::default(),
            message_id_of: BTreeMap::new(),
            max_message_size: 1024 * 1023,
            max_id_len: 256,
            max_topic_len: 1024,
            max_topics_per_peer: 1024,
            max_remembered_peers: 10_000,
            wire: WireLimits::default(),
            seen_by: SeenBy::default(),
            seen_ttl: Duration::from_secs(120),
            seen_bytes: 32 * 1024 * 1024,
            validating_bytes: 16 * 1024 * 1024,
            validating_bytes_per_peer: 4 * 1024 * 1024,
            max_variants: 4,
            queue: QueueLimits::default(),
            memory_budget: 128 * 1024 * 1024,
            max_rpc_size: 1024 * 1024,
            write_timeout: Duration::from_secs(30),
            subscriber_backlog: 256,
            subscriber_backlog_bytes: 8 * 1024 * 1024,
            verify_workers: 2,
            validation_timeout: Duration::from_secs(30),
            trace_backlog: 4096,
            trace: false,
        }
    }
}

/// How a message gets its id. All peers of a network must agree on it.
#[derive(Clone, Default)]
pub enum MessageIdFn {
    /// The author's peer id, then the sequence number. A message with neither is named by
    /// [`MessageIdFn::Sha256`].
    #[default]
    AuthorAndSeqno,
    /// The SHA-256 digest of topic and payload, with a zero byte between them.
    Sha256,
    /// What this function appends to the buffer. It must not depend on signature or key.
    Custom(Arc<CustomId>),
}

/// A function that appends the id of a message to a buffer.
pub type CustomId = dyn Fn(&MessageView<'_>, &mut Vec<u8>) + Send + Sync;

impl MessageIdFn {
    /// Appends the id of `message` to `id`.
    pub fn compute(&self, message: &MessageView<'_>, id: &mut Vec<u8>) {
        match (self, message.from, message.seqno) {
            (Self::Custom(compute), ..) => compute(message, id),
            (Self::AuthorAndSeqno, None, None) | (Self::Sha256, ..) => {
                let mut digest = Sha256::new();
                digest.update(message.topic.unwrap_or_default());
                digest.update([0]);
                digest.update(message.data.unwrap_or_default());
                id.extend_from_slice(&digest.finalize());
            }
            (Self::AuthorAndSeqno, from, seqno) => {
                id.extend_from_slice(from.unwrap_or_default());
                id.extend_from_slice(seqno.unwrap_or_default());
            }
        }
    }
}

impl fmt::Debug for MessageIdFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuthorAndSeqno => "AuthorAndSeqno",
            Self::Sha256 => "Sha256",
            Self::Custom(_) => "Custom",
        })
    }
}
