//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-identify golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::golden::{Remote, Texts, block_on};
use p2p_core::{Budget, frame};
use p2p_keys::Keypair;
use p2p_swarm::{DialError, HandleError, OpenError};

use crate::service::too_many_pushes;
use crate::{Config, IdentifyError, Limits, SetupError, request};

#[test]
fn every_error_reads_as_it_should() {
    let IdentifyError::Decode(decode) = asked(frame::encode(&[0xff])) else {
        panic!("another error");
    };
    let mut texts = Texts::default();
    texts.errors("DecodeError", [decode]);
    texts.blamed("IdentifyError", IdentifyError::blame, errors());
    let taken = HandleError::Taken(crate::PROTOCOL);
    let config = Config {
        push_interval: Duration::ZERO,
        ..Config::default()
    };
    let setups = [SetupError::Handle(taken), config.check().unwrap_err()];
    texts.errors("SetupError", setups);
    texts.lines("refusals", [too_many_pushes(10)]);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn errors() -> Vec<IdentifyError> {
    let no_room = Budget::new("memory of a peer", "peer_memory", 1).reserve(2);
    vec![
        asked(frame::encode(&[0xff])),
        asked(Vec::new()),
        asked(vec![5, 1]),
        asked(vec![0xff; 9]),
        asked([0x81, 0x80, 1].to_vec()),
        asked(frame::encode(&[]).repeat(11)),
        asked(frame::encode(&[10, 3, 1, 2, 3])),
        IdentifyError::from(io::Error::from(io::ErrorKind::Unsupported)),
        IdentifyError::Ended,
        IdentifyError::Limit(no_room.unwrap_err()),
        IdentifyError::Open(OpenError::Dial(DialError::Closed)),
        IdentifyError::TimedOut {
            after: Duration::from_secs(10),
        },
    ]
}

/// What comes of asking a remote that says `bytes`.
fn asked(bytes: Vec<u8>) -> IdentifyError {
    let pair = Keypair::ed25519_from_seed([1; 32]);
    let (peer, key): (_, Bytes) = (pair.to_peer_id(), pair.public().to_protobuf());
    let mut remote = Remote::saying(bytes);
    block_on(request(&mut remote, peer, key, &Limits::default())).unwrap_err()
}
