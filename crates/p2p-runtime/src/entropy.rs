//! Randomness from the operating system.

/// Fills `dest`.
///
/// # Panics
/// If the operating system has no randomness to give: nothing safe could be done without it.
pub(crate) fn fill(dest: &mut [u8]) {
    getrandom::fill(dest).expect("the operating system gives randomness");
}
