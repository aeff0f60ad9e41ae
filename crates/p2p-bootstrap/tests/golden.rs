//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-bootstrap --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use std::time::Duration;

use p2p_bootstrap::{BootstrapError, List};
use p2p_core::golden::Texts;

const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

#[test]
fn every_error_reads_as_it_should() {
    let good = format!("/ip4/192.0.2.1/tcp/4001/p2p/{PEER}");
    let lists = [
        format!("/p2p/{PEER}"),
        format!("# ours\n{good}\n\n/ip4/192.0.2.1/tcp/4001 # who?"),
        format!("{good}\nexample.org:4001"),
        "/ip4/192.0.2.256/tcp/4001".to_owned(),
        "/ip4/192.0.2.1/tcp/4001/p2p/Bob".to_owned(),
        format!("/{}\u{1b}[2J", "long".repeat(40)),
    ];
    let mut texts = Texts::default();
    let mut wrong: Vec<_> = lists
        .iter()
        .map(|list| list.parse::<List>().unwrap_err())
        .collect();
    wrong.extend(List::new(["/ip4/192.0.2.1/tcp/4001".parse().unwrap()]).err());
    texts.errors("ListError", wrong);
    let (first, longest) = (Duration::from_secs(301), Duration::from_secs(300));
    let setting = "first_wait";
    let errors = [
        BootstrapError::Nobody,
        BootstrapError::Waits { first, longest },
        BootstrapError::Zero { setting },
    ];
    texts.errors("BootstrapError", errors);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}
