//! Runs the built binary.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a run printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `p2p` with these arguments.
pub(crate) fn p2p(args: &[&str]) -> Outcome {
    let output = command(args).stdin(Stdio::null()).output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `p2p` with these arguments, to be run.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2p"));
    command.args(args).env_remove("NO_COLOR");
    command
}

impl Outcome {
    #[track_caller]
    pub(crate) fn assert_exit(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self:?}");
    }

    /// Exit code 1, nothing on stdout, and this on stderr once times are scrubbed.
    #[track_caller]
    pub(crate) fn assert_failed(&self, stderr: &str) {
        self.assert_exit(1);
        assert_eq!(self.stdout, "");
        assert_eq!(scrub(&self.stderr), stderr);
    }

    /// The records of `--json`.
    pub(crate) fn records(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Replaces times (`12.3 ms`, `0.1/0.2/0.3/0.4 ms`) by `T` and error numbers by `N`: what differs
/// from run to run and from system to system.
pub(crate) fn scrub(text: &str) -> String {
    let mut scrubbed = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        scrubbed += before;
        let len = number
            .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '/')
            .unwrap_or(number.len());
        let (number, after) = number.split_at(len);
        let unit = [" µs", " ms", " s"].into_iter().find(|unit| {
            let ends = after.strip_prefix(unit);
            ends.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
        });
        if let Some(unit) = unit {
            scrubbed += "T";
            rest = &after[unit.len()..];
        } else {
            scrubbed += if before.ends_with("(os error ") {
                "N"
            } else {
                number
            };
            rest = after;
        }
    }
    scrubbed + rest
}

/// A directory of its own, removed at the end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.0.join(file).to_str().unwrap().to_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
