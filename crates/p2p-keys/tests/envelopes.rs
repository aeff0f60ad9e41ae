//! Signed envelopes and peer records: the vectors, both forms, and forgeries.
#![cfg(feature = "secp256k1")]
#![expect(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use std::time::Duration;

use common::{hex, list};
use p2p_keys::{
    Blame, DecodeKeyError, EnvelopeError, KeyType, Keypair, Multiaddr, PeerRecord, RecordError,
    RecordLimits, RecordSeq, SignedEnvelope,
};
use proptest::prelude::*;
use serde_json::Value;

const GO_DOMAIN: &str = "libp2p-peer-record";
const GO_TYPE: &[u8] = &[3, 1];

fn open(envelope: &[u8]) -> Result<PeerRecord, RecordError> {
    PeerRecord::open(envelope, &RecordLimits::default())
}

fn keypair(seed: u8) -> Keypair {
    Keypair::ed25519_from_seed([seed; 32])
}

fn addr(port: u16) -> Multiaddr {
    format!("/ip4/1.2.3.4/tcp/{port}").parse().unwrap()
}

/// A record of `keypair` whose payload may be anything, in the form of go.
fn sealed(keypair: &Keypair, payload: Vec<u8>) -> Vec<u8> {
    let envelope = SignedEnvelope::seal(keypair, GO_DOMAIN, GO_TYPE, payload).unwrap();
    envelope.encode()
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let len = u8::try_from(content.len()).unwrap();
    assert!(len < 0x80);
    [&[number << 3 | 2, len], content].concat()
}

/// A record payload with raw bytes for addresses.
fn payload(keypair: &Keypair, seq: u8, addrs: &[&[u8]]) -> Vec<u8> {
    let mut payload = field(1, &keypair.to_peer_id().to_bytes());
    payload.extend([0x10, seq]);
    for addr in addrs {
        payload.extend(field(3, &field(1, addr)));
    }
    payload
}

#[test]
fn the_record_of_go_and_js_is_read_and_reproduced() {
    let vectors: Value =
        serde_json::from_str(include_str!("vectors/signed_envelopes.json")).unwrap();
    for case in list(&vectors["vectors"]) {
        let keypair = Keypair::from_protobuf(&hex(&case["private_key_protobuf_hex"])).unwrap();
        let bytes = hex(&case["envelope_hex"]);

        let record = open(&bytes).unwrap();
        assert_eq!(record.peer.to_string(), case["peer_id_base58"]);
        assert_eq!(record.seq, case["record"]["seq"].as_u64().unwrap());
        let addrs: Vec<_> = record.addrs.iter().map(ToString::to_string).collect();
        let expected = list(&case["record"]["addresses"]);
        assert_eq!(
            addrs,
            expected
                .iter()
                .map(|a| a.as_str().unwrap())
                .collect::<Vec<_>>()
        );

        let ours = PeerRecord::seal(&keypair, record.seq, &record.addrs).unwrap();
        assert_eq!(ours.encode(), bytes);
        let envelope = SignedEnvelope::decode(&bytes).unwrap();
        assert_eq!(envelope, ours);
        assert_eq!(envelope.payload_type(), hex(&case["payload_type_hex"]));
        assert_eq!(
            envelope.signer().to_protobuf(),
            hex(&case["public_key_protobuf_hex"])
        );
        let domain = case["domain"].as_str().unwrap();
        let payload = envelope.open(domain, &hex(&case["payload_type_hex"]));
        assert_eq!(payload, Ok(&hex(&case["payload_hex"])[..]));
        let signed = hex(&case["signed_bytes_hex"]);
        assert_eq!(keypair.sign(&signed).unwrap(), hex(&case["signature_hex"]));
    }
}

#[test]
fn the_form_of_rust_libp2p_is_accepted() {
    let keypair = keypair(1);
    let envelope = SignedEnvelope::seal(
        &keypair,
        "libp2p-routing-state",
        b"/libp2p/routing-state-record",
        payload(&keypair, 9, &[addr(1).as_ref()]),
    );
    let record = open(&envelope.unwrap().encode()).unwrap();
    assert_eq!((record.seq, record.addrs), (9, vec![addr(1)]));
}

#[test]
fn domains_and_payload_types_of_the_two_forms_do_not_mix() {
    let keypair = keypair(1);
    let payload = payload(&keypair, 9, &[]);
    for (domain, payload_type) in [
        (GO_DOMAIN, &b"/libp2p/routing-state-record"[..]),
        ("libp2p-routing-state", GO_TYPE),
    ] {
        let envelope = SignedEnvelope::seal(&keypair, domain, payload_type, payload.clone());
        let refused = open(&envelope.unwrap().encode()).unwrap_err();
        assert_eq!(refused, EnvelopeError::BadSignature.into());
    }
}

#[test]
fn an_envelope_for_another_domain_or_of_another_type_is_refused() {
    let envelope = SignedEnvelope::seal(&keypair(1), "one", b"type", &b"payload"[..]).unwrap();
    assert_eq!(envelope.open("one", b"type"), Ok(&b"payload"[..]));
    assert_eq!(
        envelope.open("two", b"type"),
        Err(EnvelopeError::BadSignature)
    );
    assert_eq!(envelope.open("", b"type"), Err(EnvelopeError::BadSignature));
    assert_eq!(
        envelope.open("one", b"typ"),
        Err(EnvelopeError::PayloadType)
    );

    // A relay voucher, honestly signed, is not a peer record.
    let keypair = keypair(1);
    let voucher = SignedEnvelope::seal(
        &keypair,
        "libp2p-relay-rsvp",
        &[3, 2],
        payload(&keypair, 1, &[]),
    );
    let refused = open(&voucher.unwrap().encode()).unwrap_err();
    assert_eq!(refused, EnvelopeError::PayloadType.into());
    assert_eq!(refused.blame(), Blame::Remote);
}

/// CVE-2023-39533, in an envelope: the key is refused before there is anything to verify.
#[test]
fn a_huge_rsa_key_in_an_envelope_is_refused_unread() {
    let data = [0x30; 3000];
    // Key type RSA, then its data of 3000 bytes.
    let key = [&[8, 0, 0x12, 0xb8, 0x17][..], &data].concat();
    let mut envelope = vec![0x0a, 0xbd, 0x17];
    envelope.extend(&key);
    for number in [2, 3, 5] {
        envelope.extend(field(number, &[1; 64]));
    }
    let refused = SignedEnvelope::decode(&envelope).unwrap_err();
    let too_long = DecodeKeyError::TooLong {
        len: key.len(),
        max: 1100,
    };
    assert_eq!(refused, EnvelopeError::Key(too_long));
    assert_eq!(refused.blame(), Blame::Remote);
}

#[test]
fn bytes_cannot_move_between_domain_type_and_payload() {
    let sealed = SignedEnvelope::seal(&keypair(1), "ab", b"cd", &b"ef"[..]).unwrap();
    let mut moved = sealed.encode();
    let at = moved
        .windows(4)
        .position(|bytes| bytes == *b"\x12\x02cd")
        .unwrap();
    moved.splice(at..at + 8, *b"\x12\x01c\x1a\x03def");
    let moved = SignedEnvelope::decode(&moved).unwrap();
    assert_eq!(moved.open("abd", b"c"), Err(EnvelopeError::BadSignature));
    assert_eq!(moved.open("ab", b"c"), Err(EnvelopeError::BadSignature));
}

/// CVE-2023-40583: records about others fill the address book with lies.
#[test]
fn a_record_about_another_peer_is_refused() {
    let (signer, victim) = (keypair(1), keypair(2));
    let refused = open(&sealed(&signer, payload(&victim, 1, &[addr(1).as_ref()]))).unwrap_err();
    let expected = RecordError::NotTheSigner {
        peer: Box::new(victim.to_peer_id()),
        signer: Box::new(signer.to_peer_id()),
    };
    assert_eq!(refused, expected);
    assert_eq!(refused.blame(), Blame::Remote);
}

#[test]
fn the_hash_of_a_key_that_is_its_own_id_does_not_name_the_signer() {
    let signer = keypair(1);
    let hash =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &signer.public().to_protobuf());
    let alias = [&[0x12, 32], hash.as_ref()].concat();
    let refused = open(&sealed(&signer, field(1, &alias))).unwrap_err();
    assert!(
        matches!(refused, RecordError::NotTheSigner { .. }),
        "{refused}"
    );
}

#[test]
fn a_key_put_in_place_of_the_signers_is_refused() {
    let envelope = PeerRecord::seal(&keypair(1), 1, &[addr(1)])
        .unwrap()
        .encode();
    let mut forged = envelope.clone();
    forged[6..38].copy_from_slice(&keypair(2).public().to_protobuf()[4..]);
    let refused = open(&forged).unwrap_err();
    assert_eq!(refused, EnvelopeError::BadSignature.into());
}

#[test]
fn no_bit_of_an_envelope_can_be_changed() {
    let envelope = PeerRecord::seal(&keypair(1), 77, &[addr(1), addr(2)])
        .unwrap()
        .encode();
    assert!(open(&envelope).is_ok());
    for bit in 0..envelope.len() * 8 {
        let mut wrong = envelope.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&wrong).is_err(), "bit {bit}");
    }
}

#[test]
fn no_prefix_of_an_envelope_is_one() {
    let envelope = PeerRecord::seal(&keypair(1), 77, &[addr(1)])
        .unwrap()
        .encode();
    for cut in 0..envelope.len() {
        assert!(open(&envelope[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn fields_that_are_missing_doubled_or_of_a_wrong_type_are_refused() {
    let keypair = keypair(1);
    let key = field(1, &keypair.public().to_protobuf());
    let signature = field(5, &[1; 64]);
    let malformed = |parts: &[&[u8]]| SignedEnvelope::decode(&parts.concat()).unwrap_err();
    for (parts, why) in [
        (&[&signature[..]][..], "no public key"),
        (&[&key], "no signature"),
        (&[&key, &key, &signature], "field there twice"),
        (&[&key, &signature, &signature], "field there twice"),
        (&[&key, &[0x18, 1], &signature], "field of a wrong type"),
        (&[&key, &signature, &[0x1b]], "not protobuf"),
    ] {
        assert_eq!(malformed(parts), EnvelopeError::Malformed(why));
    }
    assert_eq!(
        malformed(&[&field(1, b"no key"), &signature]),
        EnvelopeError::Key(DecodeKeyError::NotAKey)
    );
    // Unknown fields are no reason to refuse, and are not written again.
    let unknown = [&key[..], &[0x20, 7], &signature, &[0x7d, 1, 2, 3, 4]].concat();
    let decoded = SignedEnvelope::decode(&unknown).unwrap();
    assert_eq!(
        decoded.encode(),
        [&key[..], &[0x12, 0, 0x1a, 0], &signature].concat()
    );

    let id = field(1, &keypair.to_peer_id().to_bytes());
    for (payload, why) in [
        (vec![], "no peer id"),
        (field(1, b"no peer id"), "not a peer id"),
        ([&id[..], &id].concat(), "field there twice"),
        ([&id[..], &[0x10, 1, 0x10, 2]].concat(), "field there twice"),
        ([&id[..], &[0x12, 0]].concat(), "field of a wrong type"),
        ([&id[..], &[0x10, 0xff]].concat(), "not protobuf"),
    ] {
        let refused = open(&sealed(&keypair, payload)).unwrap_err();
        assert_eq!(refused, RecordError::Malformed(why));
    }
}

#[test]
fn bad_addresses_are_skipped_and_the_rest_kept() {
    let (keypair, other) = (keypair(1), keypair(2).to_peer_id());
    let (good, of_other) = (addr(1), format!("/ip4/1.2.3.4/tcp/1/p2p/{other}"));
    let of_other: Multiaddr = of_other.parse().unwrap();
    let own: Multiaddr = format!("/ip4/1.2.3.4/tcp/1/p2p/{}", keypair.to_peer_id())
        .parse()
        .unwrap();
    let relayed: Multiaddr = format!("{of_other}/p2p-circuit").parse().unwrap();
    let addrs: &[&[u8]] = &[
        &[],
        &[1, 2, 3, 4],
        good.as_ref(),
        &[4, 1, 2],
        of_other.as_ref(),
        own.as_ref(),
        relayed.as_ref(),
        &[0xff; 12],
    ];
    let mut payload = payload(&keypair, 1, addrs);
    payload.extend(field(3, &[]));
    payload.extend(field(3, &[0x0a, 0xff]));

    let record = open(&sealed(&keypair, payload)).unwrap();
    assert_eq!(record.addrs, [good, own, relayed]);
}

#[test]
fn addresses_beyond_the_limit_are_ignored_and_longer_envelopes_refused() {
    let keypair = keypair(1);
    let addrs: Vec<_> = (1..=700).map(addr).collect();
    let envelope = PeerRecord::seal(&keypair, 1, &addrs).unwrap().encode();
    let refused = open(&envelope).unwrap_err();
    let (len, max) = (envelope.len(), 8192);
    assert_eq!(refused, RecordError::TooLong { len, max });

    let mut limits = RecordLimits::default();
    limits.max_bytes = len;
    let record = PeerRecord::open(&envelope, &limits).unwrap();
    assert_eq!(record.addrs, addrs[..64]);
    limits.max_addrs = 0;
    assert_eq!(PeerRecord::open(&envelope, &limits).unwrap().addrs, []);
}

#[test]
fn every_kind_of_key_seals_records() {
    for key_type in KeyType::ALL {
        let keypair = Keypair::generate(key_type).unwrap();
        let envelope = PeerRecord::seal(&keypair, 5, &[addr(1)]).unwrap().encode();
        let record = open(&envelope).unwrap();
        assert_eq!(record.peer, keypair.to_peer_id());
    }
}

#[test]
fn sequence_numbers_grow_with_the_clock_and_without_it() {
    let seq = RecordSeq::new();
    let now = Duration::from_secs(1_800_000_000);
    assert_eq!(seq.next(now), 1_800_000_000_000_000_000);
    assert_eq!(seq.next(now), 1_800_000_000_000_000_001);
    assert_eq!(seq.next(Duration::ZERO), 1_800_000_000_000_000_002);
    assert_eq!(seq.next(now * 2), 3_600_000_000_000_000_000);

    assert_eq!(RecordSeq::after(41).next(Duration::ZERO), 42);
    let last = RecordSeq::after(u64::MAX - 1);
    assert_eq!(last.next(Duration::MAX), u64::MAX);
    assert_eq!(last.next(Duration::MAX), u64::MAX);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_never_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(open(&bytes).is_err());
        let _ = SignedEnvelope::decode(&bytes);
    }

    #[test]
    fn arbitrary_signed_payloads_stay_within_the_limits(
        tail in proptest::collection::vec(prop_oneof![Just(0x0au8), Just(0x1a), Just(0x10), 0u8..12, any::<u8>()], 0..400)
    ) {
        let keypair = keypair(1);
        let mut payload = field(1, &keypair.to_peer_id().to_bytes());
        payload.extend(tail);
        if let Ok(record) = open(&sealed(&keypair, payload)) {
            prop_assert_eq!(record.peer, keypair.to_peer_id());
            prop_assert!(record.addrs.len() <= 64);
        }
    }

    #[test]
    fn what_is_sealed_opens(
        seed in any::<[u8; 32]>(), seq in any::<u64>(), ports in proptest::collection::vec(any::<u16>(), 0..64)
    ) {
        let keypair = Keypair::ed25519_from_seed(seed);
        let addrs: Vec<_> = ports.into_iter().map(addr).collect();
        let envelope = PeerRecord::seal(&keypair, seq, &addrs).unwrap();
        let bytes = envelope.encode();
        prop_assert_eq!(SignedEnvelope::decode(&bytes).unwrap(), envelope);
        let peer = keypair.to_peer_id();
        prop_assert_eq!(open(&bytes), Ok(PeerRecord { peer, seq, addrs }));
    }

    #[test]
    fn sequence_numbers_strictly_increase(times in proptest::collection::vec(any::<u32>(), 1..50)) {
        let seq = RecordSeq::new();
        let numbers: Vec<_> = times
            .into_iter()
            .map(|nanos| seq.next(Duration::from_nanos(nanos.into())))
            .collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b));
    }
}
