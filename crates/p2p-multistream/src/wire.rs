//! The messages of multistream-select 1.0.
//!
//! ```text
//!   token = uvarint(length, newline included) text '\n'
//! ```
//!
//! A length has at most two bytes. Pure: bytes in, tokens out.
//!
//! Spec: libp2p/specs `connections/README.md`, multiformats/multistream-select.

use p2p_core::{Protocol, uvarint};

/// What both ends send first.
pub const HEADER: &str = "/multistream/1.0.0";

/// The longest token that two bytes of length can announce.
pub const MAX_TOKEN: usize = (1 << 14) - 1;

/// How many bytes a length prefix may have.
const MAX_PREFIX: usize = 2;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// The version of the negotiation itself: [`HEADER`].
    Header,
    /// "Which protocols do you speak?"
    Ls,
    /// "I do not speak that."
    Na,
    /// A protocol id, proposed or confirmed. Not checked: remotes send anything.
    Protocol(&'a [u8]),
}

/// Why bytes are not a token. More bytes cannot make them one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The length prefix is not a varint of at most two bytes in shortest form.
    #[error("the length is no varint of at most two bytes")]
    Length,
    /// The token does not end with a newline.
    #[error("there is no newline at the end")]
    NoNewline,
    /// The token is longer than allowed.
    #[error("token of {len} bytes, at most {max} allowed (setting: max_token)")]
    TooLong {
        /// The announced length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
}

/// Reads one token of at most `max` bytes from the front of `bytes`; returns it and how many
/// bytes it took, or `None` if more bytes are needed.
///
/// # Errors
/// [`TokenError`] as soon as the bytes cannot become a token any more.
pub fn decode(bytes: &[u8], max: usize) -> Result<Option<(Token<'_>, usize)>, TokenError> {
    let prefix = bytes.get(..MAX_PREFIX).unwrap_or(bytes);
    let (len, used) = match uvarint::decode(prefix) {
        Ok((len, used)) => (usize::try_from(len).unwrap_or(usize::MAX), used),
        Err(uvarint::Error::Underflow) if prefix.len() < MAX_PREFIX => return Ok(None),
        Err(_) => return Err(TokenError::Length),
    };
    if len > max {
        return Err(TokenError::TooLong { len, max });
    }
    if len == 0 {
        return Err(TokenError::NoNewline);
    }
    let Some(body) = bytes.get(used..used + len) else {
        return Ok(None);
    };
    let Some((b'\n', text)) = body.split_last() else {
        return Err(TokenError::NoNewline);
    };
    Ok(Some((Token::from_text(text), used + len)))
}

/// Appends `token` to `out`.
pub fn encode(token: Token<'_>, out: &mut Vec<u8>) {
    let text = token.text();
    out.extend_from_slice(uvarint::encode(text.len() as u64 + 1).as_slice());
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// Appends the answer to `ls` to `out`: one token that holds one token for each protocol.
///
/// Protocols that do not fit into [`MAX_TOKEN`] bytes are left out.
pub fn encode_list(protocols: &[Protocol], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    for protocol in protocols {
        let before = body.len();
        encode(protocol.into(), &mut body);
        if body.len() >= MAX_TOKEN {
            body.truncate(before);
            break;
        }
    }
    encode(Token::Protocol(&body), out);
}

impl<'a> Token<'a> {
    fn from_text(text: &'a [u8]) -> Self {
        match text {
            b"ls" => Self::Ls,
            b"na" => Self::Na,
            _ if text == HEADER.as_bytes() => Self::Header,
            _ => Self::Protocol(text),
        }
    }

    /// What stands between the length and the newline.
    pub fn text(self) -> &'a [u8] {
        match self {
            Self::Header => HEADER.as_bytes(),
            Self::Ls => b"ls",
            Self::Na => b"na",
            Self::Protocol(text) => text,
        }
    }
}

impl<'a> From<&'a Protocol> for Token<'a> {
    fn from(protocol: &'a Protocol) -> Self {
        Self::Protocol(protocol.as_str().as_bytes())
    }
}
