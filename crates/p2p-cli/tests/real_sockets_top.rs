//! `p2p top` on a pseudo terminal, against a node on the loopback interface: what a person sees,
//! and what is left of the terminal.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken helper or a missing key is a failed test"
)]
#![expect(dead_code, reason = "each test file uses a part of the helpers")]

#[path = "support/peers.rs"]
mod peers;
mod support;
#[path = "support/terminal.rs"]
mod terminal;

use peers::{Listener, Peer};
use support::{command, p2p};
use terminal::{Screen, Terminal};

#[test]
fn frames_replace_each_other_and_leave_no_trace() {
    let node = node();
    let mut top = command(&["top", &node.metrics(), "-i", "0.05", "--frames", "4"]);
    top.env("NO_COLOR", "");
    let (status, screen) = Terminal::start(top, 80, 24).end();
    assert_eq!(status.code(), Some(0));
    assert_eq!(screen.frames, 4);
    assert_readable(&screen, &node);
    assert_restored(&screen, &["$ p2p top"]);
}

#[test]
fn ctrl_c_gives_the_terminal_back() {
    let node = node();
    let top = command(&["top", &node.metrics(), "-i", "0.05"]);
    let mut terminal = Terminal::start(top, 80, 24);
    terminal.wait_for_frames(3);
    assert!(!terminal.screen.is_as_before(), "a screen of its own");
    terminal.interrupt();
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(0));
    assert_readable(&screen, &node);
    assert_restored(&screen, &["$ p2p top"]);
}

#[test]
fn ctrl_c_is_heard_between_two_looks_and_while_the_node_says_nothing() {
    let node = node();
    let slow = command(&["top", &node.metrics(), "-i", "3600"]);
    let mut terminal = Terminal::start(slow, 80, 24);
    terminal.wait_for_frames(1);
    terminal.interrupt();
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(0));
    assert_restored(&screen, &["$ p2p top"]);

    let silent = Peer::that_is_silent();
    let port = silent.addr.rsplit('/').next().unwrap();
    let top = command(&["top", &format!("127.0.0.1:{port}")]);
    let mut terminal = Terminal::start(top, 80, 24);
    terminal.wait_until(|screen| !screen.cursor_is_shown);
    terminal.interrupt();
    let (status, screen) = terminal.end();
    assert_eq!((status.code(), screen.frames), (Some(0), 0));
    assert_restored(&screen, &["$ p2p top"]);
}

#[test]
fn a_node_that_goes_away_is_told_of_on_the_terminal_as_it_was() {
    let node = node();
    let at = node.metrics();
    let top = command(&["top", &at, "-i", "0.05"]);
    let mut terminal = Terminal::start(top, 80, 24);
    terminal.wait_for_frames(2);
    node.end().assert_exit(0);
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(1));
    let error = format!("error: lost sight of {at}");
    assert_restored(&screen, &["$ p2p top", &error]);
    let help = screen.lines().join("\n");
    assert!(help.contains("help   the node has ended"), "{help}");
}

#[test]
fn a_node_that_is_not_there_is_told_of_on_the_terminal_as_it_was() {
    let top = command(&["top", "127.0.0.1:1"]);
    let (status, screen) = Terminal::start(top, 80, 24).end();
    assert_eq!(status.code(), Some(1));
    assert_restored(&screen, &["$ p2p top", "error: cannot look at 127.0.0.1:1"]);
}

#[test]
fn a_small_terminal_shows_the_top_of_it_and_does_not_scroll() {
    let node = node();
    for (columns, rows) in [(40, 10), (20, 3), (1, 1), (200, 60)] {
        let top = command(&["top", &node.metrics(), "-i", "0.01", "--frames", "2"]);
        let (status, screen) = Terminal::start(top, columns, rows).end();
        assert_eq!(status.code(), Some(0));
        assert_eq!(
            (screen.scrolled, screen.wrapped),
            (0, 0),
            "{columns}x{rows}"
        );
        assert!(screen.is_as_before());
    }
}

#[test]
fn without_a_terminal_frames_follow_each_other_as_plain_text() {
    let node = node();
    let outcome = p2p(&["top", &node.metrics(), "-i", "0.01", "--frames", "3"]);
    outcome.assert_exit(0);
    assert!(!outcome.stdout.contains('\x1b'), "{}", outcome.stdout);
    let frames = outcome.stdout.matches("node 12D3").count();
    assert_eq!(frames, 3);
    let outcome = p2p(&[
        "top",
        &node.metrics(),
        "-i",
        "0.01",
        "--frames",
        "3",
        "--json",
    ]);
    let records = outcome.records();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record["event"] == "top"));
}

/// A node that somebody has talked with.
fn node() -> Listener {
    let node = Listener::start(&["--metrics", "127.0.0.1:0"]);
    p2p(&["echo", &node.addr, "hello"]).assert_exit(0);
    node
}

/// Everything of the last frame can be read, and nothing moved while it was drawn.
#[track_caller]
fn assert_readable(screen: &Screen, node: &Listener) {
    assert_eq!((screen.scrolled, screen.wrapped), (0, 0));
    let frame = screen.last_frame.join("\n");
    let bare = node.addr.split("/p2p/").next().unwrap();
    for part in [
        &format!("node {}", node.peer()),
        &format!("listens on  {bare}"),
        "memory",
        "of 256 MiB",
        "streams in",
        "rates",
        "connections with",
        "id dir open      held        in       out     age address, peer",
        "served  /echo/1.0.0",
    ] {
        assert!(frame.contains(part), "{part} in\n{frame}");
    }
    assert!(!frame.contains('…'), "something is cut:\n{frame}");
}

/// What was on the terminal is there again, and below it what must be said.
#[track_caller]
fn assert_restored(screen: &Screen, expected: &[&str]) {
    assert!(screen.is_as_before(), "screen, cursor or colours");
    let lines = screen.lines();
    assert_eq!(lines[..expected.len()], *expected);
    if expected.len() == 1 {
        assert!(lines[1..].iter().all(String::is_empty), "{lines:?}");
    }
}
