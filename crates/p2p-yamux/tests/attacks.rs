//! What a hostile or broken remote may try.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::task::Poll;
use std::time::Duration;

use p2p_core::{Blame, Budget, ConnectionEnd, ErrorCode, Instant, OpenError, Role, StreamReset};
use p2p_mux::{Input, Key, Machine, Pending, StreamError, Wake};
use p2p_yamux::wire::{Flags, HEADER_LEN, Header, Kind};
use p2p_yamux::{Config, INITIAL_WINDOW, Session};

const START: Instant = Instant::from_nanos(1_000_000_000);

struct Victim {
    session: Session,
    budget: Budget,
    now: Instant,
}

impl Victim {
    fn new() -> Self {
        Self::with(Config::default(), Role::Listener)
    }

    fn with(config: Config, role: Role) -> Self {
        let budget = Budget::new("memory of the connection", "test", 8 << 20);
        Self {
            session: Session::new(config, role, &budget, START),
            budget,
            now: START,
        }
    }

    fn frame(
        &mut self,
        kind: Kind,
        flags: Flags,
        stream: u32,
        length: u32,
    ) -> Result<(), ConnectionEnd> {
        let header = Header {
            kind,
            flags,
            stream,
            length,
        };
        self.bytes(&header.encode())
    }

    fn data(&mut self, flags: Flags, stream: u32, payload: &[u8]) -> Result<(), ConnectionEnd> {
        self.frame(
            Kind::Data,
            flags,
            stream,
            u32::try_from(payload.len()).unwrap(),
        )?;
        self.bytes(payload)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ConnectionEnd> {
        self.session.handle_input(&mut Input::from(bytes), self.now)
    }

    fn output(&mut self) -> Vec<Header> {
        let mut out = Vec::new();
        self.session.take_output(&mut out, self.now);
        headers(&out)
    }

    fn accept(&mut self) -> Key {
        let Poll::Ready(key) = self.session.accept() else {
            panic!("nothing to accept");
        };
        key
    }

    /// Everything that is held, without what was paid in advance.
    fn held(&mut self) -> usize {
        self.session.trim();
        self.budget.used()
    }
}

/// The frames in `out`.
fn headers(mut out: &[u8]) -> Vec<Header> {
    let mut headers = Vec::new();
    while let Some((head, rest)) = out.split_first_chunk::<HEADER_LEN>() {
        let header = Header::decode(*head).unwrap();
        let payload = if header.kind == Kind::Data {
            header.length as usize
        } else {
            0
        };
        out = rest.get(payload..).unwrap();
        headers.push(header);
    }
    headers
}

fn broke(result: Result<(), ConnectionEnd>) -> bool {
    matches!(result, Err(ConnectionEnd::Protocol { .. }))
}

#[test]
fn a_first_frame_larger_than_the_window_ends_the_connection_before_anything_is_created() {
    for length in [INITIAL_WINDOW + 1, u32::MAX] {
        let mut victim = Victim::new();
        assert!(broke(victim.frame(Kind::Data, Flags::SYN, 1, length)));
        assert_eq!((victim.session.streams(), victim.held()), (0, 0));
        let out = victim.output();
        assert_eq!((out[0].kind, out[0].length), (Kind::GoAway, 1));
    }
}

#[test]
fn more_data_than_the_window_ends_the_connection_before_it_is_taken() {
    let mut victim = Victim::new();
    victim
        .data(Flags::SYN, 1, &vec![0; INITIAL_WINDOW as usize])
        .unwrap();
    let held = victim.held();
    assert!(broke(victim.frame(Kind::Data, Flags::NONE, 1, 1)));
    assert_eq!(victim.held(), held);
}

#[test]
fn unread_data_costs_no_more_than_windows_and_then_single_streams_are_reset() {
    let mut victim = Victim::new();
    for id in 0..100u32 {
        victim
            .data(Flags::SYN, 2 * id + 1, &vec![0; INITIAL_WINDOW as usize])
            .unwrap();
    }
    assert!(victim.budget.used() <= victim.budget.limit());
    let out = victim.output();
    let resets: Vec<_> = out
        .iter()
        .filter(|frame| frame.flags.has(Flags::RST))
        .collect();
    assert!(
        resets.len() > 60 && resets.len() < 80,
        "{} resets",
        resets.len()
    );
    let code = ErrorCode::RESOURCE_LIMIT_EXCEEDED.0;
    assert!(resets.iter().all(|frame| frame.length == code));
}

#[test]
fn one_byte_frames_pin_no_more_memory_than_they_are_charged() {
    let mut victim = Victim::new();
    victim.frame(Kind::WindowUpdate, Flags::SYN, 1, 0).unwrap();
    for _ in 0..100_000 {
        victim.data(Flags::NONE, 1, &[7]).unwrap();
    }
    let held = victim.held();
    assert!(
        (100_000..250_000).contains(&held),
        "{held} bytes for 100,000"
    );
}

#[test]
fn credit_of_u32_max_twice_is_no_overflow() {
    let mut victim = Victim::new();
    victim
        .frame(Kind::WindowUpdate, Flags::SYN, 1, u32::MAX)
        .unwrap();
    victim
        .frame(Kind::WindowUpdate, Flags::NONE, 1, u32::MAX)
        .unwrap();
    let key = victim.accept();
    assert!(matches!(
        victim.session.write(key, b"fine"),
        Poll::Ready(Ok(4))
    ));
}

#[test]
fn only_the_latest_of_a_flood_of_pings_is_answered() {
    let mut victim = Victim::new();
    for value in 0..100_000 {
        victim.frame(Kind::Ping, Flags::SYN, 0, value).unwrap();
    }
    let out = victim.output();
    assert_eq!(out.len(), 1);
    assert_eq!(
        (out[0].kind, out[0].flags, out[0].length),
        (Kind::Ping, Flags::ACK, 99_999)
    );
    assert_eq!(victim.held(), 0);
}

#[test]
fn a_pong_that_nobody_asked_for_is_ignored() {
    let mut victim = Victim::new();
    victim.frame(Kind::Ping, Flags::ACK, 0, 77).unwrap();
    assert_eq!(victim.session.rtt(), None);
    assert_eq!(victim.session.pending(), Pending::Nothing);
}

#[test]
fn a_go_away_ends_opening_and_nothing_else() {
    let mut victim = Victim::new();
    victim.data(Flags::SYN, 1, b"before").unwrap();
    let key = victim.accept();
    victim.frame(Kind::GoAway, Flags::NONE, 0, 0).unwrap();
    assert!(matches!(
        victim.session.open(),
        Poll::Ready(Err(OpenError::GoneAway))
    ));
    assert!(matches!(
        victim.session.write(key, b"go on"),
        Poll::Ready(Ok(5))
    ));
    victim.data(Flags::FIN, 1, b" after").unwrap();
    let mut buffer = [0; 20];
    assert_eq!(victim.session.read(key, &mut buffer), Poll::Ready(Ok(12)));
    assert!(matches!(
        victim.session.handle_eof(),
        ConnectionEnd::Remote(ErrorCode::NONE)
    ));
}

#[test]
fn a_go_away_with_a_code_ends_the_connection_with_it() {
    let mut victim = Victim::new();
    let end = victim
        .frame(Kind::GoAway, Flags::NONE, 0, 0x1006)
        .unwrap_err();
    assert!(matches!(end, ConnectionEnd::Remote(ErrorCode::SHUTDOWN)));
}

#[test]
fn the_wrong_parity_and_a_second_syn_end_the_connection() {
    assert!(broke(Victim::new().frame(
        Kind::WindowUpdate,
        Flags::SYN,
        2,
        0
    )));
    let mut victim = Victim::new();
    victim.frame(Kind::WindowUpdate, Flags::SYN, 1, 0).unwrap();
    assert!(broke(victim.frame(Kind::Data, Flags::SYN, 1, 0)));
}

#[test]
fn stream_513_is_reset_and_the_others_live() {
    let mut config = Config::default();
    config.accept_backlog = 10_000;
    let mut victim = Victim::with(config, Role::Listener);
    for id in 0..513u32 {
        victim
            .frame(Kind::WindowUpdate, Flags::SYN, 2 * id + 1, 0)
            .unwrap();
    }
    assert_eq!(victim.session.streams(), 512);
    let out = victim.output();
    assert_eq!((out.len(), out[0].stream), (1, 1025));
    assert!(out[0].flags.has(Flags::RST));
    victim.data(Flags::NONE, 1025, b"late").unwrap();
    victim.data(Flags::NONE, 1, b"fine").unwrap();
    assert_eq!(victim.output().len(), 0, "a refused stream is reset once");
}

#[test]
fn a_remote_that_opens_without_reading_stops_being_read() {
    let mut config = Config::default();
    config.max_inbound = 0;
    let mut victim = Victim::with(config, Role::Listener);
    let mut syns = Vec::new();
    for id in 0..10_000u32 {
        let header = Header {
            kind: Kind::WindowUpdate,
            flags: Flags::SYN,
            stream: 2 * id + 1,
            length: 0,
        };
        syns.extend(header.encode());
    }
    let mut input = Input::from(&syns[..]);
    let mut resets = 0;
    while !input.is_empty() {
        victim.session.handle_input(&mut input, START).unwrap();
        assert!(input.is_empty() || !victim.session.wants_input());
        let out = victim.output();
        assert!(out.len() <= 256, "owes {} resets at once", out.len());
        resets += out.len();
        assert!(victim.session.wants_input());
    }
    assert_eq!(resets, 10_000);
}

#[test]
fn opening_and_resetting_at_line_rate_ends_the_connection() {
    let mut victim = Victim::new();
    let mut survived = 0;
    let end = loop {
        let id = 2 * survived + 1;
        let opened = victim.frame(Kind::WindowUpdate, Flags::SYN, id, 0);
        let reset = opened.and_then(|()| victim.frame(Kind::WindowUpdate, Flags::RST, id, 0));
        match reset {
            Ok(()) => survived += 1,
            Err(end) => break end,
        }
    };
    assert_eq!(survived, 2000);
    assert!(matches!(end, ConnectionEnd::Protocol { .. }));
    assert_eq!(victim.session.streams(), 0);
    assert_eq!(victim.held(), 0);
}

#[test]
fn opening_and_resetting_at_a_human_rate_goes_on_for_ever() {
    let mut victim = Victim::new();
    for id in 0..10_000u32 {
        victim.now += Duration::from_millis(1);
        victim
            .frame(Kind::WindowUpdate, Flags::SYN, 2 * id + 1, 0)
            .unwrap();
        victim
            .frame(Kind::WindowUpdate, Flags::RST, 2 * id + 1, 0)
            .unwrap();
    }
    assert_eq!(victim.held(), 0);
}

#[test]
fn a_reset_tells_reader_and_writer_the_code_of_the_window_update() {
    let mut victim = Victim::new();
    victim.data(Flags::SYN, 1, b"ten bytes.").unwrap();
    let key = victim.accept();
    victim
        .frame(Kind::WindowUpdate, Flags::RST, 1, 0x1001)
        .unwrap();
    let reset = StreamReset {
        by: Blame::Remote,
        code: ErrorCode(0x1001),
    };
    let error = Poll::Ready(Err(StreamError::Reset(reset)));
    assert_eq!(victim.session.read(key, &mut [0; 20]), error);
    assert_eq!(victim.session.write(key, b"x"), error);
}

#[test]
fn an_answer_that_is_whole_survives_a_later_reset() {
    let mut victim = Victim::with(Config::default(), Role::Dialer);
    let Poll::Ready(Ok(key)) = victim.session.open() else {
        panic!("opens");
    };
    let _ = victim.session.write(key, b"a long question");
    victim.data(Flags::ACK | Flags::FIN, 1, b"answer").unwrap();
    victim.frame(Kind::Data, Flags::RST, 1, 0).unwrap();
    let mut buffer = [0; 20];
    assert_eq!(victim.session.read(key, &mut buffer), Poll::Ready(Ok(6)));
    assert_eq!(victim.session.read(key, &mut buffer), Poll::Ready(Ok(0)));
    assert!(matches!(
        victim.session.write(key, b"x"),
        Poll::Ready(Err(StreamError::Reset(_)))
    ));
}

#[test]
fn a_dropped_stream_takes_a_bounded_amount_more_and_is_then_reset() {
    let mut victim = Victim::new();
    victim.frame(Kind::WindowUpdate, Flags::SYN, 1, 0).unwrap();
    let key = victim.accept();
    victim.session.close(key).unwrap();
    victim.session.forget(key, START);
    let (mut sent, mut window) = (0, INITIAL_WINDOW);
    loop {
        for frame in victim.output() {
            assert!(
                !frame.flags.has(Flags::RST) || sent > 1 << 20,
                "reset after {sent}"
            );
            window += if frame.flags.has(Flags::RST) {
                0
            } else {
                frame.length
            };
        }
        if victim.session.streams() == 0 {
            break;
        }
        assert!(window >= 1000, "the remote's window stalls");
        victim.data(Flags::NONE, 1, &[0; 1000]).unwrap();
        (sent, window) = (sent + 1000, window - 1000);
        assert!(sent < 2 << 20, "takes everything");
    }
    assert_eq!(victim.held(), 0);
}

#[test]
fn a_dropped_stream_whose_remote_never_closes_is_reset_after_a_minute() {
    let mut victim = Victim::new();
    victim.frame(Kind::WindowUpdate, Flags::SYN, 1, 0).unwrap();
    let key = victim.accept();
    victim.session.close(key).unwrap();
    victim.session.forget(key, START);
    victim.output();
    assert_eq!(victim.session.streams(), 1);
    victim.bytes(&[]).unwrap();
    victim.now = START + Duration::from_secs(60);
    victim.session.handle_timeout(victim.now).unwrap();
    assert!(
        victim
            .output()
            .iter()
            .any(|frame| frame.flags.has(Flags::RST))
    );
    assert_eq!(victim.session.streams(), 0);
}

#[test]
fn silence_is_noticed_after_a_ping_and_its_patience() {
    let mut victim = Victim::new();
    assert_eq!(
        victim.session.poll_timeout(),
        Some(START + Duration::from_secs(30))
    );
    victim.now = START + Duration::from_secs(30);
    victim.session.handle_timeout(victim.now).unwrap();
    assert_eq!(victim.output()[0].kind, Kind::Ping);
    assert_eq!(
        victim.session.poll_timeout(),
        Some(START + Duration::from_secs(40))
    );
    let end = victim
        .session
        .handle_timeout(START + Duration::from_secs(40))
        .unwrap_err();
    assert!(matches!(end, ConnectionEnd::Silent(time) if time == Duration::from_secs(40)));
}

#[test]
fn a_clock_that_jumps_a_hundred_years_ends_the_connection_and_panics_nowhere() {
    let mut victim = Victim::new();
    victim.frame(Kind::WindowUpdate, Flags::SYN, 1, 0).unwrap();
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    victim.session.handle_timeout(START + century).unwrap();
    victim
        .session
        .handle_timeout(START + century + century)
        .unwrap_err();
    let _ = victim.session.handle_timeout(Instant::FAR_FUTURE);
}

/// The remote fills the window of stream 1 again and again, `trip` apart, and all of it is read.
/// Returns the windows that it was granted.
fn earn(victim: &mut Victim, key: Key, trip: Duration) -> Vec<u32> {
    let (mut window, mut granted) = (INITIAL_WINDOW, Vec::new());
    for _ in 0..20 {
        victim
            .data(Flags::NONE, 1, &vec![0; window as usize])
            .unwrap();
        window = 0;
        while matches!(
            victim.session.read(key, &mut [0; 60_000]),
            Poll::Ready(Ok(1..))
        ) {}
        victim.now += trip;
        for frame in victim.output() {
            match frame.kind {
                Kind::Ping => {
                    victim.now += trip;
                    victim
                        .frame(Kind::Ping, Flags::ACK, 0, frame.length)
                        .unwrap();
                }
                Kind::WindowUpdate => window += frame.length,
                Kind::Data | Kind::GoAway => panic!("{frame:?}"),
            }
        }
        granted.push(window);
    }
    assert_eq!(victim.session.rtt(), Some(trip));
    granted
}

#[test]
fn a_window_used_up_within_four_round_trips_doubles_up_to_its_maximum() {
    let mut config = Config::default();
    config.max_window = 1 << 20;
    let mut victim = Victim::with(config, Role::Listener);
    victim.frame(Kind::WindowUpdate, Flags::SYN, 1, 0).unwrap();
    let key = victim.accept();

    let granted = earn(&mut victim, key, Duration::from_millis(10));

    assert_eq!(granted.last(), Some(&(1 << 20)));
    assert!(granted.is_sorted());
    victim.session.reset(key, ErrorCode::NONE);
    victim.session.forget(key, victim.now);
    victim.output();
    assert_eq!(victim.held(), 0);
}

#[test]
fn windows_are_paid_for_and_leave_what_first_windows_need() {
    for (limit, spared) in [(8 << 20, 4 << 20), (64 << 20, 16 << 20)] {
        let mut victim = Victim::with(Config::default(), Role::Listener);
        victim.budget = Budget::new("memory of the connection", "test", limit);
        victim.session = Session::new(Config::default(), Role::Listener, &victim.budget, START);
        victim.frame(Kind::WindowUpdate, Flags::SYN, 1, 0).unwrap();
        let key = victim.accept();

        let granted = earn(&mut victim, key, Duration::from_millis(10));

        let window = *granted.last().unwrap() as usize;
        let most = limit - spared + INITIAL_WINDOW as usize;
        assert!(
            (most - (128 << 10)..=most).contains(&window),
            "{window} of {most}"
        );
        assert!(victim.held() >= window - INITIAL_WINDOW as usize, "unpaid");
        let last = u32::try_from(spared).unwrap() / INITIAL_WINDOW - 1;
        for id in 1..=last {
            victim
                .data(Flags::SYN, 2 * id + 1, &vec![0; INITIAL_WINDOW as usize])
                .unwrap();
        }
        let reset = |frame: &Header| frame.flags.has(Flags::RST);
        assert!(
            !victim.output().iter().any(reset),
            "no room for first windows"
        );
    }
}

#[test]
fn a_remote_that_sends_fast_to_nobody_earns_no_window() {
    let mut victim = Victim::new();
    victim.frame(Kind::WindowUpdate, Flags::SYN, 1, 0).unwrap();
    let key = victim.accept();
    earn(&mut victim, key, Duration::from_millis(10));
    victim.session.reset(key, ErrorCode::NONE);
    victim.session.forget(key, victim.now);
    victim.output();

    let half = INITIAL_WINDOW as usize / 2;
    for id in 1..9 {
        victim.data(Flags::SYN, 2 * id + 1, &vec![0; half]).unwrap();
        victim.accept();
        victim
            .data(Flags::NONE, 2 * id + 1, &vec![0; half])
            .unwrap();
    }

    let granted: u32 = victim.output().iter().map(|frame| frame.length).sum();
    assert_eq!(granted, 0);
    assert!(victim.held() < 9 * INITIAL_WINDOW as usize);
}

#[test]
fn the_257th_unacknowledged_stream_waits_for_an_acknowledgement() {
    let mut victim = Victim::with(Config::default(), Role::Dialer);
    for _ in 0..256 {
        assert!(victim.session.open().is_ready());
    }
    assert!(victim.session.open().is_pending());
    while victim.session.poll_wake().is_some() {}
    victim.frame(Kind::WindowUpdate, Flags::ACK, 1, 0).unwrap();
    assert_eq!(victim.session.poll_wake(), Some(Wake::Opener));
    assert!(victim.session.open().is_ready());
    assert!(victim.session.open().is_pending());
}

#[test]
fn a_stream_is_acknowledged_when_the_application_takes_it() {
    let mut victim = Victim::new();
    victim.data(Flags::SYN, 1, b"hello").unwrap();
    assert_eq!(victim.output().len(), 0);
    let key = victim.accept();
    assert_eq!(victim.session.pending(), Pending::Lazy);
    let _ = victim.session.write(key, b"answer");
    let out = victim.output();
    assert_eq!(out.len(), 1, "the acknowledgement rides on the answer");
    assert_eq!(
        (out[0].kind, out[0].flags, out[0].length),
        (Kind::Data, Flags::ACK, 6)
    );
}

#[test]
fn small_writes_become_one_frame() {
    let mut victim = Victim::with(Config::default(), Role::Dialer);
    let Poll::Ready(Ok(key)) = victim.session.open() else {
        panic!("opens");
    };
    for _ in 0..100 {
        assert_eq!(victim.session.write(key, &[1; 100]), Poll::Ready(Ok(100)));
    }
    victim.session.close(key).unwrap();
    let out = victim.output();
    let seen: Vec<_> = out
        .iter()
        .map(|frame| (frame.flags, frame.length))
        .collect();
    assert_eq!(seen, [(Flags::SYN, 10_000), (Flags::FIN, 0)]);
}
