//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-core --lib texts` writes `tests/golden/texts.txt` anew: read the
//! difference as a user would.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;

use crate::golden::Texts;
use crate::{
    Blame, Budget, Cause, ConnectionEnd, Denied, Elapsed, ErrorCode, Exceeded, Multiaddr,
    OpenError, PeerId, Protocol, SecurityError, StreamReset, TransportError, frame, uvarint,
};

#[test]
fn every_error_reads_as_it_should() {
    let mut texts = Texts::default();
    texts.blamed("frame::Error", frame::Error::blame, frames());
    texts.errors("uvarint::Error", uvarints());
    let mut reasons: Vec<ErrorCode> = (0x1000..=0x1008).map(ErrorCode).collect();
    reasons.extend([ErrorCode::NONE, ErrorCode(7)]);
    texts.lines("ErrorCode", reasons);
    texts.errors("Elapsed", [Elapsed]);
    texts.errors("Denied", [denied()]);
    texts.errors("Exceeded", [exceeded()]);
    let wrong = ["echo", "", "/two\nlines", &"/".repeat(1024)];
    let wrong = wrong.map(|id| Protocol::new(id).unwrap_err());
    texts.errors("InvalidProtocol", wrong);
    let reset = |by, code| StreamReset { by, code };
    let resets = [
        reset(Blame::Us, ErrorCode::NONE),
        reset(Blame::Remote, ErrorCode::RATE_LIMITED),
        reset(Blame::Network, ErrorCode(7)),
    ];
    texts.errors("StreamReset", resets);
    texts.blamed("OpenError", OpenError::blame, opens());
    texts.blamed("ConnectionEnd", ConnectionEnd::blame, ends());
    texts.blamed("SecurityError", SecurityError::blame, securities());
    texts.blamed("TransportError", TransportError::blame, transports());
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[0, 1, n]).unwrap()
}

fn denied() -> Denied {
    let reason = "not on a Sunday".to_owned();
    Denied { reason }
}

fn exceeded() -> Exceeded {
    let budget = Budget::new("connections", "max_connections", 2);
    let _held = budget.reserve(2).unwrap();
    budget.reserve(1).unwrap_err()
}

fn frames() -> Vec<frame::Error> {
    let inputs: [&[u8]; 6] = [&[], &[5, 1], &[0x80], &[0xff; 9], &[0x80, 0], &[200, 1]];
    let read = |mut bytes| block_on(frame::read(&mut bytes, 100)).unwrap_err();
    inputs.map(read).into()
}

fn uvarints() -> Vec<uvarint::Error> {
    let inputs: [&[u8]; 3] = [&[0x80], &[0xff; 9], &[0x80, 0]];
    inputs
        .map(|bytes| uvarint::decode(bytes).unwrap_err())
        .into()
}

fn opens() -> [OpenError; 3] {
    [
        OpenError::Ended(ConnectionEnd::Eof),
        OpenError::GoneAway,
        OpenError::Limit(exceeded()),
    ]
}

fn ends() -> [ConnectionEnd; 8] {
    [
        ConnectionEnd::Dropped,
        ConnectionEnd::Eof,
        ConnectionEnd::Io(Arc::new(io::ErrorKind::BrokenPipe.into())),
        ConnectionEnd::Limit(exceeded()),
        ConnectionEnd::Local(ErrorCode::SHUTDOWN),
        ConnectionEnd::Protocol {
            protocol: Protocol::from_static("/yamux/1.0.0"),
            what: "unknown version 3".to_owned(),
        },
        ConnectionEnd::Remote(ErrorCode::NONE),
        ConnectionEnd::Silent(Duration::from_secs(30)),
    ]
}

fn securities() -> [SecurityError; 4] {
    [
        SecurityError::Io(io::ErrorKind::UnexpectedEof.into()),
        SecurityError::NoCommonMuxer {
            ours: vec![Protocol::from_static("/yamux/1.0.0")],
            theirs: vec!["/mplex/6.7.0".to_owned(), "\u{1b}[2J".to_owned()],
        },
        SecurityError::Protocol(Cause::new(Blame::Remote, "what the handshake says")),
        SecurityError::WrongPeer {
            expected: peer(1),
            found: peer(2),
        },
    ]
}

fn transports() -> Vec<TransportError> {
    let addr: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
    let connect = |kind: io::ErrorKind| TransportError::Connect {
        addr: addr.clone(),
        source: kind.into(),
    };
    let [_, _, _, wrong_peer] = securities();
    vec![
        connect(io::ErrorKind::ConnectionRefused),
        connect(io::ErrorKind::InvalidInput),
        TransportError::Limit(exceeded()),
        TransportError::Listen {
            addr: addr.clone(),
            source: io::ErrorKind::AddrInUse.into(),
        },
        TransportError::Handshake(Cause::new(Blame::Remote, "what the transport says")),
        TransportError::Security(wrong_peer),
        TransportError::Unsupported { addr },
    ]
}
