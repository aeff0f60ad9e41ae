//! Settings and swarms that identify cannot start with.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{keys, patient, sim};
use p2p_identify::{Config, Identify, PROTOCOL, PUSH_PROTOCOL, SetupError};
use p2p_swarm::{HandleError, Stream};

#[test]
fn times_that_are_zero_are_refused_by_name() {
    let sim = sim(1);
    let swarm = patient(&sim.host("alice"), 1);
    let changes: [(&str, fn(&mut Config)); 2] = [
        ("push_interval", |config| {
            config.push_interval = Duration::ZERO
        }),
        ("timeout", |config| config.timeout = Duration::ZERO),
    ];
    for (setting, change) in changes {
        let mut config = Config::default();
        change(&mut config);
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
