//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-pubsub --lib golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.
#![expect(
    clippy::field_reassign_with_default,
    reason = "as users write it, who have no struct expressions for settings"
)]

use std::sync::Arc;
use std::time::Duration;

use crate::service::budget;
use crate::table::PeerIx;
use crate::validator::Kind;
use crate::wire::{Rpc, WireError, WireLimits};
use crate::{
    Author, Config, ConfigError, Draft, Floodsub, GossipConfig, Gossipsub, Message, MessageIdFn,
    Opinion, ParamError, Partial, PartialError, PartialMode, PublishError, PublishFailed,
    Router as _, ScoreParams, SignatureError, SignaturePolicy, StartError, Thresholds, Topic,
    TopicParams, Validator,
};
use bytes::Bytes;
use p2p_core::golden::Texts;
use p2p_core::{Budget, Exceeded, Instant, PeerId, Protocol};
use p2p_keys::{KeyType, Keypair, SignError};
use p2p_swarm::HandleError;

#[test]
fn every_error_and_refusal_reads_as_it_should() {
    let mut texts = Texts::default();
    texts.blamed("ParamError", ParamError::blame, params());
    texts.blamed("ConfigError", ConfigError::blame, configs());
    texts.blamed("PartialError", PartialError::blame, parts());
    texts.blamed("PublishError", PublishError::blame, published());
    let taken = HandleError::Taken(Protocol::from_static("/meshsub/1.2.0"));
    let starts = [StartError::from(configs().remove(0)), taken.into()];
    texts.blamed("StartError", StartError::blame, starts);
    let key_type = KeyType::Ecdsa;
    let failed = [PublishError::NoPeers.into(), SignError { key_type }.into()];
    texts.blamed("PublishFailed", PublishFailed::blame, failed);
    texts.blamed("SignatureError", SignatureError::blame, signatures());
    texts.blamed("WireError", WireError::blame, wires());
    texts.errors("refusals", refusals());
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn pair(n: u8) -> Keypair {
    Keypair::ed25519_from_seed([n; 32])
}

fn us() -> PeerId {
    pair(1).to_peer_id()
}

fn params() -> Vec<ParamError> {
    let mut of_topic = ScoreParams::default();
    let mut topic = TopicParams::default();
    topic.topic_weight = -1.0;
    of_topic.topics.insert(Topic::new("chat"), topic);
    let changes: [fn(&mut ScoreParams); 4] = [
        |params| params.decay_interval = Duration::from_millis(10),
        |params| params.decay_to_zero = 1.5,
        |params| params.behaviour_penalty_weight = 1.0,
        |params| params.topic_score_cap = f64::NAN,
    ];
    let changed = changes.map(|change| {
        let mut params = ScoreParams::default();
        change(&mut params);
        params.check().unwrap_err()
    });
    let mut thresholds = Thresholds::default();
    thresholds.publish = -1.0;
    let mut all = vec![of_topic.check().unwrap_err()];
    all.extend(changed);
    all.push(thresholds.check().unwrap_err());
    all
}

fn configs() -> Vec<ConfigError> {
    let changes: [fn(&mut GossipConfig); 5] = [
        |config| config.d_low = 7,
        |config| config.history_gossip = 6,
        |config| config.heartbeat_interval = Duration::ZERO,
        |config| config.versions.clear(),
        |config| {
            let mut params = ScoreParams::default();
            params.decay_to_zero = 0.0;
            config.scoring = Some((params, Thresholds::default()));
        },
    ];
    let refused = changes.map(|change| {
        let mut config = GossipConfig::default();
        change(&mut config);
        config.check().unwrap_err()
    });
    refused.into()
}

/// A message in parts, whose names have these lengths.
#[derive(Debug)]
struct Named(usize, usize);

impl Partial for Named {
    fn group(&self) -> Bytes {
        vec![7; self.0].into()
    }

    fn metadata(&self) -> Bytes {
        vec![7; self.1].into()
    }

    fn parts_for(&self, _: &[u8]) -> Option<Bytes> {
        None
    }

    fn merge(&self, _: &[u8]) -> Bytes {
        Bytes::new()
    }
}

fn parts() -> [PartialError; 3] {
    let topic = Topic::new("chat");
    let mut config = GossipConfig::default();
    config.partial_messages = true;
    let budget = Budget::unlimited();
    let mut router = Gossipsub::new(us(), config, budget, 1, Instant::ZERO).unwrap();
    let outside = router.publish_parts(&topic, &Named(1, 1)).unwrap_err();
    router.set_partial(&topic, Some(PartialMode::Requests));
    let mut publish = |group, metadata| {
        let parts = Named(group, metadata);
        router.publish_parts(&topic, &parts).unwrap_err()
    };
    [outside, publish(0, 1), publish(1, 100_000)]
}

fn published() -> Vec<PublishError> {
    let publish = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        let mut router = Floodsub::new(us(), config, Budget::unlimited(), 1);
        let topic = Topic::new("chat");
        let message = Author::signing(pair(1)).write(topic, b"hello", Duration::ZERO);
        router
            .publish(&Arc::new(message.unwrap()), Instant::ZERO)
            .unwrap_err()
    };
    vec![
        PublishError::Duplicate,
        publish(|_| ()),
        PublishError::QueuesFull,
        publish(|config| config.policy = SignaturePolicy::StrictNoSign),
        publish(|config| config.max_message_size = 10),
        publish(|config| {
            config.message_id = MessageIdFn::AuthorAndSeqno;
            config.max_id_len = 9;
        }),
    ]
}

fn signatures() -> [SignatureError; 6] {
    let id = us().to_bytes();
    let stranger = pair(2);
    let signed = Draft {
        from: Some(&id),
        data: b"hello",
        seqno: Some(&[7; 8]),
        signature: Some(&[7; 64]),
        key: None,
    };
    let refused = |policy: SignaturePolicy, draft: Draft<'_>| {
        let message = Message::encode(Topic::new("chat"), &draft);
        policy.verify(&message).unwrap_err()
    };
    let from = Some(&b"nobody"[..]);
    let key = Some(stranger.public().as_protobuf());
    let (seqno, signature) = (Some(&[7; 3][..]), None);
    let strict = SignaturePolicy::StrictSign;
    [
        refused(strict, Draft { from, ..signed }),
        refused(strict, Draft { key, ..signed }),
        refused(strict, Draft { seqno, ..signed }),
        refused(strict, signed),
        refused(
            strict,
            Draft {
                signature,
                ..signed
            },
        ),
        refused(SignaturePolicy::StrictNoSign, signed),
    ]
}

fn wires() -> Vec<WireError> {
    let mut limits = WireLimits::default();
    limits.max_subscriptions = 1;
    let frames: [&[u8]; 5] = [&[2, 0], &[10, 0, 10, 0], &[10, 5, 1], &[0xff; 11], &[8, 1]];
    let parse = |bytes: &[u8]| Rpc::parse(bytes, &limits).map(drop).unwrap_err();
    frames.map(parse).into()
}

fn refusals() -> [Exceeded; 3] {
    let mut config = Config::default();
    config.memory_budget = 9;
    let memory = budget(&Budget::unlimited(), &config);
    let validator = Validator::later(0, |_| async { Opinion::Accept });
    let Kind::Later { slots, .. } = validator.kind else {
        panic!("another kind")
    };
    let mut config = GossipConfig::default();
    config.parts_bytes_per_peer = 9;
    let budget = Budget::unlimited();
    let mut router = Gossipsub::new(us(), config, budget, 1, Instant::ZERO).unwrap();
    let share = router.share_of(PeerIx(1));
    [
        memory.reserve(10).unwrap_err(),
        slots.reserve(1).unwrap_err(),
        share.reserve(10).unwrap_err(),
    ]
}
