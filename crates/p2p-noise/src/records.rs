//! The records of an established channel: a length of two bytes, sealed bytes, their tag.

use std::fmt;

use p2p_channel::Opened;

use crate::ChannelError;
use crate::cipher::{Cipher, CipherError, TAG};
use crate::handshake::Session;

/// The length prefix of a frame, in bytes.
pub(crate) const PREFIX: usize = 2;

/// The keys of an established channel.
pub struct Records {
    send: Cipher,
    receive: Cipher,
}

impl Records {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            send: session.send,
            receive: session.receive,
        }
    }
}

impl p2p_channel::Records for Records {
    const HEADER: usize = PREFIX;
    const TRAILER: usize = TAG;
    const TRUNCATED: ChannelError = ChannelError::Truncated;

    type Error = ChannelError;

    fn measure(&self, bytes: &[u8]) -> Result<Option<usize>, ChannelError> {
        let prefix = bytes.first_chunk().copied();
        Ok(prefix.map(|prefix| PREFIX + usize::from(u16::from_be_bytes(prefix))))
    }

    fn seal_from(&mut self, plain: &[u8], record: &mut [u8]) -> Result<(), ChannelError> {
        let (prefix, rest) = split(record)?;
        *prefix = length(plain.len());
        let (sealed, tag) = rest
            .split_at_mut_checked(plain.len())
            .ok_or(ChannelError::Exhausted)?;
        Ok(self.send.seal_into(plain, sealed, tag)?)
    }

    fn seal(&mut self, record: &mut [u8]) -> Result<(), ChannelError> {
        let (prefix, rest) = split(record)?;
        let (plain, place) = rest
            .split_last_chunk_mut::<TAG>()
            .ok_or(ChannelError::Exhausted)?;
        *prefix = length(plain.len());
        *place = self.send.seal(&[], plain)?;
        Ok(())
    }

    fn open_to(&mut self, record: &[u8], room: &mut [u8]) -> Result<Option<Opened>, ChannelError> {
        let frame = record.get(PREFIX..);
        let (sealed, tag) = frame
            .and_then(<[u8]>::split_last_chunk::<TAG>)
            .ok_or(ChannelError::Forged)?;
        let Some(plain) = room.get_mut(..sealed.len()) else {
            return Ok(None);
        };
        self.receive.open_into(sealed, tag, plain)?;
        Ok(Some(Opened::Data(sealed.len())))
    }

    fn open(&mut self, record: &mut [u8]) -> Result<Opened, ChannelError> {
        let frame = record.get_mut(PREFIX..).unwrap_or_default();
        Ok(Opened::Data(self.receive.open(&[], frame)?.len()))
    }
}

/// The length prefix, and what is behind it.
fn split(record: &mut [u8]) -> Result<(&mut [u8; PREFIX], &mut [u8]), ChannelError> {
    // The channel makes room for all of a record before it asks for one.
    record
        .split_first_chunk_mut()
        .ok_or(ChannelError::Exhausted)
}

/// The length prefix of a frame that holds `len` plain bytes.
fn length(len: usize) -> [u8; PREFIX] {
    u16::try_from(len + TAG).unwrap_or(u16::MAX).to_be_bytes()
}

impl From<CipherError> for ChannelError {
    fn from(error: CipherError) -> Self {
        match error {
            CipherError::Exhausted => Self::Exhausted,
            CipherError::Forged => Self::Forged,
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("noise::Records")
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::{AsyncReadExt, AsyncWriteExt, Cursor};
    use p2p_channel::Received;

    use super::*;
    use crate::Channel;
    use crate::handshake::{DhKey, initiate, respond};

    #[test]
    fn a_key_that_is_used_up_ends_the_channel() {
        block_on(async {
            let (mut sender, _) = sessions();
            sender.send.set_counter(u64::MAX - 1);
            let mut channel = channel(Cursor::new(Vec::new()), sender);
            channel.write_all(b"the last record").await.unwrap();
            channel.flush().await.unwrap();
            channel.write_all(b"one too many").await.unwrap();
            for _ in 0..2 {
                let error = channel.flush().await.unwrap_err();
                assert_eq!(ChannelError::of(&error), Some(ChannelError::Exhausted));
            }
            let error = channel.write(&[0; 100_000]).await.unwrap_err();
            assert_eq!(ChannelError::of(&error), Some(ChannelError::Exhausted));
        });
    }

    #[test]
    fn a_received_record_beyond_the_last_nonce_ends_the_channel() {
        block_on(async {
            let (mut sender, mut receiver) = sessions();
            sender.send.set_counter(u64::MAX - 1);
            receiver.receive.set_counter(u64::MAX - 1);
            let last = sender.seal(b"last").unwrap();
            let frame = [&[0, 20], &last[..]].concat();
            let frames = [frame.clone(), frame].concat();
            let mut channel = channel(Cursor::new(frames), receiver);
            let mut buffer = [0; 4];
            channel.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"last");
            let error = channel.read(&mut buffer).await.unwrap_err();
            assert_eq!(ChannelError::of(&error), Some(ChannelError::Exhausted));
        });
    }

    #[test]
    fn an_established_channel_is_small() {
        let size = size_of::<Channel<()>>();
        assert!(size < 300, "{size}");
    }

    fn channel<Io>(io: Io, session: Session) -> Channel<Io> {
        Channel::new(io, Records::new(session), Received::default(), &[])
    }

    fn sessions() -> (Session, Session) {
        let key = || DhKey::generate().unwrap();
        let (first, initiated) = initiate(&[], key(), &[]);
        let (_, responding) = respond(&[], &first).unwrap();
        let (second, responded) = responding.write(key(), &key(), &[]).unwrap();
        let (third, ours) = initiated
            .read(&second)
            .unwrap()
            .1
            .write(&key(), &[])
            .unwrap();
        (ours, responded.read(&third).unwrap().1)
    }
}
