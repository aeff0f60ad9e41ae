//! A page in a browser: js-libp2p in headless Chromium dials our WebSocket listener.
//!
//! Says MISSING, and what, if the machine has no browser or no npm; with `P2P_REQUIRE_BROWSER` in
//! the environment that is a failure.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at once"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

const OURS: &str = env!("CARGO_BIN_EXE_p2p-interop");
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/browser");
/// Where the page's packages are installed.
const INSTALLED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/browser");
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
#[ignore = "needs Chromium and npm: .ci/run browser"]
fn a_page_in_a_browser_talks_to_our_listener() {
    let Some(browser) = BROWSERS.into_iter().find(|name| answers(name)) else {
        return missing("a browser (one of chromium, google-chrome)");
    };
    if !answers("npm") {
        return missing("npm");
    }
    let bundle = bundle();
    let node = Node::start();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let profile = Path::new(INSTALLED).join("profile");
    let page = format!("http://{}/#{}", server.local_addr().unwrap(), node.addr);
    let mut chromium = Command::new(browser);
    chromium
        .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
        .args(["--no-first-run", "--disable-background-networking"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _chromium = Ended(chromium.spawn().unwrap());

    let (say, outcome) = mpsc::channel();
    thread::spawn(move || say.send(serve_until_outcome(&server, &bundle)));
    let outcome = outcome.recv_timeout(PATIENCE);
    let outcome = outcome.expect("the page says something in time");

    let saw = &outcome["saw"];
    assert!(outcome["error"].is_null(), "{outcome}");
    assert!(node.addr.ends_with(saw["peer"].as_str().unwrap()), "{saw}");
    assert_eq!(saw["security"], "/noise");
    assert_eq!(saw["muxer"], "/yamux/1.0.0");
    assert_eq!(saw["echoed"], 100_000);
    let protocols = saw["protocols"].as_array().unwrap();
    assert!(protocols.contains(&"/ipfs/ping/1.0.0".into()), "{saw}");
    eprintln!("{browser}: {saw}");
}

fn missing(what: &str) {
    assert!(
        std::env::var_os("P2P_REQUIRE_BROWSER").is_none(),
        "MISSING: {what}"
    );
    eprintln!("MISSING: {what}; nothing was tested");
}

fn answers(program: &str) -> bool {
    let mut version = Command::new(program);
    version.arg("--version");
    version.output().is_ok_and(|done| done.status.success())
}

/// The page's program, made from the lock file.
fn bundle() -> Vec<u8> {
    let to = PathBuf::from(INSTALLED);
    fs::create_dir_all(&to).unwrap();
    for file in ["package.json", "package-lock.json", "page.js"] {
        fs::copy(Path::new(SOURCES).join(file), to.join(file)).unwrap();
    }
    let lock = fs::read(to.join("package-lock.json")).unwrap();
    let stamp = to.join("installed-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        eprintln!("the packages are there");
    } else {
        run(
            "npm",
            &["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        );
        fs::write(stamp, lock).unwrap();
    }
    let made = to.join("bundle.js");
    run(
        "node",
        &[
            "node_modules/esbuild/bin/esbuild",
            "page.js",
            "--bundle",
            "--format=esm",
            "--platform=browser",
            "--outfile=bundle.js",
        ],
    );
    fs::read(made).unwrap()
}

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program)
        .args(args)
        .current_dir(INSTALLED)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?}: {said}");
}

/// Serves the page, and waits for what it posts.
fn serve_until_outcome(server: &TcpListener, bundle: &[u8]) -> Value {
    loop {
        let (mut stream, _) = server.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let Some((request, body)) = read_request(&stream) else {
            continue;
        };
        if request.starts_with("POST /outcome ") {
            answer(&mut stream, "text/plain", b"thanks");
            return serde_json::from_slice(&body).unwrap();
        } else if request.starts_with("GET /bundle.js ") {
            answer(&mut stream, "text/javascript", bundle);
        } else {
            let page = b"<!doctype html><script type=module src=/bundle.js></script>";
            answer(&mut stream, "text/html", page);
        }
    }
}

/// The first line of a request, and its body. `None`: the browser thought better of it.
fn read_request(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, body))
}

fn answer(stream: &mut TcpStream, kind: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // The browser may have gone meanwhile; what counts is what it posts.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

/// Our node, listening on WebSocket.
struct Node {
    addr: String,
    /// Open as long as it prints.
    _said: BufReader<ChildStdout>,
    _process: Ended,
}

impl Node {
    fn start() -> Self {
        let args = "node listen --transport ws --security noise --muxer yamux --test echo";
        let mut process = Command::new(OURS)
            .args(args.split(' '))
            .args(["--addr", "/ip4/127.0.0.1/tcp/0/ws"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let listening: Value = serde_json::from_str(&line).unwrap();
        Self {
            addr: listening["addr"].as_str().unwrap().to_owned(),
            _said: said,
            _process: Ended(process),
        }
    }
}

/// A process that does not outlive the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
