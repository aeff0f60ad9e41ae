//! What a cell of the matrix is, and how a cell can come out.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::Role;

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
    /// WebSocket on TLS, with a certificate that everybody is told to trust.
    Wss,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Quic => "quic",
        }
    }

    /// Where a listener listens.
    pub(crate) fn listen_addr(self) -> &'static str {
        match self {
            Self::Tcp => "/ip4/127.0.0.1/tcp/0",
            Self::Ws => "/ip4/127.0.0.1/tcp/0/ws",
            Self::Wss => "/ip4/127.0.0.1/tcp/0/tls/ws",
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

    /// Whether a stream that nobody reads holds up its sender instead of filling memory.
    pub(crate) fn has_flow_control(self) -> bool {
        match self {
            Self::Own | Self::Yamux => true,
            Self::Mplex => false,
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
    /// `gossip`, where our node speaks version 1.0 alone.
    #[value(name = "gossip-1.0")]
    Gossip1_0,
    /// `gossip`, where our node speaks version 1.1 alone.
    #[value(name = "gossip-1.1")]
    Gossip1_1,
    /// `gossip`, where our node speaks version 1.2 alone.
    #[value(name = "gossip-1.2")]
    Gossip1_2,
    /// `gossip`, where our node speaks version 1.3 alone.
    #[value(name = "gossip-1.3")]
    Gossip1_3,
    /// From one of our nodes to another one of ours, by way of the listener.
    GossipChain,
    /// Signed messages by floodsub, both ways.
    Flood,
    /// The same without authors and signatures.
    FloodAnonymous,
    /// Messages by floodsub that have an author and need no signature, none above 1 KiB.
    FloodLax,
    /// Streams that end in every order.
    Orders,
    /// A reset by either side is seen as a reset.
    Reset,
    /// A reset by either side carries its code.
    Codes,
    /// 200 streams at once.
    Streams,
    /// One reader that does not read, beside others that do.
    Slow,
    /// 50 MB each way, and both at once.
    Big,
    /// The end of a connection is noticed.
    Close,
    /// Both offer several securities and muxers.
    Choose,
    /// The muxer is negotiated after the handshake.
    Late,
    /// A protocol that is added is told.
    Push,
    /// The dialer finds the listener by mDNS, then five pings.
    Mdns,
    /// The same as echo, with a listener that is dialed by the name of this machine.
    Name,
    /// The same as echo, within a private network.
    Private,
    /// Each has the key of another private network: they do not meet.
    PrivateOther,
    /// Both have an Ed25519 identity.
    #[value(name = "key-ed25519")]
    KeyEd25519,
    /// Both have a secp256k1 identity.
    #[value(name = "key-secp256k1")]
    KeySecp256k1,
    /// Both have an ECDSA identity.
    KeyEcdsa,
    /// Both have an RSA identity.
    KeyRsa,
    /// A ping each second for a minute.
    Minute,
    /// Two minutes of nothing, then an echo.
    Idle,
    /// An hour of everything in turn on one connection.
    Hour,
}

impl Test {
    /// On the command line of the runner and in the rows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Identify => "identify",
            Self::Echo => "echo",
            Self::Transfer => "transfer",
            Self::Gossip => "gossip",
            Self::GossipAnonymous => "gossip-anonymous",
            Self::Gossip1_0 => "gossip-1.0",
            Self::Gossip1_1 => "gossip-1.1",
            Self::Gossip1_2 => "gossip-1.2",
            Self::Gossip1_3 => "gossip-1.3",
            Self::GossipChain => "gossip-chain",
            Self::Flood => "flood",
            Self::FloodAnonymous => "flood-anonymous",
            Self::FloodLax => "flood-lax",
            Self::Orders => "orders",
            Self::Reset => "reset",
            Self::Codes => "codes",
            Self::Streams => "streams",
            Self::Slow => "slow",
            Self::Big => "big",
            Self::Close => "close",
            Self::Choose => "choose",
            Self::Late => "late",
            Self::Push => "push",
            Self::Mdns => "mdns",
            Self::Name => "name",
            Self::Private => "private",
            Self::PrivateOther => "private-other",
            Self::KeyEd25519 => "key-ed25519",
            Self::KeySecp256k1 => "key-secp256k1",
            Self::KeyEcdsa => "key-ecdsa",
            Self::KeyRsa => "key-rsa",
            Self::Minute => "minute",
            Self::Idle => "idle",
            Self::Hour => "hour",
        }
    }

    /// Messages that each end sends in a pubsub test; `None` for the other tests.
    pub(crate) fn messages(self) -> Option<u64> {
        match self {
            Self::FloodLax => Some(501),
            Self::Flood
            | Self::FloodAnonymous
            | Self::Gossip
            | Self::Gossip1_0
            | Self::Gossip1_1
            | Self::Gossip1_2
            | Self::Gossip1_3
            | Self::GossipAnonymous
            | Self::GossipChain => Some(506),
            Self::Big
            | Self::Choose
            | Self::Close
            | Self::Codes
            | Self::Echo
            | Self::Hour
            | Self::Identify
            | Self::Idle
            | Self::KeyEcdsa
            | Self::KeyEd25519
            | Self::KeyRsa
            | Self::KeySecp256k1
            | Self::Late
            | Self::Mdns
            | Self::Minute
            | Self::Name
            | Self::Orders
            | Self::Ping
            | Self::Private
            | Self::PrivateOther
            | Self::Push
            | Self::Reset
            | Self::Slow
            | Self::Streams
            | Self::Transfer => None,
        }
    }

    /// On the command line of a peer: some tests are another one with other options.
    pub(crate) fn spoken(self) -> &'static str {
        match self.key() {
            Some(_) => Self::Identify.name(),
            None if self.is_echo() => Self::Echo.name(),
            None if self.version().is_some() => Self::Gossip.name(),
            None => self.name(),
        }
    }

    /// The version of gossipsub that the test is about.
    pub(crate) fn version(self) -> Option<&'static str> {
        let versions = [
            (Self::Gossip1_0, "/meshsub/1.0.0"),
            (Self::Gossip1_1, "/meshsub/1.1.0"),
            (Self::Gossip1_2, "/meshsub/1.2.0"),
            (Self::Gossip1_3, "/meshsub/1.3.0"),
        ];
        let version = versions.iter().find(|(test, _)| *test == self);
        version.map(|(_, id)| *id)
    }

    /// The event in which the dialer says how it went.
    pub(crate) fn reported(self) -> &'static str {
        if self == Self::Mdns {
            Self::Ping.name()
        } else {
            self.spoken()
        }
    }

    /// Whether it is an echo between peers with other options.
    fn is_echo(self) -> bool {
        [
            Self::Choose,
            Self::Late,
            Self::Name,
            Self::Private,
            Self::PrivateOther,
        ]
        .contains(&self)
    }

    /// The identity that both ends are asked to have.
    pub(crate) fn key(self) -> Option<&'static str> {
        self.name().strip_prefix("key-")
    }

    /// What the test needs at least, however short the deadline.
    pub(crate) fn at_least(self) -> Duration {
        let needs = [
            (Self::Big, 240),
            (Self::Close, 75),
            // On a busy machine py was seen to take more than a minute.
            (Self::Mdns, 120),
            (Self::Minute, 100),
            (Self::Idle, 180),
            (Self::Hour, 3700),
        ];
        let needed = needs.iter().find(|(test, _)| *test == self);
        Duration::from_secs(needed.map_or(0, |(_, seconds)| *seconds))
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

impl Cell {
    /// Who has this role.
    pub(crate) fn end(&self, role: Role) -> Peer {
        match role {
            Role::Dial => self.dialer,
            Role::Listen => self.listener,
        }
    }

    /// Transport, security and muxer, as in `tcp/noise/yamux`.
    pub(crate) fn stack(&self) -> String {
        let (security, muxer) = (self.security.name(), self.muxer.name());
        format!("{}/{security}/{muxer}", self.transport.name())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dialer, listener) = (self.dialer.name(), self.listener.name());
        let (stack, test) = (self.stack(), self.test.name());
        write!(f, "{dialer} -> {listener} {stack} {test}")
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

impl Row {
    /// `None` if it is not what [`Row::to_json`] makes.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key)?.as_str();
        fn word<T: ValueEnum>(text: &str) -> Option<T> {
            T::from_str(text, false).ok()
        }
        let outcomes = [
            Outcome::Fail,
            Outcome::Missing,
            Outcome::Pass,
            Outcome::Theirs,
            Outcome::Unsupported,
        ];
        let outcome = text("outcome")?;
        Some(Self {
            cell: Cell {
                dialer: word(text("dialer")?)?,
                listener: word(text("listener")?)?,
                transport: word(text("transport")?)?,
                security: match text("security")? {
                    "own" => Security::Own,
                    name => word(name)?,
                },
                muxer: match text("muxer")? {
                    "own" => Muxer::Own,
                    name => word(name)?,
                },
                test: word(text("test")?)?,
            },
            outcome: outcomes.into_iter().find(|it| it.name() == outcome)?,
            ms: value.get("ms")?.as_u64()?,
            detail: text("detail")?.to_owned(),
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
        assert_eq!(Row::from_json(&row.to_json()).as_ref(), Some(&row));
        let mut quic = row.clone();
        quic.cell.transport = Transport::Quic;
        (quic.cell.security, quic.cell.muxer) = (Security::Own, Muxer::Own);
        assert_eq!(Row::from_json(&quic.to_json()).as_ref(), Some(&quic));

        assert_eq!(
            text,
            r#"{"detail":"line \"one\"\nline two","dialer":"p2p","listener":"go","ms":12,"#
                .to_owned()
                + r#""muxer":"yamux","outcome":"theirs","security":"noise","test":"transfer","#
                + r#""transport":"tcp"}"#
        );
    }
}
