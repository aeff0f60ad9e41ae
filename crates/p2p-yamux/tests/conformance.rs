//! Yamux does what every multiplexer must do.

use std::sync::Arc;

use p2p_mux::conformance::Subject;
use p2p_yamux::{Config, Yamux};

fn subject() -> Subject {
    let mut config = Config::default();
    config.max_inbound = 8;
    Subject {
        normal: Arc::new(Yamux::default()),
        eight: Arc::new(Yamux::new(config)),
    }
}

p2p_mux::conformance!(subject());
