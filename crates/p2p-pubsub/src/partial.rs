//! Messages in parts, for those who have most of one already.
//!
//! ```text
//!   have 1 1 0 1        metadata: 1101 ──>       have 1 0 1 0
//!                       <── metadata: 1010
//!                       part 2 ──>   <── part 3
//! ```
//!
//! What a part is, how parts and the account of them are written, and whether a part is right, is
//! the application's business: it implements [`Partial`]. The router remembers what each peer has
//! said and was told about each group, so that publishing the same again sends nothing twice.
//!
//! Spec: libp2p/specs `pubsub/gossipsub/partial-messages.md` (working draft).

use std::fmt;

use bytes::Bytes;
use p2p_core::{Blame, PeerId, Permit};

use crate::Topic;
pub use crate::wire::PartialMode;

/// A message that is made of parts, as far as we have them.
pub trait Partial {
    /// Names the whole message. Must not depend on having all of it.
    fn group(&self) -> Bytes;

    /// Which parts we have and want.
    fn metadata(&self) -> Bytes;

    /// Parts for a peer that has sent `metadata`; `None` if we have nothing that it lacks, or if
    /// `metadata` makes no sense.
    fn parts_for(&self, metadata: &[u8]) -> Option<Bytes>;

    /// What a peer that has sent `metadata` has once it has read what
    /// [`Partial::parts_for`] gives for it.
    fn merge(&self, metadata: &[u8]) -> Bytes;

    /// Parts for a peer that has said nothing yet. Default: none; it is told what we have.
    fn eager(&self) -> Option<Bytes> {
        None
    }
}

/// Parts of a message from a peer, or which parts it has and wants.
pub struct Parts {
    /// Who sent them.
    pub from: PeerId,
    /// In which topic.
    pub topic: Topic,
    /// Which message they belong to.
    pub group: Bytes,
    /// Parts, as the application encodes them; not checked by anybody yet.
    pub parts: Option<Bytes>,
    /// Which parts the peer has and wants, as the application encodes it.
    pub metadata: Option<Bytes>,
    /// Pays for all of it.
    pub(crate) permit: Option<Permit>,
}

impl Parts {
    /// Bytes of all of it.
    pub(crate) fn len(&self) -> usize {
        let len = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        self.group.len() + len(&self.parts) + len(&self.metadata)
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("from", &self.from)
            .field("topic", &self.topic)
            .field("group", &self.group)
            .field("parts", &self.parts.as_ref().map(Bytes::len))
            .field("metadata", &self.metadata)
            .field("permit", &self.permit)
            .finish()
    }
}

/// Why parts were not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartialError {
    /// We do not take part in the partial messages of this topic.
    #[error("we take no part in the partial messages of this topic: subscribe to its parts first")]
    NotInTopic,
    /// The group's name or the metadata is empty or longer than allowed.
    #[error("{what} of {len} bytes, 1 to {max} allowed")]
    Length {
        /// Which of them.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
}

impl PartialError {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        Blame::Us
    }
}

/// What became of parts that were published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartialSent {
    /// Peers that get parts.
    pub parts: usize,
    /// Peers that are only told what we have.
    pub metadata: usize,
    /// Peers whose queue is full: publish again later.
    pub full: usize,
}
