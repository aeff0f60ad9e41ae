//! The machine alone: vectors, arbitrary bytes, every split, lists of operations.
#![expect(clippy::unwrap_used, reason = "a broken vector file is a failed test")]

use std::task::Poll;
use std::time::Duration;

use p2p_core::{Budget, Instant, Role};
use p2p_mux::conformance::machines::{Duo, check_every_split, feed, observe};
use p2p_mux::{Input, Machine};
use p2p_yamux::wire::{Flags, HEADER_LEN, Header, Kind};
use p2p_yamux::{Config, Session};
use proptest::prelude::*;
use serde_json::Value;

fn session(role: Role, budget: &Budget) -> Session {
    let mut config = Config::default();
    config.resets_per_second = 0;
    // Time passes without delivery: that is not what these tests are about.
    config.keep_alive = None;
    config.patience = Duration::MAX;
    Session::new(config, role, budget, Instant::ZERO)
}

fn listener() -> Session {
    session(Role::Listener, &Budget::unlimited())
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/yamux.json")).unwrap()
}

fn bytes(case: &Value) -> Vec<u8> {
    let hex = case["hex"].as_str().unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn valid_headers_decode_to_their_fields_and_back() {
    for case in vectors()["valid"].as_array().unwrap() {
        let bytes = bytes(case);
        let (head, _) = bytes.split_first_chunk::<HEADER_LEN>().unwrap();
        let header = Header::decode(*head).unwrap();
        let fields = &case["fields"];
        let flags = match fields["flags"].as_str().unwrap() {
            "SYN" => Flags::SYN,
            "ACK" => Flags::ACK,
            "FIN" => Flags::FIN,
            "RST" => Flags::RST,
            "" => Flags::NONE,
            other => panic!("{other}"),
        };
        assert_eq!(
            format!("{:?}", header.kind),
            fields["type"].as_str().unwrap(),
            "{case}"
        );
        assert_eq!(header.flags, flags, "{case}");
        assert_eq!(
            u64::from(header.stream),
            fields["stream"].as_u64().unwrap(),
            "{case}"
        );
        assert_eq!(
            u64::from(header.length),
            fields["length"].as_u64().unwrap(),
            "{case}"
        );
        assert_eq!(header.encode(), *head);
        check_every_split(listener, &bytes);
    }
}

#[test]
fn invalid_sequences_end_the_connection_with_a_go_away() {
    for case in vectors()["invalid"].as_array().unwrap() {
        let seen = check_every_split(listener, &bytes(case));
        assert!(seen.end.is_some(), "{case}");
        let go_away = Header {
            kind: Kind::GoAway,
            flags: Flags::NONE,
            stream: 0,
            length: 1,
        };
        assert!(seen.output.ends_with(&go_away.encode()), "{case}");
    }
}

/// Frames as a remote dialer may send them, mostly sensible.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        6 => Just(Kind::Data),
        3 => Just(Kind::WindowUpdate),
        1 => Just(Kind::Ping),
        1 => Just(Kind::GoAway),
    ];
    let flags = prop_oneof![4 => 0u16..3, 1 => 0u16..16];
    (kind, flags, 0u32..8, 0u32..50).prop_map(|(kind, flags, stream, length)| {
        let header = Header {
            kind,
            flags: Flags(flags),
            stream,
            length: if kind == Kind::GoAway { 0 } else { length },
        };
        let mut bytes = header.encode().to_vec();
        if kind == Kind::Data {
            bytes.extend((0..length).map(|at| at.to_le_bytes()[0]));
        }
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
        let mut session = session(Role::Listener, &budget);
        let _ = feed(&mut session, &bytes);
        session.trim();
        prop_assert!(budget.used() <= 1024 * (1 + bytes.len() / HEADER_LEN) + 2 * bytes.len());
        drop(session);
        prop_assert_eq!(budget.used(), 0);
    }

    #[test]
    fn frames_mean_the_same_however_they_are_cut(
        frames in proptest::collection::vec(frame(), 0..12),
    ) {
        check_every_split(listener, &frames.concat());
    }

    #[test]
    fn what_one_end_writes_the_other_reads_or_has_an_error(
        ops in proptest::collection::vec(any::<(u8, bool, u8, u16)>(), 0..200),
    ) {
        let role = |dialer| if dialer { Role::Dialer } else { Role::Listener };
        let duo = || Duo::new(|dialer, budget| session(role(dialer), budget), |id| id);
        let trace = duo().run(&ops);
        prop_assert_eq!(duo().run(&ops), trace, "the same list, another trace");
    }
}

#[test]
fn a_frame_may_be_as_large_as_the_window() {
    let header = Header {
        kind: Kind::Data,
        flags: Flags::SYN | Flags::FIN,
        stream: 1,
        length: 256 * 1024,
    };
    let payload = vec![5; 256 * 1024];
    let seen = observe(
        listener(),
        &[&header.encode(), &payload[..1000], &payload[1000..]],
    );
    assert_eq!(seen.end, None);
    assert_eq!(seen.streams, [(1, payload, Some("end".to_owned()))]);
}

/// What it wrote is not sent yet when both ends give the first stream up and the second begins.
#[test]
fn a_stream_does_not_go_on_with_the_last_frame_of_one_that_is_gone() {
    let budget = || Budget::unlimited();
    let mut near = session(Role::Dialer, &budget());
    let mut far = session(Role::Listener, &budget());
    let now = Instant::ZERO;
    let carry = |from: &mut Session, to: &mut Session| {
        let mut bytes = Vec::new();
        from.take_output(&mut bytes, now);
        to.handle_input(&mut Input::Borrowed(&bytes), now).unwrap();
    };
    let Poll::Ready(Ok(first)) = near.open() else {
        panic!("no stream");
    };
    near.announce(first);
    carry(&mut near, &mut far);
    let Poll::Ready(first_there) = far.accept() else {
        panic!("not told");
    };
    carry(&mut far, &mut near);
    assert_eq!(far.write(first_there, &[1; 100]), Poll::Ready(Ok(100)));
    near.forget(first, now);
    carry(&mut near, &mut far);
    far.forget(first_there, now);

    let Poll::Ready(Ok(second)) = far.open() else {
        panic!("no stream");
    };
    assert_eq!(far.write(second, &[2; 100]), Poll::Ready(Ok(100)));
    carry(&mut far, &mut near);

    let Poll::Ready(second_here) = near.accept() else {
        panic!("not told");
    };
    let mut read = [0; 200];
    assert_eq!(near.read(second_here, &mut read), Poll::Ready(Ok(100)));
    assert_eq!(read[..100], [2; 100]);
}
