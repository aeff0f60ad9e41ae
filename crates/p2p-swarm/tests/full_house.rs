//! Who goes and who stays when every place is taken.

mod common;

use common::{LATENCY, builder, elsewhere, listen, peer, sim};
use p2p_swarm::Config;

#[test]
fn a_peer_that_has_all_it_may_have_costs_nobody_else_a_connection() {
    let sim = sim(1);
    let server = elsewhere(&sim, "server", 50_000);
    let honest = elsewhere(&sim, "honest", 50_001);
    let (one, two) = (elsewhere(&sim, "one", 1), elsewhere(&sim, "two", 2));
    let mut config = Config::default();
    config.limits.max_connections = 3;
    config.limits.max_connections_per_peer = 1;
    config.high_water = Some(3);
    let b = builder(&server, 2).config(config).build().unwrap();
    let swarms = [(&honest, 10), (&honest, 11), (&one, 66)];
    let swarms = swarms.map(|(host, n)| builder(host, n).build().unwrap());
    // The same peer again, from a network that has no connection yet.
    let again = builder(&two, 66).build().unwrap();

    sim.block_on(async {
        let addr = listen(&b, &server).await;
        for swarm in &swarms {
            swarm.dial(addr.clone()).await.unwrap();
            server.rt().sleep(LATENCY).await;
        }
        assert_eq!(b.usage().connections, 3, "all places are taken");
        // Refused at the far end: it learns so after its own handshake.
        let _ = again.dial(addr).await;
        server.rt().sleep(LATENCY * 4).await;
    });

    assert_eq!(b.peers(), [peer(10), peer(11), peer(66)]);
    assert_eq!(b.stats().limits_hit["max_connections_per_peer"], 1);
    assert_eq!(b.stats().connections_trimmed, 0);
}
