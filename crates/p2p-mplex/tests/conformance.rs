//! Mplex does what every multiplexer must do.

use std::sync::Arc;

use p2p_mplex::{Config, Mplex};
use p2p_mux::conformance::Subject;

fn subject() -> Subject {
    let mut config = Config::default();
    config.max_inbound = 8;
    Subject {
        normal: Arc::new(Mplex::default()),
        eight: Arc::new(Mplex::new(config)),
    }
}

p2p_mux::conformance!(subject());
