//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-yamux --lib golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use crate::session::no_id_left;
use crate::wire::Header;
use p2p_core::golden::Texts;

#[test]
fn every_error_and_refusal_reads_as_it_should() {
    let wrong = [
        [3, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        [0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
    ];
    let mut texts = Texts::default();
    texts.errors(
        "HeaderError",
        wrong.map(|bytes| Header::decode(bytes).unwrap_err()),
    );
    texts.errors("refusals", [no_id_left()]);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}
