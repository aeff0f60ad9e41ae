//! A host whose addresses change tells its peers: of several changes at once, and of nothing else.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{keys, listen, patient, sim};
use futures::{FutureExt, StreamExt};
use p2p_core::Multiaddr;
use p2p_identify::{Config, Event, Events, Identify};
use p2p_swarm::Swarm;

const WHILE: Duration = Duration::from_secs(300);

fn identify(swarm: &Swarm, n: u8) -> Identify {
    Identify::new(swarm, keys(n), Config::default()).unwrap()
}

/// The listen addresses of each push that has arrived, in order and without loopback.
fn pushed(events: &mut Events) -> Vec<Vec<String>> {
    let mut pushes = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        let Event::Updated { info, .. } = event else {
            panic!("not an update: {event:?}");
        };
        pushes.push(info.listen_addrs.iter().map(Multiaddr::to_string).collect());
    }
    pushes
}

#[test]
fn several_changes_of_addresses_are_one_push_and_none_is_no_push() {
    let sim = sim(1);
    let ip = |n: u8| IpAddr::from([10, 9, 9, n]);
    let home = sim.host_at("home", [ip(1)]);
    let rover = sim.host_at("rover", [ip(2)]);
    let (h, r) = (patient(&home, 1), patient(&rover, 2));
    let (at_home, _roving) = (identify(&h, 1), identify(&r, 2));
    sim.block_on(async {
        let addr = listen(&h, &home).await;
        // Not at the same time: their looks at the interfaces are.
        r.listen("/ip4/0.0.0.0/tcp/1".parse().unwrap())
            .await
            .unwrap();
        r.rt().sleep(Duration::from_secs(7)).await;
        r.listen("/ip4/0.0.0.0/tcp/2".parse().unwrap())
            .await
            .unwrap();
        r.dial(addr).await.unwrap();
        r.rt().sleep(Duration::from_secs(60)).await;
    });
    let mut events = at_home.events();

    sim.run_for(WHILE);
    assert!(pushed(&mut events).is_empty(), "nothing changed");

    rover.set_addrs([ip(2), ip(3)]);
    sim.run_for(Duration::from_millis(200));
    rover.set_addrs([ip(2), ip(3), ip(4)]);
    sim.run_for(WHILE);
    let addrs = |ns: &[u8]| -> Vec<String> {
        let ports = [1, 2].into_iter();
        ports
            .flat_map(|port| {
                ns.iter()
                    .map(move |n| format!("/ip4/10.9.9.{n}/tcp/{port}"))
            })
            .collect()
    };
    assert_eq!(pushed(&mut events), [addrs(&[2, 3, 4])]);

    // One goes and one comes: what is gone is withdrawn with it.
    rover.set_addrs([ip(2), ip(4), ip(5)]);
    sim.run_for(WHILE);
    assert_eq!(pushed(&mut events), [addrs(&[2, 4, 5])]);

    rover.set_addrs([ip(2)]);
    sim.run_for(WHILE);
    assert_eq!(pushed(&mut events), [addrs(&[2])]);
    sim.run_for(3 * WHILE);
    assert!(pushed(&mut events).is_empty());
    assert!(h.is_connected(&r.local_peer()), "all over one connection");
}
