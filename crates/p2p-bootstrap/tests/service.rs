//! Bootstrap in a simulated network.
#![expect(clippy::unwrap_used, reason = "an unexpected error is a failed test")]

use std::num::NonZeroUsize;
use std::time::Duration;

use p2p_bootstrap::{Bootstrap, BootstrapError, Config, List};
use p2p_core::{ErrorCode, Multiaddr};
use p2p_keys::Keypair;
use p2p_plaintext::Plaintext;
use p2p_sim::{Host, Sim};
use p2p_swarm::{Swarm, SwarmBuilder};
use p2p_tcp::Tcp;
use p2p_yamux::Yamux;

fn swarm(host: &Host, n: u8) -> Swarm {
    builder(host, n).build().unwrap()
}

fn builder(host: &Host, n: u8) -> SwarmBuilder {
    let (rt, keys) = (host.rt(), Keypair::ed25519_from_seed([n; 32]));
    Swarm::builder(rt.clone(), keys.to_peer_id())
        .transport(Tcp::new(rt, p2p_tcp::Config::default()))
        .security(Plaintext::new(&keys))
        .muxer(Yamux::default())
}

/// Listens where it did before, too.
async fn listen(swarm: &Swarm, host: &Host) -> Multiaddr {
    let addr = format!("/ip4/{}/tcp/4001", host.ip()).parse().unwrap();
    swarm.listen(addr).await.unwrap().remove(0)
}

fn config(min: usize) -> Config {
    let mut config = Config::default();
    config.min_connected = NonZeroUsize::new(min);
    config
}

#[test]
fn the_peers_of_the_list_are_dialed_and_kept_for_hours() {
    let sim = Sim::new(1);
    let (alice, servers) = (sim.host("alice"), sim.hosts(3));
    let a = swarm(&alice, 1);
    let all: Vec<Swarm> = (10..)
        .zip(&servers)
        .map(|(n, host)| swarm(host, n))
        .collect();
    let addrs = sim.block_on(async {
        let mut addrs = Vec::new();
        for (swarm, host) in all.iter().zip(&servers) {
            addrs.push(listen(swarm, host).await);
        }
        addrs
    });
    let list = List::new(addrs).unwrap();
    let bootstrap = Bootstrap::new(&a, &list, Config::default()).unwrap();

    sim.run_for(Duration::from_secs(6 * 3600));
    assert!(
        bootstrap.status().iter().all(|one| one.connected),
        "{bootstrap:?}"
    );
    assert_eq!(a.stats().connections_dialed, 3, "and none was ever lost");
}

#[test]
fn a_peer_that_hangs_up_on_the_idle_is_dialed_ever_more_rarely() {
    let sim = Sim::new(5);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let a = swarm(&alice, 1);
    let mut hasty = p2p_swarm::Config::default();
    (hasty.idle_timeout, hasty.low_water) = (Duration::from_secs(10), Some(0));
    let b = builder(&bob, 2).config(hasty).build().unwrap();
    let list = List::new([sim.block_on(async { listen(&b, &bob).await })]).unwrap();
    let _bootstrap = Bootstrap::new(&a, &list, Config::default()).unwrap();

    sim.run_for(Duration::from_secs(3600));
    let dialed = a.stats().connections_dialed;
    // 1 + 2 + ... + 256 s, each with its ten seconds, and then every five minutes.
    assert!((15..=25).contains(&dialed), "{dialed}");
}

#[test]
fn a_lost_peer_is_dialed_again_and_another_takes_its_place_meanwhile() {
    let sim = Sim::new(2);
    let (alice, bob, carol) = (sim.host("alice"), sim.host("bob"), sim.host("carol"));
    let (a, b, c) = (swarm(&alice, 1), swarm(&bob, 2), swarm(&carol, 3));
    let (at_b, at_c) = sim.block_on(async { (listen(&b, &bob).await, listen(&c, &carol).await) });
    let list = List::new([at_b.clone(), at_c]).unwrap();
    let bootstrap = Bootstrap::new(&a, &list, config(1)).unwrap();
    sim.run_for(Duration::from_secs(1));
    assert_eq!(a.peers(), [b.local_peer()]);

    b.unlisten(&at_b);
    b.disconnect(&a.local_peer(), ErrorCode::NONE);
    sim.run_for(Duration::from_secs(1));
    assert_eq!(a.peers(), [c.local_peer()]);

    drop(c);
    sim.run_for(Duration::from_secs(30));
    let status = bootstrap.status();
    assert!(
        status.iter().all(|one| !one.connected && one.failures > 0),
        "{status:?}"
    );

    sim.block_on(async { listen(&b, &bob).await });
    sim.run_for(Duration::from_secs(80));
    assert_eq!(a.peers(), [b.local_peer()]);
    assert_ne!(bootstrap.status()[0].failures, 0, "it may not last");
    sim.run_for(Duration::from_secs(120));
    assert_eq!(bootstrap.status()[0].failures, 0);
}

#[test]
fn a_list_of_nobody_is_refused() {
    let sim = Sim::new(3);
    let a = swarm(&sim.host("alice"), 1);
    let own = format!("/ip4/192.0.2.1/tcp/1/p2p/{}", a.local_peer());
    for text in ["", &own] {
        let list: List = text.parse().unwrap();
        let error = Bootstrap::new(&a, &list, Config::default()).unwrap_err();
        assert_eq!(error, BootstrapError::Nobody);
        assert_eq!(
            error.to_string(),
            "the bootstrap list names nobody but ourselves"
        );
    }
}

#[test]
fn a_peer_that_the_program_forgets_is_still_dialed_at_the_addresses_of_the_list() {
    let sim = Sim::new(7);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let (a, b) = (swarm(&alice, 1), swarm(&bob, 2));
    let list = List::new([sim.block_on(async { listen(&b, &bob).await })]).unwrap();
    let _bootstrap = Bootstrap::new(&a, &list, Config::default()).unwrap();
    sim.run_for(Duration::from_secs(1));
    assert_eq!(a.peers(), [b.local_peer()]);

    b.disconnect(&a.local_peer(), ErrorCode::NONE);
    sim.run_for(Duration::from_millis(200));
    assert!(a.peers().is_empty());
    a.forget_peer(&b.local_peer());
    sim.run_for(Duration::from_secs(10));
    assert_eq!(a.peers(), [b.local_peer()]);
}

#[test]
fn waits_that_make_no_sense_are_refused() {
    let sim = Sim::new(6);
    let a = swarm(&sim.host("alice"), 1);
    let other = Keypair::ed25519_from_seed([2; 32]).to_peer_id();
    let list: List = format!("/ip4/192.0.2.1/tcp/1/p2p/{other}").parse().unwrap();
    let says = |first: u64, longest: u64| {
        let mut config = Config::default();
        config.first_wait = Duration::from_secs(first);
        config.longest_wait = Duration::from_secs(longest);
        let error = Bootstrap::new(&a, &list, config).unwrap_err();
        assert!(a.known_peers().is_empty(), "nothing has changed");
        error.to_string()
    };
    assert_eq!(says(0, 9), "first_wait must be above zero");
    assert_eq!(says(9, 8), "first_wait (9s) is more than longest_wait (8s)");
}

#[test]
fn it_ends_with_its_swarm() {
    let sim = Sim::new(4);
    let a = swarm(&sim.host("alice"), 1);
    let b = swarm(&sim.host("bob"), 2);
    let list = format!("/ip4/192.0.2.1/tcp/1/p2p/{}", b.local_peer());
    let bootstrap = Bootstrap::new(&a, &list.parse().unwrap(), Config::default()).unwrap();
    sim.run_for(Duration::from_secs(20));
    drop((a, b, bootstrap));
    sim.run_for(Duration::from_secs(1));
    assert!(sim.census().is_empty(), "{}", sim.census());
}
