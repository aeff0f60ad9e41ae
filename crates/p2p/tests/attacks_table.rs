//! docs/ATTACKS.md and docs/roads.md name tests that exist.
#![expect(
    clippy::unwrap_used,
    reason = "a file that cannot be read is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// `crate::test` of every row.
fn named(table: &str) -> Vec<(&str, &str)> {
    let rows = table.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    quoted
        .filter_map(|quoted| quoted.split_once("::"))
        .collect()
}

/// Everything in the sources and tests of a crate.
fn sources(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "fuzz") {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_in_the_table_of_attacks_exists() {
    let named = check(&read("docs/ATTACKS.md"));
    assert!(named > 80, "{named}");
}

#[test]
fn every_test_in_the_table_of_bad_input_exists() {
    let page = read("docs/roads.md");
    let (_, behind) = page.split_once("\n## Bad input\n").unwrap();
    let table = behind.split("\n## ").next().unwrap();
    let named = check(table);
    assert!(named > 25, "{named}");
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
    for (name, test) in &named {
        let mut text = String::new();
        sources(&root().join("crates").join(name), &mut text);
        assert!(
            text.contains(&format!("fn {test}(")),
            "{name} has no {test}"
        );
    }
    named.len()
}
