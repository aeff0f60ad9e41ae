//! As much of redis as two test applications need to find each other.
//!
//! Wire format: RESP2, <https://redis.io/docs/latest/develop/reference/protocol-spec>.
#![expect(clippy::disallowed_methods, reason = "waits for a real server")]

use std::{
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// Between two tries.
const PACE: Duration = Duration::from_millis(50);
/// An address is far shorter.
const MAX_LINE: u64 = 1024;
const MAX_BULK: usize = 64 * 1024;
const MAX_LIST: usize = 16;

/// Why redis was of no help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RedisError {
    /// It said so.
    #[error("{0}")]
    Answer(String),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nobody set the key.
    #[error("nothing at {0:?} in time")]
    Nothing(String),
    /// It does not speak its own protocol.
    #[error("answered {0:?}")]
    Protocol(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Reply {
    List(Vec<Self>),
    Nothing,
    Number(i64),
    Text(String),
}

/// A connection to a server.
pub(super) struct Redis(BufReader<TcpStream>);

impl Redis {
    /// Connects to `host:port`, again and again for `within`: it may start later than we.
    pub(super) fn connect(addr: &str, within: Duration) -> Result<Self, RedisError> {
        let until = Instant::now() + within;
        loop {
            match TcpStream::connect(addr) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(within + PACE))?;
                    return Ok(Self(BufReader::new(stream)));
                }
                Err(error) if Instant::now() >= until => return Err(error.into()),
                Err(_) => thread::park_timeout(PACE),
            }
        }
    }

    /// Puts `value` at the end of a list, in the place of what an earlier run left.
    pub(super) fn push(&mut self, key: &str, value: &str) -> Result<(), RedisError> {
        self.ask(&["DEL", key])?;
        self.ask(&["RPUSH", key, value]).map(drop)
    }

    /// Takes the first of a list, and waits for it.
    pub(super) fn pop(&mut self, key: &str, within: Duration) -> Result<String, RedisError> {
        let seconds = within.as_secs().to_string();
        match self.ask(&["BLPOP", key, &seconds])? {
            Reply::List(mut pair) => match pair.pop() {
                Some(Reply::Text(value)) => Ok(value),
                other => Err(RedisError::Protocol(format!("{other:?}"))),
            },
            Reply::Nothing => Err(RedisError::Nothing(key.into())),
            other @ (Reply::Number(_) | Reply::Text(_)) => {
                Err(RedisError::Protocol(format!("{other:?}")))
            }
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), RedisError> {
        self.ask(&["SET", key, value]).map(drop)
    }

    /// Asks for a value until there is one.
    pub(super) fn poll(&mut self, key: &str, within: Duration) -> Result<String, RedisError> {
        let until = Instant::now() + within;
        loop {
            match self.ask(&["GET", key])? {
                Reply::Text(value) => return Ok(value),
                Reply::Nothing if Instant::now() < until => thread::park_timeout(PACE),
                Reply::Nothing => return Err(RedisError::Nothing(key.into())),
                other @ (Reply::List(_) | Reply::Number(_)) => {
                    return Err(RedisError::Protocol(format!("{other:?}")));
                }
            }
        }
    }

    fn ask(&mut self, words: &[&str]) -> Result<Reply, RedisError> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        read(&mut self.0, true)
    }
}

/// One answer; `lists` says whether it may be a list.
fn read(from: &mut impl BufRead, lists: bool) -> Result<Reply, RedisError> {
    let mut line = String::new();
    from.by_ref().take(MAX_LINE).read_line(&mut line)?;
    let wrong = || RedisError::Protocol(line.trim_end().to_owned());
    let line_end = line.strip_suffix("\r\n").ok_or_else(wrong)?;
    let (kind, rest) = line_end.split_at_checked(1).ok_or_else(wrong)?;
    let count = |max: usize| -> Result<Option<usize>, RedisError> {
        match rest.parse::<i64>() {
            Ok(-1) => Ok(None),
            Ok(count) => match usize::try_from(count) {
                Ok(count) if count <= max => Ok(Some(count)),
                Ok(_) | Err(_) => Err(wrong()),
            },
            Err(_) => Err(wrong()),
        }
    };
    match kind {
        "+" => Ok(Reply::Text(rest.into())),
        "-" => Err(RedisError::Answer(rest.into())),
        ":" => Ok(Reply::Number(rest.parse().map_err(|_| wrong())?)),
        "$" => {
            let Some(len) = count(MAX_BULK)? else {
                return Ok(Reply::Nothing);
            };
            let mut bytes = vec![0; len + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(len);
            Ok(Reply::Text(String::from_utf8(bytes).map_err(|_| wrong())?))
        }
        "*" if lists => match count(MAX_LIST)? {
            None => Ok(Reply::Nothing),
            Some(len) => {
                let all: Result<_, _> = (0..len).map(|_| read(from, false)).collect();
                Ok(Reply::List(all?))
            }
        },
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_answer_is_understood() {
        let text = |text: &str| Reply::Text(text.into());

        assert_eq!(parse("+OK\r\n").unwrap(), text("OK"));
        assert_eq!(parse(":3\r\n").unwrap(), Reply::Number(3));
        assert_eq!(parse("$2\r\nhi\r\n").unwrap(), text("hi"));
        assert_eq!(parse("$-1\r\n").unwrap(), Reply::Nothing);
        assert_eq!(parse("*-1\r\n").unwrap(), Reply::Nothing);
        let pair = parse("*2\r\n$1\r\nk\r\n$1\r\nv\r\n").unwrap();
        assert_eq!(pair, Reply::List(vec![text("k"), text("v")]));
        assert!(matches!(parse("-ERR no\r\n"), Err(RedisError::Answer(it)) if it == "ERR no"));
    }

    #[test]
    fn what_is_no_answer_is_refused_and_nothing_large_is_allocated() {
        for wrong in [
            "",
            "\r\n",
            "OK\r\n",
            "+OK",
            "$x\r\n",
            "$-2\r\n",
            "$9999999999\r\n",
            "*9999999999\r\n",
            "*1\r\n*1\r\n+a\r\n",
            "$5\r\nhi\r\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    fn parse(text: &str) -> Result<Reply, RedisError> {
        read(&mut text.as_bytes(), true)
    }
}
