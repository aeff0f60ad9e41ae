//! What every transport and every secure channel must do, as suites that a new one runs.
//!
//! ```text
//!   transport::Subject ── p2p_core::transport_conformance!(subject(), block_on) ──> one test a rule
//!   security::Subject  ── p2p_core::security_conformance!(subject())           ──> one test a rule
//! ```
//!
//! A rule that is broken says which one, where it comes from, and what was seen:
//!
//! ```text
//!   broken rule: a_half_close_ends_one_direction_only
//!     of: libp2p/specs connections/README.md, "Stream Multiplexing" (half-closed streams)
//!     seen: the writer cannot write any more (at crates/…/rules.rs:210)
//! ```
//!
//! The multiplexers' suite is in `p2p-mux`. That a rule of each of the three can be broken is held
//! by what is broken on purpose: [`faulty`].

mod census;
pub mod faulty;
pub mod security;
pub mod transport;

use std::fmt;
use std::panic::Location;

use futures::io::{AsyncRead, AsyncReadExt};

/// Why a rule counts as broken.
pub struct Broken {
    what: String,
    at: &'static Location<'static>,
}

impl Broken {
    /// A rule is broken by what `what` says.
    #[track_caller]
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            at: Location::caller(),
        }
    }
}

impl<E: std::error::Error> From<E> for Broken {
    /// An error where there must be none, with its causes.
    #[track_caller]
    fn from(error: E) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            what = format!("{what}: {error}");
            cause = error.source();
        }
        Self {
            what,
            at: Location::caller(),
        }
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {})", self.what, self.at)
    }
}

/// What a rule comes to.
pub type Verdict = Result<(), Broken>;

/// Panics if a rule is broken, with its name, where it comes from, and what was seen.
///
/// # Panics
/// If the verdict is not `Ok`.
#[track_caller]
pub fn judge(name: &str, spec: &str, verdict: Verdict) {
    if let Err(seen) = verdict {
        panic!("broken rule: {name}\n  of: {spec}\n  seen: {seen:?}");
    }
}

/// Leaves a rule as broken unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err($crate::conformance::Broken::new(format!($($what)+)));
        }
    };
}
use ensure;

/// `len` bytes that differ from place to place and from seed to seed.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Reads `expected` and not a byte more.
async fn expect(reader: &mut (impl AsyncRead + Unpin), expected: &[u8]) -> Verdict {
    let mut received = vec![0; expected.len()];
    reader.read_exact(&mut received).await?;
    ensure!(received == expected, "other bytes than were written");
    Ok(())
}

/// Reads `expected`, and then a clean end.
async fn expect_all(reader: &mut (impl AsyncRead + Unpin), expected: &[u8]) -> Verdict {
    expect(reader, expected).await?;
    let more = reader.read(&mut [0; 64]).await?;
    ensure!(more == 0, "{more} bytes that nobody wrote");
    Ok(())
}

/// Reads until there is an end of any kind; returns what came before, and whether it was clean.
async fn read_out(reader: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, std::io::Result<()>) {
    let mut received = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return (received, Ok(())),
            Ok(count) => received.extend(buffer.iter().take(count)),
            Err(error) => return (received, Err(error)),
        }
    }
}
