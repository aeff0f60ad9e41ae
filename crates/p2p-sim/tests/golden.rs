//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-sim --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::{pending, poll_fn};
use std::num::NonZeroU32;
use std::task::Poll;
use std::time::Duration;

use p2p_core::golden::Texts;
use p2p_sim::{Config, Host, Link, SetupError, Sim, Stuck};

#[test]
fn every_error_reads_as_it_should() {
    let mut texts = Texts::default();
    texts.errors("SetupError", setups());
    texts.errors("Stuck", stuck());
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn setups() -> [SetupError; 7] {
    let (sim, other) = (Sim::new(1), Sim::new(2));
    let (alice, stranger) = (sim.host("alice"), other.host("stranger"));
    let host = |name: &str, addr: &str| {
        let addrs = vec![addr.parse().unwrap()];
        sim.try_host(name, Some(addrs)).unwrap_err()
    };
    let link = |to: &Host, link| sim.try_link(&alice, to, link).unwrap_err();
    [
        host("bob", "10.0.0.1"),
        host("bob", "127.0.0.1"),
        link(&alice, Link::default().loss(1.5)),
        link(&alice, Link::default().duplicate(-0.5)),
        host("alice", "192.0.2.1"),
        link(&stranger, Link::default()),
        sim.find_host("bob").unwrap_err(),
    ]
}

fn stuck() -> [Stuck; 4] {
    let mut config = Config::default();
    config.polls_per_instant = NonZeroU32::new(1000).unwrap();
    config.patience = Duration::from_secs(60);
    let wait = |add: fn(&Host)| {
        let sim = Sim::with_config(42, config.clone());
        add(&sim.host("alice"));
        sim.try_block_on(pending::<()>()).unwrap_err()
    };
    [
        wait(|_| ()),
        wait(|alice| alice.spawn("waits for bob", pending())),
        wait(|alice| {
            let rt = alice.rt();
            alice.spawn("ticks", async move {
                loop {
                    rt.sleep(Duration::from_secs(1)).await;
                }
            });
        }),
        wait(|alice| {
            let spins = poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Pending
            });
            alice.spawn("hamster", spins);
        }),
    ]
}
