//! A crate uses only crates on lower floors (docs/ARCHITECTURE.md).
#![expect(clippy::unwrap_used, reason = "a missing field is a failed test")]

use std::process::Command;

use serde_json::Value;

/// The floor of each crate. A new crate must be given its place here.
const FLOORS: &[(&str, u8)] = &[
    ("p2p-keys", 0),
    ("p2p-channel", 1),
    ("p2p-core", 1),
    ("p2p-mux", 2),
    ("p2p-runtime", 2),
    ("p2p-sim", 2),
    ("p2p-dns", 3),
    ("p2p-memory", 3),
    ("p2p-mplex", 3),
    ("p2p-multistream", 3),
    ("p2p-noise", 3),
    ("p2p-plaintext", 3),
    ("p2p-pnet", 3),
    ("p2p-quic", 3),
    ("p2p-socks", 3),
    ("p2p-tcp", 3),
    ("p2p-tls", 2),
    ("p2p-unix", 3),
    ("p2p-websocket", 4),
    ("p2p-yamux", 3),
    ("p2p-swarm", 4),
    ("p2p-bootstrap", 5),
    ("p2p-identify", 5),
    ("p2p-mdns", 5),
    ("p2p-perf", 5),
    ("p2p-ping", 5),
    ("p2p-pubsub", 5),
    ("p2p-request", 5),
    ("p2p-gossip-sim", 6),
    ("p2p", 6),
    ("p2p-cli", 7),
    ("p2p-fuzz", 7),
    ("p2p-interop", 7),
    ("p2p-bench", 7),
];

/// Crates of the protocol floors that may not know a concrete runtime or the simulator.
const SIDE: &[&str] = &["p2p-runtime", "p2p-sim"];

fn floor(name: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(other, _)| *other == name)
        .map(|(_, floor)| *floor)
}

#[test]
fn every_crate_uses_only_lower_floors() {
    let metadata = metadata();
    let mut seen = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let own = floor(name).unwrap_or_else(|| panic!("{name} has no floor: add it to FLOORS"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let is_normal = dependency["kind"].is_null();
            if !used.starts_with("p2p") || !is_normal {
                continue;
            }
            let below = floor(used).unwrap_or_else(|| panic!("{used} has no floor"));
            assert!(
                below < own,
                "{name} (floor {own}) uses {used} (floor {below})"
            );
            assert!(
                own >= 6 || !SIDE.contains(&used),
                "{name} must not depend on {used}: runtimes are chosen by the program"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "the metadata was read");
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}
