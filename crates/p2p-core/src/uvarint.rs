//! The strict unsigned varint of multiformats.
//!
//! Little-endian base 128, seven bits a byte, the high bit says that more follow. At most nine
//! bytes (63 bits), and only the shortest form of a number is valid. Protobuf's varints are a
//! different, permissive decoder and do not belong here.
//!
//! Spec: multiformats/unsigned-varint.

/// The longest encoding, in bytes.
pub const MAX_LEN: usize = 9;
/// The largest number that fits: 2^63 - 1.
pub const MAX: u64 = (1 << 63) - 1;

/// Why bytes are not a varint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside the number: read more.
    #[error("varint is incomplete")]
    Underflow,
    /// A ninth byte with its high bit set: the number has more than 63 bits.
    #[error("varint is longer than 9 bytes")]
    Overflow,
    /// The number could be written in fewer bytes.
    #[error("varint is not in its shortest form")]
    NotMinimal,
}

/// Reads one number from the front of `bytes`; returns it and how many bytes it took.
///
/// # Errors
/// [`Error::Underflow`] if more bytes are needed; otherwise the bytes can never become valid.
pub fn decode(bytes: &[u8]) -> Result<(u64, usize), Error> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(MAX_LEN).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                return Err(Error::NotMinimal);
            }
            return Ok((value, index + 1));
        }
    }
    if bytes.len() >= MAX_LEN {
        Err(Error::Overflow)
    } else {
        Err(Error::Underflow)
    }
}

/// A number as the bytes of its varint.
#[derive(Clone, Copy, Debug)]
pub struct Encoded {
    bytes: [u8; 10],
    len: usize,
}

impl Encoded {
    /// The bytes, 1 to 9 of them for numbers up to [`MAX`].
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Writes `value` in its shortest form. Numbers above [`MAX`] take ten bytes and no strict
/// decoder reads them; lengths and ids never get there.
pub fn encode(value: u64) -> Encoded {
    let mut bytes = [0; 10];
    let mut rest = value;
    let mut len = 0;
    for byte in &mut bytes {
        len += 1;
        let low = rest.to_le_bytes()[0] & 0x7f;
        rest >>= 7;
        if rest == 0 {
            *byte = low;
            break;
        }
        *byte = low | 0x80;
    }
    Encoded { bytes, len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_one_to_three_byte_sequence_is_canonical_or_refused() {
        for raw in 0..1u32 << 24 {
            let bytes = raw.to_le_bytes();
            if let Ok((value, used)) = decode(&bytes[..3]) {
                assert_eq!(encode(value).as_slice(), &bytes[..used]);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(value in 0..=MAX, tail in any::<[u8; 3]>()) {
            let encoded = encode(value);
            let mut bytes = encoded.as_slice().to_vec();
            let len = bytes.len();
            prop_assert!(len <= MAX_LEN);
            bytes.extend(tail);
            prop_assert_eq!(decode(&bytes), Ok((value, len)));
            for cut in 0..len {
                prop_assert_eq!(decode(&bytes[..cut]), Err(Error::Underflow));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            if let Ok((value, used)) = decode(&bytes) {
                let encoded = encode(value);
                prop_assert_eq!(encoded.as_slice(), &bytes[..used]);
            }
        }
    }
}
