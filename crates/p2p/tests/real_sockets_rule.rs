//! Tests run on the simulator; those that touch real sockets, a real runtime, processes or a real
//! clock are named so.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// What a test that leaves the simulator has to name.
const REAL: &[&str] = &[
    "ThreadPool",
    "async_std::",
    "default_runtime",
    "net::TcpListener",
    "net::TcpStream",
    "net::UdpSocket",
    "net::{TcpListener",
    "net::{TcpStream",
    "net::{UdpSocket",
    "p2p::block_on",
    "p2p::runtime::",
    "p2p_runtime::",
    "park_timeout",
    "process::Child",
    "process::Command",
    "process::{",
    "smol::",
    "thread::sleep",
    "thread::spawn",
    "tokio::",
    "use std::process::",
];
/// They start processes that do not touch the network: one that fails, to see what it prints, one
/// that asks the build tool what depends on what, and `p2p keys` and `p2p sim`.
const NO_SOCKETS: &[&str] = &[
    "crates/p2p-cli/tests/keys.rs",
    "crates/p2p-cli/tests/sim.rs",
    "crates/p2p-sim/tests/replay.rs",
    "crates/p2p/tests/floors.rs",
];
/// What starts `p2p`, for the tests beside it.
const HELPERS: &str = "crates/p2p-cli/tests/support";

#[test]
fn tests_that_touch_real_sockets_or_runtimes_are_in_files_named_so() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for dir in entries(&root.join("crates")) {
        sources(&dir.join("tests"), &mut files);
    }
    sources(&root.join("interop/tests"), &mut files);
    let mut named = 0;
    for file in files {
        let path = file.strip_prefix(&root).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.starts_with("real_sockets") {
            named += 1;
            continue;
        }
        if NO_SOCKETS.iter().any(|other| path == Path::new(other)) || path.starts_with(HELPERS) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        if let Some(word) = leaves(path, &text) {
            panic!("{} names {word}: call it real_sockets*.rs", path.display());
        }
    }
    assert!(named > 15, "the tests are elsewhere: {named}");
}

/// What a test names that leaves the simulator.
fn leaves(path: &Path, text: &str) -> Option<&'static str> {
    let helpers = Some(Path::new(HELPERS));
    let helped = helpers.and_then(Path::parent) == path.parent() && text.contains("mod support;");
    let mut words = REAL.iter().copied();
    words
        .find(|word| text.contains(word))
        .or_else(|| helped.then_some("mod support"))
}

/// All Rust files of a folder and of those in it.
fn sources(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in entries(dir) {
        if entry.is_dir() {
            sources(&entry, files);
        } else if entry.extension().is_some_and(|ext| ext == "rs") {
            files.push(entry);
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
