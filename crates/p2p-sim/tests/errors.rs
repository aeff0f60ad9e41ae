//! What is said about a simulation that was set up wrongly, or that cannot go on: whole texts, as
//! whoever made the mistake reads them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::task::Poll;
use std::time::Duration;

use p2p_core::TcpOptions;
use p2p_sim::{Config, Link, Sim};

const SEC: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_host_that_does_not_exist_is_named() {
    let sim = Sim::new(1);
    sim.host("alice");
    let error = sim.find_host("bob").unwrap_err();
    assert_eq!(error.to_string(), "there is no host bob");
}

#[test]
fn a_name_that_is_used_twice_is_named() {
    let sim = Sim::new(1);
    sim.host("alice");
    let error = sim.try_host("alice", None).unwrap_err();
    assert_eq!(error.to_string(), "there is a host alice already");
}

#[test]
fn an_address_that_is_used_twice_is_named_with_both_hosts() {
    let sim = Sim::new(1);
    sim.host("alice");
    let error = |name: &str, addrs: &[&str]| {
        let addrs = addrs.iter().map(|addr| ip(addr)).collect();
        sim.try_host(name, Some(addrs)).unwrap_err().to_string()
    };
    assert_eq!(
        error("bob", &["192.0.2.1", "10.0.0.1"]),
        "address 10.0.0.1 of host bob is used already, by alice"
    );
    assert_eq!(
        error("bob", &["192.0.2.1", "192.0.2.1"]),
        "address 192.0.2.1 of host bob is used already, by bob"
    );
    // Nothing of the host that was refused is left: its name and its address are free.
    let bob = sim.try_host("bob", Some(vec![ip("192.0.2.1")])).unwrap();
    assert_eq!(bob.addrs(), [ip("192.0.2.1")]);
}

#[test]
fn a_host_of_another_simulation_is_named() {
    let (sim, other) = (Sim::new(1), Sim::new(2));
    let (alice, stranger) = (sim.host("alice"), other.host("stranger"));
    let error = sim.try_link(&alice, &stranger, Link::default());
    assert_eq!(
        error.unwrap_err().to_string(),
        "host stranger belongs to another simulation"
    );
}

#[test]
fn a_probability_that_is_none_is_named() {
    let sim = Sim::new(1);
    let alice = sim.host("alice");
    let error = |link| sim.try_link(&alice, &alice, link).unwrap_err().to_string();
    assert_eq!(
        error(Link::default().loss(1.5)),
        "loss of a link is 1.5: it must be between 0 and 1"
    );
    assert_eq!(
        error(Link::default().duplicate(-0.5)),
        "duplicate of a link is -0.5: it must be between 0 and 1"
    );
}

#[test]
fn a_port_that_is_used_twice_is_an_error_of_the_socket() {
    let sim = Sim::new(1);
    let alice = sim.host("alice");
    let rt = alice.rt();
    let _first = rt.net().tcp_listen(alice.socket(7), &TcpOptions::default());
    let second = rt.net().tcp_listen(alice.socket(7), &TcpOptions::default());
    let error = second.err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn a_deadlock_says_who_waits() {
    let sim = Sim::new(42);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    alice.spawn("waits for bob", pending());
    bob.spawn("waits for alice", pending());
    bob.spawn("waits for alice", pending());
    let stuck = sim.try_block_on(async {
        alice.rt().sleep(SEC).await;
        pending::<()>().await;
    });
    assert_eq!(
        stuck.unwrap_err().to_string(),
        "deadlock: nothing can ever happen any more\n\
         seed 42 at T+1s\n\
         tasks that wait:\n     \
            1 x waits for bob of host alice\n     \
            2 x waits for alice of host bob"
    );
    let stuck = Sim::new(43).try_block_on(pending::<()>());
    assert_eq!(
        stuck.unwrap_err().to_string(),
        "deadlock: nothing can ever happen any more\n\
         seed 43 at T+0ns\n\
         no task is alive"
    );
}

#[test]
fn an_endless_loop_is_named() {
    let mut config = Config::default();
    config.polls_per_instant = NonZeroU32::new(1000).unwrap();
    let sim = Sim::with_config(42, config);
    let alice = sim.host("alice");
    let spins = poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    alice.spawn("hamster", spins);
    let stuck = sim.try_block_on(pending::<()>());
    assert_eq!(
        stuck.unwrap_err().to_string(),
        "endless loop: task hamster of host alice runs and runs and no time passes\n\
         seed 42 at T+0ns\n\
         tasks that wait:\n     \
            1 x hamster of host alice"
    );
}

#[test]
fn a_simulation_that_goes_on_and_on_is_ended_by_its_patience() {
    let mut config = Config::default();
    config.patience = Duration::from_secs(60);
    let sim = Sim::with_config(42, config);
    let alice = sim.host("alice");
    let rt = alice.rt();
    alice.spawn("ticks", async move {
        loop {
            rt.sleep(SEC).await;
        }
    });
    let stuck = sim.try_block_on(pending::<()>());
    assert_eq!(
        stuck.unwrap_err().to_string(),
        "not done after 60s of virtual time (setting: patience)\n\
         seed 42 at T+60s\n\
         tasks that wait:\n     \
            1 x ticks of host alice"
    );
}
