//! Limits of a negotiation.

use std::num::NonZeroUsize;

/// Limits of a negotiation.
///
/// There is no deadline in here: this crate reads no clock. Give the whole exchange one absolute
/// deadline (10 s is usual); a deadline for each read could be stretched without end by a remote
/// that sends a byte at a time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The longest token that is read, in bytes, newline included. Default: 1024, as in go-libp2p.
    ///
    /// It bounds what a remote makes us hold during a negotiation. Values above 16383 count as
    /// 16383: a length prefix has at most two bytes. Lower than our longest protocol id makes
    /// negotiation of that protocol fail.
    pub max_token: NonZeroUsize,
    /// How many tokens a listener answers in one negotiation, `ls` included. Default: 32.
    ///
    /// A dialer that has proposed as many without success is refused.
    pub max_proposals: NonZeroUsize,
}

impl Default for Config {
    fn default() -> Self {
        const MAX_TOKEN: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
        const MAX_PROPOSALS: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");
        Self {
            max_token: MAX_TOKEN,
            max_proposals: MAX_PROPOSALS,
        }
    }
}
