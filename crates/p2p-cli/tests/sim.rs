//! `p2p sim`, by the built binary. Whether debug and release show the same is compared by the gate.
#![expect(clippy::unwrap_used, reason = "a broken helper is a failed test")]

#[expect(dead_code, reason = "for the tests that have files and peers")]
mod support;

use serde_json::Value;
use support::p2p;

/// The one record of a run.
fn sim(args: &[&str]) -> Value {
    let outcome = p2p(&[&["sim", "--json"], args].concat());
    outcome.assert_exit(0);
    let records = outcome.records();
    assert_eq!(records.len(), 1, "{outcome:?}");
    records.into_iter().next().unwrap()
}

/// What the seed decides of a record.
fn decided(mut record: Value) -> Value {
    let fields = record.as_object_mut().unwrap();
    fields.remove("wall_ms").unwrap();
    fields.remove("peak_memory_bytes").unwrap();
    record
}

#[test]
fn a_seed_shows_the_same_run_again_and_another_seed_another() {
    for scenario in ["mesh", "churn", "partition"] {
        let run = |seed| {
            let scenario = ["--scenario", scenario];
            sim(&[
                &scenario[..],
                &["--hosts", "6", "--minutes", "2", "--seed", seed],
            ]
            .concat())
        };
        let first = decided(run("7"));
        assert_eq!(first, decided(run("7")));
        assert_ne!(first["hash"], run("8")["hash"]);
        assert_eq!(first["hash"].as_str().unwrap().len(), 64);
        assert_eq!(first["left_over"], Value::Null);
    }
}

#[test]
fn in_a_mesh_every_host_dials_eight_others_and_nothing_fails() {
    let record = sim(&["--hosts", "40", "--minutes", "1"]);
    assert_eq!(record["dialed"], 320);
    assert_eq!(record["accepted"], 320);
    assert_eq!(record["ends_open"], 640);
    assert_eq!(record["identified"], 640);
    assert_eq!(record["failures"], serde_json::json!({}));
    // The first ping is due after 15 s, the next 15 s after each echo.
    assert!(record["pings"].as_u64().unwrap() >= 640 * 3, "{record}");
    // 20 ms to 40 ms each way.
    assert!(record["ping_min_ms"].as_f64().unwrap() >= 40.0, "{record}");
    assert!(record["ping_max_ms"].as_f64().unwrap() <= 80.0, "{record}");
}

#[test]
fn a_cut_network_loses_every_connection_across_and_gets_them_back() {
    let record = sim(&[
        "--hosts",
        "12",
        "--minutes",
        "10",
        "--scenario",
        "partition",
    ]);
    let crossing = &record["crossing"];
    assert!(crossing["before"].as_u64().unwrap() > 0, "{record}");
    assert_eq!(crossing["during"], 0);
    assert_eq!(crossing["after"], crossing["before"]);
}

#[test]
fn a_network_with_churn_says_who_left_and_why_connections_ended() {
    let record = sim(&["--hosts", "12", "--minutes", "10", "--scenario", "churn"]);
    assert!(record["hosts_left"].as_u64().unwrap() > 0, "{record}");
    assert!(record["hosts_crashed"].as_u64().unwrap() > 0, "{record}");
    let ended = record["ended"].as_object().unwrap();
    assert!(
        ended.keys().any(|why| why.starts_with("no sign of life")),
        "{record}"
    );
}

#[test]
fn two_hosts_are_a_network_and_one_is_not() {
    assert_eq!(sim(&["--hosts", "2", "--minutes", "1"])["dialed"], 1);
    p2p(&["sim", "--hosts", "1"]).assert_exit(2);
}

#[test]
fn an_unknown_scenario_is_answered_with_those_that_there_are() {
    let outcome = p2p(&["sim", "--scenario", "earthquake"]);
    outcome.assert_exit(2);
    for name in ["earthquake", "mesh", "churn", "partition"] {
        assert!(outcome.stderr.contains(name), "{outcome:?}");
    }
}

#[test]
fn people_get_lines_and_progress() {
    let outcome = p2p(&["sim", "--hosts", "2", "--minutes", "1", "--seed", "3"]);
    outcome.assert_exit(0);
    for text in [
        "mesh: 2 hosts",
        "hash",
        "left over    nothing",
        "identified   2 times",
    ] {
        assert!(outcome.stdout.contains(text), "{outcome:?}");
    }
    assert!(outcome.stderr.contains("60 s simulated"), "{outcome:?}");
}
