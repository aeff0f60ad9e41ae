//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-perf --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use p2p_core::golden::{Remote, Texts};
use p2p_perf::{Config, Pace, PerfError, Plan, exchange, serve};
use p2p_sim::Sim;
use p2p_swarm::{DialError, OpenError};

#[test]
fn every_error_reads_as_it_should() {
    let mut config = Config::default();
    config.max_bytes = 1000;
    let sim = Sim::new(1);
    let rt = sim.host("us").rt();
    let pace = Pace { rt, config };
    let plan = Plan {
        upload: 0,
        download: 5,
    };
    let asked = |said: &[u8]| {
        let mut remote = Remote::saying(said);
        sim.block_on(exchange(&mut remote, plan, &pace, |_| ()))
    };
    let served = |said: &[u8]| sim.block_on(serve(&mut Remote::saying(said), &pace));
    let silent = || {
        let (mut near, _far) = p2p_memory::pipe(100);
        sim.block_on(exchange(&mut near, plan, &pace, |_| ()))
    };
    let errors = [
        served(&[1, 2]).unwrap_err(),
        asked(&[1; 4]).unwrap_err(),
        asked(&[1; 6]).unwrap_err(),
        PerfError::Open(OpenError::Dial(DialError::Closed)),
        silent().unwrap_err(),
        served(&1001u64.to_be_bytes()).unwrap_err(),
    ];
    let mut texts = Texts::default();
    texts.blamed("PerfError", PerfError::blame, errors);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}
