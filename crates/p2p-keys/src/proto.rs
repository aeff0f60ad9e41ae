//! The little protobuf that keys, envelopes and records need, written and read by hand.
//!
//! A key has exactly one valid encoding, because its hash is a peer id; a generated decoder
//! accepts many. Everything is read in place: nothing is allocated before it is wanted.

/// Bytes that are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A fixed-size number, which none of our messages has.
    Fixed,
}

/// The fields of a message in the order of the wire, known or not.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn read(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > (1 << 29) - 1 {
            return Err(Malformed);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed),
        };
        Ok((number, value))
    }

    /// Protobuf's own varint: up to ten bytes, and longer forms of a number are allowed.
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            if shift == 63 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Appends a field of type `bytes`. `number` is below 16.
pub(crate) fn put_bytes(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    to.push(number << 3 | 2);
    put_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Appends a field of type `uint64`. `number` is below 16.
pub(crate) fn put_uint(to: &mut Vec<u8>, number: u8, value: u64) {
    to.push(number << 3);
    put_varint(to, value);
}

/// Appends a number in its shortest form.
pub(crate) fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

/// How many bytes [`put_bytes`] appends for `len` bytes.
pub(crate) fn bytes_field_len(len: usize) -> usize {
    1 + varint_len(len) + len
}

fn varint_len(value: usize) -> usize {
    (value.max(1).ilog2() as usize) / 7 + 1
}

/// The one encoding of a key: type and data, both always written, nothing else.
///
/// The vector is never grown, so that no copy of a secret stays behind.
pub(crate) fn encode_key(key_type: u8, data: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + bytes_field_len(data.len()));
    put_uint(&mut key, 1, key_type.into());
    put_bytes(&mut key, 2, data);
    key
}

/// Type and data of a key that is encoded exactly as [`encode_key`] does.
pub(crate) fn decode_key(key: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    let [0x08, key_type @ 0..=0x7f, 0x12, rest @ ..] = key else {
        return Err(Malformed);
    };
    let (len, data) = match rest {
        [len @ 0..=0x7f, data @ ..] => (usize::from(*len), data),
        [low @ 0x80..=0xff, high @ 1..=0x7f, data @ ..] => {
            (usize::from(low & 0x7f) | usize::from(*high) << 7, data)
        }
        _ => return Err(Malformed),
    };
    if data.len() == len {
        Ok((*key_type, data))
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_shortest_encoding_in_order_is_a_key() {
        assert_eq!(decode_key(&[8, 1, 0x12, 1, 7]), Ok((1, &[7][..])));
        for wrong in [
            &[8, 1, 0x12, 0x81, 0x00, 7][..],
            &[8, 0x81, 0x00, 0x12, 1, 7],
            &[0x12, 1, 7, 8, 1],
            &[8, 1, 0x12, 1, 7, 8, 1],
            &[8, 1, 0x12, 1, 7, 0x18, 0],
            &[8, 1, 0x12, 2, 7],
            &[
                8, 1, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
            &[0x12, 1, 7],
            &[8, 1],
            &[],
        ] {
            assert_eq!(decode_key(wrong), Err(Malformed), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_of_more_than_64_bits_and_groups_are_refused() {
        for wrong in [
            &[
                8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
            ][..],
            &[
                8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0,
            ],
            &[0x0b],
            &[0x00, 0],
            &[
                0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
        ] {
            let mut fields = Fields::of(wrong);
            assert_eq!(fields.next(), Some(Err(Malformed)), "{wrong:?}");
            assert_eq!(fields.next(), None);
        }
    }

    proptest! {
        #[test]
        fn a_key_decodes_to_what_was_encoded_and_has_the_computed_length(
            key_type in 0u8..0x80, data in proptest::collection::vec(any::<u8>(), 0..400)
        ) {
            let key = encode_key(key_type, &data);
            prop_assert_eq!(key.len(), key.capacity());
            prop_assert_eq!(decode_key(&key), Ok((key_type, &data[..])));
            for cut in 0..key.len() {
                prop_assert_eq!(decode_key(&key[..cut]), Err(Malformed));
            }
        }

        #[test]
        fn whatever_decodes_as_a_key_encodes_to_the_same_bytes(
            bytes in proptest::collection::vec(prop_oneof![Just(8u8), Just(0x12), Just(1), any::<u8>()], 0..12)
        ) {
            if let Ok((key_type, data)) = decode_key(&bytes) {
                prop_assert_eq!(encode_key(key_type, data), bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_end_after_as_many_fields_as_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            prop_assert!(Fields::of(&bytes).count() <= bytes.len());
        }

        #[test]
        fn fields_read_as_they_were_written(
            number in any::<u64>(), bytes in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let mut message = Vec::new();
            put_uint(&mut message, 1, number);
            put_bytes(&mut message, 15, &bytes);
            let fields: Result<Vec<_>, _> = Fields::of(&message).collect();
            prop_assert_eq!(fields, Ok(vec![(1, Value::Varint(number)), (15, Value::Bytes(&bytes))]));
        }
    }
}
