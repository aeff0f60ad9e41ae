//! A private network does what every transport must do, on real sockets and on every runtime.

use p2p_core::Rt;
use p2p_core::conformance::transport::{Party, Subject};
use p2p_pnet::{PreSharedKey, Private};
use p2p_runtime::{AsyncStd, Smol, Tokio};
use p2p_tcp::{Config, Tcp};

fn subject(rt: Rt) -> Subject {
    Subject::new(rt, "/ip4/127.0.0.1/tcp/0", |rt| {
        let tcp = Tcp::new(Rt::clone(&rt), Config::default());
        Party::raw(Private::new(tcp, PreSharedKey::new([7; 32]), rt))
    })
}

p2p_core::transport_conformance!(subject(AsyncStd::new()), AsyncStd::block_on);

p2p_core::transport_conformance_on! {
    every_rule_holds_on_smol: subject(Smol::new()), Smol::block_on;
    every_rule_holds_on_tokio: subject(Tokio::current()), Tokio::block_on;
}
