//! Names of the simulator.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use p2p_core::Transport;
use p2p_dns::{Config, Dns, ResolveError, Resolver};
use p2p_sim::{Config as SimConfig, Sim};
use p2p_tcp::Tcp;

#[test]
fn names_of_the_simulator_are_dialed() {
    let sim = Sim::new(1);
    let (near, far) = (sim.host("near"), sim.host("far"));
    sim.name("far.test", [Ipv4Addr::new(10, 0, 0, 2)]);
    sim.block_on(async {
        let tcp = |rt| Tcp::new(rt, p2p_tcp::Config::default());
        let at = "/ip4/10.0.0.2/tcp/4001".parse().unwrap();
        let mut listener = tcp(far.rt()).listen(at).await.unwrap();
        let dns = Dns::new(near.rt(), Config::default(), vec![Arc::new(tcp(near.rt()))]);
        let to = "/dns4/far.test/tcp/4001".parse().unwrap();
        let (dialed, accepted) = join(dns.dial(to, None), listener.accept()).await;
        assert_eq!(dialed.unwrap().local, Some(accepted.unwrap().remote));
    });
}

#[test]
fn what_the_system_said_is_remembered_for_half_a_minute_and_its_failures_are_not() {
    let sim = Sim::new(1);
    let resolver = Resolver::new(sim.host("near").rt(), Config::default());
    let to = "/dns4/far.test/tcp/4001".parse().unwrap();
    let ask = || sim.block_on(resolver.resolve(&to));
    assert!(matches!(ask(), Err(ResolveError::System { .. })));
    sim.name("far.test", [Ipv4Addr::new(10, 0, 0, 2)]);
    let known = ask().unwrap();

    sim.name("far.test", [Ipv4Addr::new(10, 0, 0, 3)]);
    let asked = sim.now();
    assert_eq!(ask().unwrap(), known);
    assert_eq!(sim.now(), asked, "nobody was asked");
    sim.run_for(Duration::from_secs(30));
    assert_ne!(ask().unwrap(), known);
}

#[test]
fn a_resolver_of_the_system_that_hangs_is_given_up_with_the_name() {
    let mut config = SimConfig::default();
    config.resolve = Duration::from_secs(3600);
    let sim = Sim::with_config(1, config);
    let resolver = Resolver::new(sim.host("near").rt(), Config::default());
    let to = "/dns4/far.test/tcp/4001".parse().unwrap();
    let error = sim.block_on(resolver.resolve(&to)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "looking up far.test took longer than 5s (setting: patience)"
    );
}
