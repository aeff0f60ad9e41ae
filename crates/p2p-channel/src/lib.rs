//! The data path of secure channels: a byte stream cut into sealed records.
//!
//! ```text
//!   write ---> gather, or seal straight from the writer ---> one write of up to 48 KiB
//!   read  <--- open straight into the reader, or in place <- one read of up to 128 KiB
//! ```
//!
//! A protocol says how its records look and are sealed ([`Records`]); [`Channel`] does the rest,
//! the same for all: it moves each byte as few times as there are, makes few and large system
//! calls, holds no memory while nothing moves, and never more than two buffers.
//!
//! Handshakes are not part of this crate. They read with [`Received`], so that what came behind
//! their last message is where the channel begins.

mod buffer;
mod channel;
mod incoming;
mod outgoing;
mod received;
mod records;
#[cfg(test)]
mod tests;

pub use channel::Channel;
pub use received::Received;
pub use records::{NOTICE, Opened, Records};
