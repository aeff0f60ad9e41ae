//! The listener's part of every protocol.

use std::io;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The transfers of libp2p's perf protocol.
pub(crate) const PERF: &str = "/perf/1.0.0";
/// Gives back what it gets.
pub(crate) const ECHO: &str = "/bench/echo/1.0.0";
/// Holds a stream open and nothing else.
pub(crate) const HOLD: &str = "/bench/hold/1.0.0";

/// What is read at a time while bytes pour in.
pub(crate) const READ: usize = 64 * 1024;

/// Serves one stream of [`PERF`].
///
/// # Errors
/// Those of the stream.
pub(crate) async fn perf<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    chunk: usize,
) -> io::Result<()> {
    let mut size = [0; 8];
    stream.read_exact(&mut size).await?;
    drain(&mut stream).await?;
    write(&mut stream, u64::from_be_bytes(size), chunk).await?;
    stream.close().await
}

/// Serves one stream of [`ECHO`].
///
/// # Errors
/// Those of the stream.
pub(crate) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    let mut buffer = vec![0; 2048];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.close().await;
        }
        let read = buffer.get(..count).unwrap_or_default();
        stream.write_all(read).await?;
        stream.flush().await?;
    }
}

/// Serves one stream of [`HOLD`].
///
/// # Errors
/// Those of the stream.
pub(crate) async fn hold<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    let mut buffer = [0; 8];
    while stream.read(&mut buffer).await? > 0 {}
    stream.close().await
}

/// Reads to the end; returns how much that was.
///
/// # Errors
/// Those of the stream.
pub(crate) async fn drain<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<u64> {
    let mut buffer = vec![0; READ];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}

/// Writes `total` bytes, `chunk` at a time.
///
/// # Errors
/// Those of the stream.
pub(crate) async fn write<S>(stream: &mut S, total: u64, chunk: usize) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let block = vec![0x5a; chunk.max(1)];
    let mut left = total;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        stream
            .write_all(block.get(..count).unwrap_or_default())
            .await?;
        left -= count as u64;
    }
    Ok(())
}
