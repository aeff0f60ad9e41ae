//! From parts to the bytes of an RPC.

use std::sync::Arc;

use bytes::Bytes;
use p2p_core::uvarint;

use super::decode::Extensions;
use super::{
    bytes_field_len, control, ihave, peer_info, prune, put_bytes, put_len, put_uint, rpc, sub,
    varint_len,
};
use crate::{Message, MessageId, Topic};

/// A small part of an RPC: a subscription or a control message, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The extensions that we speak. Only in the first RPC of a stream.
    Extensions(Extensions),
    /// Take us into your mesh of this topic.
    Graft(Topic),
    /// You do not need to send us these.
    IDontWant(Vec<MessageId>),
    /// We have these.
    IHave(Topic, Vec<MessageId>),
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
        let (subscriptions, control) = self.control_lens();
        let messages: usize = self.messages.iter().map(|message| message.wire_len()).sum();
        let control = match control {
            0 => 0,
            len => bytes_field_len(rpc::CONTROL, len),
        };
        subscriptions + control + messages
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

    /// Bytes of the subscriptions with their tags, and of what is inside the control message.
    fn control_lens(&self) -> (usize, usize) {
        let (mut subscriptions, mut control) = (0, 0);
        for part in &self.control {
            if part.is_subscription() {
                subscriptions += part.wire_len();
            } else {
                control += part.wire_len();
            }
        }
        (subscriptions, control)
    }
}

impl Control {
    /// Bytes it takes inside an RPC.
    pub fn wire_len(&self) -> usize {
        bytes_field_len(self.number().unwrap_or(rpc::SUBSCRIPTIONS), self.body_len())
    }

    /// Whether it is [`Control::Subscription`].
    pub fn is_subscription(&self) -> bool {
        self.number().is_none()
    }

    /// Its field number in the control message; `None` for subscriptions, which are outside.
    fn number(&self) -> Option<u32> {
        Some(match self {
            Self::Extensions(_) => control::EXTENSIONS,
            Self::Graft(_) => control::GRAFT,
            Self::IDontWant(_) => control::IDONTWANT,
            Self::IHave(..) => control::IHAVE,
            Self::IWant(_) => control::IWANT,
            Self::Prune { .. } => control::PRUNE,
            Self::Subscription(..) => return None,
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
            Self::IHave(topic, ids) => {
                bytes_field_len(ihave::TOPIC, topic.len()) + ids_len(ihave::IDS, ids)
            }
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
                put_ids(buffer, ihave::IDS, ids);
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
            Self::Subscription(subscribe, topic) => {
                put_uint(buffer, sub::SUBSCRIBE, u64::from(*subscribe));
                put_bytes(buffer, sub::TOPIC, topic.as_bytes());
            }
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
