//! What a clock can do to a machine, and the local network to a host.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use p2p::Host;
use p2p_core::{AddrExt, Datagram, Instant, Multiaddr, PeerId, UdpSocket};
use p2p_keys::Keypair;
use p2p_mdns::{Config, Discovery, Mdns, Output, wire};
use p2p_sim::Sim;

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const SERVICE: &str = "_p2p._udp.local";
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251));
const PORT: u16 = 5353;

fn machine(n: u8) -> Discovery {
    let peer = Keypair::ed25519_from_seed([n; 32]).to_peer_id();
    let mut machine = Discovery::new(peer, Config::default(), [n; 32], Instant::ZERO);
    let addr = format!("/ip4/10.0.0.{n}/udp/4001/quic-v1").parse().unwrap();
    machine.set_addrs([addr], Instant::ZERO);
    machine
}

fn sent(machine: &mut Discovery) -> Vec<Bytes> {
    let outputs = std::iter::from_fn(|| machine.poll_output());
    let packets = outputs.filter_map(|output| match output {
        Output::Send(packet) => Some(packet),
        Output::Found { .. } | Output::Kept { .. } | Output::Lost { .. } => None,
    });
    packets.collect()
}

/// What one says at `now`, the other hears.
fn tell(from: &mut Discovery, to: &mut Discovery, now: Instant) {
    from.handle_timeout(now);
    for packet in sent(from) {
        to.handle_packet(&packet, now);
    }
}

#[test]
fn a_clock_that_jumps_a_hundred_years_loses_everybody_and_panics_nowhere() {
    let century = Duration::from_secs(100 * 365 * 86_400);
    let question = wire::encode_question("_p2p._udp.local").unwrap();
    let (mut one, mut two) = (machine(1), machine(2));
    let mut now = Instant::ZERO + SEC / 2;
    for later in [Instant::ZERO + century, Instant::FAR_FUTURE] {
        tell(&mut one, &mut two, now);
        assert_eq!(two.peers().count(), 1, "at {now:?}");
        now = later;
        two.handle_timeout(now);
        assert_eq!(two.peers().count(), 0, "at {now:?}");
        assert_eq!(sent(&mut two).len(), 2, "a question and an answer");
        one.handle_packet(&question, now);
        two.handle_packet(&question, now);
        now += SEC;
    }
    // Nothing is later than that: what is heard then is over at once.
    tell(&mut one, &mut two, Instant::FAR_FUTURE);
    assert_eq!(two.peers().count(), 0);
    assert_eq!(two.poll_timeout(), Instant::FAR_FUTURE);
}

#[test]
fn a_link_that_names_thousands_crowds_out_nobody() {
    let sim = Sim::new(1);
    let (near, evil) = (sim.host("near"), sim.host("evil"));
    sim.block_on(async {
        let mut limits = p2p::swarm::Limits::default();
        limits.max_known_peers = 12;
        let mut config = Config::default();
        config.max_peers = 4;
        let (alice, mdns) = node(&near, limits, config).await;
        let swarm = alice.swarm();
        let (carol, dave) = (fake(60_000), fake(60_001));
        let addr: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        swarm.add_addrs(carol, [addr.clone()]);
        swarm.learn_addrs(dave, [addr]);
        let socket = socket(&evil);
        for n in 0..500 {
            for ttl in [60 * SEC, Duration::ZERO] {
                // The last four stay.
                if n < 496 || !ttl.is_zero() {
                    let claim = claim(fake(n), "/ip4/192.0.2.9/tcp/1", ttl);
                    say(&socket, (GROUP, PORT).into(), &claim).await;
                    evil.rt().sleep(MS).await;
                }
            }
            assert!(swarm.known_peers().len() <= 6, "after {n}");
        }
        near.rt().sleep(SEC).await;
        assert_eq!(mdns.peers().len(), 4, "the link was heard");
        assert_eq!(swarm.addrs(&carol).len(), 1);
        assert_eq!(swarm.addrs(&dave).len(), 1);
    });
}

#[test]
fn what_is_not_said_to_the_group_is_not_believed() {
    let sim = Sim::new(2);
    let (near, evil) = (sim.host("near"), sim.host("evil"));
    sim.block_on(async {
        let (alice, mdns) = node(&near, p2p::swarm::Limits::default(), Config::default()).await;
        let socket = socket(&evil);
        let claim = claim(fake(1), "/ip4/192.0.2.9/tcp/1", 60 * SEC);
        say(&socket, (near.ip(), PORT).into(), &claim).await;
        near.rt().sleep(SEC).await;
        assert!(mdns.peers().is_empty());
        assert!(alice.swarm().known_peers().is_empty());
        say(&socket, (GROUP, PORT).into(), &claim).await;
        near.rt().sleep(SEC).await;
        assert_eq!(mdns.peers().len(), 1, "the packet itself is good");
    });
}

#[test]
fn neighbours_who_are_not_there_take_few_dials_and_hide_nobody() {
    let sim = Sim::new(3);
    let (near, far, evil) = (sim.host("near"), sim.host("far"), sim.host("evil"));
    sim.block_on(async {
        let limits = p2p::swarm::Limits::default();
        let mut config = Config::default();
        config.dial = true;
        let max = config.max_dials;
        let (alice, _mdns) = node(&near, limits.clone(), config).await;
        let socket = socket(&evil);
        for n in 0..100 {
            let claim = claim(fake(n), "/ip4/192.0.2.9/udp/1/quic-v1", 3600 * SEC);
            say(&socket, (GROUP, PORT).into(), &claim).await;
        }
        near.rt().sleep(SEC).await;
        assert_eq!(alice.swarm().usage().pending_dials, max);
        let (bob, _at_bob) = node(&far, limits, Config::default()).await;
        while alice.swarm().connections(&bob.peer_id()).is_empty() {
            near.rt().sleep(SEC).await;
            assert!(alice.swarm().usage().pending_dials <= max);
            assert!(near.rt().now() < Instant::ZERO + 300 * SEC, "not dialed");
        }
    });
}

async fn node(host: &p2p_sim::Host, limits: p2p::swarm::Limits, config: Config) -> (Host, Mdns) {
    let mut swarm = p2p::swarm::Config::default();
    swarm.limits = limits;
    let builder = Host::builder().runtime(host.rt()).config(swarm);
    let node = builder.build().await.unwrap();
    let mdns = Mdns::new(node.swarm(), config).unwrap();
    node.listen("/ip4/0.0.0.0/udp/4001/quic-v1").await.unwrap();
    // Its sockets are open then.
    host.rt().sleep(SEC).await;
    (node, mdns)
}

/// A peer that nobody is.
fn fake(n: u16) -> PeerId {
    let [high, low] = n.to_be_bytes();
    // An identity multihash is a valid peer id whatever its digest.
    PeerId::from_bytes(&[0, 2, high, low]).unwrap()
}

fn claim(peer: PeerId, addr: &str, ttl: Duration) -> Vec<u8> {
    let addr = addr.parse::<Multiaddr>().unwrap().with_peer(peer);
    wire::encode_answers(SERVICE, "evil", &[addr], ttl).remove(0)
}

fn socket(host: &p2p_sim::Host) -> Arc<dyn UdpSocket> {
    let at = SocketAddr::new(host.ip(), PORT);
    host.rt().net().udp_bind(at).unwrap()
}

async fn say(socket: &Arc<dyn UdpSocket>, to: SocketAddr, packet: &[u8]) {
    let datagram = Datagram::new(to, packet);
    poll_fn(|cx| socket.poll_send(cx, &datagram)).await.unwrap();
}
