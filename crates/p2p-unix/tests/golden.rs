//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-unix --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use std::path::Path;

use p2p_core::golden::Texts;
use p2p_unix::{InvalidAddr, addr, parse};

#[test]
fn every_error_reads_as_it_should() {
    let mut errors = vec![
        parse("/unix/").unwrap_err(),
        addr(Path::new("run/p2p.sock")).unwrap_err(),
        parse("/unit/run/p2p.sock").unwrap_err(),
        InvalidAddr::NotText("run".into()),
    ];
    errors.push(parse("p2p.sock").unwrap_err());
    let mut texts = Texts::default();
    texts.errors("InvalidAddr", errors);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}
