//! Real multicast between network namespaces: nothing leaves this machine.
//!
//! Without the right to make namespaces, or without `ip` and `nsenter`, the test says so and does
//! nothing; with `P2P_REQUIRE_NAMESPACES` in the environment it fails then. `.ci/run` sets it where
//! it can make them itself.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

#[test]
fn hosts_find_their_neighbours_on_two_interfaces_by_ipv4_and_by_ipv6() {
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
    let found = |who, addr| said.contains(&format!("{who} found      {addr}/udp/"));
    let (v4, v6) = (
        ["/ip4/10.9.0.1", "/ip4/10.9.0.2"],
        ["/ip6/fd09::1", "/ip6/fd09::2"],
    );
    assert!(found("left", v4[0]) && found("left", v6[0]), "{said}");
    assert!(found("right", v4[0]) && found("right", v6[0]), "{said}");
    assert!(found("middle", v4[1]) && found("middle", v6[1]), "{said}");
    assert!(!found("left", v6[1]) && !found("right", v4[1]), "{said}");
}

fn skip(why: &str) {
    assert!(
        std::env::var_os("P2P_REQUIRE_NAMESPACES").is_none(),
        "skipped: {why}"
    );
    eprintln!("skipped: {why}");
}
