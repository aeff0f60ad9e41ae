//! What is printed, for people or for programs.
//!
//! ```text
//!   stdout   results: lines for people, or with --json one JSON object a line
//!   stderr   errors, progress, the steps of -v: lines for people, always
//! ```
//!
//! Commands say everything twice, once in each form; this module prints the one that was asked
//! for. Colours only on a terminal, and never with `NO_COLOR` in the environment.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use serde_json::Value;

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    colored_stdout: bool,
    colored_stderr: bool,
}

/// How a piece of text stands out on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// Headings and results.
    Bold,
    /// What is seldom needed.
    Dim,
    /// It worked.
    Good,
    /// It did not.
    Bad,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let colors = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            colored_stdout: colors && io::stdout().is_terminal(),
            colored_stderr: colors && io::stderr().is_terminal(),
        }
    }

    /// Whether records are printed instead of lines.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line for people, on stdout; nothing with `--json`.
    pub(crate) fn line(&self, text: impl Display) {
        if !self.json {
            print(io::stdout().lock(), text);
        }
    }

    /// Prints a record for programs, on stdout; nothing without `--json`.
    pub(crate) fn record(&self, record: &Record) {
        if self.json {
            print(io::stdout().lock(), record);
        }
    }

    /// Prints a line for people on stderr, with `--json` too.
    pub(crate) fn aside(&self, text: impl Display) {
        print(io::stderr().lock(), text);
    }

    /// `text` in a style, on stdout.
    pub(crate) fn styled(&self, style: Style, text: impl Display) -> String {
        paint(self.colored_stdout, style, text)
    }

    /// `text` in a style, on stderr.
    pub(crate) fn styled_aside(&self, style: Style, text: impl Display) -> String {
        paint(self.colored_stderr, style, text)
    }

    /// Prints `name  value` in columns, on stdout. The value may come from a remote.
    pub(crate) fn field(&self, name: &str, value: impl Display) {
        // Padded before it is painted: colour codes have a length, but no width.
        let name = self.styled(Style::Dim, format!("{name:<12}"));
        self.line(format!("  {name} {}", clean(value)));
    }
}

/// Writes a line at once, so that a program that reads from a pipe sees it at once.
fn print(mut to: impl Write, text: impl Display) {
    let written = writeln!(to, "{text}").and_then(|()| to.flush());
    if written.is_err() {
        // Whoever read this is gone: there is nobody left to work for.
        std::process::exit(1);
    }
}

fn paint(colored: bool, style: Style, text: impl Display) -> String {
    if !colored {
        return text.to_string();
    }
    let code = match style {
        Style::Bold => 1,
        Style::Dim => 2,
        Style::Good => 32,
        Style::Bad => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Text that a remote may have chosen, made fit for a terminal: what could move the cursor, change
/// colours or reverse the reading direction is shown as an escape.
pub(crate) fn clean(text: impl Display) -> String {
    let mut cleaned = String::new();
    for c in text.to_string().chars() {
        let steers = c.is_control() && c != '\n';
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if steers || turns {
            cleaned.extend(c.escape_unicode());
        } else {
            cleaned.push(c);
        }
    }
    cleaned
}

/// One line of `--json`: `event` first, then the fields in the order in which they were added.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    fields: Vec<(&'static str, Value)>,
}

impl Record {
    pub(crate) fn new(event: &'static str) -> Self {
        Self {
            fields: vec![("event", event.into())],
        }
    }

    pub(crate) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        debug_assert!(self.fields.iter().all(|(other, _)| *other != key));
        self.fields.push((key, value.into()));
        self
    }

    /// Adds the text of `value`.
    pub(crate) fn text(self, key: &'static str, value: impl Display) -> Self {
        self.with(key, value.to_string())
    }

    /// Adds the texts of `values`.
    pub(crate) fn texts(self, key: &'static str, values: impl IntoIterator<Item: Display>) -> Self {
        let values: Vec<Value> = values
            .into_iter()
            .map(|value| value.to_string().into())
            .collect();
        self.with(key, values)
    }
}

impl Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.fields.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            write!(f, "{before}\"{key}\":{value}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_json_with_its_keys_in_order() {
        let record = Record::new("ping")
            .with("seq", 1)
            .text("addr", "/ip4/1.2.3.4")
            .texts("protocols", ["/a", "/b\n\""])
            .with("none", Value::Null);
        let line = record.to_string();
        assert_eq!(
            line,
            r#"{"event":"ping","seq":1,"addr":"/ip4/1.2.3.4","protocols":["/a","/b\n\""],"none":null}"#
        );
        assert!(serde_json::from_str::<Value>(&line).is_ok());
    }

    #[test]
    fn text_from_a_remote_cannot_steer_the_terminal() {
        assert_eq!(clean("\x1b[2Jgo\u{202e}og"), "\\u{1b}[2Jgo\\u{202e}og");
        assert_eq!(clean("äöü 1.0\n/noise"), "äöü 1.0\n/noise");
    }

    #[test]
    fn without_colours_a_styled_text_is_the_text() {
        assert_eq!(paint(false, Style::Bad, "x"), "x");
        assert_eq!(paint(true, Style::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
