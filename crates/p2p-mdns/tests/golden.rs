//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-mdns --test golden` writes `tests/golden/texts.txt` anew: read the
//! difference as a user would.

use std::time::Duration;

use p2p_core::golden::Texts;
use p2p_mdns::SetupError;

#[test]
fn every_error_reads_as_it_should() {
    let (ttl, query_interval) = (Duration::from_secs(60), Duration::from_secs(300));
    let setting = "query_interval";
    let errors = [
        SetupError::Fingerprint { most: 58 },
        SetupError::Ttl {
            ttl,
            query_interval,
        },
        SetupError::Zero { setting },
    ];
    let mut texts = Texts::default();
    texts.errors("SetupError", errors);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}
