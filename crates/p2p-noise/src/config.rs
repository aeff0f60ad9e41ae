//! Settings of the secure channel.

/// Settings of a [`Noise`](crate::Noise).
///
/// There is no deadline in here: this crate reads no clock. The caller gives the handshake one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The longest handshake message that is read, in bytes. Default: 4096.
    ///
    /// It bounds what a remote makes us hold before it has proven anything. An identity with the
    /// largest allowed RSA key needs about 2300 bytes; below 300 not even Ed25519 fits.
    pub max_handshake_message: u16,
    /// Bytes that both ends must agree on beforehand, mixed into the handshake. Default: empty,
    /// as on TCP.
    ///
    /// Transports that authenticate themselves by a hash put it here.
    pub prologue: Vec<u8>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_handshake_message: 4096,
            prologue: Vec::new(),
        }
    }
}
