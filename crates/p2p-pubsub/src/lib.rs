//! Publish and subscribe: floodsub and gossipsub.
//!
//! - [`wire`] is the RPC as bytes, read without building anything.
//! - [`Message`] is encoded once and shared; [`Author`] writes and signs messages,
//!   [`SignaturePolicy`] checks them.
//!
//! - [`ScoreParams`] say how peers are scored, and [`Trace`] why something was done.
//!
//! Specs: libp2p/specs `pubsub/README.md`, `pubsub/gossipsub/`.

mod message;
#[expect(dead_code, reason = "for the routers")]
mod score;
mod score_params;
mod sign;
mod table;
mod trace;
pub mod wire;

pub use message::{Draft, Message, MessageId, Topic};
pub use score_params::{Finding, ParamError, ScoreParams, Thresholds, TopicParams, decay_factor};
pub use sign::{Author, SignatureError, SignaturePolicy};
pub use trace::{DropCause, GraftCause, PruneCause, Refusal, Reject, Trace};
