//! Copying payload.
//!
//! The C library copies blocks above 4 KiB with `rep movsb`, which some processors do at a fifth
//! of their speed when source and destination are not aligned alike, as payload behind a header
//! never is. Blocks below that are copied with vector instructions on all of them.

/// Below every threshold for `rep movsb`, in bytes.
const BLOCK: usize = 2 * 1024;

/// Copies `from` to `to`; both have the same length.
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.chunks_mut(BLOCK).zip(from.chunks(BLOCK)) {
        if to.len() == from.len() {
            to.copy_from_slice(from);
        }
    }
}

/// Appends `from` to `to`.
pub(crate) fn append(to: &mut Vec<u8>, from: &[u8]) {
    to.reserve(from.len());
    for block in from.chunks(BLOCK) {
        to.extend_from_slice(block);
    }
}
