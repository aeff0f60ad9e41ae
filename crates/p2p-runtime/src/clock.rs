//! The one clock of all real runtimes of a process.
//!
//! Shared by the providers, so that instants of two of them in one process can be compared.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use p2p_core::Instant;

/// Where the clock starts: the first time anybody asks.
static START: OnceLock<std::time::Instant> = OnceLock::new();

/// The furthest that a timer of the operating system is set; [`crate::timer`] sets it again.
const HORIZON: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) fn now() -> Instant {
    Instant::ZERO + start().elapsed()
}

#[expect(clippy::disallowed_methods, reason = "this is the runtime's clock")]
pub(crate) fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// `at` as the runtimes' timers want it. Instants too far away for the system come out early.
pub(crate) fn to_std(at: Instant) -> std::time::Instant {
    let start = start();
    start
        .checked_add(at.elapsed_since_start())
        .unwrap_or_else(|| start + start.elapsed() + HORIZON)
}

#[expect(clippy::disallowed_methods, reason = "this is the runtime's clock")]
fn start() -> std::time::Instant {
    *START.get_or_init(std::time::Instant::now)
}
