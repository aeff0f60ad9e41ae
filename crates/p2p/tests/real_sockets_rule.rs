//! Tests run on the simulator; those that touch real sockets or a real runtime are named so.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// What a test that leaves the simulator has to name.
const REAL: &[&str] = &[
    "p2p_runtime::",
    "p2p::block_on",
    "p2p::runtime::",
    "net::{TcpListener",
    "net::TcpListener",
    "net::TcpStream",
    "net::UdpSocket",
    "process::Command",
];
/// They start processes that do not touch the network: one that fails, to see what it prints, and
/// one that asks the build tool what depends on what.
const NO_SOCKETS: &[&str] = &["p2p-sim/tests/replay.rs", "p2p/tests/floors.rs"];

#[test]
fn tests_that_touch_real_sockets_or_runtimes_are_in_files_named_so() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut seen = 0;
    for dir in entries(crates) {
        for file in entries(&dir.join("tests")) {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            let is_real = name.starts_with("real_sockets") || name == "real_sockets_rule.rs";
            seen += usize::from(is_real);
            let path = file.strip_prefix(crates).unwrap();
            let excused = NO_SOCKETS.iter().any(|other| path == Path::new(other));
            if is_real || excused || file.extension().is_none_or(|ext| ext != "rs") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            for word in REAL {
                let uses = text.contains(word);
                assert!(
                    !uses,
                    "{} names {word}: call it real_sockets*.rs",
                    path.display()
                );
            }
        }
    }
    assert!(seen > 5, "the tests are elsewhere: {seen}");
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
