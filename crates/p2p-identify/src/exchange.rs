//! The exchange, over any byte stream.

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use p2p_core::{PeerId, frame};

use crate::config::Limits;
use crate::error::IdentifyError;
use crate::info::IdentifyInfo;
use crate::proto::Told;

/// Asks on an open stream; `peer` and `public_key` (as key protobuf) are what the connection was
/// secured with.
///
/// The caller sets the deadline. Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// See [`IdentifyError`].
pub async fn request(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    peer: PeerId,
    public_key: Bytes,
    limits: &Limits,
) -> Result<IdentifyInfo, IdentifyError> {
    // There is nothing to say; where the protocol is proposed with the first bytes, this sends
    // the proposal.
    stream.close().await?;
    let told = receive(stream, limits).await?;
    let mut info = IdentifyInfo::new(peer, public_key);
    info.update(told, limits)?;
    Ok(info)
}

/// Reads a message, part after part, until the remote ends its side.
///
/// The caller sets the deadline. Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// See [`IdentifyError`].
pub async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    limits: &Limits,
) -> Result<Told, IdentifyError> {
    let mut told = Told::default();
    let part = frame::read(stream, limits.max_part).await?;
    told.add(&part, limits)?;
    let mut parts = 1;
    loop {
        match frame::read(stream, limits.max_part).await {
            Err(frame::Error::Ended) => return Ok(told),
            Err(error) => return Err(error.into()),
            Ok(_) if parts >= limits.max_parts => {
                let max = limits.max_parts;
                return Err(IdentifyError::TooManyParts { max });
            }
            Ok(part) => told.add(&part, limits)?,
        }
        parts += 1;
    }
}

/// Sends a message, an answer or a push, and ends our side at once: some implementations use no
/// other stream to us before they have seen that end.
///
/// The caller sets the deadline. Not cancel-safe: drop the stream with the future.
///
/// # Errors
/// Whatever the stream says.
pub async fn send(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> std::io::Result<()> {
    // Not flushed in between, so that message and end travel together.
    stream.write_all(&frame::encode(message)).await?;
    stream.close().await
}
