//! Two gossipsub routers in one thread, without a network: `cargo run -p p2p-pubsub --example two_routers`.
//!
//! Frames are carried by hand, time is a number, and every step says why it was done.

use std::time::Duration;

use bytes::Bytes;
use p2p_core::{Budget, Instant, uvarint};
use p2p_keys::Keypair;
use p2p_pubsub::{
    Author, GossipConfig, Gossipsub, Output, Remote, Router, SignaturePolicy, Topic, Verdict,
    Version,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys = [1, 2].map(|n| Keypair::ed25519_from_seed([n; 32]));
    let [alice, bob] = [0, 1].map(|n: usize| keys.get(n).map(Keypair::to_peer_id));
    let (Some(alice), Some(bob)) = (alice, bob) else {
        return Ok(());
    };
    let now = Instant::ZERO;
    let mut config = GossipConfig::default();
    config.base.trace = true;
    let mut a = Gossipsub::new(alice, config.clone(), Budget::unlimited(), 1, now)?;
    let mut b = Gossipsub::new(bob, config, Budget::unlimited(), 2, now)?;

    let topic = Topic::new("chat");
    a.subscribe(&topic, now);
    b.subscribe(&topic, now);
    for (router, peer, outbound) in [(&mut a, bob, true), (&mut b, alice, false)] {
        let (version, ips) = (Version::V1_2, Vec::new());
        let remote = Remote {
            peer,
            version,
            outbound,
            ips,
        };
        router.handle_peer_connected(remote, now);
    }
    for _ in 0..2 {
        carry("a -> b", &mut a, &mut b, now)?;
        carry("b -> a", &mut b, &mut a, now)?;
    }

    let [key, _] = keys;
    let message =
        Author::signing(key).write(topic, b"hello", Duration::from_secs(1_700_000_000))?;
    println!("a: {:?}", a.publish(&message.into(), now)?);
    carry("a -> b", &mut a, &mut b, now)?;
    println!("b: {:?}", b.stats());
    Ok(())
}

/// Carries every frame that waits, and does what the outputs ask for.
fn carry(
    name: &str,
    from: &mut Gossipsub,
    to: &mut Gossipsub,
    now: Instant,
) -> Result<(), Box<dyn std::error::Error>> {
    let (sender, receiver) = (from.local_peer(), to.local_peer());
    let mut buffer = Vec::new();
    while from.take_frame(&receiver, &mut buffer) {
        let (_, prefix) = uvarint::decode(&buffer)?;
        let rpc = Bytes::copy_from_slice(buffer.get(prefix..).unwrap_or_default());
        println!("{name}: {} bytes", rpc.len());
        to.handle_rpc(&sender, rpc, now)?;
        buffer.clear();
    }
    while let Some(output) = to.poll_output() {
        match output {
            Output::Validate {
                ticket, message, ..
            } => {
                let verdict = match SignaturePolicy::StrictSign.verify(&message) {
                    Ok(()) => Verdict::Accept,
                    Err(error) => Verdict::BadSignature(error),
                };
                to.handle_verdict(ticket, verdict, now);
            }
            Output::Deliver { message, .. } => println!("   got {:?}", message.data()),
            Output::Trace(trace) => println!("   {trace:?}"),
            Output::Joined { topic, .. } => println!("   joined {topic}"),
            Output::Left { topic, .. } => println!("   left {topic}"),
            Output::Connect { .. } | Output::Ready { .. } | _ => {}
        }
    }
    Ok(())
}
