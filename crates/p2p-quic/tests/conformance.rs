//! The rules that every transport must meet, in the simulator. On real sockets: see
//! `real_sockets.rs`.

use p2p_core::Rt;
use p2p_core::conformance::transport::{self, Party, Subject};
use p2p_keys::Keypair;
use p2p_quic::{Config, Quic};
use p2p_sim::Sim;

fn party(rt: Rt) -> Party {
    let identity = Keypair::ed25519_from_seed(rt.random());
    let quic = Quic::new(rt, &identity, Config::default()).expect("a working system");
    Party::secured(quic, identity.to_peer_id())
}

#[test]
fn every_rule_holds_in_the_simulator() {
    for rule in transport::RULES {
        eprintln!("{}", rule.name);
        let sim = Sim::new(1);
        let (near, far) = (sim.host("near"), sim.host("far"));
        let listen = format!("/ip4/{}/udp/4001/quic-v1", far.ip());
        let subject = Subject::new(near.rt(), &listen, party)
            .between(near.rt(), far.rt())
            .patience(std::time::Duration::from_secs(600));
        sim.block_on(rule.check(&subject));
    }
}
