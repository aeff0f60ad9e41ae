//! Length-prefixed messages: uvarint(length), then that many bytes.
//!
//! [`read`](read()) and [`write`](write()) are for one message at a time and take not a byte more than it from the
//! stream, so that what follows can belong to somebody else. [`Codec`] is for streams that carry
//! nothing but such messages; it reads ahead.
//!
//! The length is compared with the limit before anything is allocated, and memory grows with the
//! bytes that really arrive.

use std::io;

use asynchronous_codec::{Decoder, Encoder};
use bytes::{Buf, Bytes, BytesMut};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{Blame, uvarint};

/// What is reserved before the first byte of a message has arrived.
const FIRST_RESERVE: usize = 4096;

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream ended before the first byte of a message: a clean end.
    #[error("stream ended before a message")]
    Ended,
    /// The stream failed, or ended inside a message (`UnexpectedEof`).
    #[error("stream failed")]
    Io(#[from] io::Error),
    /// The length prefix is not a varint.
    #[error("bad length prefix")]
    Length(#[from] uvarint::Error),
    /// The message is longer than allowed. Nothing was allocated for it.
    #[error("message of {len} bytes, at most {max} allowed")]
    TooLong {
        /// The announced length, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: usize,
    },
}

impl Error {
    /// Who to hold responsible.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Ended | Self::Io(_) => Blame::Network,
            Self::Length(_) | Self::TooLong { .. } => Blame::Remote,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            // As it came, so that what is inside can still be found.
            Error::Io(inner) => return inner,
            Error::Ended => io::ErrorKind::UnexpectedEof,
            Error::Length(_) | Error::TooLong { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Reads one message of at most `max` bytes and nothing behind it.
///
/// The caller sets the deadline. Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// See [`Error`]; [`Error::Ended`] only if the stream ended before the first byte.
pub async fn read(io: &mut (impl AsyncRead + Unpin), max: usize) -> Result<Vec<u8>, Error> {
    let len = read_length(io, max).await?;
    read_body(io, len).await
}

/// Reads the `len` bytes behind a prefix that [`read_length`] took.
///
/// The caller sets the deadline. Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// [`Error::Io`].
pub async fn read_body(io: &mut (impl AsyncRead + Unpin), len: usize) -> Result<Vec<u8>, Error> {
    let mut message = Vec::with_capacity(len.min(FIRST_RESERVE));
    let got = io.take(len as u64).read_to_end(&mut message).await?;
    if got < len {
        return Err(Error::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(message)
}

/// Reads only the length of a message, for callers that pay for the body before they take it with
/// [`read_body`].
///
/// The caller sets the deadline. Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// See [`read`].
pub async fn read_length(io: &mut (impl AsyncRead + Unpin), max: usize) -> Result<usize, Error> {
    let mut prefix = [0; uvarint::MAX_LEN];
    let mut filled = 0;
    loop {
        let Some(next) = prefix.get_mut(filled..=filled) else {
            return Err(uvarint::Error::Overflow.into());
        };
        if io.read(next).await? == 0 {
            return Err(match filled {
                0 => Error::Ended,
                _ => Error::Io(io::ErrorKind::UnexpectedEof.into()),
            });
        }
        filled += 1;
        match uvarint::decode(prefix.get(..filled).unwrap_or_default()) {
            Ok((len, _)) => return check(len, max),
            Err(uvarint::Error::Underflow) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn check(len: u64, max: usize) -> Result<usize, Error> {
    match usize::try_from(len) {
        Ok(fits) if fits <= max => Ok(fits),
        Ok(_) | Err(_) => Err(Error::TooLong { len, max }),
    }
}

/// Writes one message, prefix and body together, and flushes.
///
/// The caller sets the deadline. Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// Whatever the stream says.
pub async fn write(io: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    io.write_all(&encode(message)).await?;
    io.flush().await
}

/// `message` with its length in front.
pub fn encode(message: &[u8]) -> Vec<u8> {
    let prefix = uvarint::encode(message.len() as u64);
    let mut frame = Vec::with_capacity(prefix.as_slice().len() + message.len());
    frame.extend_from_slice(prefix.as_slice());
    frame.extend_from_slice(message);
    frame
}

/// Length-prefixed messages for `asynchronous_codec::Framed`.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    max: usize,
}

impl Codec {
    /// A codec that refuses messages longer than `max` bytes, in both directions.
    pub fn new(max: usize) -> Self {
        Self { max }
    }
}

impl Decoder for Codec {
    type Item = Bytes;
    type Error = Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, Error> {
        let (len, prefix) = match uvarint::decode(src) {
            Ok(found) => found,
            Err(uvarint::Error::Underflow) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let len = check(len, self.max)?;
        if src.len() - prefix < len {
            return Ok(None);
        }
        src.advance(prefix);
        Ok(Some(src.split_to(len).freeze()))
    }
}

impl Encoder for Codec {
    type Item<'a> = Bytes;
    type Error = Error;

    fn encode(&mut self, message: Bytes, dst: &mut BytesMut) -> Result<(), Error> {
        check(message.len() as u64, self.max)?;
        dst.extend_from_slice(uvarint::encode(message.len() as u64).as_slice());
        dst.extend_from_slice(&message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use proptest::prelude::*;

    fn read_all(mut bytes: &[u8], max: usize) -> (Vec<Vec<u8>>, Error) {
        block_on(async {
            let mut messages = Vec::new();
            loop {
                match read(&mut bytes, max).await {
                    Ok(message) => messages.push(message),
                    Err(error) => return (messages, error),
                }
            }
        })
    }

    #[test]
    fn a_long_message_is_refused_by_its_prefix_alone() {
        let huge = uvarint::encode(uvarint::MAX);
        let (none, error) = read_all(huge.as_slice(), 1024);
        assert!(none.is_empty());
        assert!(matches!(
            error,
            Error::TooLong {
                len: uvarint::MAX,
                max: 1024
            }
        ));
        assert_eq!(error.blame(), Blame::Remote);
    }

    #[test]
    fn a_cut_message_is_not_a_clean_end() {
        let frame = encode(b"hello");
        for cut in 1..frame.len() {
            let (none, error) = read_all(&frame[..cut], 1024);
            assert!(none.is_empty());
            assert!(matches!(error, Error::Io(_)), "{cut}: {error}");
        }
        assert!(matches!(read_all(&[], 1024).1, Error::Ended));
    }

    proptest! {
        #[test]
        fn messages_survive_every_split(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..5),
            step in 1usize..64,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|message| encode(message)).collect();
            let (read, end) = read_all(&stream, 200);
            prop_assert_eq!(&read, &messages);
            prop_assert!(matches!(end, Error::Ended));

            let mut codec = Codec::new(200);
            let mut buffer = BytesMut::new();
            let mut decoded = Vec::new();
            for chunk in stream.chunks(step) {
                buffer.extend_from_slice(chunk);
                while let Some(message) = codec.decode(&mut buffer).unwrap() {
                    decoded.push(message.to_vec());
                }
            }
            prop_assert_eq!(decoded, messages);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let (messages, _) = read_all(&bytes, 32);
            prop_assert!(messages.iter().all(|message| message.len() <= 32));
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut codec = Codec::new(32);
            while let Ok(Some(message)) = codec.decode(&mut buffer) {
                prop_assert!(message.len() <= 32);
            }
        }
    }
}
