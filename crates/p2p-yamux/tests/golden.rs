//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-yamux --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use p2p_core::golden::Texts;
use p2p_yamux::wire::Header;

#[test]
fn every_error_reads_as_it_should() {
    let wrong = [
        [3, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        [0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
    ];
    let mut texts = Texts::default();
    texts.errors(
        "HeaderError",
        wrong.map(|bytes| Header::decode(bytes).unwrap_err()),
    );
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}
