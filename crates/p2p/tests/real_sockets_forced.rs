//! `LIBP2P_FORCE_PNET=1`: no host without a private network, whether or not this build has them. In
//! processes of their own, which alone have the variable.

use std::process::Command;

use futures::FutureExt;
use p2p::{Host, HostError};

#[test]
fn no_host_starts_without_a_key_where_private_networks_are_forced() {
    for (value, starts) in [("1", false), ("0", true)] {
        let this = std::env::current_exe().expect("the test itself");
        let child = Command::new(this)
            .args(["--exact", "a_host_starts", "--ignored"])
            .env("LIBP2P_FORCE_PNET", value)
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&child.stdout);
        assert_eq!(child.status.success(), starts, "{said}");
        assert_eq!(said.contains("LIBP2P_FORCE_PNET is set"), !starts, "{said}");
    }
}

#[test]
#[ignore = "the child of the test above"]
fn a_host_starts() {
    let rt = p2p_sim::Sim::new(1).host("us").rt();
    let built = Host::builder().runtime(rt).build().now_or_never();
    match built.expect("nothing to wait for") {
        Ok(_) => {}
        Err(error) => {
            assert!(matches!(error, HostError::NoPrivateNetwork), "{error}");
            panic!("{error}");
        }
    }
}
