//! A recorded connection as text, so that a change of it can be read in a diff.
//!
//! ```text
//! peer go
//! role listen              ours
//! stack tcp/noise/yamux
//! seed 7                   ours: every key is made from it
//! remote 12D3KooW..
//! < EyBtdWx0aXN0cmVhbS8x   what the remote sent, in base64
//! > EyBtdWx0aXN0cmVhbS8x   what we did
//! ```
//!
//! `src/record.rs` writes them, `tests/replay.rs` reads them.

use data_encoding::BASE64;

/// What was seen of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fixture {
    /// Whose bytes the remote's are.
    pub(crate) peer: String,
    /// What we did: `dial` or `listen`.
    pub(crate) role: String,
    /// Transport, security and muxer.
    pub(crate) stack: String,
    /// What our keys were made from.
    pub(crate) seed: u8,
    /// The remote's peer id.
    pub(crate) remote: String,
    /// In the order in which they passed.
    pub(crate) chunks: Vec<Chunk>,
}

/// Bytes that passed in one direction before any passed in the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) from: From,
    pub(crate) bytes: Vec<u8>,
}

/// Who sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Remote,
    Us,
}

impl Fixture {
    /// Adds what passed; what follows in the same direction is one chunk.
    pub(crate) fn push(&mut self, from: From, bytes: &[u8]) {
        match self.chunks.last_mut() {
            Some(last) if last.from == from => last.bytes.extend_from_slice(bytes),
            _ => self.chunks.push(Chunk {
                from,
                bytes: bytes.to_vec(),
            }),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let Self {
            peer,
            role,
            stack,
            seed,
            remote,
            chunks,
        } = self;
        let mut text =
            format!("peer {peer}\nrole {role}\nstack {stack}\nseed {seed}\nremote {remote}\n");
        for chunk in chunks {
            text.push_str(match chunk.from {
                From::Remote => "< ",
                From::Us => "> ",
            });
            text.push_str(&BASE64.encode(&chunk.bytes));
            text.push('\n');
        }
        text
    }

    /// `None` if it is not such a text.
    #[cfg_attr(not(test), expect(dead_code, reason = "`tests/replay.rs` reads them"))]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut fixture = Self::default();
        for line in text.lines() {
            let (key, value) = line.split_once(' ')?;
            let value = value.trim();
            match key {
                "peer" => fixture.peer = value.into(),
                "role" => fixture.role = value.into(),
                "stack" => fixture.stack = value.into(),
                "seed" => fixture.seed = value.parse().ok()?,
                "remote" => fixture.remote = value.into(),
                "<" => fixture.push(From::Remote, &BASE64.decode(value.as_bytes()).ok()?),
                ">" => fixture.push(From::Us, &BASE64.decode(value.as_bytes()).ok()?),
                _ => return None,
            }
        }
        Some(fixture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_survives_being_text() {
        let mut fixture = Fixture {
            peer: "go".into(),
            role: "dial".into(),
            stack: "tcp/noise/yamux".into(),
            seed: 7,
            remote: "12D3KooW".into(),
            chunks: Vec::new(),
        };
        fixture.push(From::Us, b"one");
        fixture.push(From::Us, b"two");
        fixture.push(From::Remote, &[0, 255]);

        let text = fixture.to_text();

        assert!(text.ends_with("> b25ldHdv\n< AP8=\n"), "{text}");
        assert_eq!(Fixture::parse(&text), Some(fixture));
        assert_eq!(Fixture::parse("> no base64!\n"), None);
    }
}
