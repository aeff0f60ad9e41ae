//! Small numbers for peers.

/// A peer inside one router. Invariant: never reused while anything refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerIx(pub(crate) u32);
