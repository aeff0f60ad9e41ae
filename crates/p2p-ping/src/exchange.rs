//! The two ends of the exchange, over any byte stream.

use std::io;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use p2p_core::Rt;

use crate::error::{EchoError, PingError};
use crate::wire::{Payload, SIZE};

/// One ping on an open stream; returns the round trip.
///
/// The caller sets the deadline. Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// [`PingError::Echo`] if the echo differs, [`PingError::Closed`], [`PingError::Unsupported`] or
/// [`PingError::Io`] if there is none. The stream is of no use afterwards.
pub async fn ping(
    rt: &Rt,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<Duration, PingError> {
    let payload: Payload = rt.random();
    let sent = rt.now();
    stream.write_all(&payload).await?;
    stream.flush().await?;
    let mut echo = [0; SIZE];
    stream.read_exact(&mut echo).await?;
    if echo != payload {
        return Err(EchoError.into());
    }
    Ok(rt.now() - sent)
}

/// Echoes pings until the remote ends its side, then ends ours; returns how many there were.
///
/// Each is answered the moment it is complete, and there is no deadline: implementations differ
/// in how long they keep a stream that they ping on. Backpressure alone limits the rate.
///
/// Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// What the stream says; `UnexpectedEof` if it ended inside a ping.
pub async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<u64> {
    let mut ping: Payload = [0; SIZE];
    let mut filled = 0;
    let mut answered = 0;
    loop {
        let room = ping.get_mut(filled..).unwrap_or_default();
        match stream.read(room).await? {
            0 if filled == 0 => break,
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
        if filled == SIZE {
            stream.write_all(&ping).await?;
            stream.flush().await?;
            answered += 1;
            filled = 0;
        }
    }
    stream.close().await?;
    Ok(answered)
}
