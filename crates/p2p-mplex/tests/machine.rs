//! The machine alone: vectors, arbitrary bytes, every split, lists of operations.
#![expect(clippy::unwrap_used, reason = "a broken vector file is a failed test")]

use p2p_core::{Budget, uvarint};
use p2p_mplex::wire::{Header, Kind};
use p2p_mplex::{Config, Session};
use p2p_mux::Machine;
use p2p_mux::conformance::machines::{Duo, check_every_split, feed};
use proptest::prelude::*;
use serde_json::Value;

fn session(budget: &Budget) -> Session {
    let mut config = Config::default();
    config.resets_per_second = 0;
    Session::new(config, budget)
}

fn fresh() -> Session {
    session(&Budget::unlimited())
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/mplex.json")).unwrap()
}

fn bytes(case: &Value) -> Vec<u8> {
    let hex = case["hex"].as_str().unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn valid_frames_decode_to_their_fields() {
    for case in vectors()["valid"].as_array().unwrap() {
        let bytes = bytes(case);
        let mut rest = &bytes[..];
        for message in case["messages"].as_array().unwrap() {
            let (header, used) = Header::decode(rest).unwrap().unwrap();
            let flag = Header::encode_flag(header.id, header.kind, header.by_initiator);
            let number = uvarint::decode(flag.as_slice()).unwrap().0;
            assert_eq!(header.id, message["id"].as_u64().unwrap(), "{case}");
            assert_eq!(number & 7, message["flag"].as_u64().unwrap(), "{case}");
            let (payload, behind) = rest[used..].split_at(header.len);
            assert_eq!(
                payload,
                message["data_utf8"].as_str().unwrap().as_bytes(),
                "{case}"
            );
            rest = behind;
        }
        assert!(rest.is_empty(), "{case}");
        let seen = check_every_split(fresh, &bytes);
        assert_eq!(seen.end, None, "{case}");
    }
}

#[test]
fn invalid_frames_end_the_connection() {
    for case in vectors()["invalid"].as_array().unwrap() {
        let seen = check_every_split(fresh, &bytes(case));
        assert!(seen.end.is_some(), "{case}");
    }
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        3 => Just(Kind::NewStream),
        6 => Just(Kind::Message),
        1 => Just(Kind::Close),
        1 => Just(Kind::Reset),
    ];
    (kind, any::<bool>(), 0u64..4, 0usize..50).prop_map(|(kind, by_initiator, id, len)| {
        let mut bytes = Header::encode_flag(id, kind, by_initiator)
            .as_slice()
            .to_vec();
        bytes.extend_from_slice(uvarint::encode(len as u64).as_slice());
        bytes.extend((0..len).map(|at| at.to_le_bytes()[0]));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_never_panic_and_cost_no_more_than_they_are(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let budget = Budget::new("test", "test", 1 << 20);
        let mut session = session(&budget);
        let _ = feed(&mut session, &bytes);
        session.trim();
        prop_assert!(budget.used() <= 1024 * (1 + bytes.len() / 2));
        drop(session);
        prop_assert_eq!(budget.used(), 0);
    }

    #[test]
    fn frames_mean_the_same_however_they_are_cut(
        frames in proptest::collection::vec(frame(), 0..12),
    ) {
        check_every_split(fresh, &frames.concat());
    }

    #[test]
    fn what_one_end_writes_the_other_reads_or_has_an_error(
        ops in proptest::collection::vec(any::<(u8, bool, u8, u16)>(), 0..200),
    ) {
        let duo = || Duo::new(|_, budget| session(budget), |id| id ^ 1);
        let trace = duo().run(&ops);
        prop_assert_eq!(duo().run(&ops), trace, "the same list, another trace");
    }
}
