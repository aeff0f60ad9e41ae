//! The message and RPC vectors, and what is encoded decodes.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on should stop"
)]

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use p2p_keys::{Keypair, PeerId, PeerIdExt};
use p2p_pubsub::wire::{
    Control, Extensions, Part, PartialMode, PartialOut, PeerInfo, Rpc, RpcOut, WireError,
    WireLimits,
};
use p2p_pubsub::{Draft, Message, MessageId, SignaturePolicy, Topic};
use proptest::prelude::*;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/pubsub.json")).unwrap()
}

fn hex(case: &Value, field: &str) -> Vec<u8> {
    HEXLOWER
        .decode(case[field].as_str().unwrap().as_bytes())
        .unwrap()
}

#[test]
fn message_vectors_are_written_and_verified_byte_for_byte() {
    let vectors = vectors();
    for case in vectors["messages"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let keypair = Keypair::from_protobuf(&hex(case, "private_key_protobuf_hex")).unwrap();
        let signed = hex(case, "signed_bytes_hex");
        assert_eq!(
            keypair.sign(&signed).unwrap(),
            hex(case, "signature_hex"),
            "{name}"
        );

        let from = keypair.to_peer_id().to_bytes();
        let with_key = case["has_key_field"].as_bool().unwrap();
        let draft = Draft {
            from: Some(&from),
            data: &hex(case, "data_hex"),
            seqno: Some(&hex(case, "seqno_hex")),
            signature: Some(&hex(case, "signature_hex")),
            key: with_key.then(|| keypair.public().as_protobuf()),
        };
        let topic = Topic::new(case["topic"].as_str().unwrap());
        let written = Message::encode(topic, &draft);
        assert_eq!(written.raw(), &hex(case, "message_hex"), "{name}");

        let read = Message::decode(hex(case, "message_hex").into())
            .unwrap()
            .unwrap();
        let author = PeerId::parse_any(case["peer_id"].as_str().unwrap()).unwrap();
        assert_eq!(read.source(), Some(author), "{name}");
        let id = [read.from().unwrap(), read.seqno().unwrap()].concat();
        assert_eq!(id, hex(case, "message_id_hex"), "{name}");
        let verdict = SignaturePolicy::StrictSign.verify(&read);
        assert_eq!(verdict.is_ok(), case["valid"].as_bool().unwrap(), "{name}");
    }
}

#[test]
fn rpc_vectors_are_read_and_written_byte_for_byte() {
    let vectors = vectors();
    for case in vectors["rpcs"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let bytes = hex(case, "rpc_hex");
        let rpc = Rpc::parse(&bytes, &WireLimits::default()).unwrap();
        let mut out = RpcOut::default();
        for part in rpc.parts() {
            out.control.push(match part {
                Part::Subscription(sub) => Control::Subscription(sub.subscribe, topic(sub.topic)),
                Part::Extensions(extensions) => Control::Extensions(extensions),
                other => panic!("{name}: {other:?}"),
            });
        }
        let expected = &case["decoded"]["subscriptions"];
        for (index, sub) in expected.as_array().unwrap().iter().enumerate() {
            let (subscribe, text) = match sub.as_str() {
                Some(text) => (true, text),
                None => (
                    sub["subscribe"].as_bool().unwrap(),
                    sub["topicid"].as_str().unwrap(),
                ),
            };
            assert_eq!(
                out.control[index],
                Control::Subscription(subscribe, text.into())
            );
        }
        let mut frame = Vec::new();
        out.encode_frame(&mut frame);
        assert_eq!(frame, hex(case, "framed_hex"), "{name}");
    }
}

fn topic(bytes: Option<&[u8]>) -> Topic {
    Topic::new(std::str::from_utf8(bytes.unwrap()).unwrap())
}

#[test]
fn counts_are_refused_before_anything_is_built() {
    let mut bytes = Vec::new();
    for _ in 0..349_525 {
        bytes.extend([0x0a, 0x00]);
    }
    let refused = Rpc::parse(&bytes, &WireLimits::default()).unwrap_err();
    assert_eq!(
        refused,
        WireError::TooMany {
            what: "subscriptions",
            max: 5000
        }
    );
}

#[test]
fn a_length_beyond_the_end_is_refused_whatever_it_claims() {
    for length in [5u64, u64::from(u32::MAX), u64::MAX] {
        let mut bytes = vec![0x12];
        let mut rest = length;
        while rest >= 0x80 {
            bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes.extend([0; 4]);
        let refused = Rpc::parse(&bytes, &WireLimits::default()).unwrap_err();
        assert_eq!(refused, WireError::Truncated, "{length}");
    }
}

#[test]
fn a_numeric_field_with_the_wrong_wire_type_is_refused() {
    // A prune whose backoff is text.
    let bytes = [0x1a, 0x05, 0x22, 0x03, 0x1a, 0x01, b'x'];
    let refused = Rpc::parse(&bytes, &WireLimits::default()).unwrap_err();
    assert_eq!(refused, WireError::WireType { field: 3 });
}

#[test]
fn unknown_fields_and_empty_rpcs_are_skipped() {
    for bytes in [
        &[][..],
        &[0x78, 0x01],
        &[0x7a, 0x02, 1, 2],
        &[0x1a, 0x02, 0x78, 0x01],
    ] {
        let rpc = Rpc::parse(bytes, &WireLimits::default()).unwrap();
        assert_eq!(rpc.parts().count(), 0, "{bytes:?}");
    }
}

fn any_topic() -> impl Strategy<Value = Topic> {
    "[a-z/]{0,20}".prop_map(Topic::from)
}

fn any_ids() -> impl Strategy<Value = Vec<MessageId>> {
    let id = prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| MessageId::new(&bytes));
    prop::collection::vec(id, 0..8)
}

fn any_control() -> impl Strategy<Value = Control> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
    let peer =
        (bytes(), prop::option::of(bytes())).prop_map(|(peer, record)| PeerInfo { peer, record });
    let peers = prop::collection::vec(peer, 0..4);
    prop_oneof![
        any_topic().prop_map(Control::Graft),
        any_ids().prop_map(Control::IDontWant),
        (any_topic(), any_ids()).prop_map(|(topic, ids)| Control::IHave(topic, ids.into())),
        any_ids().prop_map(Control::IWant),
        (any_topic(), peers, any::<Option<u64>>()).prop_map(|(topic, peers, backoff)| {
            Control::Prune {
                topic,
                peers,
                backoff,
            }
        }),
        (any::<bool>(), any_topic()).prop_map(|(on, topic)| Control::Subscription(on, topic)),
        (any::<bool>(), any::<bool>()).prop_map(|(partial_messages, test)| {
            Control::Extensions(Extensions {
                partial_messages,
                test,
            })
        }),
    ]
}

/// Back to what was encoded.
fn owned(part: Part<'_>) -> Result<Control, Vec<u8>> {
    let ids = |ids: p2p_pubsub::wire::Ids<'_>| ids.map(MessageId::new).collect::<Vec<_>>();
    Ok(match part {
        Part::Subscription(sub) => Control::Subscription(sub.subscribe, topic(sub.topic)),
        Part::Publish(message) => return Err(message.raw.to_vec()),
        Part::IHave(ihave) => Control::IHave(topic(ihave.topic), ids(ihave.ids).into()),
        Part::IWant(wanted) => Control::IWant(ids(wanted)),
        Part::Graft(grafted) => Control::Graft(topic(grafted)),
        Part::Prune(prune) => Control::Prune {
            topic: topic(prune.topic),
            peers: prune
                .peers()
                .map(|peer| PeerInfo {
                    peer: Bytes::copy_from_slice(peer.peer.unwrap()),
                    record: peer.record.map(Bytes::copy_from_slice),
                })
                .collect(),
            backoff: prune.backoff,
        },
        Part::IDontWant(ids_) => Control::IDontWant(ids(ids_)),
        Part::Extensions(extensions) => Control::Extensions(extensions),
        Part::Partial(_) | Part::Test => panic!("not encoded"),
    })
}

#[test]
fn a_subscription_with_parts_and_a_partial_are_written_as_the_schema_says() {
    let sub = Control::PartialSubscription("t".into(), PartialMode::Requests);
    let out = PartialOut {
        topic: "t".into(),
        group: Bytes::from_static(b"g"),
        parts: Some(Bytes::from_static(b"pp")),
        metadata: Some(Bytes::from_static(b"m")),
    };
    let extensions = Control::Extensions(Extensions {
        partial_messages: true,
        ..Extensions::default()
    });
    let control = vec![sub, Control::Partial(out), extensions];
    let mut bytes = Vec::new();
    RpcOut {
        control,
        messages: Vec::new(),
    }
    .encode(&mut bytes);
    // SubOpts {1: 1, 2: "t", 3: 1, 4: 1}; RPC 10 {1: "t", 2: "g", 3: "pp", 4: "m"}; control 3 {6 {10: 1}}
    let expected: &[u8] = &[
        0x0a, 9, 0x08, 1, 0x12, 1, b't', 0x18, 1, 0x20, 1, 0x52, 13, 0x0a, 1, b't', 0x12, 1, b'g',
        0x1a, 2, b'p', b'p', 0x22, 1, b'm', 0x1a, 4, 0x32, 2, 0x50, 1,
    ];
    assert_eq!(&bytes[..], expected);
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(
        control in prop::collection::vec(any_control(), 0..8),
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4),
    ) {
        let messages: Vec<_> = payloads
            .iter()
            .map(|data| {
                let draft = Draft { data, ..Draft::default() };
                Arc::new(Message::encode("t".into(), &draft))
            })
            .collect();
        let out = RpcOut { control: control.clone(), messages: messages.clone() };
        let mut bytes = Vec::new();
        out.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), out.encoded_len());

        let rpc = Rpc::parse(&bytes, &WireLimits::default()).unwrap();
        let (mut found, mut raw) = (Vec::new(), Vec::new());
        for part in rpc.parts() {
            match owned(part) {
                Ok(control) => found.push(control),
                Err(message) => raw.push(message),
            }
        }
        // Kinds are gathered, the order within a kind is kept.
        let sorted = |mut list: Vec<Control>| {
            list.sort_by_key(|control| format!("{control:?}"));
            list
        };
        prop_assert_eq!(sorted(found), sorted(control));
        let sent: Vec<_> = messages.iter().map(|message| message.raw().to_vec()).collect();
        prop_assert_eq!(raw, sent);
    }

    #[test]
    fn a_cut_rpc_is_refused_or_is_a_shorter_one(control in prop::collection::vec(any_control(), 1..4)) {
        let mut bytes = Vec::new();
        RpcOut { control, messages: Vec::new() }.encode(&mut bytes);
        for cut in 0..bytes.len() {
            if let Ok(rpc) = Rpc::parse(&bytes[..cut], &WireLimits::default()) {
                prop_assert!(rpc.parts().count() <= 4);
            }
        }
    }
}
