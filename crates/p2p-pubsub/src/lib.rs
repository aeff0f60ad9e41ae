//! Publish and subscribe: floodsub and gossipsub.
//!
//! ```text
//!   bytes ─> wire ─> Router (Floodsub, Gossipsub) ─> Output: Validate, Deliver, Ready, Trace, …
//!                      │        │        │
//!                    queues   scores   seen cache, message cache, promises, backoffs
//! ```
//!
//! - [`Pubsub`] runs a router on a swarm: subscribe, publish, nothing to poll.
//! - [`Router`] is what both have in common: a pure machine without I/O, clock or tasks.
//! - [`Floodsub`] sends every message to everybody, [`Gossipsub`] keeps a mesh for each topic.
//! - [`Message`] is encoded once and shared; [`Author`] writes and signs messages,
//!   [`SignaturePolicy`] checks them.
//! - [`ScoreParams`] say how peers are scored, and [`Trace`] why something was done.
//! - [`Partial`] is a message in parts, for those who have most of it already.
//! - [`wire`] is the RPC as bytes, read without building anything.
//!
//! Whatever a remote can make a router hold has a limit in [`Config`], [`GossipConfig`] or
//! [`QueueLimits`], and messages are paid for from a [`Budget`](p2p_core::Budget).
//!
//! ```
//! use std::time::Duration;
//! use p2p_core::{Budget, Instant};
//! use p2p_keys::Keypair;
//! use p2p_pubsub::{Author, GossipConfig, Gossipsub, PublishError, Router, Topic};
//!
//! let keypair = Keypair::ed25519_from_seed([1; 32]);
//! let (peer, start) = (keypair.to_peer_id(), Instant::ZERO);
//! let config = GossipConfig::default();
//! let mut router = Gossipsub::new(peer, config, Budget::unlimited(), 1, start)?;
//! let topic = Topic::new("chat");
//! router.subscribe(&topic, start);
//!
//! let mut author = Author::signing(keypair);
//! let message = author.write(topic, b"hello", Duration::from_secs(1_700_000_000))?;
//! assert_eq!(router.publish(&message.into(), start), Err(PublishError::NoPeers));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Specs: libp2p/specs `pubsub/README.md`, `pubsub/gossipsub/`.

mod base;
mod calls;
mod check;
mod config;
mod floodsub;
#[cfg(test)]
mod golden;
mod gossipsub;
mod ids;
mod message;
mod partial;
mod parts;
mod presets;
mod publish;
mod queue;
mod records;
mod rng;
mod router;
mod score;
mod score_params;
mod seen;
mod service;
mod session;
mod sign;
mod state;
mod table;
mod trace;
mod trace_log;
mod validator;
pub mod wire;

pub use config::{Config, CustomId, MessageIdFn};
pub use floodsub::Floodsub;
pub use gossipsub::{ConfigError, GaterParams, GossipConfig, Gossipsub};
pub use message::{Draft, Message, MessageId, Topic};
pub use partial::{Partial, PartialError, PartialMode, PartialSent, Parts};
pub use parts::{PartsReceived, PartsSubscription};
pub use queue::QueueLimits;
pub use records::Records;
pub use router::{
    Output, PublishError, Published, Remote, Router, Stats, Ticket, Verdict, Version,
};
pub use score::Behaviour;
pub use score_params::{Finding, ParamError, ScoreParams, Thresholds, TopicParams, decay_factor};
pub use seen::SeenBy;
pub use service::{
    Node, Presence, PublishFailed, Pubsub, Received, StartError, Subscribers, Subscription, Traces,
    Usage,
};
pub use sign::{Author, SignatureError, SignaturePolicy};
pub use trace::{
    ControlKind, DropCause, GraftCause, PruneCause, Refusal, Reject, ScoreCause, Trace, Traced,
};
pub use trace_log::TraceLog;
pub use validator::{Candidate, Opinion, Validator};
