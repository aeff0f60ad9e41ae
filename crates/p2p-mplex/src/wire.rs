//! The header in front of every mplex frame.
//!
//! ```text
//!   uvarint(id << 3 | flag)   uvarint(length)   length bytes
//! ```
//!
//! Ids are counted by each side on its own. The flag says whose id it is: the side that opened the
//! stream sends the "initiator" flags, the other one the "receiver" flags.
//!
//! Spec: libp2p/specs `mplex/README.md`.

use p2p_core::uvarint;

/// The longest payload of a frame, in bytes.
pub const MAX_LEN: u64 = 1024 * 1024;
/// The largest stream id.
pub const MAX_ID: u64 = (1 << 60) - 1;
/// The longest header, in bytes.
pub(crate) const MAX_HEADER: usize = 2 * uvarint::MAX_LEN;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opens a stream; the payload is a name for logs.
    NewStream,
    /// Payload.
    Message,
    /// The sender's direction ends.
    Close,
    /// Both directions end at once.
    Reset,
}

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The stream.
    pub id: u64,
    /// What the frame is about.
    pub kind: Kind,
    /// Whether the sender of the frame is the one who opened the stream.
    pub by_initiator: bool,
    /// Payload bytes.
    pub len: usize,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// One of the numbers is not a varint.
    Varint(uvarint::Error),
    /// The flag 7.
    Flag,
    /// More payload than a frame may have.
    TooLong(u64),
}

impl std::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Varint(error) => write!(f, "frame header: {error}"),
            Self::Flag => f.write_str("unknown flag 7"),
            Self::TooLong(len) => write!(f, "frame of {len} bytes, at most {MAX_LEN} allowed"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl Header {
    /// The part in front of the length.
    pub fn encode_flag(id: u64, kind: Kind, by_initiator: bool) -> uvarint::Encoded {
        let flag = match (kind, by_initiator) {
            (Kind::NewStream, _) => 0,
            (Kind::Message, false) => 1,
            (Kind::Message, true) => 2,
            (Kind::Close, false) => 3,
            (Kind::Close, true) => 4,
            (Kind::Reset, false) => 5,
            (Kind::Reset, true) => 6,
        };
        uvarint::encode(id << 3 | flag)
    }

    /// Reads a header from the front of `bytes`; returns it and how many bytes it took, or `None`
    /// if more are needed.
    ///
    /// # Errors
    /// [`HeaderError`] as soon as the bytes cannot become valid.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeaderError> {
        let Some((first, at)) = number(bytes)? else {
            return Ok(None);
        };
        let (kind, by_initiator) = match first & 7 {
            0 => (Kind::NewStream, true),
            1 => (Kind::Message, false),
            2 => (Kind::Message, true),
            3 => (Kind::Close, false),
            4 => (Kind::Close, true),
            5 => (Kind::Reset, false),
            6 => (Kind::Reset, true),
            _ => return Err(HeaderError::Flag),
        };
        let Some((len, more)) = number(bytes.get(at..).unwrap_or_default())? else {
            return Ok(None);
        };
        let fits = usize::try_from(len).ok().filter(|_| len <= MAX_LEN);
        let header = Self {
            id: first >> 3,
            kind,
            by_initiator,
            len: fits.ok_or(HeaderError::TooLong(len))?,
        };
        Ok(Some((header, at + more)))
    }
}

fn number(bytes: &[u8]) -> Result<Option<(u64, usize)>, HeaderError> {
    match uvarint::decode(bytes) {
        Ok(found) => Ok(Some(found)),
        Err(uvarint::Error::Underflow) => Ok(None),
        Err(error) => Err(HeaderError::Varint(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..24),
        ) {
            if let Ok(Some((header, used))) = Header::decode(&bytes) {
                let mut again = Header::encode_flag(header.id, header.kind, header.by_initiator)
                    .as_slice()
                    .to_vec();
                again.extend_from_slice(uvarint::encode(header.len as u64).as_slice());
                prop_assert_eq!(&again, &bytes[..used]);
                for cut in 0..used {
                    prop_assert_eq!(Header::decode(&bytes[..cut]), Ok(None));
                }
            }
        }
    }
}
