//! The pubsub tests: both ends send a series of messages, the listener once it has the dialer's.

use libp2p::{
    PeerId, floodsub,
    gossipsub::{self, IdentTopic, MessageAuthenticity, PublishError, ValidationMode},
    identity::Keypair,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{Result, event};

const TOPIC: &str = "p2p-interop";
/// Longer than any RPC of a test.
const MAX_RPC: usize = 1 << 20;
const BURST: u32 = 500;
/// KiB, after the burst.
const SIZES: [usize; 5] = [1, 8, 60, 300, 900];
const PATTERN_MODULUS: usize = 251;

/// Which end we are; the letter is the first byte of our messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Dialer,
    Listener,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// The library's floodsub signs nothing, checks nothing, and reads at most 2 KiB.
    FloodLax,
    Gossip,
    GossipAnonymous,
}

impl Flavour {
    pub(crate) fn of(test: &str) -> Option<Self> {
        match test {
            "gossip" | "gossip-chain" => Some(Self::Gossip),
            "gossip-anonymous" => Some(Self::GossipAnonymous),
            "flood-lax" => Some(Self::FloodLax),
            _ => None,
        }
    }

    /// Messages that each end sends.
    fn count(self) -> u32 {
        match self {
            Self::FloodLax => 1 + BURST,
            Self::Gossip | Self::GossipAnonymous => 1 + BURST + SIZES.len() as u32,
        }
    }
}

pub(crate) fn gossip(
    flavour: Option<Flavour>,
    keys: &Keypair,
) -> Result<Option<gossipsub::Behaviour>> {
    let mut config = gossipsub::ConfigBuilder::default();
    config.max_transmit_size(MAX_RPC);
    let author = match flavour {
        Some(Flavour::Gossip) => MessageAuthenticity::Signed(keys.clone()),
        Some(Flavour::GossipAnonymous) => {
            config.validation_mode(ValidationMode::Anonymous);
            config.message_id_fn(|message: &gossipsub::Message| {
                let mut digest = Sha256::new();
                digest.update(message.topic.as_str());
                digest.update([0]);
                digest.update(&message.data);
                gossipsub::MessageId::from(digest.finalize().to_vec())
            });
            MessageAuthenticity::Anonymous
        }
        Some(Flavour::FloodLax) | None => return Ok(None),
    };
    Ok(Some(gossipsub::Behaviour::new(author, config.build()?)?))
}

/// Already subscribed.
pub(crate) fn flood(flavour: Option<Flavour>, keys: &Keypair) -> Option<floodsub::Behaviour> {
    (flavour == Some(Flavour::FloodLax)).then(|| {
        let mut flood = floodsub::Behaviour::new(keys.public().to_peer_id());
        flood.subscribe(floodsub::Topic::new(TOPIC));
        flood
    })
}

pub(crate) fn subscribe(gossip: Option<&mut gossipsub::Behaviour>) -> Result<()> {
    if let Some(gossip) = gossip {
        gossip.subscribe(&IdentTopic::new(TOPIC))?;
    }
    Ok(())
}

/// What was sent and received so far.
pub(crate) struct Script {
    side: Side,
    count: u32,
    /// The next message to send; `None`: not our turn yet.
    next: Option<u32>,
    /// Who wants our messages, where the library does not say that nobody does.
    subscribers: Vec<PeerId>,
    got: Vec<bool>,
    /// What gossipsub speaks with each peer.
    spoken: Vec<String>,
}

impl Script {
    pub(crate) fn new(side: Side, flavour: Flavour) -> Self {
        Self {
            side,
            count: flavour.count(),
            next: (side == Side::Dialer).then_some(0),
            subscribers: Vec::new(),
            got: vec![false; flavour.count() as usize],
            spoken: Vec::new(),
        }
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.next.is_some_and(|next| next < self.count)
    }

    /// By floodsub.
    pub(crate) fn subscribed(&mut self, peer: PeerId) {
        self.subscribers.push(peer);
    }

    pub(crate) fn flood(&mut self, flood: &mut floodsub::Behaviour) {
        while self.is_sending() && !self.subscribers.is_empty() {
            let index = self.next.unwrap_or_default();
            flood.publish(floodsub::Topic::new(TOPIC), payload(self.side, index));
            self.next = Some(index + 1);
        }
    }

    pub(crate) fn gossip(&mut self, gossip: &mut gossipsub::Behaviour) {
        while self.is_sending() {
            let index = self.next.unwrap_or_default();
            let data = payload(self.side, index);
            match gossip.publish(IdentTopic::new(TOPIC), data) {
                Ok(_) => {}
                Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => {
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, index, "publish");
                    return;
                }
            }
            self.next = Some(index + 1);
        }
    }

    /// True once the remote's series is complete.
    pub(crate) fn received(&mut self, data: &[u8]) -> std::result::Result<bool, String> {
        let remote = match self.side {
            Side::Dialer => Side::Listener,
            Side::Listener => Side::Dialer,
        };
        if data.first() == Some(&letter(self.side)) {
            return Ok(false);
        }
        let index = data.get(1..5).and_then(|it| it.try_into().ok());
        let index = u32::from_be_bytes(index.ok_or("a message without an index")?);
        if data != payload(remote, index) {
            return Err(format!("message {index} is wrong"));
        }
        let Some(got) = self.got.get_mut(index as usize) else {
            return Err(format!("no message {index} was expected"));
        };
        if *got {
            return Err(format!("message {index} came twice"));
        }
        *got = true;
        let received = self.got.iter().filter(|got| **got).count();
        if received < self.got.len() {
            return Ok(false);
        }
        event(
            "pubsub",
            json!({ "received": received, "protocols": self.spoken }),
        );
        if self.side == Side::Listener {
            self.next = Some(0);
        }
        Ok(true)
    }

    /// Takes down what the library speaks with its peers.
    pub(crate) fn look(&mut self, gossip: &gossipsub::Behaviour) {
        // The type of the kind is private, its text is not.
        let spoken = gossip.peer_protocol().map(|(_, kind)| kind.as_static_ref());
        self.spoken = spoken.map(protocol).collect();
    }
}

/// The protocol that the library calls by this name.
fn protocol(kind: &str) -> String {
    match kind.strip_prefix("Gossipsub v") {
        Some(version) => format!("/meshsub/{version}.0"),
        None => kind.into(),
    }
}

fn letter(side: Side) -> u8 {
    match side {
        Side::Dialer => b'D',
        Side::Listener => b'L',
    }
}

fn payload(side: Side, index: u32) -> Vec<u8> {
    let len = match index {
        0 => 64,
        1..=BURST => 1024,
        later => SIZES
            .get((later - BURST - 1) as usize)
            .map_or(5, |kib| kib * 1024),
    };
    let mut data: Vec<u8> = (0..len).map(|at| (at % PATTERN_MODULUS) as u8).collect();
    data[0] = letter(side);
    data[1..5].copy_from_slice(&index.to_be_bytes());
    data
}
