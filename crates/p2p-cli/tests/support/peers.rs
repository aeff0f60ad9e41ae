//! Nodes, and what is none, for the binary to talk to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::support::{Outcome, command};

/// `p2p listen --json --until-eof`, running.
pub(crate) struct Listener {
    /// Where it listens, with its peer id.
    pub(crate) addr: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// What was read of stdout.
    read: String,
}

impl Listener {
    /// Starts it with these further arguments and waits until it is ready.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = command(&["listen", "--json", "--until-eof"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut read = String::new();
        while !read.contains("\"ready\"") {
            assert!(
                stdout.read_line(&mut read).unwrap() > 0,
                "ended early: {read}"
            );
        }
        let addr = first(&read, "listening")["addr"].clone();
        let addr = addr.as_str().unwrap().to_owned();
        Self {
            addr,
            child,
            stdin,
            stdout,
            read,
        }
    }

    /// Its peer id.
    pub(crate) fn peer(&self) -> &str {
        self.addr.rsplit('/').next().unwrap()
    }

    /// Where it shows its metrics.
    pub(crate) fn metrics(&self) -> String {
        let record = first(&self.read, "metrics");
        record["addr"].as_str().unwrap().to_owned()
    }

    /// Waits until it has printed `text`.
    pub(crate) fn wait_for(&mut self, text: &str) {
        while !self.read.contains(text) {
            let more = self.stdout.read_line(&mut self.read).unwrap();
            assert!(more > 0, "ended before {text}: {}", self.read);
        }
    }

    /// Ends it by the end of its stdin.
    pub(crate) fn end(mut self) -> Outcome {
        drop(self.stdin.take());
        self.outcome()
    }

    /// Ends it by SIGTERM.
    pub(crate) fn terminate(mut self) -> Outcome {
        let kill = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.unwrap().success());
        self.outcome()
    }

    fn outcome(&mut self) -> Outcome {
        self.stdout.read_to_string(&mut self.read).unwrap();
        Outcome {
            code: self.child.wait().unwrap().code(),
            stdout: std::mem::take(&mut self.read),
            stderr: String::new(),
        }
    }
}

/// The first record of `event`.
fn first(read: &str, event: &str) -> Value {
    let mut records = read
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = records.find(|record| record["event"] == event);
    found.unwrap_or_else(|| panic!("no {event} in {read}"))
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It has ended already, or ends here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TCP server that is no libp2p node.
pub(crate) struct Peer {
    pub(crate) addr: String,
    /// Keeps the port bound.
    _listener: TcpListener,
}

impl Peer {
    /// Takes connections and sends nothing, for as long as the value lives.
    pub(crate) fn that_is_silent() -> Self {
        // Connections wait in the backlog, taken by the system.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::at(listener)
    }

    /// Reads something on the first connection, answers these bytes and hangs up in order.
    pub(crate) fn that_sends(bytes: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accepting = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = accepting.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(bytes).unwrap();
        });
        Self::at(listener)
    }

    fn at(listener: TcpListener) -> Self {
        Self {
            addr: format!(
                "/ip4/127.0.0.1/tcp/{}",
                listener.local_addr().unwrap().port()
            ),
            _listener: listener,
        }
    }
}

/// The address of a port on which nobody listens.
pub(crate) fn closed_port() -> String {
    Peer::that_is_silent().addr
}
