//! What a hostile or broken remote may try.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::task::Poll;
use std::time::Duration;

use p2p_core::{Blame, Budget, ConnectionEnd, ErrorCode, Instant, StreamReset, uvarint};
use p2p_mplex::wire::{Header, Kind};
use p2p_mplex::{Config, Session};
use p2p_mux::{Input, Key, Machine, StreamError};

const START: Instant = Instant::from_nanos(1_000_000_000);
const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

struct Victim {
    session: Session,
    budget: Budget,
    now: Instant,
}

impl Victim {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let budget = Budget::new("memory of the connection", "test", 64 << 20);
        Self {
            session: Session::new(config, &budget),
            budget,
            now: START,
        }
    }

    /// A frame from the side that opened the stream.
    fn frame(&mut self, kind: Kind, id: u64, payload: &[u8]) -> Result<(), ConnectionEnd> {
        self.header(kind, id, true, payload.len() as u64)?;
        self.bytes(payload)
    }

    fn header(&mut self, kind: Kind, id: u64, ours: bool, len: u64) -> Result<(), ConnectionEnd> {
        let mut bytes = Header::encode_flag(id, kind, ours).as_slice().to_vec();
        bytes.extend_from_slice(uvarint::encode(len).as_slice());
        self.bytes(&bytes)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ConnectionEnd> {
        self.session.handle_input(&mut Input::from(bytes), self.now)
    }

    fn output(&mut self) -> Vec<Header> {
        let mut out = Vec::new();
        self.session.take_output(&mut out, self.now);
        let (mut rest, mut headers) = (&out[..], Vec::new());
        while let Some((header, used)) = Header::decode(rest).unwrap() {
            rest = rest.get(used + header.len..).unwrap();
            headers.push(header);
        }
        headers
    }

    fn accept(&mut self) -> Key {
        let Poll::Ready(key) = self.session.accept() else {
            panic!("nothing to accept");
        };
        key
    }

    fn held(&mut self) -> usize {
        self.session.trim();
        self.budget.used()
    }
}

fn broke(result: Result<(), ConnectionEnd>) -> bool {
    matches!(result, Err(ConnectionEnd::Protocol { .. }))
}

#[test]
fn a_frame_of_more_than_a_mebibyte_ends_the_connection_before_a_byte_of_it_is_taken() {
    let mut victim = Victim::new();
    victim.frame(Kind::NewStream, 1, b"").unwrap();
    let held = victim.held();
    assert!(broke(victim.header(Kind::Message, 1, true, MIB as u64 + 1)));
    assert!(broke(victim.header(Kind::Message, 1, true, uvarint::MAX)));
    assert_eq!(victim.held(), held);
}

#[test]
fn a_name_of_a_mebibyte_is_not_stored() {
    let mut victim = Victim::new();
    victim.frame(Kind::NewStream, 1, &vec![b'n'; MIB]).unwrap();
    assert_eq!(victim.session.streams(), 1);
    assert!(victim.held() < KIB);
}

#[test]
fn a_new_stream_with_a_live_id_ends_the_connection() {
    let mut victim = Victim::new();
    victim.frame(Kind::NewStream, 1, b"").unwrap();
    assert!(broke(victim.frame(Kind::NewStream, 1, b"")));
}

#[test]
fn frames_for_streams_that_do_not_exist_are_dropped() {
    let mut victim = Victim::new();
    for kind in [Kind::Message, Kind::Close, Kind::Reset] {
        for ours in [true, false] {
            victim.header(kind, 9, ours, 3).unwrap();
            victim.bytes(b"abc").unwrap();
        }
    }
    assert_eq!((victim.session.streams(), victim.held()), (0, 0));
    assert_eq!(victim.output(), []);

    victim.frame(Kind::NewStream, 1, b"").unwrap();
    victim.frame(Kind::Close, 1, b"").unwrap();
    victim.frame(Kind::Message, 1, b"behind the end").unwrap();
    let key = victim.accept();
    assert_eq!(victim.session.read(key, &mut [0; 9]), Poll::Ready(Ok(0)));
    victim.frame(Kind::Reset, 1, b"").unwrap();
    victim.frame(Kind::Message, 1, b"behind the reset").unwrap();
    victim.session.forget(key, START);
    victim.output();
    assert_eq!((victim.session.streams(), victim.held()), (0, 0));
}

#[test]
fn streams_that_nobody_reads_cost_their_queues_and_the_overflow_and_no_more() {
    let mut config = Config::default();
    config.receive_queue = 64 * KIB;
    let bound = 128 * (64 * KIB + KIB) + MIB + MIB;
    let mut victim = Victim::with(config);
    let payload = vec![0; MIB];
    'flood: for round in 0..33 {
        for id in 0..128 {
            if round == 0 {
                victim.frame(Kind::NewStream, id, b"").unwrap();
            }
            let mut message = Header::encode_flag(id, Kind::Message, true)
                .as_slice()
                .to_vec();
            message.extend_from_slice(uvarint::encode(MIB as u64).as_slice());
            message.extend_from_slice(&payload);
            for part in message.chunks(64 * KIB) {
                if !victim.session.wants_input() {
                    break 'flood;
                }
                victim.bytes(part).unwrap();
            }
        }
    }
    assert!(
        !victim.session.wants_input(),
        "33 MiB on each of 128 streams are taken"
    );
    let held = victim.held();
    assert!(held < bound, "{held} bytes held");
}

#[test]
fn one_byte_frames_pin_no_more_memory_than_they_are_charged() {
    let mut victim = Victim::new();
    victim.frame(Kind::NewStream, 1, b"").unwrap();
    for _ in 0..100_000 {
        victim.frame(Kind::Message, 1, &[7]).unwrap();
    }
    let held = victim.held();
    assert!(
        (100_000..250_000).contains(&held),
        "{held} bytes for 100,000"
    );
}

#[test]
fn an_unread_stream_stops_the_others_for_five_seconds_at_most() {
    let mut victim = Victim::new();
    victim.frame(Kind::NewStream, 1, b"").unwrap();
    victim.frame(Kind::NewStream, 2, b"").unwrap();
    let (unread, other) = (victim.accept(), victim.accept());
    while victim.session.wants_input() {
        victim.frame(Kind::Message, 1, &[0; 60 * KIB]).unwrap();
    }
    assert_eq!(
        victim.session.poll_timeout(),
        Some(START + Duration::from_secs(5))
    );
    victim
        .session
        .handle_timeout(START + Duration::from_secs(5))
        .unwrap();

    assert!(victim.session.wants_input());
    victim.frame(Kind::Message, 2, b"on").unwrap();
    assert_eq!(victim.session.read(other, &mut [0; 9]), Poll::Ready(Ok(2)));
    let reset = StreamReset {
        by: Blame::Us,
        code: ErrorCode::RESOURCE_LIMIT_EXCEEDED,
    };
    let error = Poll::Ready(Err(StreamError::Reset(reset)));
    assert_eq!(victim.session.read(unread, &mut [0; 9]), error);
    let out = victim.output();
    assert_eq!((out.len(), out[0].kind, out[0].id), (1, Kind::Reset, 1));
}

#[test]
fn a_clock_that_jumps_a_hundred_years_resets_what_is_full_and_panics_nowhere() {
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    let mut victim = Victim::new();
    for (id, now) in (1..).zip([START + century, START + century * 2, Instant::FAR_FUTURE]) {
        victim.frame(Kind::NewStream, id, b"").unwrap();
        let unread = victim.accept();
        while victim.session.wants_input() {
            victim.frame(Kind::Message, id, &[0; 60 * KIB]).unwrap();
        }
        victim.now = now;
        victim.session.handle_timeout(now).unwrap();
        assert!(victim.session.wants_input(), "at {now:?}");
        let read = victim.session.read(unread, &mut [0; 9]);
        assert!(matches!(read, Poll::Ready(Err(_))), "at {now:?}");
        victim.session.forget(unread, now);
        victim.output();
        assert_eq!((victim.session.streams(), victim.held()), (0, 0));
    }
    // Nothing is later than now: patience ends at once instead of overflowing.
    victim.frame(Kind::NewStream, 9, b"").unwrap();
    while victim.session.wants_input() {
        victim.frame(Kind::Message, 9, &[0; 60 * KIB]).unwrap();
    }
    assert_eq!(victim.session.poll_timeout(), Some(Instant::FAR_FUTURE));
    victim.session.handle_timeout(Instant::FAR_FUTURE).unwrap();
    assert!(victim.session.wants_input());
}

#[test]
fn a_full_stream_that_is_read_in_time_goes_on() {
    let mut victim = Victim::new();
    victim.frame(Kind::NewStream, 1, b"").unwrap();
    let key = victim.accept();
    while victim.session.wants_input() {
        victim.frame(Kind::Message, 1, &[0; 60 * KIB]).unwrap();
    }
    let mut read = 0;
    while let Poll::Ready(Ok(count)) = victim.session.read(key, &mut [0; 8 * KIB]) {
        read += count;
    }
    assert!(read > MIB && victim.session.wants_input());
    assert_eq!(victim.session.poll_timeout(), None);
}

#[test]
fn a_stream_beyond_the_cap_is_reset_and_the_others_live() {
    let mut config = Config::default();
    config.accept_backlog = 10_000;
    let mut victim = Victim::with(config);
    for id in 0..1030 {
        victim.frame(Kind::NewStream, id, b"").unwrap();
    }
    assert_eq!(victim.session.streams(), 1024);
    let out = victim.output();
    let refused: Vec<_> = out.iter().map(|header| (header.kind, header.id)).collect();
    let expected: Vec<_> = (1024..1030).map(|id| (Kind::Reset, id)).collect();
    assert_eq!(refused, expected);
    assert!(out.iter().all(|header| !header.by_initiator));
    victim.frame(Kind::Message, 1029, b"late").unwrap();
    victim.frame(Kind::Message, 0, b"fine").unwrap();
}

#[test]
fn opening_and_resetting_at_line_rate_ends_the_connection() {
    let mut victim = Victim::new();
    let mut survived = 0;
    loop {
        victim.frame(Kind::NewStream, survived, b"").unwrap();
        let key = victim.accept();
        let reset = victim.frame(Kind::Reset, survived, b"");
        victim.session.forget(key, START);
        if broke(reset) {
            break;
        }
        survived += 1;
    }
    assert_eq!(survived, 2000);
    victim.output();
    assert_eq!((victim.session.streams(), victim.held()), (0, 0));
}

#[test]
fn a_remote_that_opens_without_reading_stops_being_read() {
    let mut config = Config::default();
    config.max_inbound = 0;
    let mut victim = Victim::with(config);
    let mut taken = 0;
    while victim.session.wants_input() {
        victim.frame(Kind::NewStream, taken, b"").unwrap();
        taken += 1;
    }
    assert_eq!(taken, 256);
    assert_eq!(victim.output().len(), 256);
    assert!(victim.session.wants_input());
}

#[test]
fn resets_that_we_owe_count_against_the_limit_until_they_are_sent() {
    let mut config = Config::default();
    config.max_inbound = 10;
    let mut victim = Victim::with(config);
    for id in 0..10 {
        victim.frame(Kind::NewStream, id, b"").unwrap();
        let key = victim.accept();
        victim.session.forget(key, START);
    }
    assert_eq!(victim.session.streams(), 10);
    victim.frame(Kind::NewStream, 10, b"").unwrap();
    assert_eq!(victim.output().len(), 11);
    assert_eq!((victim.session.streams(), victim.held()), (0, 0));
}

#[test]
fn directions_end_one_by_one_on_the_wire() {
    let mut victim = Victim::new();
    let Poll::Ready(Ok(ours)) = victim.session.open() else {
        panic!("opens");
    };
    assert_eq!(victim.session.write(ours, b"question"), Poll::Ready(Ok(8)));
    victim.session.close(ours).unwrap();
    let kinds: Vec<_> = victim.output().iter().map(|header| header.kind).collect();
    assert_eq!(kinds, [Kind::NewStream, Kind::Message, Kind::Close]);
    victim.header(Kind::Message, 0, false, 6).unwrap();
    victim.bytes(b"answer").unwrap();
    victim.header(Kind::Close, 0, false, 0).unwrap();
    assert_eq!(victim.session.read(ours, &mut [0; 9]), Poll::Ready(Ok(6)));
    assert_eq!(victim.session.read(ours, &mut [0; 9]), Poll::Ready(Ok(0)));
    victim.session.forget(ours, START);
    assert_eq!((victim.session.streams(), victim.held()), (0, 0));
}

#[test]
fn both_sides_count_from_zero_and_nothing_is_confused() {
    let mut victim = Victim::new();
    let Poll::Ready(Ok(ours)) = victim.session.open() else {
        panic!("opens");
    };
    victim.frame(Kind::NewStream, 0, b"").unwrap();
    let theirs = victim.accept();
    victim.frame(Kind::Message, 0, b"theirs").unwrap();
    victim.header(Kind::Message, 0, false, 4).unwrap();
    victim.bytes(b"ours").unwrap();
    assert_eq!(victim.session.read(theirs, &mut [0; 9]), Poll::Ready(Ok(6)));
    assert_eq!(victim.session.read(ours, &mut [0; 9]), Poll::Ready(Ok(4)));
    assert_ne!(
        victim.session.stream_id(ours),
        victim.session.stream_id(theirs)
    );
}

#[test]
fn small_writes_become_one_frame_of_bounded_size() {
    let mut victim = Victim::new();
    let Poll::Ready(Ok(key)) = victim.session.open() else {
        panic!("opens");
    };
    for _ in 0..300 {
        assert_eq!(victim.session.write(key, &[1; 100]), Poll::Ready(Ok(100)));
    }
    let frames: Vec<_> = victim.output().iter().map(|header| header.len).collect();
    assert_eq!(frames, [0, 16_300, 13_700]);
}
