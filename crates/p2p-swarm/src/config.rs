//! Settings of a swarm: deadlines and limits.

use std::time::Duration;

/// Deadlines and limits of a [`Swarm`](crate::Swarm).
///
/// Every limit refuses with an [`Exceeded`](p2p_core::Exceeded) that names the field here, and
/// never closes what already works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How long one address may take to become a connection: transport, security and
    /// multiplexer together. Default: 10 s.
    pub dial_timeout: Duration,
    /// From starting one address to starting the next while none has answered. Default: 250 ms.
    ///
    /// Shorter finds a working address sooner and wastes more handshakes.
    pub dial_stagger: Duration,
    /// Addresses tried for one dial; further ones are ignored. Default: 32.
    pub max_dial_addrs: usize,
    /// How long an incoming connection may take to be secured and multiplexed. Default: 10 s.
    pub upgrade_timeout: Duration,
    /// How long the protocol of a stream may be negotiated. Default: 10 s.
    pub negotiation_timeout: Duration,
    /// How long a connection is kept that nobody uses. Default: 60 s.
    pub idle_timeout: Duration,
    /// How long [`Swarm::close`](crate::Swarm::close) waits for connections to end in order
    /// before it drops them. Default: 5 s.
    pub shutdown_timeout: Duration,
    /// Memory that all remotes together can make us hold, in bytes. Default: 256 MiB.
    pub memory_budget: usize,
    /// The share of `memory_budget` that one peer can take with all its connections, in bytes.
    /// Default: 64 MiB.
    pub peer_memory: usize,
    /// The share of `peer_memory` that one connection can take, in bytes. Default: 32 MiB.
    pub connection_memory: usize,
    /// Established connections. Default: 1024.
    pub max_connections: usize,
    /// Established connections with one peer. Default: 8.
    pub max_connections_per_peer: usize,
    /// Incoming connections that are not yet secured and multiplexed. Default: 128.
    pub max_pending_incoming: usize,
    /// Outgoing dials under way, each with all its addresses. Default: 128.
    pub max_pending_dials: usize,
    /// Incoming streams of one connection whose protocol is not yet known. Default: 64.
    pub max_negotiating_streams: usize,
    /// Incoming streams of one connection that are being served under one protocol.
    /// Default: 1024.
    ///
    /// [`HandlerOptions`](crate::HandlerOptions) sets it for a single protocol.
    pub max_streams_per_protocol: usize,
    /// Addresses remembered for one peer. Default: 64.
    pub max_addrs_per_peer: usize,
    /// Peers whose addresses are remembered; the least recently changed is forgotten first.
    /// Default: 4096.
    pub max_known_peers: usize,
    /// What all remembered addresses and protocols may take, in bytes. Default: 8 MiB.
    pub max_known_bytes: usize,
    /// Events kept for a subscriber that does not read them; older ones are dropped and
    /// counted. Default: 256.
    pub event_backlog: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dial_timeout: Duration::from_secs(10),
            dial_stagger: Duration::from_millis(250),
            max_dial_addrs: 32,
            upgrade_timeout: Duration::from_secs(10),
            negotiation_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            shutdown_timeout: Duration::from_secs(5),
            memory_budget: 256 << 20,
            peer_memory: 64 << 20,
            connection_memory: 32 << 20,
            max_connections: 1024,
            max_connections_per_peer: 8,
            max_pending_incoming: 128,
            max_pending_dials: 128,
            max_negotiating_streams: 64,
            max_streams_per_protocol: 1024,
            max_addrs_per_peer: 64,
            max_known_peers: 4096,
            max_known_bytes: 8 << 20,
            event_backlog: 256,
        }
    }
}
