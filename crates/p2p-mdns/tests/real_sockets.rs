//! Real multicast between two network namespaces: nothing leaves this machine.
//!
//! Without the right to make namespaces the test says so and does nothing; with
//! `P2P_REQUIRE_NAMESPACES` in the environment, as in CI, it fails then.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

#[test]
fn hosts_in_two_network_namespaces_find_each_other() {
    // Cargo builds the examples beside the tests: target/<profile>/{deps,examples}.
    let profile = std::env::current_exe().unwrap();
    let profile = profile.parent().and_then(Path::parent).unwrap();
    let neighbours = profile.join("examples/neighbours");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/namespaces.sh");
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--net"]);
        unshare
    };
    let can = unshare().arg("true").output();
    if !can.is_ok_and(|done| done.status.success()) {
        return skip("no network namespaces here");
    }
    if !neighbours.exists() {
        return skip("the example is not built: run all of p2p-mdns's tests");
    }
    let done = unshare().arg("sh").arg(script).arg(neighbours).output();
    let done = done.unwrap();
    if done.status.code() == Some(77) {
        return skip("no virtual cables (veth) here");
    }
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let found = |ip| said.contains(&format!("found      /ip4/{ip}/udp/"));
    assert!(found("10.9.0.1") && found("10.9.0.2"), "{said}");
}

fn skip(why: &str) {
    assert!(
        std::env::var_os("P2P_REQUIRE_NAMESPACES").is_none(),
        "skipped: {why}"
    );
    eprintln!("skipped: {why}");
}
