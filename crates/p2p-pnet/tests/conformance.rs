//! A private network does what every transport must do.

use p2p_core::conformance::transport::{Party, RULES, Subject};
use p2p_memory::{Config, Hub, Memory};
use p2p_pnet::{PreSharedKey, Private};
use p2p_sim::Sim;

fn subject(sim: &Sim) -> Subject {
    let hub = Hub::new();
    Subject::new(sim.host("host").rt(), "/memory/0", move |rt| {
        let memory = Memory::new(hub.clone(), Config::default());
        Party::raw(Private::new(memory, PreSharedKey::new([7; 32]), rt))
    })
}

#[test]
fn every_rule_holds() {
    for rule in RULES {
        let sim = Sim::new(7);
        eprintln!("{}", rule.name);
        let subject = subject(&sim).patience(std::time::Duration::from_secs(600));
        sim.block_on(rule.check(&subject));
    }
}
