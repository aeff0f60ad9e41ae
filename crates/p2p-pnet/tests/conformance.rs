//! A private network does what every transport must do, on simulated machines.

use std::time::Duration;

use p2p_core::Rt;
use p2p_core::conformance::transport::{Party, RULES, Subject};
use p2p_memory::{Hub, Memory};
use p2p_pnet::{PreSharedKey, Private};
use p2p_sim::{Host, Sim};
use p2p_tcp::Tcp;

const KEY: [u8; 32] = [7; 32];

#[test]
fn every_rule_holds_within_a_process() {
    for rule in RULES {
        let (sim, hub) = (Sim::new(7), Hub::new());
        let subject = Subject::new(sim.host("host").rt(), "/memory/0", move |rt| {
            let memory = Memory::new(hub.clone(), p2p_memory::Config::default());
            Party::raw(Private::new(memory, PreSharedKey::new(KEY), rt))
        });
        eprintln!("{}", rule.name);
        sim.block_on(rule.check(&subject.patience(Duration::from_secs(600))));
    }
}

/// Over TCP.
fn member(rt: Rt) -> Private {
    let tcp = Tcp::new(Rt::clone(&rt), p2p_tcp::Config::default());
    Private::new(tcp, PreSharedKey::new(KEY), rt)
}

#[test]
fn every_rule_holds_between_two_machines() {
    for rule in RULES {
        let (sim, near, far) = machines();
        let listen = format!("/ip4/{}/tcp/4001", far.ip());
        let subject = Subject::new(near.rt(), &listen, |rt| Party::raw(member(rt)))
            .between(near.rt(), far.rt())
            .patience(Duration::from_secs(600));
        eprintln!("{}", rule.name);
        sim.block_on(rule.check(&subject));
    }
}

fn machines() -> (Sim, Host, Host) {
    let sim = Sim::new(7);
    let (near, far) = (sim.host("near"), sim.host("far"));
    (sim, near, far)
}
