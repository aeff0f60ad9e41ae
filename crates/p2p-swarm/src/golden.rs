//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-swarm golden` writes `tests/golden/texts.txt` anew: read the
//! difference as a user would.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use p2p_core::golden::Texts;
use p2p_core::{
    Budget, Chain, Denied, Exceeded, Gate, Instant, Multiaddr, PeerId, Protocol, SecurityError,
    TransportError,
};

use crate::admission::Admission;
use crate::error::{
    Attempt, BuildError, DialError, HandleError, ListenError, OpenError, StreamError, UpgradeError,
};
use crate::share::Shares;
use crate::{Config, Damaged, Event, GateList, IntoTarget, IpPrefix, Limits, StoreError};

#[test]
fn every_error_and_refusal_reads_as_it_should() {
    let mut texts = Texts::default();
    texts.lines("UpgradeError", upgrades());
    texts.blamed("DialError", DialError::blame, dials());
    texts.blamed("OpenError", OpenError::blame, opens());
    let streams = [
        StreamError::Negotiation(Arc::new(refused())),
        StreamError::Timeout(Duration::from_secs(10)),
    ];
    texts.blamed("StreamError", StreamError::blame, streams);
    texts.blamed("ListenError", ListenError::blame, listens());
    texts.errors("HandleError", handles());
    texts.errors("BuildError", builds());
    let garbled = format!("/{}\u{1b}[2J", "long".repeat(9));
    let targets = ["nowhere", "/ip4/192.0.2.1/tcp", &garbled];
    let wrong = targets.map(|text| text.into_target().unwrap_err());
    texts.errors("InvalidTarget", wrong);
    texts.errors(
        "InvalidPrefix",
        ["10.0.0.0/99".parse::<IpPrefix>().unwrap_err()],
    );
    let full = "/var/lib/node/book.redb: no space left".to_owned();
    texts.errors("StoreError", [StoreError(full)]);
    texts.lines(
        "Stream",
        [crate::stream::unanswered(
            &Protocol::from_static("/echo/1.0.0"),
            Duration::from_secs(10),
        )],
    );
    texts.errors("Damaged", [Damaged]);
    texts.lines("refusals", refusals());
    texts.lines("events", [format!("{:?}", Event::Lagged(7))]);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[0, 1, n]).unwrap()
}

fn addr() -> Multiaddr {
    "/ip4/192.0.2.1/tcp/4001".parse().unwrap()
}

fn exceeded() -> Exceeded {
    let budget = Budget::new("connections", "max_connections", 2);
    let _held = budget.reserve(2).unwrap();
    budget.reserve(1).unwrap_err()
}

fn refused() -> p2p_multistream::Error {
    let proposed = vec![Protocol::from_static("/noise")];
    p2p_multistream::NegotiationError::Refused { proposed }.into()
}

/// One of each kind, with blame and step.
fn upgrades() -> Vec<String> {
    let connect = |kind: io::ErrorKind| TransportError::Connect {
        addr: addr(),
        source: kind.into(),
    };
    let wrong = SecurityError::WrongPeer {
        expected: peer(1),
        found: peer(2),
    };
    let reason = "not on a Sunday".to_owned();
    let all = [
        UpgradeError::Backoff {
            failures: 3,
            left: Duration::from_millis(1500),
        },
        UpgradeError::Denied(Denied { reason }),
        UpgradeError::GivenUp {
            after: Duration::from_secs(30),
        },
        UpgradeError::Limit(exceeded()),
        UpgradeError::Muxer(refused()),
        UpgradeError::Negotiation(refused()),
        UpgradeError::Security(wrong),
        UpgradeError::Closed,
        UpgradeError::SelfDial,
        UpgradeError::Timeout {
            step: crate::Step::Security,
            after: Duration::from_secs(10),
            setting: "upgrade_timeout",
        },
        UpgradeError::Transport(connect(io::ErrorKind::ConnectionRefused)),
        UpgradeError::Transport(connect(io::ErrorKind::InvalidInput)),
        UpgradeError::Transport(TransportError::Unsupported { addr: addr() }),
    ];
    let line = |error: &UpgradeError| {
        let (step, blame) = (error.step(), error.blame());
        format!("[{step}, blame {blame}] {}", Chain(error))
    };
    all.iter().map(line).collect()
}

fn dials() -> [DialError; 8] {
    let attempt = |error: UpgradeError| Attempt {
        addr: addr(),
        error: Arc::new(error),
        took: Duration::from_millis(12),
    };
    let failed = |count: usize, more, left_out| DialError::AllFailed {
        attempts: (0..count)
            .map(|_| attempt(UpgradeError::SelfDial))
            .collect(),
        more,
        left_out,
    };
    [
        failed(1, 0, 0),
        failed(2, 3, 0),
        failed(2, 30, 8),
        DialError::Closed,
        DialError::Limit(exceeded()),
        DialError::NoAddress { peer: peer(1) },
        DialError::SelfDial { peer: peer(1) },
        DialError::Target("nowhere".into_target().unwrap_err()),
    ]
}

fn opens() -> [OpenError; 6] {
    [
        OpenError::Dial(DialError::Closed),
        OpenError::Muxer(p2p_core::OpenError::GoneAway),
        OpenError::Muxer(p2p_core::OpenError::Limit(exceeded())),
        OpenError::Negotiation(Arc::new(refused())),
        OpenError::Protocol(Protocol::new("echo").unwrap_err()),
        OpenError::Timeout(Duration::from_secs(10)),
    ]
}

fn listens() -> [ListenError; 3] {
    let in_use = TransportError::Listen {
        addr: addr(),
        source: io::ErrorKind::AddrInUse.into(),
    };
    [
        ListenError::Closed,
        ListenError::NotOurs { addr: addr() },
        ListenError::Transport(in_use),
    ]
}

fn handles() -> [HandleError; 2] {
    let taken = HandleError::Taken(Protocol::from_static("/echo/1.0.0"));
    let wrong = HandleError::Protocol(Protocol::new("echo").unwrap_err());
    [taken, wrong]
}

/// Every setting that can be refused, as it is refused.
fn builds() -> Vec<BuildError> {
    let mut all = vec![
        BuildError::Insecure(Protocol::from_static("/plaintext/2.0.0")),
        BuildError::NoMuxer,
        BuildError::NoSecurity,
        BuildError::NoTransport,
    ];
    let changes: [fn(&mut Config); 15] = [
        |config| config.limits.memory_budget = 0,
        |config| config.limits = Limits::with_memory_budget(3),
        |config| config.limits.memory_budget = 1 << 20,
        |config| config.limits.connection_memory = 65 << 20,
        |config| config.limits.max_streams = 0,
        |config| config.limits.prefix_v4 = 33,
        |config| config.observers_needed = 0,
        |config| config.dial_timeout = Duration::ZERO,
        |config| config.dial_deadline = Duration::ZERO,
        |config| config.idle_timeout = Duration::ZERO,
        |config| config.supplant_timeout = Duration::ZERO,
        |config| (config.low_water, config.high_water) = (Some(9), Some(8)),
        |config| config.low_water = Some(1000),
        |config| config.high_water = Some(2000),
        |config| config.dial_backoff = Duration::from_secs(301),
    ];
    for change in changes {
        let mut config = Config::default();
        change(&mut config);
        all.push(config.check().unwrap_err());
    }
    all
}

/// What the limits say that are not one plain budget.
fn refusals() -> Vec<String> {
    let limits = Limits {
        max_pending_incoming: 1,
        max_pending_per_prefix: 1,
        max_connections_per_prefix: 1,
        incoming_rate_per_prefix: 1,
        incoming_burst_per_prefix: 1,
        max_streams_per_peer: 2,
        max_streams_per_connection: 1,
        max_streams_per_protocol_and_peer: 1,
        ..Limits::default()
    };
    let mut admission = Admission::new(&limits);
    let arrived = admission.arrive(&addr(), Instant::ZERO).unwrap();
    let mut all = vec![admission.arrive(&addr(), Instant::ZERO).unwrap_err()];
    admission.leave(arrived.id);
    all.push(admission.arrive(&addr(), Instant::ZERO).unwrap_err());
    admission.connect(&addr()).unwrap();
    all.push(admission.connect(&addr()).unwrap_err());
    all.push(admission.evicted());
    all.push(crate::trim::above(9, 8));
    all.push(limits.check_one_more_of_peer(8).unwrap_err());
    all.push(limits.dials().reserve(1000).unwrap_err());

    let memory = Budget::new("memory of the host", "memory_budget", 64 << 20);
    let streams = Budget::new("incoming streams", "max_streams", 1);
    let shares = Arc::new(Shares::new(memory, streams, &limits, Arc::new(|_, _| ())));
    let (one, two) = (shares.share(peer(1)), shares.share(peer(1)));
    all.push(one.budget.reserve(65 << 20).unwrap_err());
    let _memory = (one.budget.reserve(32 << 20), two.budget.reserve(32 << 20));
    all.push(shares.share(peer(1)).budget.reserve(1).unwrap_err());
    all.push(shares.share(peer(2)).budget.reserve(1).unwrap_err());
    let _stream = one.streams.accept().unwrap();
    all.push(one.streams.accept().unwrap_err());
    all.push(two.streams.accept().unwrap_err());
    let echo = Protocol::from_static("/echo");
    let _served = one
        .streams
        .serve(&echo, 1, "max_streams_per_protocol")
        .unwrap();
    all.push(
        one.streams
            .serve(&echo, 1, "max_streams_per_protocol")
            .unwrap_err(),
    );
    all.push(
        two.streams
            .serve(&echo, 1, "max_streams_per_protocol")
            .unwrap_err(),
    );
    let of_peer = Limits {
        max_streams_per_peer: 0,
        ..limits
    };
    let tell: crate::share::OnRefusal = Arc::new(|_, _| ());
    let streams = Budget::new("incoming streams", "max_streams", 1);
    let none = Arc::new(Shares::new(Budget::unlimited(), streams, &of_peer, tell));
    all.push(none.share(peer(1)).streams.accept().unwrap_err());
    let mut texts: Vec<String> = all.iter().map(ToString::to_string).collect();
    let list = GateList::default();
    list.deny_peer(peer(1));
    list.allow_peer(peer(2));
    list.deny_addrs("192.0.2.0/24".parse().unwrap());
    list.allow_addrs("10.0.0.0/8".parse().unwrap());
    let far: Multiaddr = "/ip4/203.0.113.1/tcp/1".parse().unwrap();
    for denied in [
        list.dial(Some(&peer(1)), &far),
        list.dial(Some(&peer(3)), &far),
        list.accept(&addr()),
        list.accept(&far),
    ] {
        texts.push(denied.unwrap_err().to_string());
    }
    texts
}
