//! A terminal that shows one changing picture, and gets back what it showed before.

use std::io::{self, Write};

use terminal_size::{Height, Width, terminal_size_of};

/// Another screen than that of the shell, and no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// What undoes it, colours included.
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";
/// To the first line and column.
const HOME: &str = "\x1b[H";
/// Erases what is left of a line.
const REST_OF_LINE: &str = "\x1b[K";
/// Erases everything below.
const BELOW: &str = "\x1b[J";

/// How much can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Room {
    /// What every terminal has had since the VT100.
    pub(crate) const COMMON: Self = Self {
        columns: 80,
        rows: 24,
    };

    /// For files and pipes: lines as long as they come, and not without end.
    pub(crate) const FILE: Self = Self {
        columns: usize::MAX,
        rows: 100,
    };
}

/// The terminal at stdout, while it shows the picture. Dropped, it is as it was.
#[derive(Debug)]
pub(crate) struct Screen(());

impl Screen {
    pub(crate) fn enter() -> io::Result<Self> {
        // First, so that a terminal that took half of it is given back as well.
        let screen = Self(());
        write(ENTER)?;
        Ok(screen)
    }

    /// How large it is now; it may be another size soon.
    pub(crate) fn room(&self) -> Room {
        match terminal_size_of(io::stdout()) {
            Some((Width(columns), Height(rows))) if columns > 0 && rows > 0 => Room {
                columns: columns.into(),
                rows: rows.into(),
            },
            Some(_) | None => Room::COMMON,
        }
    }

    /// Shows `lines` and nothing else, in one write: nobody sees a half of it.
    pub(crate) fn show(&self, lines: &[String]) -> io::Result<()> {
        let mut text = HOME.to_owned();
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                text.push_str("\r\n");
            }
            // Before it: behind a line that fills its row, the cursor stands on the last letter.
            text.push_str(REST_OF_LINE);
            text.push_str(line);
        }
        if lines.len() < self.room().rows {
            text.push_str("\r\n");
            text.push_str(BELOW);
        }
        write(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing any more.
        let _ = write(LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
