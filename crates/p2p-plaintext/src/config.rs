//! Settings of plaintext.

/// Settings of a [`Plaintext`](crate::Plaintext).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The longest message that is read, in bytes. Default: 8192.
    ///
    /// The largest allowed key needs about 1200.
    pub max_message: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_message: 8192 }
    }
}
