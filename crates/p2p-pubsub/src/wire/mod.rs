//! The RPC of floodsub and gossipsub as bytes.
//!
//! ```text
//!   uvarint(length) │ RPC { subscriptions, publish, control { ihave, iwant, graft, … }, … }
//! ```
//!
//! Reading borrows: [`Rpc::parse`] walks the bytes once, checks structure and counts, and builds
//! nothing; [`Rpc::parts`] walks them again. Writing computes every length first and appends to a
//! buffer that is reused; messages are copied as they are, encoded once by their author.
//!
//! Spec: libp2p/specs `pubsub/README.md`, `pubsub/gossipsub/gossipsub-v1.0.md` to `v1.3.md`.

mod decode;
mod encode;
mod fields;

use p2p_core::Blame;

pub use decode::{
    Extensions, IHave, Ids, MessageView, Part, PartialView, Parts, PeerInfoView, Prune, Rpc,
    Subscription,
};
pub use encode::{Control, OfferedIds, PartialMode, PartialOut, PeerInfo, RpcOut};
pub use fields::{Field, Fields, Value};

/// What one RPC may contain. More of it is an error, found before anything is built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireLimits {
    /// Subscriptions. Default: 5000.
    pub max_subscriptions: usize,
    /// Published messages. Default: 5000.
    pub max_messages: usize,
    /// Control messages (IHAVE, IWANT, GRAFT, PRUNE, IDONTWANT) and proposed peers. Default: 5000.
    pub max_control: usize,
    /// Message ids in all control messages together. Default: 50,000, as many as go-libp2p fits
    /// into its largest RPC.
    pub max_ids: usize,
}

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            max_subscriptions: 5000,
            max_messages: 5000,
            max_control: 5000,
            max_ids: 50_000,
        }
    }
}

/// Why bytes are not an RPC. The stream they came on should be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A field number is zero or above the highest of protobuf.
    #[error("field number out of range")]
    FieldNumber,
    /// More of something than one RPC may contain.
    #[error("more than {max} {what} in one RPC")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The bytes end inside a field.
    #[error("the bytes end inside a field")]
    Truncated,
    /// A varint has more than 64 bits.
    #[error("varint has more than 64 bits")]
    Varint,
    /// A field has a wire type that it cannot have.
    #[error("field {field} has a wrong wire type")]
    WireType {
        /// The field's number.
        field: u32,
    },
}

impl WireError {
    /// Who to hold responsible: whoever wrote the bytes.
    pub fn blame(&self) -> Blame {
        Blame::Remote
    }
}

/// How many bytes a varint takes.
pub(crate) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

/// How many bytes the field `number` with `len` bytes in it takes.
pub(crate) fn bytes_field_len(number: u32, len: usize) -> usize {
    varint_len(u64::from(number) << 3) + varint_len(len as u64) + len
}

pub(crate) fn put_varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    buffer.push(value.to_le_bytes()[0]);
}

pub(crate) fn put_uint(buffer: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(buffer, u64::from(number) << 3);
    put_varint(buffer, value);
}

pub(crate) fn put_len(buffer: &mut Vec<u8>, number: u32, len: usize) {
    put_varint(buffer, (u64::from(number) << 3) | 2);
    put_varint(buffer, len as u64);
}

pub(crate) fn put_bytes(buffer: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_len(buffer, number, bytes.len());
    buffer.extend_from_slice(bytes);
}

/// Field numbers, named as in the spec's schema.
pub(crate) mod rpc {
    pub(crate) const SUBSCRIPTIONS: u32 = 1;
    pub(crate) const PUBLISH: u32 = 2;
    pub(crate) const CONTROL: u32 = 3;
    pub(crate) const PARTIAL: u32 = 10;
    pub(crate) const TEST: u32 = 6_492_434;
}
pub(crate) mod sub {
    pub(crate) const SUBSCRIBE: u32 = 1;
    pub(crate) const TOPIC: u32 = 2;
    pub(crate) const REQUESTS_PARTIAL: u32 = 3;
    pub(crate) const SUPPORTS_PARTIAL: u32 = 4;
}
pub(crate) mod message {
    pub(crate) const FROM: u32 = 1;
    pub(crate) const DATA: u32 = 2;
    pub(crate) const SEQNO: u32 = 3;
    pub(crate) const TOPIC: u32 = 4;
    pub(crate) const SIGNATURE: u32 = 5;
    pub(crate) const KEY: u32 = 6;
}
pub(crate) mod control {
    pub(crate) const IHAVE: u32 = 1;
    pub(crate) const IWANT: u32 = 2;
    pub(crate) const GRAFT: u32 = 3;
    pub(crate) const PRUNE: u32 = 4;
    pub(crate) const IDONTWANT: u32 = 5;
    pub(crate) const EXTENSIONS: u32 = 6;
}
pub(crate) mod ihave {
    pub(crate) const TOPIC: u32 = 1;
    pub(crate) const IDS: u32 = 2;
}
pub(crate) mod prune {
    pub(crate) const TOPIC: u32 = 1;
    pub(crate) const PEERS: u32 = 2;
    pub(crate) const BACKOFF: u32 = 3;
}
pub(crate) mod peer_info {
    pub(crate) const PEER: u32 = 1;
    pub(crate) const RECORD: u32 = 2;
}
pub(crate) mod partial {
    pub(crate) const TOPIC: u32 = 1;
    pub(crate) const GROUP: u32 = 2;
    pub(crate) const MESSAGE: u32 = 3;
    pub(crate) const METADATA: u32 = 4;
}
/// The ids of IWANT and IDONTWANT.
pub(crate) const IDS_ONLY: u32 = 1;
/// The topic of GRAFT.
pub(crate) const TOPIC_ONLY: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Ok(rpc) = Rpc::parse(&bytes, &WireLimits::default()) {
                for part in rpc.parts() {
                    if let Part::Prune(prune) = part { prune.peers().count(); }
                }
            }
        }

        #[test]
        fn a_varint_takes_as_many_bytes_as_computed(value: u64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_len(value));
        }
    }
}
