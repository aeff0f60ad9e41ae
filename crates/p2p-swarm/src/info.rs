//! What is known of a connection, and its name.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use p2p_core::{Instant, Multiaddr, PeerId, Protocol, Role};

/// Identifies a connection of one swarm. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) u64);

impl ConnectionId {
    /// The keys of the connections of `peer` in an ordered map by peer and connection.
    pub fn all_of(peer: PeerId) -> RangeInclusive<(PeerId, Self)> {
        (peer, Self(0))..=(peer, Self(u64::MAX))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What is known of a connection. Does not keep it alive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Which one.
    pub id: ConnectionId,
    /// Who is at the other end, proven.
    pub peer: PeerId,
    /// The remote's public key as the key protobuf of the peer-id spec.
    pub public_key: Bytes,
    /// Which end we are.
    pub role: Role,
    /// The remote's address, without `/p2p`.
    pub remote: Multiaddr,
    /// Our address, where the transport knows it.
    pub local: Option<Multiaddr>,
    /// The secure channel. `None`: the transport's own.
    pub security: Option<Protocol>,
    /// The multiplexer. `None`: the transport's own.
    pub muxer: Option<Protocol>,
    /// When it became ready for streams.
    pub established: Instant,
    /// How long each step took.
    pub timings: Timings,
}

/// How long the steps of a connection took, on our side.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Timings {
    /// To connect the socket. Zero for incoming connections.
    pub transport: Duration,
    /// To agree on a secure channel and run its handshake.
    pub security: Duration,
    /// To agree on a multiplexer. Zero if that happened inside the handshake.
    pub muxer: Duration,
}
