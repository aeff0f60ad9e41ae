//! Protocol ids, as they are negotiated by multistream-select.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The id of a protocol, such as `/ipfs/ping/1.0.0`. Cheap to clone.
///
/// Compared byte for byte. Starts with `/`, has no newline, and is at most
/// [`Protocol::MAX_LEN`] bytes long, so that every implementation accepts it.
#[derive(Clone)]
pub struct Protocol(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared(Arc<str>),
}

/// Why a string is not a protocol id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id:?} is not a protocol id: it must start with '/', have no newline and at most {max} bytes", max = Protocol::MAX_LEN)]
pub struct InvalidProtocol {
    /// The refused string, cut to its first 64 characters.
    pub id: String,
}

impl Protocol {
    /// The longest id, in bytes: go-libp2p reads at most 1024 bytes, newline included.
    pub const MAX_LEN: usize = 1023;

    /// An id known at compile time.
    ///
    /// # Panics
    /// If `id` is not a valid protocol id; in a `const` that is a compile error.
    pub const fn from_static(id: &'static str) -> Self {
        assert!(
            valid(id),
            "a protocol id starts with '/', has no newline and at most 1023 bytes"
        );
        Self(Repr::Static(id))
    }

    /// An id made at run time.
    ///
    /// # Errors
    /// [`InvalidProtocol`] if it does not start with `/`, has a newline, or is too long.
    pub fn new(id: &str) -> Result<Self, InvalidProtocol> {
        if valid(id) {
            Ok(Self(Repr::Shared(Arc::from(id))))
        } else {
            Err(InvalidProtocol {
                id: id.chars().take(64).collect(),
            })
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(id) => id,
            Repr::Shared(id) => id,
        }
    }
}

const fn valid(id: &str) -> bool {
    let bytes = id.as_bytes();
    if bytes.is_empty() || bytes.len() > Protocol::MAX_LEN || !matches!(bytes.first(), Some(b'/')) {
        return false;
    }
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        if *first == b'\n' {
            return false;
        }
        rest = tail;
    }
    true
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Protocol {}

impl PartialOrd for Protocol {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Protocol {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl std::hash::Hash for Protocol {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Protocol {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<&str> for Protocol {
    type Error = InvalidProtocol;
    fn try_from(id: &str) -> Result<Self, InvalidProtocol> {
        Self::new(id)
    }
}

impl TryFrom<String> for Protocol {
    type Error = InvalidProtocol;
    fn try_from(id: String) -> Result<Self, InvalidProtocol> {
        Self::new(&id)
    }
}

impl From<std::convert::Infallible> for InvalidProtocol {
    /// For callers that take anything that can become a [`Protocol`], one included.
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<&Self> for Protocol {
    fn from(protocol: &Self) -> Self {
        protocol.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_every_implementation_accepts_are_protocols() {
        let longest = format!("/{}", "a".repeat(Protocol::MAX_LEN - 1));
        for good in ["/noise", "/", "/ipfs/ping/1.0.0", &longest] {
            assert_eq!(Protocol::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "noise", "/a\nb", &format!("{longest}a")] {
            assert!(Protocol::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn static_and_shared_ids_compare_by_text() {
        let fixed = Protocol::from_static("/noise");
        let shared = Protocol::new("/noise").unwrap();
        assert_eq!(fixed, shared);
        assert_eq!(fixed.cmp(&shared), std::cmp::Ordering::Equal);
    }
}
