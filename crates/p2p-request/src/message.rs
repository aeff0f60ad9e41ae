//! What can be sent as a question or an answer.

use bytes::Bytes;

use crate::error::BadMessage;

/// A value that can be sent. For types that derive `prost::Message` use
/// [`Call::protobuf`](crate::Call::protobuf) instead.
pub trait Message: Sized {
    /// The bytes to send.
    fn encode(&self) -> Vec<u8>;

    /// The value from received bytes. Anything may be in them: never panic.
    ///
    /// # Errors
    /// [`BadMessage`] if they are not such a value.
    fn decode(bytes: Bytes) -> Result<Self, BadMessage>;
}

impl Message for () {
    fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    fn decode(bytes: Bytes) -> Result<Self, BadMessage> {
        if bytes.is_empty() {
            Ok(())
        } else {
            Err(BadMessage::new("bytes where none are expected"))
        }
    }
}

impl Message for Bytes {
    fn encode(&self) -> Vec<u8> {
        self.to_vec()
    }

    fn decode(bytes: Bytes) -> Result<Self, BadMessage> {
        Ok(bytes)
    }
}

impl Message for String {
    fn encode(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn decode(bytes: Bytes) -> Result<Self, BadMessage> {
        Self::from_utf8(bytes.into()).map_err(BadMessage::new)
    }
}

impl Message for Vec<u8> {
    fn encode(&self) -> Vec<u8> {
        self.clone()
    }

    fn decode(bytes: Bytes) -> Result<Self, BadMessage> {
        Ok(bytes.into())
    }
}
