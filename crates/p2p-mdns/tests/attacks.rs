//! What a clock can do to a machine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use p2p_core::Instant;
use p2p_keys::Keypair;
use p2p_mdns::{Config, Discovery, Output, wire};

const SEC: Duration = Duration::from_secs(1);

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
        Output::Found { .. } | Output::Lost { .. } => None,
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
