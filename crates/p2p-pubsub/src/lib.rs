//! Publish and subscribe: floodsub and gossipsub.
//!
//! - [`wire`] is the RPC as bytes, read without building anything.
//! - [`Message`] is encoded once and shared; [`Author`] writes and signs messages,
//!   [`SignaturePolicy`] checks them.
//!
//! Specs: libp2p/specs `pubsub/README.md`, `pubsub/gossipsub/`.

mod message;
mod sign;
pub mod wire;

pub use message::{Draft, Message, MessageId, Topic};
pub use sign::{Author, SignatureError, SignaturePolicy};
