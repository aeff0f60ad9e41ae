//! The rules that every transport must meet, over real sockets.
#![cfg(unix)]

use p2p_core::Rt;
use p2p_core::conformance::transport::{Party, Subject};
use p2p_runtime::{AsyncStd, Smol, Tokio};
use p2p_unix::{Config, Unix, addr};

fn subject(rt: Rt) -> Subject {
    let mut directory = std::env::temp_dir();
    directory.push("");
    let any_name = addr(&directory).expect("a path");
    let make = |rt| Party::raw(Unix::new(rt, Config::default()));
    Subject::new(rt, "/unix/any", make).at(any_name)
}

p2p_core::transport_conformance!(subject(AsyncStd::new()), AsyncStd::block_on);

p2p_core::transport_conformance_on! {
    every_rule_holds_on_smol: subject(Smol::new()), Smol::block_on;
    every_rule_holds_on_tokio: subject(Tokio::current()), Tokio::block_on;
}
