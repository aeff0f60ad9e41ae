//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-pnet --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use p2p_core::golden::Texts;
use p2p_pnet::{HungUp, KeyError, KeysMayDiffer, PreSharedKey};

#[test]
fn every_error_reads_as_it_should() {
    let files = [
        "not a key file",
        "/key/swarm/psk/1.0.0/\n/base65/\n00\n",
        "/key/swarm/psk/1.0.0/\n/base16/\n00ff\n",
        "/key/swarm/psk/1.0.0/\n00ff\n",
    ];
    let errors = files.map(|file| file.parse::<PreSharedKey>().unwrap_err());
    let mut texts = Texts::default();
    texts.blamed("KeyError", KeyError::blame, errors);
    texts.errors("KeysMayDiffer", [KeysMayDiffer]);
    texts.errors("HungUp", [HungUp]);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}
