//! Pubsub on hosts, as a program uses it.
#![cfg(feature = "pubsub")]

use std::time::Duration;

use futures::StreamExt;
use p2p::pubsub::Received;
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
