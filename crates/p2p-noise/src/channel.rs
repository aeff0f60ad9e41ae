//! The secure channel after the handshake.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

use crate::ChannelError;
use crate::handshake::Session;
use crate::incoming::{Incoming, Sealed};
use crate::outgoing::Outgoing;

/// An encrypted and authenticated byte stream over `Io`.
///
/// - Written bytes are gathered, and go out on a flush or when about 48 KiB have come together;
///   `poll_write` waits while the stream below takes nothing. At most 48 KiB are staged.
/// - At most 128 KiB that were received are held, and none while the channel is idle: buffers are
///   borrowed from the thread and given back when they are empty.
/// - Reading ends with `Ok(0)` when the stream below ends between two records. Whether the remote
///   wanted to end there, only the protocol above can know. An end inside a record is
///   [`ChannelError::Truncated`].
/// - A record that cannot be opened is [`ChannelError::Forged`], inside an [`io::Error`]. It ends
///   the channel: from then on, every read and every write fails.
/// - `close` flushes, and closes the stream below.
pub struct Channel<Io> {
    io: Io,
    incoming: Incoming,
    outgoing: Outgoing,
    health: Health,
}

#[derive(Clone, Copy)]
enum Health {
    Sound,
    /// Nothing leaves this state.
    Failed(ChannelError),
}

impl<Io> Channel<Io> {
    /// `received`: bytes behind the last handshake message. `unsent`: a frame of the handshake
    /// that is to go out with the first write.
    pub(crate) fn new(io: Io, session: Session, received: Sealed, unsent: &[u8]) -> Self {
        Self {
            io,
            incoming: Incoming::new(session.receive, received),
            outgoing: Outgoing::new(session.send, unsent),
            health: Health::Sound,
        }
    }

    /// The stream below. Reading or writing it directly breaks the channel.
    pub fn get_ref(&self) -> &Io {
        &self.io
    }

    fn check(&self) -> io::Result<()> {
        match self.health {
            Health::Sound => Ok(()),
            Health::Failed(error) => Err(error.into()),
        }
    }

    /// Remembers a failure that no later call can recover from.
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && let Some(error) = ChannelError::of(error)
        {
            self.health = Health::Failed(error);
        }
        result
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Channel<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check()?;
        let read = ready!(this.incoming.poll_read(&mut this.io, cx, buf));
        Poll::Ready(this.note(read))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let buf = bufs.iter_mut().find(|buf| !buf.is_empty());
        self.poll_read(cx, buf.map_or(&mut [], |buf| &mut **buf))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Channel<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check()?;
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let mut taken = 0;
            for buf in bufs {
                let written = this.outgoing.write(buf).map_err(io::Error::from);
                let count = this.note(written)?;
                taken += count;
                if count < buf.len() {
                    break;
                }
            }
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            let sent = ready!(this.outgoing.poll_send(&mut this.io, cx));
            this.note(sent)?;
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.check()?;
        let sent = ready!(this.outgoing.poll_send(&mut this.io, cx));
        this.note(sent)?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Health::Sound = this.health {
            let sent = ready!(this.outgoing.poll_send(&mut this.io, cx));
            this.note(sent)?;
        }
        Pin::new(&mut this.io).poll_close(cx)
    }
}

impl<Io> fmt::Debug for Channel<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("noise::Channel")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{DhKey, initiate, respond};
    use futures::executor::block_on;
    use futures::future::poll_immediate;
    use futures::io::{AsyncReadExt, AsyncWriteExt, Cursor};

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
    fn an_idle_channel_holds_no_buffer() {
        block_on(async {
            let (sender, receiver) = sessions();
            let mut alice = channel(Cursor::new(Vec::new()), sender);
            alice.write_all(&[7; 100_000]).await.unwrap();
            assert!(alice.held() > 0);
            alice.flush().await.unwrap();
            assert_eq!(alice.held(), 0, "everything was sent");

            let sealed = alice.io.into_inner();
            let mut bob = channel(Trickle(sealed), receiver);
            let mut buffer = [0; 1000];
            while let Some(count) = poll_immediate(bob.read(&mut buffer)).await {
                assert!(count.unwrap() > 0);
            }
            assert_eq!(bob.held(), 5, "what came of a record, and no more");
            assert!(
                size_of::<Channel<()>>() < 300,
                "{}",
                size_of::<Channel<()>>()
            );
        });
    }

    impl<Io> Channel<Io> {
        /// Bytes of memory in buffers.
        fn held(&self) -> usize {
            self.incoming.held() + self.outgoing.held()
        }
    }

    /// All but the rest of a record, and then silence.
    struct Trickle(Vec<u8>);

    impl AsyncRead for Trickle {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            // The last record has 1696 plain bytes: 100,000 less six full ones.
            let rest = self.0.len().saturating_sub(1696 + 18 - 5);
            let count = rest.min(buf.len());
            buf[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            if count == 0 {
                Poll::Pending
            } else {
                Poll::Ready(Ok(count))
            }
        }
    }

    fn channel<Io>(io: Io, session: Session) -> Channel<Io> {
        Channel::new(io, session, Sealed::default(), &[])
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
