//! A message of four parts, of which each of two nodes has some: they end with all of it.
//!
//! `cargo run -p p2p-pubsub --example parts`
#![expect(clippy::indexing_slicing, reason = "two of everything")]

use bytes::Bytes;
use p2p_core::{Budget, Instant};
use p2p_keys::Keypair;
use p2p_pubsub::{
    GossipConfig, Gossipsub, Output, Partial, PartialMode, Remote, Router, Topic, Version,
};

/// One byte for each part, zero where it is missing; the metadata is a bitmap.
struct Word([u8; 4]);

impl Word {
    fn bits(&self) -> u8 {
        (0..4)
            .zip(self.0)
            .map(|(n, part)| u8::from(part != 0) << n)
            .sum()
    }
}

impl Partial for Word {
    fn group(&self) -> Bytes {
        Bytes::from_static(b"greeting")
    }

    fn metadata(&self) -> Bytes {
        vec![self.bits()].into()
    }

    fn parts_for(&self, metadata: &[u8]) -> Option<Bytes> {
        let [has]: [u8; 1] = metadata.try_into().ok()?;
        let lacks = self.bits() & !has;
        let part = |(n, part): (u32, u8)| if lacks & (1u8 << n) == 0 { 0 } else { part };
        let parts: Vec<u8> = (0..4).zip(self.0).map(part).collect();
        (lacks != 0).then(|| parts.into())
    }

    fn merge(&self, metadata: &[u8]) -> Bytes {
        let has = metadata.first().copied().unwrap_or_default();
        vec![has | self.bits()].into()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (now, topic) = (Instant::ZERO, Topic::new("words"));
    let keys = [1, 2].map(|n| Keypair::ed25519_from_seed([n; 32]).to_peer_id());
    let mut words = [Word([b'p', b'a', 0, 0]), Word([0, 0, b'r', b't'])];
    let mut routers = Vec::new();
    for peer in keys {
        let config = GossipConfig::default();
        let mut router = Gossipsub::new(peer, config, Budget::unlimited(), 1, now)?;
        router.set_partial(&topic, Some(PartialMode::Requests));
        router.subscribe(&topic, now);
        routers.push(router);
    }
    for (router, peer) in routers.iter_mut().zip([keys[1], keys[0]]) {
        let (version, outbound, ips) = (Version::V1_3, peer == keys[1], Vec::new());
        let remote = Remote {
            peer,
            version,
            outbound,
            ips,
        };
        router.handle_peer_connected(remote, now);
    }
    for _ in 0..6 {
        for n in [0, 1] {
            let (us, them) = (n, 1 - n);
            routers[us].publish_parts(&topic, &words[us])?;
            let mut frame = Vec::new();
            while routers[us].take_frame(&keys[them], &mut frame) {
                // Without the length in front, as a stream gives it.
                let rpc = p2p_core::uvarint::decode(&frame)?.1;
                routers[them].handle_rpc(&keys[us], Bytes::from(frame.split_off(rpc)), now)?;
                frame.clear();
            }
            while let Some(output) = routers[them].poll_output() {
                let Output::Parts(parts) = output else {
                    continue;
                };
                for (ours, new) in words[them].0.iter_mut().zip(parts.parts.iter().flatten()) {
                    *ours |= new;
                }
            }
        }
    }
    for Word(word) in words {
        println!("{}", String::from_utf8_lossy(&word));
        assert_eq!(&word, b"part");
    }
    Ok(())
}
