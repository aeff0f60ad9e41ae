//! What a user of this tool is shown when something does not work.
//!
//! `P2P_BLESS=1 cargo test -p p2p-cli golden` writes `tests/golden/texts.txt` anew: read the
//! difference as a user would.

use std::io;
use std::path::Path;
use std::time::Duration;

use p2p::core::{Blame, Cause, Multiaddr, Protocol, SecurityError, TransportError};
use p2p::multistream::NegotiationError;
use p2p::perf::PerfError;
use p2p::socks::{Refused, SocksError};
use p2p::swarm::{DialError, OpenError, Step, UpgradeError};
use p2p::websocket::HandshakeError;
use p2p_core::golden::Texts;
use p2p_core::{Budget, Denied};

use crate::commands::{identify, perf, ping, top};
use crate::failure::Failure;
use crate::{explain, keyfile};

const WHAT: &str = "cannot reach it";
const ECHO: Protocol = Protocol::from_static("/echo/1.0.0");
const AFTER: Duration = Duration::from_secs(10);

#[test]
fn every_failure_reads_as_it_should() {
    let mut texts = Texts::default();
    let attempted = |error: UpgradeError| explain::attempted(WHAT, &addr(), &error);
    texts.lines("a dial", attempts().map(attempted));
    texts.lines("another dial", dials());
    texts.lines("a stream", streams());
    texts.lines("a protocol", protocols());
    texts.lines("a file", files());
    texts.lines("a way", ways());
    texts.lines(
        "a terminal",
        [top::no_terminal(kind(io::ErrorKind::Unsupported))],
    );
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn addr() -> Multiaddr {
    "/ip4/192.0.2.1/tcp/4001".parse().unwrap()
}

/// An error without a number, which differs from system to system.
fn kind(kind: io::ErrorKind) -> io::Error {
    kind.into()
}

fn attempts() -> impl Iterator<Item = UpgradeError> {
    let connect = |error| TransportError::Connect {
        addr: addr(),
        source: kind(error),
    };
    let timeout = |step| UpgradeError::Timeout {
        step,
        after: AFTER,
        setting: "dial_timeout",
    };
    let [expected, found] = [1, 2].map(|n| p2p::Keypair::ed25519_from_seed([n; 32]).to_peer_id());
    let refused = || NegotiationError::Refused {
        proposed: vec![Protocol::from_static("/noise")],
    };
    let web = NegotiationError::NotMultistream {
        found: "HTTP/1.1 400".to_owned(),
    };
    let other = NegotiationError::NotMultistream {
        found: "220 mail".to_owned(),
    };
    let exceeded = Budget::new("connections", "max_connections", 0).reserve(1);
    let denied = Denied {
        reason: "not on a Sunday".to_owned(),
    };
    [
        UpgradeError::Transport(connect(io::ErrorKind::ConnectionRefused)),
        UpgradeError::Transport(connect(io::ErrorKind::NetworkUnreachable)),
        UpgradeError::Transport(connect(io::ErrorKind::ConnectionReset)),
        UpgradeError::Transport(TransportError::Unsupported { addr: addr() }),
        timeout(Step::Transport),
        timeout(Step::Security),
        UpgradeError::Negotiation(refused().into()),
        UpgradeError::Negotiation(web.into()),
        UpgradeError::Negotiation(other.into()),
        UpgradeError::Negotiation(kind(io::ErrorKind::UnexpectedEof).into()),
        UpgradeError::Muxer(refused().into()),
        UpgradeError::Security(SecurityError::WrongPeer { expected, found }),
        UpgradeError::Security(kind(io::ErrorKind::UnexpectedEof).into()),
        UpgradeError::Security(SecurityError::Protocol(Cause::new(
            Blame::Remote,
            "decrypt error",
        ))),
        UpgradeError::SelfDial,
        UpgradeError::Denied(denied),
        UpgradeError::Limit(exceeded.unwrap_err()),
    ]
    .into_iter()
}

fn dials() -> [Failure; 3] {
    let peer = p2p::Keypair::ed25519_from_seed([1; 32]).to_peer_id();
    [
        explain::dial(WHAT, &DialError::NoAddress { peer }),
        explain::dial(WHAT, &DialError::SelfDial { peer }),
        explain::dial(WHAT, &DialError::Closed),
    ]
}

fn streams() -> [Failure; 7] {
    let open = |error: OpenError| explain::open(WHAT, &error, &ECHO);
    let used = |error: io::Error| explain::stream(WHAT, &error, &ECHO);
    let refused = NegotiationError::Refused {
        proposed: vec![ECHO],
    };
    let reset = p2p::StreamReset {
        by: Blame::Remote,
        code: p2p::ErrorCode::RATE_LIMITED,
    };
    [
        open(OpenError::Timeout(AFTER)),
        open(OpenError::Muxer(p2p::core::OpenError::GoneAway)),
        open(OpenError::Dial(DialError::Closed)),
        used(io::Error::new(io::ErrorKind::Unsupported, refused)),
        used(kind(io::ErrorKind::TimedOut)),
        used(kind(io::ErrorKind::UnexpectedEof)),
        used(io::Error::new(io::ErrorKind::ConnectionReset, reset)),
    ]
}

fn protocols() -> [Failure; 9] {
    let what = || WHAT.to_owned();
    let length = PerfError::Length { wanted: 2, got: 1 };
    [
        ping::failure(what(), &p2p::ping::PingError::Closed),
        ping::failure(what(), &p2p::ping::PingError::Unsupported),
        ping::failure(what(), &p2p::ping::PingError::TimedOut { after: AFTER }),
        identify::failure(what(), &p2p::identify::IdentifyError::WrongKey),
        identify::failure(what(), &p2p::identify::IdentifyError::Unsupported),
        perf::failure(what(), &length),
        perf::failure(what(), &PerfError::Stalled { after: AFTER }),
        perf::failure(what(), &PerfError::Io(kind(io::ErrorKind::UnexpectedEof))),
        explain::no_answer(WHAT, "identify", AFTER),
    ]
}

/// Private networks, proxies, authorities.
fn ways() -> [Failure; 5] {
    let attempted = |error| explain::attempted(WHAT, &addr(), &error);
    let proxied = |error: SocksError| {
        let source = io::Error::from(error);
        attempted(UpgradeError::Transport(TransportError::Connect {
            addr: addr(),
            source,
        }))
    };
    let other_key = || io::Error::new(io::ErrorKind::InvalidData, p2p::pnet::KeysMayDiffer);
    let authority = HandshakeError::UnknownAuthority(kind(io::ErrorKind::InvalidData));
    let handshake = TransportError::Handshake(Cause::new(authority.blame(), authority));
    [
        attempted(UpgradeError::Negotiation(other_key().into())),
        attempted(UpgradeError::Security(other_key().into())),
        attempted(UpgradeError::Transport(handshake)),
        proxied(SocksError::Refused(Refused(5))),
        proxied(SocksError::Unreachable(kind(
            io::ErrorKind::ConnectionRefused,
        ))),
    ]
}

fn files() -> [Failure; 4] {
    let path = Path::new("node.key");
    let denied = || kind(io::ErrorKind::PermissionDenied);
    [
        keyfile::cannot_read(path, &kind(io::ErrorKind::NotFound)),
        keyfile::cannot_read(path, &denied()),
        keyfile::cannot_write(path, &kind(io::ErrorKind::AlreadyExists)),
        keyfile::cannot_write(path, &denied()),
    ]
}
