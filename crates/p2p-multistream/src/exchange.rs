//! The part that both ends share: tokens in, tokens out, over a stream.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use p2p_core::Protocol;

use crate::buffer::{Inbox, Outbox};
use crate::error::excerpt;
use crate::wire::{self, Token};
use crate::{Config, Error, Negotiated, NegotiationError};

/// The bytes of the token [`Token::Header`].
const HEADER_BYTES: &[u8] = b"\x13/multistream/1.0.0\n";

/// The longest length prefix that an accepted token can have.
const MAX_PREFIX: usize = 2;

/// A negotiation under way.
pub(crate) struct Exchange<Io> {
    io: Io,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    max_token: usize,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Exchange<Io> {
    pub(crate) fn new(io: Io, config: &Config) -> Self {
        Self {
            io,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            max_token: config.max_token.get().min(wire::MAX_TOKEN),
        }
    }

    /// Sends everything that is due.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.outbox.poll_flush(&mut self.io, cx)).await
    }

    /// Sends everything that is due and ends our direction. Errors change nothing any more.
    pub(crate) async fn close(&mut self) {
        if self.flush().await.is_ok() {
            let _ = self.io.close().await;
        }
    }

    /// Reads the first token, which must be the header.
    pub(crate) async fn header(&mut self) -> Result<(), Error> {
        self.read(header).await
    }

    /// Reads the next token and makes of it what `make` says.
    pub(crate) async fn token<T>(&mut self, make: impl Fn(Token<'_>) -> T) -> Result<T, Error> {
        let max = self.max_token;
        self.read(|bytes| Ok(wire::decode(bytes, max)?.map(|(token, used)| (make(token), used))))
            .await
    }

    async fn read<T>(&mut self, parse: impl Fn(&[u8]) -> Parsed<T>) -> Result<T, Error> {
        poll_fn(|cx| {
            let (inbox, outbox) = (&mut self.inbox, &mut self.outbox);
            poll_parse(&mut self.io, inbox, outbox, cx, self.max_token, &parse)
        })
        .await
    }

    /// The stream from here on. What is due goes out with the first write.
    pub(crate) fn finish(self) -> Negotiated<Io> {
        Negotiated::settled(self.io, self.outbox, self.inbox)
    }
}

/// A value and how many bytes it took; `None` if more bytes are needed.
pub(crate) type Parsed<T> = Result<Option<(T, usize)>, NegotiationError>;

/// Parses the front of the inbox, and reads while that is not enough. Whatever is due in the
/// outbox goes out before we wait.
pub(crate) fn poll_parse<Io: AsyncRead + AsyncWrite + Unpin, T>(
    io: &mut Io,
    inbox: &mut Inbox,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
    max_token: usize,
    parse: impl Fn(&[u8]) -> Parsed<T>,
) -> Poll<Result<T, Error>> {
    loop {
        if let Some((value, used)) = parse(inbox.unread())? {
            inbox.consume(used);
            return Poll::Ready(Ok(value));
        }
        let Poll::Ready(filled) = inbox.poll_fill(io, cx, max_token + MAX_PREFIX) else {
            push_out(io, outbox, cx);
            return Poll::Pending;
        };
        if filled? == 0 {
            return Poll::Ready(Err(Error::Io(io::ErrorKind::UnexpectedEof.into())));
        }
    }
}

/// Sends what is due, because we are about to wait for the remote.
///
/// An error is not ours to report: a remote that has stopped listening may still have sent
/// something worth reading, and one that is gone shows when we read.
pub(crate) fn push_out<Io: AsyncWrite + Unpin>(
    io: &mut Io,
    outbox: &mut Outbox,
    cx: &mut Context<'_>,
) {
    if !outbox.is_clear() {
        let _ = outbox.poll_flush(io, cx);
    }
}

/// Reads the header, and tells a remote that speaks something else by its first wrong byte.
pub(crate) fn header(bytes: &[u8]) -> Parsed<()> {
    if bytes.starts_with(HEADER_BYTES) {
        Ok(Some(((), HEADER_BYTES.len())))
    } else if HEADER_BYTES.starts_with(bytes) {
        Ok(None)
    } else {
        Err(NegotiationError::NotMultistream {
            found: excerpt(bytes),
        })
    }
}

/// What the dialer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Agreed,
    Refused,
}

/// Reads a token as the answer to `proposed`.
pub(crate) fn answer(token: Token<'_>, proposed: &Protocol) -> Result<Answer, NegotiationError> {
    match token {
        Token::Na => Ok(Answer::Refused),
        Token::Protocol(text) if text == proposed.as_str().as_bytes() => Ok(Answer::Agreed),
        Token::Header | Token::Ls | Token::Protocol(_) => Err(NegotiationError::Mismatch {
            proposed: proposed.clone(),
            found: excerpt(token.text()),
        }),
    }
}

/// An answer that is read later: the second half of an optimistic proposal.
#[derive(Debug)]
pub(crate) struct Expected {
    proposed: Protocol,
    inbox: Inbox,
    next: Next,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Header,
    Answer,
}

impl Expected {
    pub(crate) fn new(proposed: Protocol) -> Self {
        Self {
            proposed,
            inbox: Inbox::default(),
            next: Next::Header,
        }
    }

    /// Reads the answer; what came behind it stays in the inbox.
    pub(crate) fn poll_answer<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut Io,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        // No answer we accept is longer than the longest proposal.
        const MAX: usize = Protocol::MAX_LEN + 1;
        let (inbox, proposed) = (&mut self.inbox, &self.proposed);
        if matches!(self.next, Next::Header) {
            ready!(poll_parse(io, inbox, outbox, cx, MAX, header))?;
            self.next = Next::Answer;
        }
        let parse = |bytes: &[u8]| match wire::decode(bytes, MAX)? {
            Some((token, used)) => Ok(Some((answer(token, proposed)?, used))),
            None => Ok(None),
        };
        Poll::Ready(
            match ready!(poll_parse(io, inbox, outbox, cx, MAX, parse))? {
                Answer::Agreed => Ok(()),
                Answer::Refused => Err(NegotiationError::Refused {
                    proposed: vec![proposed.clone()],
                }
                .into()),
            },
        )
    }

    pub(crate) fn into_inbox(self) -> Inbox {
        self.inbox
    }
}
