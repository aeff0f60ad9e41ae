//! The message of identify, in one part or several.
//!
//! Parts are merged as protobuf merges messages: of a single value the last one counts, lists are
//! joined. Limits apply to the merged message, not to its parts.

use std::collections::BTreeSet;

use bytes::Bytes;
use p2p_core::{AddrExt, Multiaddr, PeerId, Protocol};
use prost::Message as _;

use crate::config::Limits;

/// A part of the message as it is on the wire. Strings are bytes here: one that is not UTF-8 must
/// not cost the rest of the message.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Part {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) public_key: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) listen_addrs: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub(crate) protocols: Vec<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(crate) observed_addr: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub(crate) protocol_version: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub(crate) agent_version: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "8")]
    pub(crate) signed_peer_record: Option<Bytes>,
}

/// A part is not the protobuf of identify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed identify message: {0}")]
pub struct DecodeError(#[from] prost::DecodeError);

/// What a remote said: all parts merged and capped, nothing verified. Absent is different from
/// empty: in a push, what is absent has not changed.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Told {
    /// The remote's public key as the key protobuf of the peer-id spec.
    pub public_key: Option<Bytes>,
    /// Where the remote says it can be reached. Entries that are empty or unreadable are left
    /// out.
    pub listen_addrs: Vec<Multiaddr>,
    /// What the remote says it answers, in order. Entries that are no protocol ids are left out.
    pub protocols: BTreeSet<Protocol>,
    /// The address at which the remote sees us, without `/p2p`.
    pub observed_addr: Option<Multiaddr>,
    /// The family of networks that the remote belongs to.
    pub protocol_version: Option<String>,
    /// Which software the remote is.
    pub agent_version: Option<String>,
    /// The remote's addresses in a signed envelope.
    pub signed_peer_record: Option<Bytes>,
}

impl Told {
    /// Adds one part of the message.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not the protobuf of identify; nothing has changed.
    pub fn add(&mut self, part: &[u8], limits: &Limits) -> Result<(), DecodeError> {
        let part = Part::decode(part)?;
        for addr in &part.listen_addrs {
            if self.listen_addrs.len() >= limits.max_addrs {
                break;
            }
            self.listen_addrs
                .extend(parse_addr(addr).filter(|addr| !self.listen_addrs.contains(addr)));
        }
        for protocol in &part.protocols {
            if self.protocols.len() >= limits.max_protocols {
                break;
            }
            self.protocols.extend(parse_protocol(protocol));
        }
        if let Some(addr) = &part.observed_addr {
            self.observed_addr = parse_addr(addr).map(|addr| addr.without_peer());
        }
        let text = |bytes: Bytes| excerpt(&bytes, limits.max_version);
        replace(&mut self.protocol_version, part.protocol_version.map(text));
        replace(&mut self.agent_version, part.agent_version.map(text));
        replace(&mut self.public_key, part.public_key);
        replace(&mut self.signed_peer_record, part.signed_peer_record);
        Ok(())
    }
}

/// The addresses without `/p2p/<peer>` at their ends, those of somebody else left out.
pub(crate) fn addrs_of(peer: PeerId, addrs: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let mut own = Vec::with_capacity(addrs.len());
    for addr in addrs {
        if addr.peer().is_some_and(|other| other != peer) {
            continue;
        }
        let addr = addr.without_peer();
        if !addr.is_empty() && !own.contains(&addr) {
            own.push(addr);
        }
    }
    own
}

fn replace<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

fn parse_addr(bytes: &[u8]) -> Option<Multiaddr> {
    let addr = Multiaddr::try_from(bytes.to_vec()).ok()?;
    (!addr.is_empty()).then_some(addr)
}

fn parse_protocol(bytes: &[u8]) -> Option<Protocol> {
    Protocol::new(std::str::from_utf8(bytes).ok()?).ok()
}

/// The first `max` bytes as text, whole characters only.
fn excerpt(bytes: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_part() -> impl Strategy<Value = Part> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from);
        let port = any::<u16>().prop_map(|port| {
            let addr: Multiaddr = format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap();
            Bytes::from(addr.to_vec())
        });
        let addrs = proptest::collection::vec(prop_oneof![port, bytes()], 0..6);
        let protocol = "/[a-z]{0,3}".prop_map(|id| Bytes::from(id.into_bytes()));
        let protocols = proptest::collection::vec(prop_oneof![protocol, bytes()], 0..6);
        let maybe = || proptest::option::of(bytes());
        (
            maybe(),
            addrs,
            protocols,
            maybe(),
            maybe(),
            maybe(),
            maybe(),
        )
            .prop_map(
                |(key, addrs, protocols, observed, version, agent, record)| Part {
                    public_key: key,
                    listen_addrs: addrs,
                    protocols,
                    observed_addr: observed,
                    protocol_version: version,
                    agent_version: agent,
                    signed_peer_record: record,
                },
            )
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_stay_within_the_limits(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..5),
        ) {
            let limits = small();
            let mut told = Told::default();
            for part in parts {
                let _ = told.add(&part, &limits);
            }
            check(&told, &limits)?;
        }

        #[test]
        fn a_message_means_the_same_in_one_part_and_in_several(
            parts in proptest::collection::vec(any_part(), 0..5),
        ) {
            // Protobuf: the concatenation of messages is their merge.
            let limits = small();
            let mut apart = Told::default();
            let mut joined = Vec::new();
            for part in &parts {
                apart.add(&part.encode_to_vec(), &limits).unwrap();
                part.encode(&mut joined).unwrap();
            }
            let mut together = Told::default();
            together.add(&joined, &limits).unwrap();
            check(&apart, &limits)?;
            prop_assert_eq!(apart, together);
        }
    }

    fn small() -> Limits {
        Limits {
            max_addrs: 3,
            max_protocols: 4,
            max_version: 5,
            ..Limits::default()
        }
    }

    fn check(told: &Told, limits: &Limits) -> Result<(), TestCaseError> {
        prop_assert!(told.listen_addrs.len() <= limits.max_addrs);
        prop_assert!(told.protocols.len() <= limits.max_protocols);
        for version in [&told.agent_version, &told.protocol_version] {
            prop_assert!(version.as_deref().unwrap_or_default().len() <= limits.max_version);
        }
        Ok(())
    }
}
