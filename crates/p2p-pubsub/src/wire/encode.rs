//! From parts to the bytes of an RPC.

use std::sync::Arc;

use bytes::Bytes;
use p2p_core::uvarint;

use super::decode::Extensions;
use super::{
    bytes_field_len, control, ihave, partial, peer_info, prune, put_bytes, put_len, put_uint, rpc,
    sub, varint_len,
};
use crate::{Message, MessageId, Topic};

/// A small part of an RPC: a subscription or a control message, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The extensions that we speak. Only in the first RPC of a stream.
    Extensions(Extensions),
    /// Take us into your mesh of this topic.
    Graft(Topic),
    /// Parts of a message, and which parts we have and want. At most one in an RPC.
    Partial(PartialOut),
    /// We joined a topic in which parts are sent.
    PartialSubscription(Topic, PartialMode),
    /// You do not need to send us these.
    IDontWant(Vec<MessageId>),
    /// We have these.
    IHave(Topic, OfferedIds),
    /// Send us these.
    IWant(Vec<MessageId>),
    /// You are no longer in our mesh.
    Prune {
        /// Of this topic.
        topic: Topic,
        /// Other peers with this topic.
        peers: Vec<PeerInfo>,
        /// Do not graft us for so many seconds.
        backoff: Option<u64>,
    },
    /// We joined (true) or left a topic.
    Subscription(bool, Topic),
}

/// The ids of an IHAVE as they are on the wire: encoded once, shared by all that are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferedIds(Bytes);

impl FromIterator<MessageId> for OfferedIds {
    fn from_iter<I: IntoIterator<Item = MessageId>>(ids: I) -> Self {
        let mut bytes = Vec::new();
        for id in ids {
            put_bytes(&mut bytes, ihave::IDS, id.as_bytes());
        }
        Self(bytes.into())
    }
}

impl From<Vec<MessageId>> for OfferedIds {
    fn from(ids: Vec<MessageId>) -> Self {
        ids.into_iter().collect()
    }
}

/// How we take part in the partial messages of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartialMode {
    /// We can send parts, and want whole messages.
    Supports,
    /// We can send parts, and want parts.
    Requests,
}

/// Parts of a message, and which parts we have and want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialOut {
    /// The topic.
    pub topic: Topic,
    /// Which message the parts belong to.
    pub group: Bytes,
    /// Parts, as the application encodes them.
    pub parts: Option<Bytes>,
    /// Which parts we have and want, as the application encodes it.
    pub metadata: Option<Bytes>,
}

/// A peer that we propose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its id.
    pub peer: Bytes,
    /// Its signed peer record, if we have it.
    pub record: Option<Bytes>,
}

/// An RPC to send.
#[derive(Clone, Debug, Default)]
pub struct RpcOut {
    /// Subscriptions and control messages.
    pub control: Vec<Control>,
    /// Published messages.
    pub messages: Vec<Arc<Message>>,
}

impl RpcOut {
    /// Appends the frame, length in front, to `buffer`.
    pub fn encode_frame(&self, buffer: &mut Vec<u8>) {
        let len = self.encoded_len();
        buffer.reserve(len + uvarint::MAX_LEN);
        buffer.extend_from_slice(uvarint::encode(len as u64).as_slice());
        self.encode(buffer);
    }

    /// Bytes of the RPC without its length prefix.
    pub fn encoded_len(&self) -> usize {
        let (beside, control) = self.control_lens();
        let messages: usize = self.messages.iter().map(|message| message.wire_len()).sum();
        let control = match control {
            0 => 0,
            len => bytes_field_len(rpc::CONTROL, len),
        };
        beside + control + messages
    }

    /// Appends the RPC to `buffer`.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let (_, control) = self.control_lens();
        for part in self.control.iter().filter(|part| part.is_subscription()) {
            put_len(buffer, rpc::SUBSCRIPTIONS, part.body_len());
            part.put_body(buffer);
        }
        for message in &self.messages {
            put_bytes(buffer, rpc::PUBLISH, message.raw());
        }
        for part in &self.control {
            if let Control::Partial(partial) = part {
                put_len(buffer, rpc::PARTIAL, partial.body_len());
                partial.put_body(buffer);
            }
        }
        if control > 0 {
            // One control message: some decoders let the last one win instead of merging them.
            put_len(buffer, rpc::CONTROL, control);
            for number in control::IHAVE..=control::EXTENSIONS {
                for part in self
                    .control
                    .iter()
                    .filter(|part| part.number() == Some(number))
                {
                    put_len(buffer, number, part.body_len());
                    part.put_body(buffer);
                }
            }
        }
    }

    /// Bytes of what is beside the control message, with their tags, and of what is inside it.
    fn control_lens(&self) -> (usize, usize) {
        let (mut beside, mut control) = (0, 0);
        for part in &self.control {
            match part.number() {
                None => beside += part.wire_len(),
                Some(_) => control += part.wire_len(),
            }
        }
        (beside, control)
    }
}

impl Control {
    /// Bytes it takes inside an RPC.
    pub fn wire_len(&self) -> usize {
        let beside = match self.is_partial() {
            true => rpc::PARTIAL,
            false => rpc::SUBSCRIPTIONS,
        };
        bytes_field_len(self.number().unwrap_or(beside), self.body_len())
    }

    /// Whether it is about one of our topics.
    pub fn is_subscription(&self) -> bool {
        matches!(self, Self::Subscription(..) | Self::PartialSubscription(..))
    }

    /// Whether it is [`Control::Partial`].
    pub fn is_partial(&self) -> bool {
        matches!(self, Self::Partial(_))
    }

    /// Its field number in the control message; `None` for what is beside it.
    fn number(&self) -> Option<u32> {
        Some(match self {
            Self::Extensions(_) => control::EXTENSIONS,
            Self::Graft(_) => control::GRAFT,
            Self::IDontWant(_) => control::IDONTWANT,
            Self::IHave(..) => control::IHAVE,
            Self::IWant(_) => control::IWANT,
            Self::Prune { .. } => control::PRUNE,
            Self::Partial(_) | Self::PartialSubscription(..) | Self::Subscription(..) => {
                return None;
            }
        })
    }

    fn body_len(&self) -> usize {
        match self {
            Self::Extensions(extensions) => {
                let flag = |on, number| if on { flag_len(number) } else { 0 };
                flag(extensions.partial_messages, rpc::PARTIAL) + flag(extensions.test, rpc::TEST)
            }
            Self::Graft(topic) => bytes_field_len(super::TOPIC_ONLY, topic.len()),
            Self::IDontWant(ids) | Self::IWant(ids) => ids_len(super::IDS_ONLY, ids),
            Self::IHave(topic, ids) => bytes_field_len(ihave::TOPIC, topic.len()) + ids.0.len(),
            Self::Prune {
                topic,
                peers,
                backoff,
            } => {
                let peers: usize = peers
                    .iter()
                    .map(|peer| bytes_field_len(prune::PEERS, peer.body_len()))
                    .sum();
                let backoff = backoff.map_or(0, |seconds| 1 + varint_len(seconds));
                bytes_field_len(prune::TOPIC, topic.len()) + peers + backoff
            }
            Self::Partial(partial) => partial.body_len(),
            Self::PartialSubscription(topic, mode) => {
                let flags = match mode {
                    PartialMode::Supports => 1,
                    PartialMode::Requests => 2,
                };
                let topic = bytes_field_len(sub::TOPIC, topic.len());
                flag_len(sub::SUBSCRIBE) + topic + flags * flag_len(sub::SUPPORTS_PARTIAL)
            }
            Self::Subscription(_, topic) => {
                flag_len(sub::SUBSCRIBE) + bytes_field_len(sub::TOPIC, topic.len())
            }
        }
    }

    fn put_body(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Extensions(extensions) => {
                if extensions.partial_messages {
                    put_uint(buffer, rpc::PARTIAL, 1);
                }
                if extensions.test {
                    put_uint(buffer, rpc::TEST, 1);
                }
            }
            Self::Graft(topic) => put_bytes(buffer, super::TOPIC_ONLY, topic.as_bytes()),
            Self::IDontWant(ids) | Self::IWant(ids) => put_ids(buffer, super::IDS_ONLY, ids),
            Self::IHave(topic, ids) => {
                put_bytes(buffer, ihave::TOPIC, topic.as_bytes());
                buffer.extend_from_slice(&ids.0);
            }
            Self::Prune {
                topic,
                peers,
                backoff,
            } => {
                put_bytes(buffer, prune::TOPIC, topic.as_bytes());
                for peer in peers {
                    put_len(buffer, prune::PEERS, peer.body_len());
                    put_bytes(buffer, peer_info::PEER, &peer.peer);
                    if let Some(record) = &peer.record {
                        put_bytes(buffer, peer_info::RECORD, record);
                    }
                }
                if let Some(seconds) = *backoff {
                    put_uint(buffer, prune::BACKOFF, seconds);
                }
            }
            Self::Partial(partial) => partial.put_body(buffer),
            Self::PartialSubscription(topic, mode) => {
                put_uint(buffer, sub::SUBSCRIBE, 1);
                put_bytes(buffer, sub::TOPIC, topic.as_bytes());
                if *mode == PartialMode::Requests {
                    put_uint(buffer, sub::REQUESTS_PARTIAL, 1);
                }
                put_uint(buffer, sub::SUPPORTS_PARTIAL, 1);
            }
            Self::Subscription(subscribe, topic) => {
                put_uint(buffer, sub::SUBSCRIBE, u64::from(*subscribe));
                put_bytes(buffer, sub::TOPIC, topic.as_bytes());
            }
        }
    }
}

impl PartialOut {
    fn fields(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let fields = [
            (partial::TOPIC, Some(self.topic.as_bytes())),
            (partial::GROUP, Some(&*self.group)),
            (partial::MESSAGE, self.parts.as_deref()),
            (partial::METADATA, self.metadata.as_deref()),
        ];
        let there = |(number, bytes): (u32, Option<_>)| Some((number, bytes?));
        fields.into_iter().filter_map(there)
    }

    fn body_len(&self) -> usize {
        let fields = self.fields();
        fields
            .map(|(number, bytes)| bytes_field_len(number, bytes.len()))
            .sum()
    }

    fn put_body(&self, buffer: &mut Vec<u8>) {
        for (number, bytes) in self.fields() {
            put_bytes(buffer, number, bytes);
        }
    }
}

impl PeerInfo {
    pub(crate) fn body_len(&self) -> usize {
        let record = self.record.as_ref();
        bytes_field_len(peer_info::PEER, self.peer.len())
            + record.map_or(0, |record| bytes_field_len(peer_info::RECORD, record.len()))
    }
}

/// Bytes of the boolean field `number`.
fn flag_len(number: u32) -> usize {
    varint_len(u64::from(number) << 3) + 1
}

fn ids_len(number: u32, ids: &[MessageId]) -> usize {
    ids.iter()
        .map(|id| bytes_field_len(number, id.as_bytes().len()))
        .sum()
}

fn put_ids(buffer: &mut Vec<u8>, number: u32, ids: &[MessageId]) {
    for id in ids {
        put_bytes(buffer, number, id.as_bytes());
    }
}
