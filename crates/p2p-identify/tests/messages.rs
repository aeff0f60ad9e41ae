//! Messages: the vectors, what we send, and what a hostile peer may send.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::keys;
use data_encoding::HEXLOWER;
use futures::io::{AsyncReadExt, Cursor};
use p2p_core::{Blame, Multiaddr, PeerId, Protocol, frame};
use p2p_identify::{
    Announcement, IdentifyError, IdentifyInfo, Limits, MAX_SENT, Told, receive, request,
};
use p2p_keys::{Keypair, PeerRecord, PublicKey};
use proptest::prelude::*;
use serde_json::Value;

/// Runs in the simulator, where to wait for what can never come is an error and not a hang.
fn block_on<F: Future>(future: F) -> F::Output {
    p2p_sim::Sim::new(1).block_on(future)
}

/// Asks a peer with `key` that says `sent`, half of it already written when we ask.
fn learn(key: &PublicKey, sent: &[u8]) -> Result<IdentifyInfo, IdentifyError> {
    let (near, mut far) = p2p_memory::pipe(1 << 20);
    block_on(async {
        futures::io::AsyncWriteExt::write_all(&mut far, sent)
            .await
            .unwrap();
        futures::io::AsyncWriteExt::close(&mut far).await.unwrap();
        let (peer, key) = (key.to_peer_id(), key.to_protobuf());
        let mut near = near;
        let info = request(&mut near, peer, key, &Limits::default()).await;
        assert_eq!(
            far.read(&mut [0]).await.unwrap(),
            0,
            "we end our side and say nothing"
        );
        info
    })
}

fn vectors(file: &str) -> Value {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn vector(name: &str) -> (PublicKey, Vec<u8>) {
    let file = vectors("service_messages.json");
    let key = Keypair::from_protobuf(&hex(&file["local"]["private_key_protobuf_hex"])).unwrap();
    let all = file["messages"].as_array().unwrap();
    let found = all
        .iter()
        .find(|one| one["name"].as_str().unwrap().starts_with(name));
    (key.public().clone(), hex(&found.unwrap()["framed_hex"]))
}

fn texts(addrs: &[Multiaddr]) -> Vec<String> {
    addrs.iter().map(ToString::to_string).collect()
}

#[test]
fn the_vector_with_a_signed_record_is_understood_and_made_again_byte_for_byte() {
    let (key, framed) = vector("full identify");
    let info = learn(&key, &framed).unwrap();
    let addrs = ["/ip4/127.0.0.1/tcp/4001", "/ip4/192.0.2.1/tcp/4001"];
    assert_eq!(texts(&info.listen_addrs), addrs);
    assert_eq!(info.protocols.len(), 2);
    assert_eq!(info.agent_version, "vectors/1.0");
    assert_eq!(info.protocol_version, "ipfs/0.1.0");
    assert_eq!(info.observed_addr.unwrap().to_string(), addrs[1]);
    assert_eq!(info.signed_record.unwrap().seq, 1);

    let ours = Announcement::new(
        &keys(0x11),
        &info.listen_addrs,
        &info.protocols,
        &info.agent_version,
        &info.protocol_version,
        1,
    );
    let observed = addrs[1].parse().unwrap();
    assert_eq!(
        frame::encode(&ours.unwrap().encode(Some(&observed))),
        framed
    );
}

#[test]
fn the_vector_in_two_parts_is_merged() {
    let (key, mut framed) = vector("identify split");
    let (_, second) = vector("full identify");
    framed.extend(second);
    let info = learn(&key, &framed).unwrap();
    assert_eq!(info.protocols.len(), 2);
    assert_eq!(info.listen_addrs.len(), 2);
}

#[test]
fn a_record_signed_by_somebody_else_is_ignored_and_the_rest_is_kept() {
    let (key, framed) = vector("signed record of another");
    let info = learn(&key, &framed).unwrap();
    assert_eq!(texts(&info.listen_addrs), ["/ip4/127.0.0.1/tcp/4001"]);
    assert_eq!(info.signed_record, None);
}

#[test]
fn a_public_key_of_somebody_else_is_refused() {
    let (key, framed) = vector("public key of another");
    let error = learn(&key, &framed).unwrap_err();
    assert!(matches!(error, IdentifyError::WrongKey), "{error}");
    assert_eq!(error.blame(), Blame::Remote);
}

#[test]
fn a_record_made_by_go_replaces_the_listen_addresses() {
    let file = vectors("signed_envelopes.json");
    let vector = &file["vectors"][0];
    let key = PublicKey::from_protobuf(&hex(&vector["public_key_protobuf_hex"])).unwrap();
    let mut message = Vec::new();
    put(&mut message, 2, &addr("/ip4/9.9.9.9/tcp/9").to_vec());
    put(&mut message, 8, &hex(&vector["envelope_hex"]));
    let info = learn(&key, &frame::encode(&message)).unwrap();
    let expected: Vec<&str> = vector["record"]["addresses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|addr| addr.as_str().unwrap())
        .collect();
    assert_eq!(texts(&info.listen_addrs), expected);
}

#[test]
fn empty_broken_and_foreign_addresses_are_left_out_and_the_rest_is_kept() {
    let keys = keys(1);
    let good = addr("/ip4/1.2.3.4/tcp/5");
    let mut message = Vec::new();
    put(&mut message, 2, b"");
    put(&mut message, 2, b"\x04\x01");
    put(&mut message, 2, &with_peer(&good, &keys).to_vec());
    put(
        &mut message,
        2,
        &with_peer(&good, &common::keys(2)).to_vec(),
    );
    put(&mut message, 3, b"\xff\xfe");
    put(&mut message, 3, b"no slash");
    put(&mut message, 3, b"/good/1");
    // js appends our own id to the address at which it sees us.
    put(
        &mut message,
        4,
        &with_peer(&good, &common::keys(2)).to_vec(),
    );
    put(&mut message, 6, b"caf\xe9");
    let info = learn(keys.public(), &frame::encode(&message)).unwrap();
    assert_eq!(info.listen_addrs, std::slice::from_ref(&good));
    assert_eq!(info.protocols, [Protocol::from_static("/good/1")]);
    assert_eq!(info.observed_addr, Some(good));
    assert_eq!(info.agent_version, "caf\u{fffd}");
}

#[test]
fn a_thousand_addresses_and_protocols_are_cut_to_the_limits() {
    let keys = keys(1);
    let limits = Limits::default();
    let mut sent = Vec::new();
    for part in 0..10u16 {
        let mut message = Vec::new();
        for n in 0..200u16 {
            let port = part * 200 + n;
            put(
                &mut message,
                2,
                &addr(&format!("/ip4/1.2.3.4/tcp/{port}")).to_vec(),
            );
            put(&mut message, 3, format!("/planted/{port}").as_bytes());
        }
        sent.extend(frame::encode(&message));
    }
    let info = learn(keys.public(), &sent).unwrap();
    assert_eq!(info.listen_addrs.len(), limits.max_addrs);
    assert_eq!(info.protocols.len(), limits.max_protocols);
}

#[test]
fn eight_kib_are_accepted_and_one_byte_more_is_not() {
    let keys = keys(1);
    let message = |len: usize| {
        let mut message = Vec::new();
        put(&mut message, 15, &vec![0; len - 3]);
        assert_eq!(message.len(), len);
        frame::encode(&message)
    };
    learn(keys.public(), &message(8192)).unwrap();
    let error = learn(keys.public(), &message(8193)).unwrap_err();
    assert!(
        matches!(
            error,
            IdentifyError::TooLong {
                len: 8193,
                max: 8192
            }
        ),
        "{error}"
    );
}

#[test]
fn ten_parts_are_accepted_and_a_message_that_never_ends_is_not() {
    let keys = keys(1);
    let part = frame::encode(b"");
    learn(keys.public(), &part.repeat(10)).unwrap();
    let error = learn(keys.public(), &part.repeat(11)).unwrap_err();
    assert!(
        matches!(error, IdentifyError::TooManyParts { max: 10 }),
        "{error}"
    );
}

#[test]
fn silence_and_a_cut_message_are_told_apart() {
    let (key, framed) = vector("full identify");
    assert!(matches!(learn(&key, b""), Err(IdentifyError::Empty)));
    for cut in 1..framed.len() {
        let error = learn(&key, &framed[..cut]).unwrap_err();
        assert!(matches!(error, IdentifyError::Io(_)), "{cut}: {error}");
    }
}

#[test]
fn what_we_send_fits_in_4_kib_and_keeps_protocols_before_further_addresses() {
    let keys = keys(1);
    let addrs: Vec<Multiaddr> = (0..500)
        .map(|port| addr(&format!("/ip4/1.2.3.4/tcp/{port}")))
        .collect();
    let protocols: Vec<Protocol> = (0..1000)
        .map(|n| Protocol::new(&format!("/some/protocol/{n:04}")).unwrap())
        .collect();
    let observed = addr("/ip6/2001:db8::1/udp/65535/quic-v1");
    for (addr_count, protocol_count) in [(3, 3), (500, 20), (20, 1000), (500, 1000), (0, 1000)] {
        let (addrs, protocols) = (&addrs[..addr_count], &protocols[..protocol_count]);
        let said = Announcement::new(&keys, addrs, protocols, "agent", "ipfs/0.1.0", u64::MAX);
        let message = said.unwrap().encode(Some(&observed));
        assert!(message.len() <= MAX_SENT, "{}", message.len());
        let info = learn(keys.public(), &frame::encode(&message)).unwrap();
        assert_eq!(info.observed_addr.as_ref(), Some(&observed));
        assert_eq!(info.listen_addrs[..], addrs[..info.listen_addrs.len()]);
        match (addr_count, protocol_count) {
            (3, 3) => assert_eq!((info.listen_addrs.len(), info.protocols.len()), (3, 3)),
            (500, 20) => {
                assert_eq!(info.protocols.len(), 20);
                assert!(info.listen_addrs.len() > 40);
                assert!(
                    message.len() > MAX_SENT - 300,
                    "room is used: {}",
                    message.len()
                );
            }
            (_, 1000) => {
                assert_eq!(info.listen_addrs.len(), addr_count.min(4));
                assert!(info.protocols.len() > 100);
            }
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = learn(keys(1).public(), &bytes);
        let _ = learn(keys(1).public(), &frame::encode(&bytes));
    }

    #[test]
    fn damaged_messages_never_panic_and_never_forge_a_record(at in 0usize..306, flip in 1u8..) {
        let (key, mut framed) = vector("full identify");
        let at = at.min(framed.len() - 1);
        framed[at] ^= flip;
        if let Ok(info) = learn(&key, &framed)
            && let Some(record) = info.signed_record
        {
            let open = PeerRecord::open(&record.envelope, &Default::default()).unwrap();
            prop_assert_eq!(open.peer, key.to_peer_id());
            prop_assert_eq!(open.seq, 1);
        }
    }

    #[test]
    fn what_we_send_is_what_is_understood(
        ports in proptest::collection::btree_set(1u16.., 0..20),
        ids in proptest::collection::btree_set("/[a-z]{1,20}", 0..20),
        agent in "[a-z/.0-9]{0,40}",
        seq in any::<u64>(),
    ) {
        let keys = keys(3);
        let addrs: Vec<Multiaddr> =
            ports.iter().map(|port| addr(&format!("/ip4/1.2.3.4/tcp/{port}"))).collect();
        let ids: Vec<Protocol> = ids.iter().map(|id| Protocol::new(id).unwrap()).collect();
        let said = Announcement::new(&keys, &addrs, &ids, &agent, "x", seq).unwrap();
        let mut message = Cursor::new(frame::encode(&said.encode(None)));
        let told: Told = block_on(receive(&mut message, &Limits::default())).unwrap();
        prop_assert_eq!(told.signed_peer_record.is_some(), !addrs.is_empty());
        prop_assert_eq!(told.public_key.unwrap(), keys.public().to_protobuf());
        prop_assert_eq!(told.listen_addrs, addrs);
        prop_assert_eq!(told.protocols.into_iter().collect::<Vec<_>>(), ids);
        prop_assert_eq!(told.agent_version.unwrap(), agent);
    }
}

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn with_peer(addr: &Multiaddr, keys: &Keypair) -> Multiaddr {
    let peer: PeerId = keys.to_peer_id();
    p2p_core::AddrExt::with_peer(addr, peer)
}

/// Appends a field of type `bytes`.
fn put(message: &mut Vec<u8>, number: u8, value: &[u8]) {
    message.push(number << 3 | 2);
    message.extend_from_slice(p2p_core::uvarint::encode(value.len() as u64).as_slice());
    message.extend_from_slice(value);
}
