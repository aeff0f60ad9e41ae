//! Private networks: a pre-shared key below every connection.
//!
//! ```text
//!   transport ── [ pnet: XSalsa20 with the shared key ] ── secure channel ── multiplexer
//! ```
//!
//! Whoever lacks the key cannot even begin to negotiate. It does not replace the secure channel
//! above it: it proves and checks nothing. [`Protected`] works on any stream; [`Private`] wraps
//! a transport; [`PreSharedKey`] reads the key files of other implementations.
//!
//! `LIBP2P_FORCE_PNET=1` in the environment asks to do nothing without a key: [`is_forced`] tells.
//!
//! Spec: libp2p/specs `pnet/Private-Networks-PSK-V1.md`.

mod key;
mod stream;
mod transport;

pub use key::{KeyError, PreSharedKey};
pub use stream::{HungUp, KeysMayDiffer, NONCE, Protected};
pub use transport::Private;

/// Whether the environment forbids to run without a private network (`LIBP2P_FORCE_PNET=1`).
pub fn is_forced() -> bool {
    std::env::var_os("LIBP2P_FORCE_PNET").is_some_and(|value| value == "1")
}
