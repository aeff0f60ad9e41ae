//! A peer as a process: starts it, reads what it says, and makes sure that it ends.
//!
//! Each peer leads a process group of its own, so that nothing it started outlives it. Its
//! standard input stays open as long as it is wanted; its standard error goes to a file.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use crate::transcript::{End, Event, Transcript};

/// How much a peer may print; what comes after is not read.
const MAX_OUTPUT: u64 = 4 << 20;
/// How long a process may live after it closed its standard output.
const PARTING: Duration = Duration::from_secs(5);
/// Between two looks at a process that is about to end.
const PACE: Duration = Duration::from_millis(10);

/// The clock of the machine: real processes take real time.
#[expect(clippy::disallowed_methods, reason = "deadlines of real processes")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How to start a peer, without its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    /// Before the arguments of the interop command line.
    pub(crate) args: Vec<String>,
}

/// A peer that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    transcript: Transcript,
}

impl Process {
    /// # Errors
    /// What the system said when the program could not be started or its log not be written.
    pub(crate) fn start(program: &Program, args: &[String], log: &PathBuf) -> io::Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(&program.args).args(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?);
        lead_a_group(&mut command);
        let mut child = command.spawn()?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || forward_lines(stdout, &sender));
        }
        let stdin = child.stdin.take();
        Ok(Self {
            child,
            stdin,
            lines,
            transcript: Transcript::default(),
        })
    }

    /// Reads until an event of this name was said; `false` if the peer ended or `until` came first.
    pub(crate) fn wait_for(&mut self, wanted: &str, until: Instant) -> bool {
        self.wait_until(|said| said.event(wanted).is_some(), until)
    }

    /// Reads until enough was said; `false` if the peer ended or `until` came first.
    pub(crate) fn wait_until(
        &mut self,
        enough: impl Fn(&Transcript) -> bool,
        until: Instant,
    ) -> bool {
        loop {
            if enough(&self.transcript) {
                return true;
            }
            if self.transcript.event("error").is_some() || !self.read_line(until) {
                return false;
            }
        }
    }

    /// A text of an event that was said.
    pub(crate) fn said(&self, event: &str, key: &str) -> Option<String> {
        self.transcript.event(event)?.text(key).map(String::from)
    }

    /// Says that nobody needs the peer any more.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Reads to the end; a peer that is not done by `until` is ended.
    pub(crate) fn finish(mut self, until: Instant) -> Transcript {
        while self.read_line(until) {}
        // Its output is closed, or it is too late: what is left is to leave.
        let parting = until.min(now() + PARTING);
        let end = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status.code().map_or(End::Signalled, End::Exited),
                Ok(None) if now() < parting => thread::park_timeout(PACE),
                Ok(None) | Err(_) => break End::Killed,
            }
        };
        self.transcript.end = end;
        std::mem::take(&mut self.transcript)
    }

    /// Waits for one line; `false` if there will be none before `until`.
    fn read_line(&mut self, until: Instant) -> bool {
        match self
            .lines
            .recv_timeout(until.saturating_duration_since(now()))
        {
            Ok(line) => {
                match Event::parse(&line) {
                    Some(event) => self.transcript.events.push(event),
                    None => self.transcript.garbage = Some(line),
                }
                true
            }
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => false,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not reaped yet, so its id, and with it the group's, is still its own.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            end_group(&mut self.child);
            let _reaped = self.child.wait();
        }
    }
}

#[cfg(unix)]
fn lead_a_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

#[cfg(unix)]
fn end_group(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if group.is_none_or(|group| kill_process_group(group, Signal::KILL).is_err()) {
        let _gone_already = child.kill();
    }
}

#[cfg(not(unix))]
fn lead_a_group(_: &mut Command) {}

#[cfg(not(unix))]
fn end_group(child: &mut Child) {
    let _gone_already = child.kill();
}

fn forward_lines(stdout: impl Read, to: &Sender<String>) {
    for line in BufReader::new(stdout.take(MAX_OUTPUT)).lines() {
        let Ok(line) = line else { return };
        if to.send(line).is_err() {
            return;
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_watches_its_input_leaves_with_0() {
        let mut process = shell("echo '{\"event\":\"listening\"}'; cat > /dev/null");

        assert!(process.wait_for("listening", soon()));
        process.close_stdin();

        assert_eq!(process.finish(soon()).end, End::Exited(0));
    }

    #[test]
    fn a_peer_that_hangs_is_ended_together_with_what_it_started() {
        let mut process = shell("sleep 300 & echo '{\"event\":\"started\"}'; wait");

        assert!(process.wait_for("started", soon()));
        let group = process.child.id();

        assert_eq!(process.finish(now()).end, End::Killed);
        assert!(!std::path::Path::new(&format!("/proc/{group}")).exists());
    }

    #[test]
    fn waiting_ends_when_the_peer_reports_an_error() {
        let mut process = shell("echo '{\"event\":\"error\",\"message\":\"no\"}'; exit 1");

        assert!(!process.wait_for("listening", soon()));

        assert_eq!(process.finish(soon()).end, End::Exited(1));
    }

    #[test]
    fn what_is_no_event_is_kept_as_garbage() {
        let transcript = shell("echo hello").finish(soon());

        assert_eq!(transcript.garbage.as_deref(), Some("hello"));
    }

    fn shell(script: &str) -> Process {
        let program = Program {
            path: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
        };
        Process::start(&program, &[], &"/dev/null".into()).unwrap()
    }

    fn soon() -> Instant {
        now() + Duration::from_secs(30)
    }
}
