//! The end that proposes.

use futures::io::{AsyncRead, AsyncWrite};
use p2p_core::Protocol;

use crate::exchange::{Answer, Exchange, answer};
use crate::wire::Token;
use crate::{Config, Error, Negotiated, NegotiationError};

/// Proposes `proposals`, best first, until the remote accepts one; returns it and the stream from
/// there on.
///
/// The header and the first proposal are one write. Each refusal costs a round trip.
///
/// The caller sets the deadline. Not cancel-safe: the stream is dropped with the future.
///
/// # Errors
/// See [`Error`]. [`NegotiationError::Refused`] if the remote accepts none of them, and at once if
/// there are none.
pub async fn dial<Io>(
    io: Io,
    proposals: &[Protocol],
    config: &Config,
) -> Result<(Protocol, Negotiated<Io>), Error>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let mut exchange = Exchange::new(io, config);
    exchange.outbox.push(Token::Header);
    let mut greeted = false;
    for proposed in proposals {
        exchange.outbox.push(proposed.into());
        exchange.flush().await?;
        if !greeted {
            exchange.header().await?;
            greeted = true;
        }
        match exchange.token(|token| answer(token, proposed)).await?? {
            Answer::Agreed => return Ok((proposed.clone(), exchange.finish())),
            Answer::Refused => {}
        }
    }
    Err(Error::Negotiation(NegotiationError::Refused {
        proposed: proposals.to_vec(),
    }))
}

/// Proposes `protocol` and does not wait for the answer: the stream can be written at once.
///
/// Returns without I/O. The header and the proposal travel in the same write as the first bytes
/// written, and on a flush or close; a read before that sends them alone. The answer is
/// checked before the first read returns.
///
/// Use it when the remote is known to speak `protocol`. If it does not, every read fails with a
/// [`NegotiationError`] inside the [`std::io::Error`], and what was written is lost. A careless
/// remote may even take written bytes for further proposals, so write nothing optimistically that
/// somebody else chose byte by byte.
pub fn dial_lazy<Io>(io: Io, protocol: Protocol) -> Negotiated<Io>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    Negotiated::expecting(io, protocol)
}
