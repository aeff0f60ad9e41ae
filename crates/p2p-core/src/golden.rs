//! Texts that are kept in a file, so that whoever changes one sees it as a user would; for tests.
//!
//! ```text
//!   == DialError                       a type: Texts::blamed, Texts::errors
//!   [blame us] the swarm is closed     one error: who is to blame, its text, its sources
//!   [blame us] none of 2 worked:
//!     /ip4/192.0.2.1/tcp/4001: ..    a further line of the same text, indented
//! ```
//!
//! With the variable `P2P_BLESS` set, [`compare`] writes the file anew instead.

use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use futures::executor::block_on;
use futures::io::{AsyncRead, AsyncWrite};

use crate::Chain;

/// The texts of a crate, type by type.
#[derive(Debug, Default)]
pub struct Texts(String);

impl Texts {
    /// Errors of one type, each with whom it blames.
    pub fn blamed<E: Error + 'static, B: Display>(
        &mut self,
        heading: &str,
        blame: impl Fn(&E) -> B,
        errors: impl IntoIterator<Item = E>,
    ) {
        let line = |error: E| format!("[blame {}] {}", blame(&error), Chain(&error));
        self.lines(heading, errors.into_iter().map(line));
    }

    /// Errors of one type that blames nobody.
    pub fn errors<E: Error + 'static>(
        &mut self,
        heading: &str,
        errors: impl IntoIterator<Item = E>,
    ) {
        self.lines(heading, errors.into_iter().map(|e| Chain(&e).to_string()));
    }

    /// Texts of any kind.
    pub fn lines(&mut self, heading: &str, lines: impl IntoIterator<Item = impl Display>) {
        self.0 += &format!("== {heading}\n");
        for line in lines {
            self.0 += &line.to_string().replace('\n', "\n  ");
            self.0.push('\n');
        }
    }

    /// Compares with `tests/golden/texts.txt` of the crate in the folder `root`, which is its
    /// `CARGO_MANIFEST_DIR`.
    ///
    /// # Panics
    /// See [`compare`].
    #[track_caller]
    pub fn compare(&self, root: &str) {
        compare(Path::new(root).join("tests/golden/texts.txt"), &self.0);
    }
}

/// Compares `found` with what the file at `path` holds, or writes it there.
///
/// # Panics
/// If they differ, with the first line that does; or if the file cannot be written.
#[track_caller]
pub fn compare(path: impl AsRef<Path>, found: impl AsRef<[u8]>) {
    let (path, found) = (path.as_ref(), found.as_ref());
    if std::env::var_os("P2P_BLESS").is_some() {
        let parent = path.parent().unwrap_or(path);
        if let Err(error) = fs::create_dir_all(parent).and_then(|()| fs::write(path, found)) {
            panic!("cannot write {}: {error}", path.display());
        }
        return;
    }
    let kept = fs::read(path).unwrap_or_default();
    if let Some(difference) = difference(&kept, found) {
        panic!(
            "{} differs, {difference}\nif it is meant, run the test with P2P_BLESS=1 to write it anew",
            path.display()
        );
    }
}

/// A link to a remote that says what it says and hangs up, whatever it is told.
#[derive(Debug)]
pub struct Remote(io::Cursor<Vec<u8>>);

impl Remote {
    /// Says these bytes.
    pub fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        Self(io::Cursor::new(bytes.into()))
    }
}

impl AsyncRead for Remote {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(io::Read::read(&mut self.0, buf))
    }
}

impl AsyncWrite for Remote {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The first line that differs.
fn difference(kept: &[u8], found: &[u8]) -> Option<String> {
    if kept == found {
        return None;
    }
    let (kept, found) = (
        String::from_utf8_lossy(kept),
        String::from_utf8_lossy(found),
    );
    let (mut kept, mut found) = (kept.split_inclusive('\n'), found.split_inclusive('\n'));
    for line in 1.. {
        let (kept, found) = (kept.next(), found.next());
        if kept != found || kept.is_none() {
            let shown = |line: Option<&str>| {
                line.map_or_else(|| "nothing".to_owned(), |l| format!("{l:?}"))
            };
            let (kept, found) = (shown(kept), shown(found));
            return Some(format!("line {line}:\n  kept:  {kept}\n  found: {found}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        let differs = |kept: &str, found: &str| difference(kept.as_bytes(), found.as_bytes());
        assert_eq!(differs("a\nb\n", "a\nb\n"), None);
        for (kept, found, said) in [
            (
                "a\nb\n",
                "a\nc\n",
                "line 2:\n  kept:  \"b\\n\"\n  found: \"c\\n\"",
            ),
            (
                "a\n",
                "a\nc\n",
                "line 2:\n  kept:  nothing\n  found: \"c\\n\"",
            ),
            ("a\n", "a", "line 1:\n  kept:  \"a\\n\"\n  found: \"a\""),
        ] {
            assert_eq!(differs(kept, found).as_deref(), Some(said));
        }
    }

    #[test]
    fn the_second_line_of_a_text_is_indented() {
        let mut texts = Texts::default();
        texts.lines("Things", ["one\ntwo", "three"]);
        assert_eq!(texts.0, "== Things\none\n  two\nthree\n");
    }
}
