//! Plaintext does what every channel must do, as far as it promises anything.

use p2p_core::conformance::security::{Party, Subject};
use p2p_keys::Keypair;
use p2p_plaintext::Plaintext;

fn subject() -> Subject {
    Subject::new(|| {
        let identity = Keypair::generate_ed25519();
        Party::new(Plaintext::new(&identity), identity.to_peer_id())
    })
    .without_early_muxers()
}

p2p_core::security_conformance!(subject());
