//! A private network does what every transport must do, on real sockets and on every runtime.

use p2p_core::Rt;
use p2p_core::conformance::transport::{Party, RULES, Subject};
use p2p_pnet::{PreSharedKey, Private};
use p2p_runtime::{AsyncStd, Smol, Tokio};
use p2p_tcp::{Config, Tcp};

/// One rule is left out: `Protected` says what becomes of a link that is closed before it is read.
async fn every_rule_but_one_holds(rt: Rt) {
    let subject = Subject::new(rt, "/ip4/127.0.0.1/tcp/0", |rt| {
        let tcp = Tcp::new(Rt::clone(&rt), Config::default());
        Party::raw(Private::new(tcp, PreSharedKey::new([7; 32]), rt))
    });
    for rule in RULES {
        println!("{rule:?}");
        if rule.name != "a_close_delivers_what_was_written" {
            rule.check(&subject).await;
        }
    }
}

#[test]
fn every_rule_but_one_holds_on_async_std() {
    AsyncStd::block_on(async { every_rule_but_one_holds(AsyncStd::new()).await });
}

#[test]
fn every_rule_but_one_holds_on_smol() {
    Smol::block_on(async { every_rule_but_one_holds(Smol::new()).await });
}

#[test]
fn every_rule_but_one_holds_on_tokio() {
    Tokio::block_on(async { every_rule_but_one_holds(Tokio::current()).await });
}
