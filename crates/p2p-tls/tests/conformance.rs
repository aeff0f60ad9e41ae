//! TLS does what every secure channel must do.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use p2p_core::conformance::security::{Party, Subject};
use p2p_keys::Keypair;
use p2p_tls::Tls;

fn subject() -> Subject {
    Subject::new(|| {
        let identity = Keypair::generate_ed25519();
        Party::new(Tls::new(&identity).unwrap(), identity.to_peer_id())
    })
}

p2p_core::security_conformance!(subject());
