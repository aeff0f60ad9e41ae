//! WebSocket, plain and over TLS, does what every transport must do, in the simulator. On real
//! sockets: see `real_sockets.rs`.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod web;

use std::sync::Arc;
use std::time::Duration;

use p2p_core::Rt;
use p2p_core::conformance::transport::{Party, RULES, Subject};
use p2p_sim::Sim;

#[test]
fn every_rule_holds_in_the_simulator() {
    check("/ip4/10.0.0.2/tcp/0/ws", web::plain);
}

#[test]
fn every_rule_holds_over_tls_in_the_simulator() {
    let web = Arc::new(web::Web::new());
    check("/ip4/10.0.0.2/tcp/0/tls/ws", move |rt| {
        web.party(rt, "10.0.0.2")
    });
}

fn check(listen: &str, party: impl Fn(Rt) -> Party + Clone + Send + Sync + 'static) {
    for rule in RULES {
        let sim = Sim::new(7);
        let (near, far) = (sim.host("near"), sim.host("far"));
        let subject = Subject::new(near.rt(), listen, party.clone())
            .between(near.rt(), far.rt())
            .without_half_close()
            .patience(Duration::from_secs(600));
        sim.block_on(rule.check(&subject));
    }
}
