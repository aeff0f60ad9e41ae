//! What is dialed through a proxy does what every transport must do, on real sockets and on every
//! runtime.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use p2p_core::Rt;
use p2p_core::conformance::transport::{Party, Subject};
use p2p_runtime::{AsyncStd, Smol, Tokio};
use p2p_socks::{Config, Socks5};
use p2p_tcp::Tcp;

fn subject(rt: Rt) -> Subject {
    let proxy = support::proxy(&rt, ([127, 0, 0, 1], 0).into());
    Subject::new(rt, "/ip4/127.0.0.1/tcp/0", move |rt| {
        let tcp = Tcp::new(Rt::clone(&rt), p2p_tcp::Config::default());
        Party::raw(Socks5::new(rt, Config::new(proxy)).listen_with(tcp))
    })
}

p2p_core::transport_conformance!(subject(AsyncStd::new()), AsyncStd::block_on);

p2p_core::transport_conformance_on! {
    every_rule_holds_on_smol: subject(Smol::new()), Smol::block_on;
    every_rule_holds_on_tokio: subject(Tokio::current()), Tokio::block_on;
}
