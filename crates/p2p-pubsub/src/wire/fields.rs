//! Protobuf, one field at a time, borrowed from the bytes it came in.
//!
//! The varints here are protobuf's own: up to ten bytes, and longer forms of a number are allowed.
//! The strict ones of multiformats are in [`p2p_core::uvarint`].

use super::WireError;

/// The fields of a protobuf message in the order they were written.
///
/// Ends after the first error.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// What it holds.
    pub value: Value<'a>,
    /// Tag, length and value as they were written.
    pub raw: &'a [u8],
}

/// What a field holds, by wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number or a boolean.
    Varint(u64),
    /// Eight bytes; nothing in pubsub uses them.
    Fixed64(&'a [u8]),
    /// Bytes, text or a nested message.
    Bytes(&'a [u8]),
    /// Four bytes; nothing in pubsub uses them.
    Fixed32(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn next_field(&mut self) -> Result<Field<'a>, WireError> {
        let start = self.rest;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| WireError::FieldNumber)?;
        if number == 0 || number > MAX_FIELD {
            return Err(WireError::FieldNumber);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.take(8)?),
            2 => {
                let len = self.varint()?;
                let len = usize::try_from(len).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(self.take(4)?),
            _groups => return Err(WireError::WireType { field: number }),
        };
        let used = start.len().saturating_sub(self.rest.len());
        Ok(Field {
            number,
            value,
            raw: start.get(..used).unwrap_or_default(),
        })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        if self.rest.len() >= 10 {
            Err(WireError::Varint)
        } else {
            Err(WireError::Truncated)
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.next_field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Field<'a> {
    /// The bytes of a bytes, text or message field.
    ///
    /// # Errors
    /// [`WireError::WireType`] if it is something else.
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32(_) => {
                Err(WireError::WireType { field: self.number })
            }
        }
    }

    /// The number of a varint field.
    ///
    /// # Errors
    /// [`WireError::WireType`] if it is something else.
    pub fn varint(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(number) => Ok(number),
            Value::Bytes(_) | Value::Fixed64(_) | Value::Fixed32(_) => {
                Err(WireError::WireType { field: self.number })
            }
        }
    }
}

/// The highest field number of protobuf.
const MAX_FIELD: u32 = (1 << 29) - 1;
