//! Received bytes on their way into a machine.

use bytes::{Buf, Bytes};

/// Payloads from this size on are handed out as slices of the read buffer, smaller ones are
/// copied: a slice keeps its whole buffer alive.
const SHARE_MIN: usize = 8 * 1024;

/// Received bytes, consumed from the front.
#[derive(Debug)]
pub enum Input<'a> {
    /// Must be copied to be kept.
    Borrowed(&'a [u8]),
    /// May be kept in slices.
    Shared(Bytes),
}

impl Input<'_> {
    /// What is left.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// How much is left, in bytes.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Drops `count` bytes off the front, or all if there are fewer.
    pub fn skip(&mut self, count: usize) {
        match self {
            Self::Borrowed(bytes) => *bytes = bytes.get(count..).unwrap_or_default(),
            Self::Shared(bytes) => bytes.advance(count.min(bytes.len())),
        }
    }

    /// Moves up to `scratch.len()` bytes off the front into `scratch`; returns how many.
    pub fn copy_to(&mut self, scratch: &mut [u8]) -> usize {
        let count = scratch.len().min(self.len());
        if let (Some(to), Some(from)) = (scratch.get_mut(..count), self.as_slice().get(..count)) {
            to.copy_from_slice(from);
        }
        self.skip(count);
        count
    }

    /// The first `count` bytes as a slice of the buffer, if it is large enough to be worth it and
    /// `pay` succeeds. Without that nothing is taken.
    pub(crate) fn share<E>(
        &mut self,
        count: usize,
        pay: impl FnOnce() -> Result<(), E>,
    ) -> Result<Option<Bytes>, E> {
        match self {
            Self::Shared(bytes) if count >= SHARE_MIN && count <= bytes.len() => {
                pay()?;
                Ok(Some(bytes.split_to(count)))
            }
            Self::Borrowed(_) | Self::Shared(_) => Ok(None),
        }
    }
}

impl<'a> From<&'a [u8]> for Input<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl From<Bytes> for Input<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}
