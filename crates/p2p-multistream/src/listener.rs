//! The end that answers.

use futures::io::{AsyncRead, AsyncWrite};
use p2p_core::Protocol;

use crate::error::excerpt;
use crate::exchange::Exchange;
use crate::wire::{self, Token};
use crate::{Config, Error, Negotiated, NegotiationError};

/// The protocols that a listener speaks.
///
/// Implemented for slices, arrays and vectors of [`Protocol`], and for closures
/// `Fn(&str) -> Option<Protocol>`.
pub trait Supported {
    /// The protocol with exactly this id, if we speak it.
    fn find(&self, id: &str) -> Option<Protocol>;

    /// What to answer to `ls`. Default: nothing.
    fn list(&self) -> Vec<Protocol> {
        Vec::new()
    }
}

impl Supported for [Protocol] {
    fn find(&self, id: &str) -> Option<Protocol> {
        self.iter().find(|ours| ours.as_str() == id).cloned()
    }

    fn list(&self) -> Vec<Protocol> {
        self.to_vec()
    }
}

impl<const N: usize> Supported for [Protocol; N] {
    fn find(&self, id: &str) -> Option<Protocol> {
        self.as_slice().find(id)
    }

    fn list(&self) -> Vec<Protocol> {
        self.to_vec()
    }
}

impl Supported for Vec<Protocol> {
    fn find(&self, id: &str) -> Option<Protocol> {
        self.as_slice().find(id)
    }

    fn list(&self) -> Self {
        self.clone()
    }
}

impl<F: Fn(&str) -> Option<Protocol>> Supported for F {
    fn find(&self, id: &str) -> Option<Protocol> {
        self(id)
    }
}

/// Answers proposals until one is supported; returns it and the stream from there on.
///
/// The accepting answer is not sent yet: it travels with the first bytes that are written to the
/// stream, and goes out alone on a flush or close, or when a read has to wait. So whoever neither
/// reads nor writes nor flushes keeps the remote waiting.
///
/// The caller sets the deadline. Not cancel-safe: the stream is dropped with the future.
///
/// # Errors
/// See [`Error`].
pub async fn listen<Io, S>(
    io: Io,
    supported: &S,
    config: &Config,
) -> Result<(Protocol, Negotiated<Io>), Error>
where
    Io: AsyncRead + AsyncWrite + Unpin,
    S: Supported + ?Sized,
{
    let mut exchange = Exchange::new(io, config);
    match agree(&mut exchange, supported, config).await {
        Ok(protocol) => Ok((protocol, exchange.finish())),
        Err(error) => {
            // Our last words may still be on their way: dropping a stream that is not closed can
            // reset it, and a reset overtakes them.
            exchange.close().await;
            Err(error)
        }
    }
}

async fn agree<Io, S>(
    exchange: &mut Exchange<Io>,
    supported: &S,
    config: &Config,
) -> Result<Protocol, Error>
where
    Io: AsyncRead + AsyncWrite + Unpin,
    S: Supported + ?Sized,
{
    let max = config.max_proposals.get();
    exchange.outbox.push(Token::Header);
    exchange.header().await?;
    for _ in 0..max {
        match exchange.token(|token| request(token, supported)).await? {
            Request::List => {
                let list = supported.list();
                exchange
                    .outbox
                    .append(|bytes| wire::encode_list(&list, bytes));
                exchange.flush().await?;
            }
            Request::Supported(protocol) => {
                exchange.outbox.push((&protocol).into());
                return Ok(protocol);
            }
            Request::Unsupported { excerpt: refused } => {
                exchange.outbox.push(Token::Na);
                exchange.flush().await?;
                // Only who did not wait for the answer can have sent more by now.
                if !exchange.inbox.is_empty() {
                    return Err(NegotiationError::PayloadForRefused { refused }.into());
                }
            }
        }
    }
    Err(NegotiationError::TooManyProposals { max }.into())
}

enum Request {
    List,
    Supported(Protocol),
    Unsupported { excerpt: String },
}

fn request(token: Token<'_>, supported: &(impl Supported + ?Sized)) -> Request {
    let found = match token {
        Token::Ls => return Request::List,
        Token::Header | Token::Na => None,
        Token::Protocol(id) => std::str::from_utf8(id)
            .ok()
            .and_then(|id| supported.find(id)),
    };
    match found {
        Some(protocol) => Request::Supported(protocol),
        None => Request::Unsupported {
            excerpt: excerpt(token.text()),
        },
    }
}
