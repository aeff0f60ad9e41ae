//! Pubsub on hosts, as a program uses it.
#![cfg(feature = "pubsub")]

use std::time::Duration;

use futures::StreamExt;
use p2p::pubsub::{Presence, Received};
use p2p::{GossipConfig, Host, Pubsub};
use p2p_sim::{Link, Sim};

#[test]
fn hosts_chat() {
    let sim = Sim::new(1);
    sim.default_link(Link::new(Duration::from_millis(20)));
    let hosts = sim.hosts(2);
    sim.block_on(async {
        let mut chats = Vec::new();
        for machine in &hosts {
            let host = Host::builder().runtime(machine.rt()).build().await.unwrap();
            let pubsub = Pubsub::gossip(&host, GossipConfig::default()).unwrap();
            let addr = format!("/ip4/{}/tcp/0", machine.ip());
            let addr = host.listen(addr.as_str()).await.unwrap();
            chats.push((host, addr, pubsub.subscribe("chat")));
        }
        let [(alice, _, chat), (bob, addr, heard)] = chats.as_mut_slice() else {
            panic!("two hosts");
        };
        alice.dial(addr.clone()).await.unwrap();
        chat.publish_when_ready(b"hello").await.unwrap();
        let Some(Received::Message { message, from, .. }) = heard.next().await else {
            panic!("no message");
        };
        assert_eq!(message.data(), "hello");
        assert_eq!(
            (from, message.source()),
            (alice.peer_id(), Some(alice.peer_id()))
        );
        bob.close().await;
    });
}

/// The hub has room for one in its mesh, and the others know nobody but the hub.
#[test]
fn who_finds_a_full_mesh_reaches_the_peers_that_it_is_told_of() {
    let sim = Sim::new(2);
    sim.default_link(Link::new(Duration::from_millis(20)));
    let machines = sim.hosts(3);
    let rt = machines.first().unwrap().rt();
    sim.block_on(async {
        let mut config = GossipConfig::default();
        config.peer_exchange = true;
        (config.d, config.d_low, config.d_high) = (1, 1, 1);
        (config.d_score, config.d_out) = (0, 0);
        let mut members = Vec::new();
        for machine in &machines {
            let host = Host::builder().runtime(machine.rt()).build().await.unwrap();
            let pubsub = Pubsub::gossip(&host, config.clone()).unwrap();
            let addr = format!("/ip4/{}/tcp/0", machine.ip());
            let addr = host.listen(addr.as_str()).await.unwrap();
            members.push((host, addr, pubsub.subscribe("chat")));
        }
        let [(_, hub, _), (first, _, _), (second, _, chat)] = members.as_slice() else {
            panic!("three hosts");
        };
        first.dial(hub.clone()).await.unwrap();
        rt.sleep(Duration::from_secs(2)).await;
        let mut present = chat.subscribers();
        second.dial(hub.clone()).await.unwrap();
        let found =
            async { while present.next().await != Some(Presence::Joined(first.peer_id())) {} };
        let found = rt.timeout(Duration::from_secs(10), found).await;
        found.expect("the address came with the proposal");
    });
}
