//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-ping --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::time::Duration;

use p2p_core::golden::{Remote, Texts};
use p2p_ping::{EchoError, Ended, PingError, SIZE, ping};
use p2p_sim::Sim;
use p2p_swarm::{DialError, OpenError};

#[test]
fn every_error_reads_as_it_should() {
    let mut texts = Texts::default();
    texts.errors("EchoError", [EchoError]);
    texts.blamed("PingError", PingError::blame, pings());
    let ends = [
        Ended::Abandoned,
        Ended::Dead,
        Ended::Echo(EchoError),
        Ended::Stream(io::ErrorKind::ConnectionReset.into()),
    ];
    texts.errors("Ended", ends);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn pings() -> [PingError; 6] {
    [
        answered(&[]),
        answered(&[0; SIZE]),
        PingError::from(io::Error::from(io::ErrorKind::ConnectionReset)),
        PingError::from(io::Error::from(io::ErrorKind::Unsupported)),
        PingError::Open(OpenError::Dial(DialError::Closed)),
        PingError::TimedOut {
            after: Duration::from_secs(10),
        },
    ]
}

fn answered(bytes: &[u8]) -> PingError {
    let sim = Sim::new(1);
    let rt = sim.host("us").rt();
    let mut remote = Remote::saying(bytes);
    sim.block_on(async move { ping(&rt, &mut remote).await.unwrap_err() })
}
