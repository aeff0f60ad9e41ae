//! The schedule alone, without a network: when a peer that never answers is given up.

use p2p_core::Instant;
use p2p_ping::{Config, Liveness, Output};

fn main() {
    let mut machine = Liveness::new(&Config::default(), Instant::ZERO);
    while let Some(now) = machine.poll_timeout() {
        // Nothing arrives: jump to the next deadline. Real payloads are random.
        machine.handle_timeout(now, [7; p2p_ping::SIZE]);
        while let Some(output) = machine.poll_output() {
            let what = match output {
                Output::Abandon => "no echo; next on a new stream",
                Output::Dead => "dead",
                Output::Ping(_) => "ping",
                Output::Rtt(_) => "echo",
            };
            println!("{now:?}: {what}");
        }
    }
}
