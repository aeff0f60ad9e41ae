//! What drained queues leave to the next.

use std::collections::VecDeque;

use crate::Account;
use crate::queue::{Chunk, SPARE_MAX};

/// Queues that are kept, at most.
const MAX: usize = 32;
/// Chunks that the list of a kept queue has room for, at most.
const MAX_CHUNKS: usize = 4;
/// What a kept queue costs, in bytes: its list and its chunk.
const COST: usize = MAX_CHUNKS * size_of::<Chunk>() + SPARE_MAX;

/// The emptied [`RecvQueue`](crate::RecvQueue)s of a connection, each with at most one
/// small chunk.
///
/// So that a stream which waits for its next message holds nothing, and one that gets it allocates
/// nothing: the last queue that was drained is the next to be filled.
#[derive(Debug, Default)]
pub struct Spares(Vec<VecDeque<Chunk>>);

impl Spares {
    /// A queue without contents.
    pub(crate) fn take(&mut self, account: &mut Account) -> VecDeque<Chunk> {
        let Some(kept) = self.0.pop() else {
            // Most hold one chunk; `VecDeque` would begin with room for four.
            return VecDeque::with_capacity(1);
        };
        account.refund(COST);
        kept
    }

    /// Keeps `drained`, of which everything is read, if there is room and money for it.
    pub(crate) fn keep(&mut self, mut drained: VecDeque<Chunk>, account: &mut Account) {
        drained.retain_mut(Chunk::recycle);
        // The last is the largest.
        drained.drain(..drained.len().saturating_sub(1));
        let fits = self.0.len() < MAX && drained.capacity() <= MAX_CHUNKS;
        if fits && account.charge(COST).is_ok() {
            self.0.push(drained);
        }
    }

    /// What is kept costs this, in bytes.
    pub(crate) fn held(&self) -> usize {
        COST * self.0.len()
    }

    /// Gives the memory back.
    pub(crate) fn trim(&mut self, account: &mut Account) {
        account.refund(self.held());
        self.0 = Vec::new();
    }
}
