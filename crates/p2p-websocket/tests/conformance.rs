//! WebSocket, plain and over TLS, does what every transport must do.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod web;

use p2p_core::Rt;
use p2p_core::conformance::transport::{Party, RULES, Subject};
use p2p_sim::Sim;

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
        let make = move |rt: Rt| web.party(rt);
        Subject::new(rt, "/ip4/127.0.0.1/tcp/0/tls/ws", make).without_half_close()
    }

    p2p_core::transport_conformance!(subject(), p2p_runtime::block_on);
}

#[test]
fn every_rule_holds_in_the_simulator() {
    for rule in RULES {
        let sim = Sim::new(7);
        let (near, far) = (sim.host("near"), sim.host("far"));
        let subject = Subject::new(near.rt(), "/ip4/10.0.0.2/tcp/0/ws", |rt| -> Party {
            web::plain(rt)
        })
        .between(near.rt(), far.rt())
        .without_half_close()
        .patience(std::time::Duration::from_secs(600));
        sim.block_on(rule.check(&subject));
    }
}
