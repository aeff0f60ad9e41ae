//! Limits.

/// What [`PeerRecord::open`](crate::PeerRecord::open) accepts from a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordLimits {
    /// Addresses kept, the first ones; the rest is ignored. Default: 64.
    ///
    /// Lower keeps address books small and loses ways to reach peers with many addresses.
    pub max_addrs: usize,
    /// Bytes of the whole envelope; a longer one is refused. Default: 8 KiB, the longest
    /// message of identify.
    ///
    /// Also bounds what is allocated for one record.
    pub max_bytes: usize,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            max_addrs: 64,
            max_bytes: 8 * 1024,
        }
    }
}
