//! WebSocket, plain and over TLS, does what every transport must do, on real sockets.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod web;

use p2p_core::Rt;
use p2p_core::conformance::transport::Subject;

fn subject() -> Subject {
    let rt = p2p_runtime::default_runtime();
    Subject::new(rt, "/ip4/127.0.0.1/tcp/0/ws", web::plain).without_half_close()
}

p2p_core::transport_conformance!(subject(), p2p_runtime::block_on);

mod over_tls {
    use super::*;

    fn subject() -> Subject {
        let rt = p2p_runtime::default_runtime();
        let web = web::Web::new();
        let make = move |rt: Rt| web.party(rt, "127.0.0.1");
        Subject::new(rt, "/ip4/127.0.0.1/tcp/0/tls/ws", make).without_half_close()
    }

    p2p_core::transport_conformance!(subject(), p2p_runtime::block_on);
}
