//! docs/ATTACKS.md and docs/roads.md name tests that are run, and the tests of attacks are named.
#![expect(
    clippy::unwrap_used,
    reason = "a file that cannot be read is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Tests that stand among attacks and are none.
const ORDINARY: [&str; 4] = [
    "p2p-keys::a_key_pair_signs_in_many_threads_at_once",
    "p2p-keys::rsa_keys_of_other_sizes_are_not_generated",
    "p2p-mplex::small_writes_become_one_frame_of_bounded_size",
    "p2p-yamux::small_writes_become_one_frame",
];

/// `crate::test` of every row.
fn named(table: &str) -> Vec<(&str, &str)> {
    let rows = table.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    quoted
        .filter_map(|quoted| quoted.split_once("::"))
        .collect()
}

/// The tests of a source that are not ignored.
fn tests(source: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let (mut is_test, mut is_ignored) = (false, false);
    for line in source.lines().map(str::trim) {
        is_test |= line == "#[test]";
        is_ignored |= line.starts_with("#[ignore");
        if let Some(name) = function(line) {
            if is_test && !is_ignored {
                found.insert(name);
            }
            (is_test, is_ignored) = (false, false);
        }
    }
    found
}

fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let (name, _) = line.strip_prefix("fn ")?.split_once('(')?;
    Some(name)
}

/// The rules of a conformance suite and the targets of the fuzzer that a source lists.
fn listed<'a>(source: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for (open, close) in [("\nrules! {", '}'), ("= targets![", ']')] {
        for behind in source.split(open).skip(1) {
            let list = behind.split(close).next().unwrap_or_default();
            // Behind a rule is where it comes from.
            let name = |entry: &'a str| entry.split(": ").next().unwrap_or_default().trim();
            found.extend(list.split([',', '\n']).map(name));
        }
    }
    found
}

/// The sources below a folder, without the programs of the fuzzer.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "fuzz") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_test_in_the_table_of_attacks_is_run() {
    let named = check(&read("docs/ATTACKS.md"));
    assert!(named > 80, "{named}");
}

#[test]
fn every_test_in_the_table_of_bad_input_is_run() {
    let page = read("docs/roads.md");
    let (_, behind) = page.split_once("\n## Bad input\n").unwrap();
    let table = behind.split("\n## ").next().unwrap();
    let named = check(table);
    assert!(named > 25, "{named}");
}

#[test]
fn every_test_of_an_attack_or_a_flood_is_in_the_table() {
    let page = read("docs/ATTACKS.md");
    let named: BTreeSet<String> = named(&page)
        .into_iter()
        .map(|(name, test)| format!("{name}::{test}"))
        .collect();
    let mut attacks = BTreeSet::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let package = entry.unwrap().path();
        let name = package.file_name().unwrap().to_str().unwrap();
        let files = sources(&package);
        for file in files.iter().filter(|file| is_of_attacks(file)) {
            let source = fs::read_to_string(file).unwrap();
            attacks.extend(tests(&source).iter().map(|test| format!("{name}::{test}")));
        }
    }
    assert!(attacks.len() > 80, "{}", attacks.len());

    let ordinary = BTreeSet::from(ORDINARY.map(str::to_owned));
    assert!(ordinary.is_subset(&attacks) && ordinary.is_disjoint(&named));
    let missing = &(&attacks - &named) - &ordinary;
    assert!(missing.is_empty(), "not in docs/ATTACKS.md: {missing:#?}");
}

/// `attacks.rs`, `floods.rs`, `noise_floods.rs`, and everything in a folder `attacks`.
fn is_of_attacks(file: &Path) -> bool {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let folder = file.parent().and_then(Path::file_name);
    folder.is_some_and(|folder| folder == "attacks")
        || stem.is_some_and(|stem| stem == "attacks" || stem.ends_with("floods"))
}

#[test]
fn helpers_and_ignored_tests_do_not_count() {
    let source = "
        fn helper() {}
        #[test]
        #[ignore = \"slow\"]
        fn slow() {}
        /// Words.
        #[test]
        fn quick() {}
        fn another() {}";
    assert_eq!(tests(source), BTreeSet::from(["quick"]));
    let source = "fn rule() {}\nrules! {\n    rule: SPEC,\n}\nfn other() {}";
    assert!(listed(source).contains("rule") && !listed(source).contains("other"));
    assert!(tests(source).is_empty());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// Finds every test that a table names; how many there are.
fn check(table: &str) -> usize {
    let named = named(table);
    let mut crates: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, test) in &named {
        let run = crates.entry(name).or_insert_with(|| {
            let mut run = BTreeSet::new();
            for file in sources(&root().join("crates").join(name)) {
                let source = fs::read_to_string(file).unwrap();
                let both = tests(&source).into_iter().chain(listed(&source));
                run.extend(both.map(str::to_owned));
            }
            run
        });
        assert!(run.contains(*test), "{name} runs no {test}");
    }
    named.len()
}
