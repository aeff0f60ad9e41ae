//! Hosts in a simulated network.
#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses a part"
)]

use std::time::Duration;

use p2p_core::Multiaddr;
use p2p_keys::Keypair;
use p2p_plaintext::Plaintext;
use p2p_sim::{Host, Link, Sim};
use p2p_swarm::{Config, Swarm};
use p2p_tcp::Tcp;
use p2p_yamux::Yamux;

/// One-way latency of every link.
pub(crate) const LATENCY: Duration = Duration::from_millis(50);

/// A network in which every link has [`LATENCY`].
pub(crate) fn sim(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    sim.default_link(Link::new(LATENCY));
    sim
}

/// A key pair that a test can tell apart.
pub(crate) fn keys(n: u8) -> Keypair {
    Keypair::ed25519_from_seed([n; 32])
}

/// A swarm with the identity of `keys(n)`.
pub(crate) fn swarm(host: &Host, n: u8) -> Swarm {
    swarm_with(host, n, Config::default())
}

/// The same, with connections that may be idle for a day.
pub(crate) fn patient(host: &Host, n: u8) -> Swarm {
    let mut config = Config::default();
    config.idle_timeout = Duration::from_secs(24 * 3600);
    swarm_with(host, n, config)
}

/// The same, but every connection that is idle for a minute is closed.
pub(crate) fn frugal(host: &Host, n: u8) -> Swarm {
    let mut config = Config::default();
    config.low_water = Some(0);
    swarm_with(host, n, config)
}

pub(crate) fn swarm_with(host: &Host, n: u8, config: Config) -> Swarm {
    let (rt, keys) = (host.rt(), keys(n));
    Swarm::builder(rt.clone(), keys.to_peer_id())
        .config(config)
        .transport(Tcp::new(rt, p2p_tcp::Config::default()))
        .security(Plaintext::new(&keys))
        .muxer(Yamux::default())
        .build()
        .expect("a valid configuration")
}

/// Listens on the host's address; how others dial it.
pub(crate) async fn listen(swarm: &Swarm, host: &Host) -> Multiaddr {
    let addr = format!("/ip4/{}/tcp/0", host.ip());
    let addrs = swarm.listen(addr.parse().expect("an address")).await;
    addrs.expect("a free port").remove(0)
}
