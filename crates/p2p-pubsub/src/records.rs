//! Where signed peer records come from.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, Stream};
use p2p_core::PeerId;

use crate::state::Shared;

/// The signed peer records of connected peers: what peer exchange passes on, so that those who are
/// told of a peer know where it is.
pub struct Records {
    pub(crate) lookup: Arc<Lookup>,
    changes: BoxStream<'static, PeerId>,
}

/// The signed envelope of a peer, as it signed it.
pub(crate) type Lookup = dyn Fn(&PeerId) -> Option<Bytes> + Send + Sync;

impl Records {
    /// Records that `lookup` knows, such as those of identify. `changes` names peers whose record
    /// is new.
    pub fn new(
        lookup: impl Fn(&PeerId) -> Option<Bytes> + Send + Sync + 'static,
        changes: impl Stream<Item = PeerId> + Send + 'static,
    ) -> Self {
        Self {
            lookup: Arc::new(lookup),
            changes: changes.boxed(),
        }
    }

    /// Tells the router of every change, until there are no more.
    pub(crate) async fn run(mut self, shared: Arc<Shared>) {
        while let Some(peer) = self.changes.next().await {
            if let Some(record) = (self.lookup)(&peer) {
                shared.step(|state, _| state.router.set_record(&peer, record));
            }
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}
