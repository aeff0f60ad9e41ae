//! What is dialed through a proxy does what every transport must do, on simulated machines.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::time::Duration;

use p2p_core::Rt;
use p2p_core::conformance::transport::{Party, RULES, Subject};
use p2p_sim::Sim;
use p2p_socks::{Config, Socks5};
use p2p_tcp::Tcp;

#[test]
fn every_rule_holds_through_a_proxy() {
    for rule in RULES {
        let sim = Sim::new(7);
        let [near, far, between] = ["near", "far", "between"].map(|name| sim.host(name));
        let proxy = support::proxy(&between.rt(), between.socket(1080));
        let listen = format!("/ip4/{}/tcp/4001", far.ip());
        let subject = Subject::new(near.rt(), &listen, move |rt| {
            let tcp = Tcp::new(Rt::clone(&rt), p2p_tcp::Config::default());
            Party::raw(Socks5::new(rt, Config::new(proxy)).listen_with(tcp))
        });
        let subject = subject.between(near.rt(), far.rt());
        eprintln!("{}", rule.name);
        sim.block_on(rule.check(&subject.patience(Duration::from_secs(600))));
    }
}
