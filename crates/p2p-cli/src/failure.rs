//! A command that did not work: which step, what was tried, why, and what to do about it.
//!
//! ```text
//! error: cannot ping /ip4/127.0.0.1/tcp/4001
//!   step   transport: opening the socket
//!   tried  /ip4/127.0.0.1/tcp/4001, for 182 µs
//!   cause  cannot connect to /ip4/127.0.0.1/tcp/4001: Connection refused (os error 111)
//!   help   nothing listens there: check the port, and that the other end is running
//! ```

use std::fmt::Display;

use crate::output::{self, Output, Record, Style};

/// Why a command did not do what it should.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    step: &'static str,
    tried: Vec<String>,
    cause: String,
    help: Option<String>,
}

impl Failure {
    /// `what` did not work, because of `cause` in `step`.
    pub(crate) fn new(what: impl Into<String>, step: &'static str, cause: impl Display) -> Self {
        Self {
            what: what.into(),
            step,
            tried: Vec::new(),
            cause: cause.to_string(),
            help: None,
        }
    }

    /// Adds one thing that was tried.
    pub(crate) fn tried(mut self, what: impl Into<String>) -> Self {
        self.tried.push(what.into());
        self
    }

    /// Says what to do about it.
    pub(crate) fn help(mut self, what: impl Into<String>) -> Self {
        self.help = Some(what.into());
        self
    }

    /// Prints it: for people on stderr, with `--json` also as a record on stdout.
    pub(crate) fn print(&self, output: Output) {
        let error = output.styled_aside(Style::Bad, "error:");
        output.aside(format!("{error} {}", output::clean(&self.what)));
        let row = |name: &str, text: &str| {
            let name = output.styled_aside(Style::Dim, format!("{name:<5}"));
            // Further lines of a text stay in its column.
            output.aside(format!(
                "  {name}  {}",
                output::clean(text).replace('\n', "\n         ")
            ));
        };
        for (name, text) in self.rows() {
            row(name, &text);
        }
        output.record(&self.record());
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("step", explained(self.step))];
        rows.extend(self.tried.iter().map(|tried| ("tried", tried.clone())));
        rows.push(("cause", self.cause.clone()));
        rows.extend(self.help.iter().map(|help| ("help", help.clone())));
        rows
    }

    fn record(&self) -> Record {
        Record::new("error")
            .text("what", &self.what)
            .text("step", self.step)
            .texts("tried", &self.tried)
            .text("cause", &self.cause)
            .with("help", self.help.clone())
    }
}

/// A step with what happens in it.
fn explained(step: &str) -> String {
    let what = match step {
        "usage" => "reading the command line",
        "key file" => "reading or writing a key",
        "start" => "starting our own node",
        "listen" => "opening our own socket",
        "admission" => "our own rules and limits",
        "transport" => "opening the socket",
        "security" => "finding out who is there",
        "muxer" => "agreeing on a multiplexer",
        "protocol" => "agreeing on a protocol for the stream",
        "exchange" => "talking over the stream",
        "check" => "checking what came back",
        _ => return step.to_owned(),
    };
    format!("{step}: {what}")
}

#[cfg(test)]
impl Display for Failure {
    /// As it is printed, without colours.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        for (name, text) in self.rows() {
            write!(f, "\n{name:<5}  {text}")?;
        }
        Ok(())
    }
}
