//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-noise golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use std::error::Error as _;

use p2p_core::golden::{Remote, Texts, block_on};
use p2p_core::{PeerId, Role, SecurityError};
use p2p_keys::{KeyType, Keypair, SignError};
use prost::Message as _;

use crate::proto::{Payload, prove, verify};
use crate::{ChannelError, HandshakeError, Noise, SetupError};

#[test]
fn every_error_reads_as_it_should() {
    let mut texts = Texts::default();
    let key_type = KeyType::Ecdsa;
    let setups = [
        SetupError::Entropy,
        SetupError::Sign(SignError { key_type }),
    ];
    texts.blamed("SetupError", SetupError::blame, setups);
    texts.blamed("HandshakeError", HandshakeError::blame, handshakes());
    let channels = [
        ChannelError::Exhausted,
        ChannelError::Forged,
        ChannelError::Truncated,
    ];
    texts.blamed("ChannelError", |error| error.blame(), channels);
    let whole = [
        secure(Role::Listener, &[0, 2, 7, 7]),
        secure(Role::Dialer, &[]),
    ];
    texts.blamed("SecurityError", SecurityError::blame, whole);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn handshakes() -> Vec<HandshakeError> {
    let message = |bytes: &[u8]| [&[0, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    let mut garbage = [7; 112];
    garbage[31] = 0;
    let mut all: Vec<HandshakeError> = [
        (Role::Listener, vec![0xff, 0xff]),
        (Role::Listener, message(&[7; 5])),
        (Role::Listener, message(&[0; 32])),
        (Role::Dialer, message(&garbage)),
    ]
    .into_iter()
    .map(|(role, bytes)| inner(&secure(role, &bytes)))
    .collect();
    let stranger = Keypair::ed25519_from_seed([2; 32]);
    let of_another = prove(&stranger, &[1; 32]).unwrap();
    let no_key = Payload {
        identity_key: Some(b"not a key".to_vec()),
        identity_sig: Some(Vec::new()),
        extensions: None,
    };
    for payload in [of_another, no_key.encode_to_vec(), vec![0xff]] {
        all.push(verify(&payload, &[2; 32]).unwrap_err());
    }
    all.push(HandshakeError::Entropy);
    all
}

/// What a handshake with a remote that says `bytes` comes to.
fn secure(role: Role, bytes: &[u8]) -> SecurityError {
    let noise = Noise::new(&Keypair::ed25519_from_seed([1; 32])).unwrap();
    let expect: Option<PeerId> = None;
    block_on(noise.secure(Remote::saying(bytes), role, expect, &[])).unwrap_err()
}

fn inner(error: &SecurityError) -> HandshakeError {
    let source = error.source().unwrap();
    source.downcast_ref::<HandshakeError>().unwrap().clone()
}
