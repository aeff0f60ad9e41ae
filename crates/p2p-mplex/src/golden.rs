//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-mplex golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use p2p_core::golden::Texts;

use crate::session::no_id_left;
use crate::wire::Header;

#[test]
fn every_error_and_refusal_reads_as_it_should() {
    let wrong: [&[u8]; 3] = [&[0xff; 9], &[7], &[1, 0x80, 0x80, 0x80, 1]];
    let wrong = wrong.map(|bytes| Header::decode(bytes).unwrap_err());
    // As large as numbers are on this platform.
    let refused = no_id_left().to_string();
    let refused = refused.replace(&usize::MAX.to_string(), "MAX");
    let mut texts = Texts::default();
    texts.errors("HeaderError", wrong);
    texts.lines("refusals", [refused]);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}
