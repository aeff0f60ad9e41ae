//! What all remotes, one source, one peer, one connection can make us hold or do.
//!
//! ```text
//!   host ── prefix ── peer ── connection ── protocol ── stream
//! ```

use std::fmt;

use p2p_core::{Budget, Exceeded};

use crate::error::BuildError;
use crate::prefix::Grain;

/// Every limit of a [`Swarm`](crate::Swarm).
///
/// A limit refuses with an [`Exceeded`](p2p_core::Exceeded) that names the field here, and never
/// closes what already works. A part above its whole has no effect, except for memory, where it is
/// refused as a mistake.
///
/// Sources are counted by the prefix of their IP address. Loopback addresses, and addresses
/// without an IP address, are this machine itself or a proxy on it and belong to no source.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Memory that all remotes together can make us hold, in bytes. Default: 256 MiB.
    pub memory_budget: usize,
    /// The share of `memory_budget` that one peer can take with all its connections, in bytes.
    /// Default: 64 MiB.
    pub peer_memory: usize,
    /// The share of `peer_memory` that one connection can take, in bytes. Default: 64 MiB.
    pub connection_memory: usize,
    /// Established connections. Default: 1024.
    ///
    /// When all are taken, a newcomer takes the place of an unused incoming one of the prefix that
    /// has most, if that is more than its own has.
    pub max_connections: usize,
    /// Established connections with one peer. Default: 8.
    pub max_connections_per_peer: usize,
    /// Established incoming connections from one prefix. Default: 256.
    pub max_connections_per_prefix: usize,
    /// Incoming connections that are not yet secured and multiplexed. Default: 512.
    ///
    /// When all are taken, a newcomer takes the place of the oldest of the prefix that has most. So
    /// a handshake succeeds if it is faster than as many newcomers are.
    pub max_pending_incoming: usize,
    /// Those of one prefix. Default: 32.
    pub max_pending_per_prefix: usize,
    /// Incoming connections a second from one prefix, in the long run. Default: 64. Zero: any
    /// number.
    pub incoming_rate_per_prefix: u32,
    /// Incoming connections from one prefix in a row, before the rate counts. Default: 256.
    pub incoming_burst_per_prefix: u32,
    /// Bits of an IPv4 address that make a prefix, at most 32. Default: 24.
    pub prefix_v4: u8,
    /// Bits of an IPv6 address that make a prefix, at most 128. Default: 48.
    pub prefix_v6: u8,
    /// Outgoing dials under way, each with all its addresses. Default: 128.
    pub max_pending_dials: usize,
    /// Addresses tried for one dial, named ones first; the error says how many were left out.
    /// Default: 32.
    ///
    /// Whoever joins a dial that has no place left for what he names gets one of his own.
    pub max_dial_addrs: usize,
    /// Addresses tried at the same time, in all dials together, beside the first of each dial;
    /// further ones wait. Default: 160.
    pub max_attempts: usize,
    /// Addresses tried at the same time in one dial; further ones wait. Default: 16.
    pub max_attempts_per_peer: usize,
    /// Incoming streams, from all peers. Default: 32,768.
    pub max_streams: usize,
    /// Incoming streams from one peer, on all its connections. Default: 2048.
    pub max_streams_per_peer: usize,
    /// Incoming streams of one connection, those being negotiated included. Default: 1024.
    pub max_streams_per_connection: usize,
    /// Incoming streams of one connection that are being served under one protocol.
    /// Default: 1024.
    ///
    /// [`HandlerOptions`](crate::HandlerOptions) sets it for a single protocol.
    pub max_streams_per_protocol: usize,
    /// The same over all connections of one peer. Default: 1024.
    pub max_streams_per_protocol_and_peer: usize,
    /// Incoming streams of one connection whose protocol is not yet known; the connection is
    /// slowed down beyond that, and no stream is lost. Default: 64.
    ///
    /// Those beyond wait in the multiplexer, and their
    /// [`Config::negotiation_timeout`](crate::Config::negotiation_timeout) begins when it is their
    /// turn. So streams that name no protocol are gone after as many timeouts as there are batches
    /// of this size in what the multiplexer holds.
    pub max_negotiating_streams: usize,
    /// Addresses remembered for one peer. Default: 64.
    pub max_addrs_per_peer: usize,
    /// Protocols remembered for one peer. Default: 256.
    pub max_protocols_per_peer: usize,
    /// Peers whose addresses are remembered. The least recently changed is forgotten first, those
    /// that the application gave addresses of last. Default: 4096.
    pub max_known_peers: usize,
    /// What all remembered addresses and protocols may take, in bytes. Default: 8 MiB.
    pub max_known_bytes: usize,
    /// Addresses whose failures are remembered. Default: 4096.
    pub max_backoffs: usize,
    /// Addresses that others say they see us at, those that are believed included. Default: 64.
    pub max_observations: usize,
    /// Addresses of one transport that we believe because others see us there: those that most
    /// observers agree on. Default: 3.
    ///
    /// A host has about one for each network that it is behind. More would let observers who lie
    /// together make us announce what they invent.
    pub max_external_addrs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_budget: 256 << 20,
            peer_memory: 64 << 20,
            connection_memory: 64 << 20,
            max_connections: 1024,
            max_connections_per_peer: 8,
            max_connections_per_prefix: 256,
            max_pending_incoming: 512,
            max_pending_per_prefix: 32,
            incoming_rate_per_prefix: 64,
            incoming_burst_per_prefix: 256,
            prefix_v4: 24,
            prefix_v6: 48,
            max_pending_dials: 128,
            max_dial_addrs: 32,
            max_attempts: 160,
            max_attempts_per_peer: 16,
            max_streams: 32_768,
            max_streams_per_peer: 2048,
            max_streams_per_connection: 1024,
            max_streams_per_protocol: 1024,
            max_streams_per_protocol_and_peer: 1024,
            max_negotiating_streams: 64,
            max_addrs_per_peer: 64,
            max_protocols_per_peer: 256,
            max_known_peers: 4096,
            max_known_bytes: 8 << 20,
            max_backoffs: 4096,
            max_observations: 64,
            max_external_addrs: 3,
        }
    }
}

/// One limit, for a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitRow {
    /// The field of [`Limits`].
    pub setting: &'static str,
    /// Its value.
    pub value: usize,
    /// What it counts.
    pub unit: Unit,
    /// Whom it binds.
    pub scope: Scope,
}

impl LimitRow {
    fn new(setting: &'static str, value: usize, unit: Unit, scope: Scope) -> Self {
        Self {
            setting,
            value,
            unit,
            scope,
        }
    }
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Bits of an address.
    Bits,
    /// Bytes of memory.
    Bytes,
    /// Things, one by one.
    Count,
    /// Things a second.
    PerSecond,
}

/// Whom a limit binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// All remotes together.
    Host,
    /// All remotes behind one IP prefix.
    Prefix,
    /// One peer, with all its connections.
    Peer,
    /// One connection.
    Connection,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Prefix => "prefix",
            Self::Peer => "peer",
            Self::Connection => "connection",
        })
    }
}

/// The most that one peer can make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCost {
    /// Connections with it.
    pub connections: usize,
    /// Streams that it opened.
    pub streams: usize,
    /// Bytes on its connections: queues, buffers, streams.
    pub memory: usize,
    /// Bytes of what we remember of it: addresses and protocols.
    pub remembered: usize,
    /// Connections being upgraded, if it has one prefix to itself.
    pub pending: usize,
}

impl Limits {
    /// One for each dial under way.
    pub(crate) fn dials(&self) -> Budget {
        let most = self.max_pending_dials;
        Budget::new("dials under way", "max_pending_dials", most)
    }

    /// Whether there may be one more connection with a peer that has `held`.
    pub(crate) fn check_one_more_of_peer(&self, held: usize) -> Result<(), Exceeded> {
        let most = self.max_connections_per_peer;
        let name = "connections with one peer";
        Exceeded::check_one_more(name, "max_connections_per_peer", most, held)
    }

    /// The limits for a host that may hold `bytes` on behalf of all remotes: memory in the default
    /// proportions, and below the default budget also what takes memory beside it, such as
    /// connections, down to a few. Everything else as by default.
    ///
    /// ```
    /// let small = p2p_swarm::Limits::with_memory_budget(16 << 20);
    /// assert_eq!((small.peer_memory, small.connection_memory), (4 << 20, 4 << 20));
    /// assert_eq!((small.max_connections, small.max_known_bytes), (64, 512 << 10));
    /// ```
    pub fn with_memory_budget(bytes: usize) -> Self {
        Self {
            memory_budget: bytes,
            peer_memory: bytes / 4,
            connection_memory: bytes / 4,
            ..Self::default().shrunk_to(bytes)
        }
    }

    /// What no budget pays for, in proportion to `bytes`, where those are less than the default.
    fn shrunk_to(self, bytes: usize) -> Self {
        let whole = self.memory_budget;
        let part =
            |most: usize, least: usize| (bytes.min(whole) / (whole / most)).clamp(least, most);
        Self {
            max_connections: part(self.max_connections, 16),
            max_connections_per_prefix: part(self.max_connections_per_prefix, 8),
            max_pending_incoming: part(self.max_pending_incoming, 16),
            max_pending_per_prefix: part(self.max_pending_per_prefix, 8),
            max_known_bytes: part(self.max_known_bytes, 1),
            max_backoffs: part(self.max_backoffs, 64),
            ..self
        }
    }

    /// Every limit with its value, widest scope first.
    pub fn rows(&self) -> Vec<LimitRow> {
        let mut rows = self.host_rows();
        rows.extend(self.prefix_rows());
        rows.extend(self.peer_rows());
        rows.extend(self.connection_rows());
        rows
    }

    fn host_rows(&self) -> Vec<LimitRow> {
        use Unit::{Bytes, Count};
        let row = |setting, value, unit| LimitRow::new(setting, value, unit, Scope::Host);
        vec![
            row("memory_budget", self.memory_budget, Bytes),
            row("max_connections", self.max_connections, Count),
            row("max_pending_incoming", self.max_pending_incoming, Count),
            row("max_pending_dials", self.max_pending_dials, Count),
            row("max_attempts", self.max_attempts, Count),
            row("max_streams", self.max_streams, Count),
            row("max_known_peers", self.max_known_peers, Count),
            row("max_known_bytes", self.max_known_bytes, Bytes),
            row("max_backoffs", self.max_backoffs, Count),
            row("max_observations", self.max_observations, Count),
            row("max_external_addrs", self.max_external_addrs, Count),
        ]
    }

    fn prefix_rows(&self) -> Vec<LimitRow> {
        use Unit::{Bits, Count, PerSecond};
        let row = |setting, value, unit| LimitRow::new(setting, value, unit, Scope::Prefix);
        let number = |rate: u32| usize::try_from(rate).unwrap_or(usize::MAX);
        let (rate, burst) = (
            self.incoming_rate_per_prefix,
            self.incoming_burst_per_prefix,
        );
        vec![
            row("prefix_v4", usize::from(self.prefix_v4), Bits),
            row("prefix_v6", usize::from(self.prefix_v6), Bits),
            row(
                "max_connections_per_prefix",
                self.max_connections_per_prefix,
                Count,
            ),
            row("max_pending_per_prefix", self.max_pending_per_prefix, Count),
            row("incoming_rate_per_prefix", number(rate), PerSecond),
            row("incoming_burst_per_prefix", number(burst), Count),
        ]
    }

    fn peer_rows(&self) -> Vec<LimitRow> {
        use Unit::{Bytes, Count};
        let row = |setting, value, unit| LimitRow::new(setting, value, unit, Scope::Peer);
        let of_protocol = self.max_streams_per_protocol_and_peer;
        vec![
            row("peer_memory", self.peer_memory, Bytes),
            row(
                "max_connections_per_peer",
                self.max_connections_per_peer,
                Count,
            ),
            row("max_streams_per_peer", self.max_streams_per_peer, Count),
            row("max_streams_per_protocol_and_peer", of_protocol, Count),
            row("max_dial_addrs", self.max_dial_addrs, Count),
            row("max_attempts_per_peer", self.max_attempts_per_peer, Count),
            row("max_addrs_per_peer", self.max_addrs_per_peer, Count),
            row("max_protocols_per_peer", self.max_protocols_per_peer, Count),
        ]
    }

    fn connection_rows(&self) -> Vec<LimitRow> {
        use Unit::{Bytes, Count};
        let row = |setting, value, unit| LimitRow::new(setting, value, unit, Scope::Connection);
        vec![
            row("connection_memory", self.connection_memory, Bytes),
            row(
                "max_streams_per_connection",
                self.max_streams_per_connection,
                Count,
            ),
            row(
                "max_streams_per_protocol",
                self.max_streams_per_protocol,
                Count,
            ),
            row(
                "max_negotiating_streams",
                self.max_negotiating_streams,
                Count,
            ),
        ]
    }

    /// The most that one peer can make us hold at a time.
    pub fn one_peer(&self) -> PeerCost {
        let connections = self.max_connections_per_peer.min(self.max_connections);
        let on_connections = connections.saturating_mul(self.max_streams_per_connection);
        let memory = connections.saturating_mul(self.connection_memory);
        PeerCost {
            connections,
            streams: on_connections
                .min(self.max_streams_per_peer)
                .min(self.max_streams),
            memory: memory.min(self.peer_memory).min(self.memory_budget),
            remembered: crate::book::most_of_one_peer(self).min(self.max_known_bytes),
            pending: self.max_pending_per_prefix.min(self.max_pending_incoming),
        }
    }

    pub(crate) fn grain(&self) -> Grain {
        Grain {
            v4: self.prefix_v4,
            v6: self.prefix_v6,
        }
    }

    /// Refuses a limit that lets nothing through, and a part that is more than its whole.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let zero = self.rows().into_iter().find(|row| {
            let may_be_zero = [
                "incoming_rate_per_prefix",
                "prefix_v4",
                "prefix_v6",
                "max_backoffs",
            ];
            row.value == 0 && !may_be_zero.contains(&row.setting)
        });
        if let Some(LimitRow { setting, .. }) = zero {
            // What a share of the whole was rounded down to: the whole is too little.
            let (whole, least) = ("memory_budget", 4);
            if setting.ends_with("_memory") && self.memory_budget < least {
                let value = self.memory_budget;
                return Err(BuildError::TooLittle {
                    setting: whole,
                    value,
                    least,
                });
            }
            return Err(BuildError::Zero { setting });
        }
        let tree = [
            ("connection_memory", self.connection_memory),
            ("peer_memory", self.peer_memory),
            ("memory_budget", self.memory_budget),
        ];
        for pair in tree.windows(2) {
            if let [(part, wanted), (whole, limit)] = *pair
                && wanted > limit
            {
                return Err(BuildError::Memory {
                    part,
                    wanted,
                    whole,
                    limit,
                });
            }
        }
        let bits = [
            ("prefix_v4", self.prefix_v4, 32),
            ("prefix_v6", self.prefix_v6, 128),
        ];
        for (setting, value, most) in bits {
            if value > most {
                return Err(BuildError::TooMany {
                    setting,
                    value: usize::from(value),
                    most: usize::from(most),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_costs_no_more_than_each_of_the_limits_that_bind_it() {
        let limits = Limits::default();
        let cost = limits.one_peer();
        assert_eq!((cost.connections, cost.streams), (8, 2048));
        assert_eq!(cost.memory, 64 << 20);
        assert!(cost.remembered <= limits.max_known_bytes);

        let small = Limits {
            connection_memory: 32 << 20,
            max_connections_per_peer: 1,
            max_streams_per_connection: 10,
            ..Limits::default()
        };
        let cost = small.one_peer();
        assert_eq!((cost.streams, cost.memory), (10, 32 << 20));
    }

    #[test]
    fn every_field_has_a_row() {
        let text = format!("{:?}", Limits::default());
        let fields = text.matches(": ").count();
        assert_eq!(Limits::default().rows().len(), fields);
        for row in Limits::default().rows() {
            assert!(text.contains(row.setting), "{}", row.setting);
        }
    }

    #[test]
    fn what_no_budget_pays_for_stays_a_part_of_a_small_one() {
        for bytes in [4 << 20, 8 << 20, 64 << 20, 256 << 20] {
            let limits = Limits::with_memory_budget(bytes);
            // An idle connection, a link being upgraded and a failed address, at most.
            let beside = limits.max_connections * (16 << 10)
                + limits.max_pending_incoming * (4 << 10)
                + limits.max_backoffs * 256
                + limits.max_known_bytes;
            assert!(beside <= bytes / 7, "{beside} beside {bytes}");
        }
        let (most, default) = (Limits::with_memory_budget(2 << 30), Limits::default());
        assert_eq!(most.max_connections, default.max_connections);
        assert_eq!(most.max_known_bytes, default.max_known_bytes);
    }

    #[test]
    fn a_budget_alone_gives_limits_that_fit_it() {
        for bytes in [8, 1000, 1 << 20, usize::MAX] {
            Limits::with_memory_budget(bytes).check().unwrap();
        }
        let zero = Limits::with_memory_budget(0).check().unwrap_err();
        assert_eq!(zero.to_string(), "memory_budget must be above zero");
    }
}
