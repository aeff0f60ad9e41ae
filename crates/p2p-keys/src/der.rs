//! A strict reader for the few DER structures that keys are made of.
//!
//! Every element is read in constant time from its header: the cost of a hostile key is bounded
//! by its length, whatever the lengths inside it claim.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const SEQUENCE: u8 = 0x30;

/// Reads elements from the front of some DER.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(der: &'a [u8]) -> Self {
        Self { rest: der }
    }

    /// The content of the next element, if it has this tag and the shortest length.
    pub(crate) fn element(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (len, rest) = match self.rest {
            [found, len @ 0..=0x7f, rest @ ..] if *found == tag => (usize::from(*len), rest),
            [found, 0x81, len @ 0x80..=0xff, rest @ ..] if *found == tag => {
                (usize::from(*len), rest)
            }
            [found, 0x82, high @ 1..=0xff, low, rest @ ..] if *found == tag => {
                (usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(content)
    }

    /// The elements inside the next one.
    pub(crate) fn nested(&mut self, tag: u8) -> Option<Self> {
        self.element(tag).map(Self::new)
    }

    /// The next element, a non-negative integer: its bytes without leading zeros (zero: none).
    pub(crate) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.element(INTEGER)? {
            [] | [0x80..=0xff, ..] | [0, 0..=0x7f, ..] => None,
            [0, magnitude @ ..] => Some(magnitude),
            magnitude => Some(magnitude),
        }
    }

    /// Whether nothing is left.
    pub(crate) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

/// How many bits a number without leading zero bytes has.
pub(crate) fn bits(magnitude: &[u8]) -> usize {
    let unused = magnitude.first().map_or(0, |byte| byte.leading_zeros());
    (magnitude.len() * 8).saturating_sub(unused as usize)
}

/// Appends one element. At most 65,535 bytes of content.
pub(crate) fn put(to: &mut Vec<u8>, tag: u8, content: &[u8]) {
    to.push(tag);
    match (u8::try_from(content.len()), u16::try_from(content.len())) {
        (Ok(len @ 0..=0x7f), _) => to.push(len),
        (Ok(len), _) => to.extend([0x81, len]),
        (_, len) => {
            to.push(0x82);
            to.extend(len.unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    to.extend_from_slice(content);
}

/// Appends a non-negative integer given without leading zero bytes.
pub(crate) fn put_unsigned(to: &mut Vec<u8>, magnitude: &[u8]) {
    match magnitude {
        [] | [0x80..=0xff, ..] => put(to, INTEGER, &[&[0], magnitude].concat()),
        _ => put(to, INTEGER, magnitude),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_must_be_the_shortest_and_inside_the_input() {
        for wrong in [
            &[SEQUENCE][..],
            &[SEQUENCE, 1],
            &[SEQUENCE, 0x81, 1, 0],
            &[SEQUENCE, 0x82, 0, 0x80],
            &[SEQUENCE, 0x83, 1, 0, 0],
            &[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[SEQUENCE, 0x80, 0, 0],
            &[SEQUENCE, 0xff],
            &[INTEGER, 0],
        ] {
            assert_eq!(Reader::new(wrong).element(SEQUENCE), None, "{wrong:02x?}");
        }
    }

    #[test]
    fn integers_are_non_negative_and_minimal() {
        let read = |der: &'static [u8]| Reader::new(der).unsigned();
        assert_eq!(read(&[2, 1, 0]), Some(&[][..]));
        assert_eq!(read(&[2, 1, 0x7f]), Some(&[0x7f][..]));
        assert_eq!(read(&[2, 2, 0, 0x80]), Some(&[0x80][..]));
        for wrong in [&[2, 0][..], &[2, 1, 0x80], &[2, 2, 0, 0x7f], &[2, 2, 0, 0]] {
            assert_eq!(read(wrong), None, "{wrong:02x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(content in proptest::collection::vec(any::<u8>(), 0..700)) {
            let mut der = Vec::new();
            put(&mut der, OCTET_STRING, &content);
            let mut reader = Reader::new(&der);
            prop_assert_eq!(reader.element(OCTET_STRING), Some(&content[..]));
            prop_assert!(reader.at_end());
            for cut in 0..der.len() {
                prop_assert_eq!(Reader::new(&der[..cut]).element(OCTET_STRING), None);
            }
        }

        #[test]
        fn integers_survive(number in any::<u64>()) {
            let bytes = number.to_be_bytes();
            let magnitude = &bytes[number.leading_zeros() as usize / 8..];
            let mut der = Vec::new();
            put_unsigned(&mut der, magnitude);
            prop_assert_eq!(Reader::new(&der).unsigned(), Some(magnitude));
            prop_assert_eq!(bits(magnitude), 64 - number.leading_zeros() as usize);
        }

        #[test]
        fn arbitrary_bytes_are_consumed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            let mut left = bytes.len();
            while let Some(&tag) = reader.rest.first() {
                if reader.element(tag).is_none() {
                    break;
                }
                prop_assert!(reader.rest.len() < left);
                left = reader.rest.len();
            }
        }
    }
}
