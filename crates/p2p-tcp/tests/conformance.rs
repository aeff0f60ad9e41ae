//! TCP does what every transport must do, in the simulator. On real sockets: see
//! `real_sockets_conformance.rs`.

use p2p_core::Rt;
use p2p_core::conformance::transport::{Party, RULES, Subject};
use p2p_sim::Sim;
use p2p_tcp::{Config, Tcp};

fn party(rt: Rt) -> Party {
    Party::raw(Tcp::new(rt, Config::default()))
}

#[test]
fn every_rule_holds_in_the_simulator() {
    for rule in RULES {
        let sim = Sim::new(7);
        let (near, far) = (sim.host("near"), sim.host("far"));
        let subject = Subject::new(near.rt(), "/ip4/10.0.0.2/tcp/0", party)
            .between(near.rt(), far.rt())
            .patience(std::time::Duration::from_secs(600));
        sim.block_on(rule.check(&subject));
    }
}
