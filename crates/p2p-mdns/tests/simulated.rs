//! Whole hosts that find each other in a simulated network.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use futures::StreamExt;
use p2p::Host;
use p2p_keys::Keypair;
use p2p_mdns::{Config, Event, Mdns, SetupError};
use p2p_sim::{NatConfig, Sim};
use p2p_swarm::AddrSource;

const SEC: Duration = Duration::from_secs(1);

async fn node(host: &p2p_sim::Host, seed: u8, config: Config) -> (Host, Mdns) {
    let node = Host::builder()
        .identity(Keypair::ed25519_from_seed([seed; 32]))
        .runtime(host.rt())
        .build()
        .await
        .unwrap();
    let unspecified = if host.ip().is_ipv4() {
        "/ip4/0.0.0.0"
    } else {
        "/ip6/::"
    };
    let mdns = Mdns::new(node.swarm(), config).unwrap();
    node.listen(format!("{unspecified}/udp/4001/quic-v1").as_str())
        .await
        .unwrap();
    (node, mdns)
}

#[test]
fn hosts_of_one_network_find_and_reach_each_other_within_a_second() {
    for ips in [["10.1.0.1", "10.1.0.2"], ["fd00::1", "fd00::2"]] {
        let sim = Sim::new(1);
        let [near, far] = ips.map(|ip| sim.host_at::<std::net::IpAddr>(ip, [ip.parse().unwrap()]));
        sim.block_on(async {
            let (alice, at_alice) = node(&near, 1, Config::default()).await;
            let (bob, _at_bob) = node(&far, 2, Config::default()).await;
            let mut events = at_alice.events();
            let rt = near.rt();
            let found = rt.timeout(SEC, events.next()).await.unwrap().unwrap();
            assert!(
                matches!(&found, Event::Found { peer, .. } if *peer == bob.peer_id()),
                "{found:?}"
            );
            alice.dial(bob.peer_id()).await.unwrap();
            assert_eq!(at_alice.peers().len(), 1);
        });
    }
}

#[test]
fn who_leaves_is_lost_when_the_time_is_over() {
    let sim = Sim::new(2);
    let (near, far) = (sim.host("near"), sim.host("far"));
    sim.block_on(async {
        let (alice, at_alice) = node(&near, 1, Config::default()).await;
        let (bob, _at_bob) = node(&far, 2, Config::default()).await;
        near.rt().sleep(SEC).await;
        assert_eq!(at_alice.peers().len(), 1);
        let known = alice.swarm().known_addrs(&bob.peer_id());
        assert_eq!(known.len(), 1);
        assert!(known.iter().all(|one| one.source == AddrSource::Nearby));
        far.crash();
        let mut events = at_alice.events();
        let start = near.rt().now();
        let lost = events.next().await.unwrap();
        assert!(
            matches!(&lost, Event::Lost { peer, .. } if *peer == bob.peer_id()),
            "{lost:?}"
        );
        assert!(near.rt().now() - start <= Config::default().ttl);
        assert!(at_alice.peers().is_empty());
        assert_eq!(alice.swarm().known_addrs(&bob.peer_id()), []);
        assert_eq!(alice.swarm().known_peers(), []);
    });
}

#[test]
fn what_is_repeated_stays_in_the_address_book() {
    let sim = Sim::new(6);
    let (near, far) = (sim.host("near"), sim.host("far"));
    sim.block_on(async {
        let mut config = Config::default();
        (config.query_interval, config.ttl) = (60 * SEC, 90 * SEC);
        let (alice, at_alice) = node(&near, 1, config.clone()).await;
        let (bob, _at_bob) = node(&far, 2, config).await;
        near.rt().sleep(SEC).await;
        let mut events = at_alice.events();
        for _ in 0..20 {
            near.rt().sleep(30 * SEC).await;
            assert_eq!(alice.swarm().known_addrs(&bob.peer_id()).len(), 1);
        }
        bob.close().await;
        let next = events.next().await;
        assert!(matches!(next, Some(Event::Lost { .. })), "{next:?}");
    });
}

#[test]
fn a_neighbour_is_reached_although_its_signed_record_is_out_of_date() {
    let sim = Sim::new(7);
    let (near, far) = (sim.host("near"), sim.host("far"));
    sim.block_on(async {
        let (alice, _at_alice) = node(&near, 1, Config::default()).await;
        let bob = Keypair::ed25519_from_seed([2; 32]).to_peer_id();
        let before = "/ip4/192.0.2.7/udp/4001/quic-v1".parse().unwrap();
        assert!(alice.swarm().learn_signed_addrs(bob, 1, [before]));
        let (_bob, _at_bob) = node(&far, 2, Config::default()).await;
        near.rt().sleep(SEC).await;
        let connection = alice.dial(bob).await.unwrap();
        let remote = connection.info().remote.to_string();
        assert!(remote.contains(&far.ip().to_string()), "{remote}");
    });
}

#[test]
fn an_address_is_lost_when_the_last_link_that_told_of_it_says_so_no_more() {
    let sim = Sim::new(8);
    let hosts = [["10.1.0.1", "fd00::1"], ["10.1.0.2", "fd00::2"]];
    let [near, far] = hosts.map(|ips| {
        let ips = ips.map(|ip| ip.parse::<std::net::IpAddr>().unwrap());
        sim.host_at::<std::net::IpAddr>(&ips[0].to_string(), ips)
    });
    sim.block_on(async {
        let (alice, at_alice) = node(&near, 1, Config::default()).await;
        let (bob, at_bob) = node(&far, 2, Config::default()).await;
        bob.listen("/ip6/::/udp/4001/quic-v1").await.unwrap();
        near.rt().sleep(5 * SEC).await;
        let known = |host: &Host| host.swarm().known_addrs(&bob.peer_id()).len();
        assert_eq!(at_alice.peers().get(&bob.peer_id()).unwrap().len(), 2);
        assert_eq!(known(&alice), 2, "each once, though told on two links");
        let mut events = at_alice.events();
        bob.close().await;
        drop(at_bob);
        for left in [1, 0] {
            let lost = near.rt().timeout(SEC, events.next()).await.unwrap();
            assert!(matches!(lost, Some(Event::Lost { .. })), "{lost:?}");
            assert!(known(&alice) <= left);
        }
    });
}

#[test]
fn settings_that_make_no_sense_are_refused_by_the_host() {
    let sim = Sim::new(9);
    let host = sim.host("near");
    sim.block_on(async {
        let (alice, _) = node(&host, 1, Config::default()).await;
        let mut config = Config::default();
        config.interface_interval = Duration::ZERO;
        let refused = Mdns::new(alice.swarm(), config).err();
        let setting = "interface_interval";
        assert_eq!(refused, Some(SetupError::Zero { setting }));
    });
}

#[test]
fn who_ends_in_order_is_lost_at_once() {
    let sim = Sim::new(5);
    let (near, far) = (sim.host("near"), sim.host("far"));
    sim.block_on(async {
        let (_alice, at_alice) = node(&near, 1, Config::default()).await;
        let (bob, at_bob) = node(&far, 2, Config::default()).await;
        near.rt().sleep(5 * SEC).await;
        assert_eq!(at_alice.peers().len(), 1);
        let mut events = at_alice.events();
        bob.close().await;
        drop((bob, at_bob));
        let lost = near.rt().timeout(SEC, events.next()).await;
        assert!(matches!(lost, Ok(Some(Event::Lost { .. }))), "{lost:?}");
    });
}

#[test]
fn others_networks_are_not_heard() {
    let sim = Sim::new(3);
    let nat = sim.nat("home", [192, 0, 2, 1], NatConfig::default());
    let (inside, outside) = (nat.host("inside"), sim.host("outside"));
    let beside = nat.host("beside");
    sim.block_on(async {
        let (_alice, at_alice) = node(&inside, 1, Config::default()).await;
        let (_bob, at_bob) = node(&outside, 2, Config::default()).await;
        let mut private = Config::default();
        private.private_network = Some("00ff".into());
        let (_carol, at_carol) = node(&beside, 3, private).await;
        inside.rt().sleep(10 * SEC).await;
        for mdns in [at_alice, at_bob, at_carol] {
            assert!(mdns.peers().is_empty());
        }
    });
}

#[test]
fn a_network_of_thirty_is_known_to_all_and_dialed_if_wished() {
    let sim = Sim::new(4);
    let hosts = sim.hosts(30);
    sim.block_on(async {
        let mut nodes = Vec::new();
        for (seed, host) in (1..).zip(&hosts) {
            let mut config = Config::default();
            config.dial = seed == 1;
            nodes.push(node(host, seed, config).await);
        }
        hosts.first().unwrap().rt().sleep(5 * SEC).await;
        for (_, mdns) in &nodes {
            assert_eq!(mdns.peers().len(), 29);
        }
        assert_eq!(nodes.first().unwrap().0.swarm().peers().len(), 29);
    });
}
