//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-mux --lib golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use std::sync::{Arc, Mutex};

use p2p_core::golden::Texts;
use p2p_core::{Blame, Budget, ErrorCode, OpenError, StreamReset};

use crate::{Limits, StreamError, Table};

#[test]
fn every_error_and_refusal_reads_as_it_should() {
    let reset = StreamReset {
        by: Blame::Remote,
        code: ErrorCode::NONE,
    };
    let mut texts = Texts::default();
    texts.errors("StreamError", [StreamError::Closed, reset.into()]);
    texts.lines("refusals", refusals());
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

/// What we are told of our own streams, and the watcher of those of the remote.
fn refusals() -> Vec<String> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&all);
    let host = Budget::unlimited();
    let budget = host.watched_child("memory", "memory_budget", usize::MAX, move |exceeded| {
        heard.lock().unwrap().push(exceeded.to_string());
    });
    let table = |inbound, backlog| {
        let mut limits = Limits::default();
        (limits.max_outbound, limits.max_inbound, limits.backlog) = (0, inbound, backlog);
        Table::<()>::new(limits, &budget)
    };
    assert!(table(0, 1).offer(1, ()).is_none());
    assert!(table(1, 0).offer(1, ()).is_none());
    let Err(OpenError::Limit(own)) = table(0, 0).open(1, ()) else {
        panic!("another end")
    };
    let mut all = all.lock().unwrap().clone();
    all.push(own.to_string());
    all
}
