//! Which provider a program gets that does not care.

use std::future::Future;

use p2p_core::Rt;

#[cfg(feature = "async-std")]
use crate::AsyncStd as Default;
#[cfg(all(feature = "smol", not(feature = "async-std")))]
use crate::Smol as Default;
#[cfg(not(any(feature = "async-std", feature = "smol")))]
use crate::Tokio as Default;

/// The first enabled provider of: async-std, smol, tokio.
///
/// # Panics
/// If only tokio is enabled: outside of a tokio runtime.
pub fn default_runtime() -> Rt {
    #[cfg(any(feature = "async-std", feature = "smol"))]
    return Default::new();
    #[cfg(not(any(feature = "async-std", feature = "smol")))]
    return Default::current();
}

/// Runs `future` until it is done, on the provider of [`default_runtime`].
///
/// # Panics
/// If only tokio is enabled: within a tokio runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    Default::block_on(future)
}
