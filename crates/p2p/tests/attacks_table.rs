//! docs/ATTACKS.md names tests that exist.
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = fs::read_to_string(root.join("docs/ATTACKS.md")).unwrap();
    let named = named(&table);
    assert!(named.len() > 80, "{}", named.len());
    for (name, test) in named {
        let mut text = String::new();
        sources(&root.join("crates").join(name), &mut text);
        assert!(
            text.contains(&format!("fn {test}(")),
            "{name} has no {test}"
        );
    }
}
