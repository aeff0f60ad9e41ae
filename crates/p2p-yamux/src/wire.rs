//! The 12 bytes in front of every yamux frame.
//!
//! ```text
//!   0         1       2         4              8              12
//!   | version | type  | flags   | stream id    | length       | payload (Data only)
//! ```
//!
//! All numbers are big-endian. What `length` means depends on the type: payload bytes, credit, the
//! value of a ping, the code of a go-away; and on the flags: the code of a reset.
//!
//! Spec: libp2p/specs `yamux/README.md`; error codes: libp2p/specs#622.

/// Length of a header, in bytes.
pub const HEADER_LEN: usize = 12;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Payload of a stream.
    Data,
    /// More credit for the sender of a stream.
    WindowUpdate,
    /// Sign of life: SYN asks, ACK answers.
    Ping,
    /// No new streams.
    GoAway,
}

/// A set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The first frame of a stream.
    pub const SYN: Self = Self(1);
    /// The answer to SYN.
    pub const ACK: Self = Self(2);
    /// The sender's direction ends with this frame.
    pub const FIN: Self = Self(4);
    /// Both directions end at once.
    pub const RST: Self = Self(8);

    /// Whether `flag` is among them.
    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is about.
    pub kind: Kind,
    /// Its flags; unknown ones are kept and ignored.
    pub flags: Flags,
    /// The stream; zero for the session.
    pub stream: u32,
    /// Payload bytes, credit, or code: see [`Kind`].
    pub length: u32,
}

/// Why 12 bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// A version other than zero.
    Version(u8),
    /// A type that does not exist.
    Type(u8),
}

impl std::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "unknown version {version}"),
            Self::Type(kind) => write!(f, "unknown frame type {kind}"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl Header {
    /// The header as bytes.
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        let [f0, f1] = self.flags.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [0, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`HeaderError`] if no implementation of this version can have sent it.
    pub fn decode(bytes: [u8; HEADER_LEN]) -> Result<Self, HeaderError> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        if version != 0 {
            return Err(HeaderError::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            unknown => return Err(HeaderError::Type(unknown)),
        };
        Ok(Self {
            kind,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in any::<[u8; HEADER_LEN]>()) {
            match Header::decode(bytes) {
                Ok(header) => prop_assert_eq!(header.encode(), bytes),
                Err(HeaderError::Version(version)) => prop_assert_ne!(version, 0),
                Err(HeaderError::Type(kind)) => prop_assert!(kind > 3),
            }
        }
    }
}
