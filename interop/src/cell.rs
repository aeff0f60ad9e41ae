//! What a cell of the matrix is, and how a cell can come out.

use std::fmt;

use clap::ValueEnum;
use serde_json::{Value, json};

/// Who speaks: one of ours, or a program under `interop/peers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// go-libp2p.
    Go,
    /// js-libp2p.
    Js,
    /// Our own stack.
    P2p,
    /// py-libp2p.
    Py,
    /// rust-libp2p.
    Rust,
}

impl Peer {
    /// Everybody but us.
    pub(crate) const FOREIGN: [Self; 4] = [Self::Go, Self::Js, Self::Py, Self::Rust];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Js => "js",
            Self::P2p => "p2p",
            Self::Py => "py",
            Self::Rust => "rust",
        }
    }
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Transport {
    /// TCP on loopback.
    Tcp,
    /// QUIC on loopback: needs no security and no muxer of its own.
    Quic,
    /// WebSocket on TCP on loopback.
    Ws,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ws => "ws",
            Self::Quic => "quic",
        }
    }

    /// Where a listener listens.
    pub(crate) fn listen_addr(self) -> &'static str {
        match self {
            Self::Tcp => "/ip4/127.0.0.1/tcp/0",
            Self::Ws => "/ip4/127.0.0.1/tcp/0/ws",
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
        }
    }
}

/// What makes the connection secure, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Security {
    /// `/plaintext/2.0.0`.
    Plaintext,
    /// `/noise`.
    Noise,
    /// `/tls/1.0.0`.
    Tls,
    /// That of the transport.
    #[value(skip)]
    Own,
}

impl Security {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Noise => "noise",
            Self::Tls => "tls",
            Self::Own => "own",
        }
    }
}

/// What carries the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Muxer {
    /// `/yamux/1.0.0`.
    Yamux,
    /// `/mplex/6.7.0`.
    Mplex,
    /// That of the transport.
    #[value(skip)]
    Own,
}

impl Muxer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Yamux => "yamux",
            Self::Mplex => "mplex",
            Self::Own => "own",
        }
    }
}

/// What the two do once connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Test {
    /// Five pings.
    Ping,
    /// Both learn who the other is.
    Identify,
    /// 100 kB there and back with a half-close, twice.
    Echo,
    /// 5 MB up, then 5 MB down.
    Transfer,
    /// Signed messages by gossipsub, both ways.
    Gossip,
    /// The same without authors and signatures.
    GossipAnonymous,
    /// From one of our nodes to another one of ours, by way of the listener.
    GossipChain,
    /// Signed messages by floodsub, both ways.
    Flood,
    /// The same without authors and signatures.
    FloodAnonymous,
    /// Messages by floodsub that have an author and need no signature, none above 1 KiB.
    FloodLax,
}

impl Test {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Identify => "identify",
            Self::Echo => "echo",
            Self::Transfer => "transfer",
            Self::Gossip => "gossip",
            Self::GossipAnonymous => "gossip-anonymous",
            Self::GossipChain => "gossip-chain",
            Self::Flood => "flood",
            Self::FloodAnonymous => "flood-anonymous",
            Self::FloodLax => "flood-lax",
        }
    }

    /// Messages that each end sends in a pubsub test; `None` for the other tests.
    pub(crate) fn messages(self) -> Option<u64> {
        match self {
            Self::Echo | Self::Identify | Self::Ping | Self::Transfer => None,
            Self::FloodLax => Some(501),
            Self::Flood
            | Self::FloodAnonymous
            | Self::Gossip
            | Self::GossipAnonymous
            | Self::GossipChain => Some(506),
        }
    }
}

/// One run of one pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) dialer: Peer,
    pub(crate) listener: Peer,
    pub(crate) transport: Transport,
    pub(crate) security: Security,
    pub(crate) muxer: Muxer,
    pub(crate) test: Test,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dialer, listener) = (self.dialer.name(), self.listener.name());
        let (security, muxer) = (self.security.name(), self.muxer.name());
        let (transport, test) = (self.transport.name(), self.test.name());
        write!(
            f,
            "{dialer} -> {listener} {transport}/{security}/{muxer} {test}"
        )
    }
}

/// How a cell came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did not work, and nobody else is known to be at fault.
    Fail,
    /// It could not run here: a tool or our own node is not there.
    Missing,
    /// It worked.
    Pass,
    /// It did not work, for a reason that `faults` lists.
    Theirs,
    /// A peer does not have this combination at all.
    Unsupported,
}

impl Outcome {
    /// In the JSON rows.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Missing => "missing",
            Self::Pass => "pass",
            Self::Theirs => "theirs",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A cell with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) cell: Cell,
    pub(crate) outcome: Outcome,
    /// From the start of the dialer to its end, in milliseconds.
    pub(crate) ms: u64,
    /// Why it did not pass; numbers of interest if it did.
    pub(crate) detail: String,
}

impl Row {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "dialer": self.cell.dialer.name(),
            "listener": self.cell.listener.name(),
            "transport": self.cell.transport.name(),
            "security": self.cell.security.name(),
            "muxer": self.cell.muxer.name(),
            "test": self.cell.test.name(),
            "outcome": self.outcome.name(),
            "ms": self.ms,
            "detail": self.detail,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_exactly_the_documented_keys() {
        let row = Row {
            cell: Cell {
                dialer: Peer::P2p,
                listener: Peer::Go,
                transport: Transport::Tcp,
                security: Security::Noise,
                muxer: Muxer::Yamux,
                test: Test::Transfer,
            },
            outcome: Outcome::Theirs,
            ms: 12,
            detail: "line \"one\"\nline two".into(),
        };

        let text = row.to_json().to_string();

        assert_eq!(
            text,
            r#"{"detail":"line \"one\"\nline two","dialer":"p2p","listener":"go","ms":12,"#
                .to_owned()
                + r#""muxer":"yamux","outcome":"theirs","security":"noise","test":"transfer","#
                + r#""transport":"tcp"}"#
        );
    }
}
