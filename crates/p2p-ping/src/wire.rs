//! The whole wire format: [`SIZE`] bytes there, the same bytes back.

use p2p_core::Protocol;

/// The protocol's id.
pub const PROTOCOL: Protocol = Protocol::from_static("/ipfs/ping/1.0.0");

/// The length of a ping, in bytes.
pub const SIZE: usize = 32;

/// What a ping carries: random bytes, so that an echo cannot be made up in advance.
pub type Payload = [u8; SIZE];
