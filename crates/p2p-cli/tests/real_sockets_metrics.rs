//! `p2p listen --metrics` over real sockets on the loopback interface: what it shows to whom, and
//! what bad requests can make it do.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken helper or a missing key is a failed test"
)]
#![expect(dead_code, reason = "each test file uses a part of the helpers")]

#[path = "support/openmetrics.rs"]
mod openmetrics;
#[path = "support/peers.rs"]
mod peers;
mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use peers::Listener;
use support::p2p;

/// The most that any answer may take: the node gives an exchange 5 s.
const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn metrics_are_served_as_openmetrics() {
    let node = Listener::start(&["--metrics", "127.0.0.1:0"]);
    p2p(&["echo", &node.addr, "hello"]).assert_exit(0);

    let answer = ask(&node, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(answer.status, "HTTP/1.1 200 OK");
    assert_eq!(
        answer.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
    assert_eq!(answer.header("connection"), "close");
    let families = openmetrics::parse(&answer.body).unwrap();
    let value = |family: &str, label: (&str, &str)| {
        let samples = &families[family].samples;
        let sample = samples.iter().find(|sample| {
            let found = sample.labels.get(label.0).map(String::as_str);
            found == Some(label.1)
        });
        sample.unwrap().value
    };
    let accepted = value("p2p_swarm_connections_opened", ("role", "listener"));
    assert!(accepted >= 1.0);
    let read = value("p2p_swarm_traffic_bytes", ("direction", "read"));
    assert!(read > 100.0, "{read} bytes");
    assert_eq!(families["p2p_swarm_lifetime_seconds"].kind, "histogram");

    // Prometheus may add parameters.
    let answer = ask(&node, "GET /metrics?x=1 HTTP/1.0\r\n\r\n");
    assert_eq!(answer.status, "HTTP/1.1 200 OK");
}

#[test]
fn the_reader_of_these_tests_finds_what_is_wrong() {
    let good = "# TYPE a_bytes gauge\n# UNIT a_bytes bytes\n# HELP a_bytes x.\na_bytes 1\n";
    assert!(openmetrics::parse(&format!("{good}# EOF\n")).is_ok());
    for (bad, why) in [
        (good.to_owned(), "no # EOF"),
        (
            good.replace("# HELP a_bytes x.\n", "") + "# EOF\n",
            "no HELP",
        ),
        (
            good.replace("# UNIT a_bytes bytes\n", "") + "# EOF\n",
            "UNIT is None",
        ),
        (good.replace("gauge", "counter") + "# EOF\n", "cannot have"),
        (good.replace("gauge", "thing") + "# EOF\n", "TYPE is"),
        (
            good.replace("a_bytes 1", "a_bytes x") + "# EOF\n",
            "not a sample",
        ),
        (format!("{good}{good}# EOF\n"), "declared after a sample"),
        (format!("{good}a_bytes 2\n# EOF\n"), "twice"),
        (
            "# TYPE h histogram\n# HELP h x.\nh_bucket{le=\"1\"} 1\n# EOF\n".to_owned(),
            "le \"1\"",
        ),
    ] {
        let found = openmetrics::parse(&bad).unwrap_err();
        assert!(found.contains(why), "{why}: {found}");
    }
}

#[test]
fn bad_requests_get_an_answer_that_says_so() {
    let node = Listener::start(&["--metrics", "127.0.0.1:0"]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /../etc/passwd HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("DELETE / HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("GET /metrics\r\n\r\n", "400 Bad Request"),
        ("\r\n\r\n", "400 Bad Request"),
        ("GET /metrics HTTP/2\r\n\r\n", "505 HTTP Version"),
    ] {
        let answer = ask(&node, request);
        assert!(answer.status.contains(status), "{request:?}: {answer:?}");
        if status.starts_with("405") {
            assert_eq!(answer.header("allow"), "GET");
        }
        assert!(!answer.body.contains("p2p_swarm"), "{answer:?}");
    }
}

#[test]
fn a_request_of_a_mebibyte_is_cut_off_after_a_few_kilobytes() {
    let node = Listener::start(&["--metrics", "127.0.0.1:0"]);
    let mut stream = connect(&node);
    let header = format!("X: {}\r\n", "x".repeat(1021));
    let written = (|| {
        stream.write_all(b"GET /metrics HTTP/1.1\r\n")?;
        (0..1024).try_for_each(|_| stream.write_all(header.as_bytes()))
    })();
    // Either the system took all of it before the node hung up, or it did not.
    let answer = written.and_then(|()| read_all(&mut stream));
    match answer {
        Ok(text) => assert!(text.is_empty() || text.contains(" 431 "), "{text}"),
        Err(error) => assert!(is_cut(&error), "{error}"),
    }
    // A small step over the limit is told of.
    let answer = ask(
        &node,
        &format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(4096)),
    );
    assert!(answer.status.contains(" 431 "), "{answer:?}");
    assert_still_serves(&node);
}

#[test]
fn a_request_that_never_ends_is_cut_off_in_time_and_keeps_nobody_else_out() {
    let node = Listener::start(&["--metrics", "127.0.0.1:0"]);
    let mut slow = connect(&node);
    slow.write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap();
    let mut silent: Vec<TcpStream> = (0..5).map(|_| connect(&node)).collect();
    assert_still_serves(&node);
    for stream in silent.iter_mut().chain([&mut slow]) {
        match read_all(stream) {
            Ok(text) => assert_eq!(text, "", "an end without an answer"),
            Err(error) => assert!(is_cut(&error), "{error}"),
        }
    }
    assert_still_serves(&node);
}

#[test]
fn more_requests_than_it_serves_at_a_time_are_hung_up_on_at_once() {
    let node = Listener::start(&["--metrics", "127.0.0.1:0"]);
    let held: Vec<TcpStream> = (0..16).map(|_| connect(&node)).collect();
    // Accepted in order: whoever comes now finds all places taken.
    let mut late = connect(&node);
    late.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    match late.read(&mut [0; 16]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert!(is_cut(&error), "{error}"),
    }
    drop(held);
    let served = (0..100).any(|_| {
        let mut stream = connect(&node);
        let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
        let text = asked.and_then(|()| read_all(&mut stream));
        text.is_ok_and(|text| text.ends_with("# EOF\n"))
    });
    assert!(served, "the places were given back");
}

// ---- a damaged address book ----

#[test]
fn a_damaged_address_book_is_moved_aside_and_told_of() {
    let dir = support::TempDir::new("damaged-book");
    let (book, aside) = (dir.path("book.redb"), dir.path("book.redb.damaged"));
    std::fs::write(&book, "this is no database").unwrap();
    let node = Listener::start(&["--book", &book]);
    let outcome = node.end();
    outcome.assert_exit(0);
    let record = outcome.records().remove(0);
    assert_eq!(record["event"], "book_moved_aside");
    assert_eq!(record["file"], book);
    assert_eq!(record["moved_to"], aside);
    assert_eq!(
        std::fs::read_to_string(&aside).unwrap(),
        "this is no database"
    );

    // The fresh one is good: nothing is told of it.
    let outcome = Listener::start(&["--book", &book]).end();
    assert!(
        !outcome.stdout.contains("book_moved_aside"),
        "{}",
        outcome.stdout
    );

    std::fs::write(&book, [0xff; 5000]).unwrap();
    let outcome = p2p(&["listen", "--until-eof", "--book", &book]);
    outcome.assert_exit(0);
    let line = format!(
        "the address book {book} is damaged: moved to {aside}-2, starting with an empty one"
    );
    assert!(outcome.stdout.contains(&line), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .contains("the address book is damaged and was moved aside"),
        "{outcome:?}"
    );
    assert!(
        std::fs::read(&aside).unwrap() == b"this is no database",
        "what was moved first is still there"
    );
}

// ---- a plain client ----

#[derive(Debug)]
struct Answer {
    status: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(other, _)| other == name);
        &found.unwrap_or_else(|| panic!("no {name}: {self:?}")).1
    }
}

fn connect(node: &Listener) -> TcpStream {
    let stream = TcpStream::connect(node.metrics()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn read_all(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    String::from_utf8(text).map_err(io::Error::other)
}

/// Whether the node ended the connection, and not our patience.
fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

fn ask(node: &Listener, request: &str) -> Answer {
    let mut stream = connect(node);
    stream.write_all(request.as_bytes()).unwrap();
    let text = read_all(&mut stream).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().to_owned();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_lowercase(), value.to_owned())
    });
    Answer {
        status,
        headers: headers.collect(),
        body: body.to_owned(),
    }
}

#[track_caller]
fn assert_still_serves(node: &Listener) {
    let answer = ask(node, "GET /metrics HTTP/1.1\r\n\r\n");
    assert_eq!(answer.status, "HTTP/1.1 200 OK");
    openmetrics::parse(&answer.body).unwrap();
}
