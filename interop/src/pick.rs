//! Which tests `--test` names: one, or a group.

use std::str::FromStr;

use clap::ValueEnum as _;

use crate::cell::{Muxer, Security, Test};

/// A value of `--test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// All that take seconds and need no network of their own.
    All,
    /// What a small change is tried with: ping, identify, echo, transfer.
    Gate,
    /// Each kind of identity.
    Keys,
    /// Those that take minutes.
    Long,
    /// This one.
    One(Test),
    /// Messages by gossipsub and floodsub.
    Pubsub,
    /// What CI runs: `gate` on every stack, the others on one or two. The default.
    Quick,
}

const GATE: [Test; 4] = [Test::Ping, Test::Identify, Test::Echo, Test::Transfer];
/// Of `quick`, with and without flow control.
const QUICK_TWICE: [Test; 5] = [
    Test::Orders,
    Test::Reset,
    Test::Streams,
    Test::Slow,
    Test::Choose,
];
/// Of `quick`, on noise and yamux only.
const QUICK_ONCE: [Test; 10] = [
    Test::Codes,
    Test::Close,
    Test::Late,
    Test::Push,
    Test::Name,
    Test::Private,
    Test::PrivateOther,
    Test::KeySecp256k1,
    Test::KeyEcdsa,
    Test::KeyRsa,
];
const LONG: [Test; 2] = [Test::Minute, Test::Idle];
/// Those that are run only if they are named.
const NAMED: [Test; 2] = [Test::Mdns, Test::Hour];

impl Pick {
    /// Whether `test` is meant on this stack.
    pub(crate) fn wants(self, test: Test, security: Security, muxer: Muxer) -> bool {
        // QUIC brings the same as the usual two.
        let usual =
            security == Security::Noise && muxer == Muxer::Yamux || security == Security::Own;
        let plainest = security == Security::Plaintext && muxer == Muxer::Mplex;
        match self {
            Self::One(wanted) => test == wanted,
            Self::Gate => GATE.contains(&test),
            Self::Keys => test.key().is_some(),
            Self::Pubsub => test.messages().is_some(),
            Self::Long => LONG.contains(&test),
            Self::All => {
                !LONG.contains(&test)
                    && !NAMED.contains(&test)
                    && makes_sense(test, security, muxer)
            }
            Self::Quick => {
                GATE.contains(&test)
                    || makes_sense(test, security, muxer)
                        && ((usual || plainest) && QUICK_TWICE.contains(&test)
                            || usual && QUICK_ONCE.contains(&test)
                            || usual && test.messages().is_some())
            }
        }
    }
}

/// Whether the stack has what the test is about.
pub(crate) fn makes_sense(test: Test, security: Security, muxer: Muxer) -> bool {
    // There is nothing in the handshake of plaintext that could name a muxer.
    let early = security != Security::Plaintext || test != Test::Late;
    // A reset of mplex has no room for a code.
    let coded = muxer != Muxer::Mplex || test != Test::Codes;
    // Identities meet in the handshake: what comes after makes no difference.
    let keyed = muxer != Muxer::Mplex || test.key().is_none();
    // A version is agreed on by stream, whatever carries it.
    let versioned = muxer != Muxer::Mplex || test.version().is_none();
    // QUIC has one security and one way to carry streams.
    let chosen = muxer != Muxer::Own || !matches!(test, Test::Choose | Test::Late);
    // The key of a private network protects bytes that are to be secured and multiplexed.
    let protects = muxer != Muxer::Own || !matches!(test, Test::Private | Test::PrivateOther);
    early && coded && keyed && versioned && chosen && protects
}

impl FromStr for Pick {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "all" => Self::All,
            "gate" => Self::Gate,
            "keys" => Self::Keys,
            "long" => Self::Long,
            "perf" => Self::One(Test::Transfer),
            "pubsub" => Self::Pubsub,
            "quick" => Self::Quick,
            name => Self::One(Test::from_str(name, false)?),
        })
    }
}
