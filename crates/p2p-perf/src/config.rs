//! The settings of perf.

use std::time::Duration;

use crate::Form;

/// The settings of [`Perf`](crate::Perf).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What one remote can make us send with one stream, in bytes; more is refused with a reset.
    /// Default: 16 GiB.
    pub max_bytes: u64,
    /// Streams served at the same time on one connection; more are reset. Default: 16.
    pub max_streams: usize,
    /// How long nothing may move before a transfer has failed. Default: 20 s.
    pub patience: Duration,
    /// What is written at a time, in bytes. Default: 48 KiB.
    ///
    /// Smaller writes show what they cost; larger ones gain nothing.
    pub write: usize,
    /// What stands in front of the upload. Default: [`Form::Plain`], as in the spec.
    pub form: Form,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_bytes: 16 << 30,
            max_streams: 16,
            patience: Duration::from_secs(20),
            write: 48 * 1024,
            form: Form::Plain,
        }
    }
}
