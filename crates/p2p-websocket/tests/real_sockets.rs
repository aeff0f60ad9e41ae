//! WebSocket, plain and over TLS, does what every transport must do, on real sockets and on every
//! runtime.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod web;

use p2p_core::Rt;
use p2p_core::conformance::transport::Subject;
use p2p_runtime::{AsyncStd, Smol, Tokio};

fn subject(rt: Rt) -> Subject {
    Subject::new(rt, "/ip4/127.0.0.1/tcp/0/ws", web::plain).without_half_close()
}

p2p_core::transport_conformance!(subject(AsyncStd::new()), AsyncStd::block_on);

p2p_core::transport_conformance_on! {
    every_rule_holds_on_smol: subject(Smol::new()), Smol::block_on;
    every_rule_holds_on_tokio: subject(Tokio::current()), Tokio::block_on;
}

mod over_tls {
    use super::*;

    fn subject(rt: Rt) -> Subject {
        let web = web::Web::new();
        let make = move |rt: Rt| web.party(rt, "127.0.0.1");
        Subject::new(rt, "/ip4/127.0.0.1/tcp/0/tls/ws", make).without_half_close()
    }

    p2p_core::transport_conformance!(subject(AsyncStd::new()), AsyncStd::block_on);

    p2p_core::transport_conformance_on! {
        every_rule_holds_on_smol: subject(Smol::new()), Smol::block_on;
        every_rule_holds_on_tokio: subject(Tokio::current()), Tokio::block_on;
    }
}
