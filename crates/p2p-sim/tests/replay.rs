//! A failure tells how to see it again. Runs itself once more, as the failing test.
#![expect(clippy::unwrap_used, reason = "tests say what they expect")]

mod support;

use std::process::Command;

use support::{SEC, sleep};

#[test]
#[ignore = "fails on purpose, for the test below"]
fn fails() {
    p2p_sim::for_each_seed(3, |sim| {
        let host = sim.host("alice");
        let own = host.clone();
        host.spawn("unlucky", async move {
            sleep(&own, SEC * u32::from(own.rt().random::<1>()[0])).await;
            assert!(own.is_up() && own.name() == "bob", "not bob");
        });
        sim.run_until_idle();
    });
}

fn run_failing(seed: Option<u64>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "fails", "--nocapture"]);
    command
        .env_remove("P2P_SIM_SEED")
        .env_remove("P2P_SIM_SEEDS");
    command.envs(seed.map(|seed| ("P2P_SIM_SEED", seed.to_string())));
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_failure_names_task_and_seed_and_the_seed_shows_the_same_events() {
    let first = run_failing(None);
    assert!(first.contains("3 seeds from "), "{first}");
    assert!(
        first.contains("it happened in the task unlucky of host alice"),
        "{first}"
    );
    let (_, seed) = first.split_once("P2P_SIM_SEED=").unwrap();
    let seed: u64 = seed.lines().next().unwrap().parse().unwrap();

    let again = run_failing(Some(seed));
    assert!(
        again.contains(&format!("1 seeds from {seed} on")),
        "{again}"
    );
    assert_eq!(events(&first), events(&again));
    assert!(
        events(&first).contains("task unlucky (0) starts"),
        "{first}"
    );
}

/// What is printed of the simulation.
fn events(output: &str) -> &str {
    let (_, events) = output
        .split_once("the last events of the simulation:")
        .unwrap();
    events.split_once("see it again").unwrap().0
}
