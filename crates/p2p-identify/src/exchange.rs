//! The exchange, over any byte stream.

use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use p2p_core::{Budget, PeerId, Permit, frame};

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
    let mut paid = Budget::unlimited().reserve(0)?;
    request_paid(stream, peer, public_key, limits, &mut paid).await
}

/// The same, with `paid` growing by every part before it is read.
pub(crate) async fn request_paid(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    peer: PeerId,
    public_key: Bytes,
    limits: &Limits,
    paid: &mut Permit,
) -> Result<IdentifyInfo, IdentifyError> {
    // There is nothing to say; where the protocol is proposed with the first bytes, this sends
    // the proposal.
    stream.close().await?;
    let told = receive_paid(stream, limits, paid).await?;
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
    let mut paid = Budget::unlimited().reserve(0)?;
    receive_paid(stream, limits, &mut paid).await
}

/// The same, with `paid` growing by every part before it is read.
pub(crate) async fn receive_paid(
    stream: &mut (impl AsyncRead + Unpin),
    limits: &Limits,
    paid: &mut Permit,
) -> Result<Told, IdentifyError> {
    let mut told = Told::default();
    let mut parts = 0;
    loop {
        let len = match frame::read_length(stream, limits.max_part).await {
            Err(frame::Error::Ended) if parts > 0 => return Ok(told),
            len => len?,
        };
        if parts >= limits.max_parts {
            let max = limits.max_parts;
            return Err(IdentifyError::TooManyParts { max });
        }
        paid.grow(len)?;
        let part = frame::read_body(stream, len).await?;
        told.add(&part, limits)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;

    #[test]
    fn each_part_is_paid_for_before_it_is_read() {
        // Field 10, which nobody knows, of 4,000 bytes.
        let part = [&[0x52, 0xa0, 0x1f][..], &[0; 4000]].concat();
        let budget = Budget::new("memory", "memory", 2 * part.len() + 100);
        let mut paid = budget.reserve(0).unwrap();
        let framed = frame::encode(&part);
        let mut stream = Cursor::new(framed.repeat(3));
        let limits = Limits::default();
        let received = block_on(receive_paid(&mut stream, &limits, &mut paid));
        assert!(matches!(received, Err(IdentifyError::Limit(_))));
        let prefix = framed.len() - part.len();
        let read = 2 * framed.len() + prefix;
        assert_eq!(
            stream.position(),
            read as u64,
            "of the third only its length"
        );
        assert_eq!(budget.used(), 2 * part.len());
        drop(paid);
        assert_eq!(budget.used(), 0);
    }
}
