//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-plaintext --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error as _;

use p2p_core::golden::{Remote, Texts, block_on};
use p2p_core::{PeerId, SecurityError, frame};
use p2p_keys::Keypair;
use p2p_plaintext::{Plaintext, PlaintextError};

#[test]
fn every_error_reads_as_it_should() {
    let own = pair(1).to_peer_id().to_bytes();
    let key = pair(2).public().to_protobuf();
    let messages = [
        frame::encode(&[0xff]),
        frame::encode(&part(10, &own)),
        frame::encode(&[part(10, &own), part(18, b"not a key")].concat()),
        frame::encode(&[part(10, &own), part(18, &key)].concat()),
        vec![0xff; 9],
    ];
    let refused = messages.map(|bytes| inner(&exchange(&bytes, None)));
    let honest = [part(10, &pair(2).to_peer_id().to_bytes()), part(18, &key)].concat();
    let whole = [
        exchange(&[], None),
        exchange(&frame::encode(&[]), None),
        exchange(&frame::encode(&honest), Some(pair(3).to_peer_id())),
    ];
    let mut texts = Texts::default();
    texts.blamed("PlaintextError", PlaintextError::blame, refused);
    texts.blamed("SecurityError", SecurityError::blame, whole);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn pair(n: u8) -> Keypair {
    Keypair::ed25519_from_seed([n; 32])
}

/// A field of a protobuf.
fn part(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn exchange(said: &[u8], expect: Option<PeerId>) -> SecurityError {
    block_on(Plaintext::new(&pair(1)).exchange(Remote::saying(said), expect)).unwrap_err()
}

fn inner(error: &SecurityError) -> PlaintextError {
    let source = error.source().unwrap();
    source.downcast_ref::<PlaintextError>().unwrap().clone()
}
