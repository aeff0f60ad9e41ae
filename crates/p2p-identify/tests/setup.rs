//! Settings and swarms that identify cannot start with.

mod common;

use std::time::Duration;

use common::{keys, patient, sim};
use p2p_identify::{Config, Identify, PROTOCOL, PUSH_PROTOCOL, SetupError};
use p2p_swarm::{HandleError, Stream};

#[test]
fn times_that_are_zero_are_refused_by_name() {
    let sim = sim(1);
    let swarm = patient(&sim.host("alice"), 1);
    let mut without_interval = Config::default();
    without_interval.push_interval = Duration::ZERO;
    let mut without_timeout = Config::default();
    without_timeout.timeout = Duration::ZERO;
    for (setting, config) in [
        ("push_interval", without_interval),
        ("timeout", without_timeout),
    ] {
        let error = Identify::new(&swarm, keys(1), config).unwrap_err();
        assert_eq!(error, SetupError::Zero { setting });
        assert!(swarm.protocols().is_empty(), "nothing has changed");
    }
}

#[test]
fn a_protocol_that_is_taken_leaves_the_swarm_as_it_was() {
    let sim = sim(2);
    let swarm = patient(&sim.host("alice"), 1);
    swarm.handle(PUSH_PROTOCOL, |_: Stream| async {}).unwrap();
    let error = Identify::new(&swarm, keys(1), Config::default()).unwrap_err();
    assert_eq!(error, HandleError::Taken(PUSH_PROTOCOL).into());
    assert_eq!(swarm.protocols(), [PUSH_PROTOCOL]);
    swarm.unhandle(&PUSH_PROTOCOL);
    Identify::new(&swarm, keys(1), Config::default()).unwrap();
    assert_eq!(swarm.protocols(), [PROTOCOL, PUSH_PROTOCOL]);
}
