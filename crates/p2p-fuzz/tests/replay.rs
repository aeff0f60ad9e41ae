//! The corpus, and random changes to it, through every target.
//!
//! `P2P_FUZZ_CASES=100000 cargo test --release -p p2p-fuzz` looks longer. What fails is printed;
//! put it into `fuzz/corpus/TARGET/`, where it is tried with every run from then on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken corpus is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use p2p_fuzz::{TARGETS, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Random inputs for each target, unless `P2P_FUZZ_CASES` says otherwise.
const CASES: u32 = 48;

fn dir(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
}

/// The inputs of a target, in the order of their names.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir(target.name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn the_corpus_of_every_target_breaks_nothing() {
    for target in TARGETS {
        let inputs = corpus(target);
        assert!(!inputs.is_empty(), "{}", target.name);
        for input in inputs {
            assert!(input.len() <= 4096, "{}: too large to keep", target.name);
            (target.run)(&input);
            for end in (0..input.len()).step_by(1 + input.len() / 32) {
                (target.run)(&input[..end]);
            }
        }
    }
}

#[test]
fn random_bytes_and_random_changes_of_the_corpus_break_nothing() {
    let cases = std::env::var("P2P_FUZZ_CASES").map_or(CASES, |value| value.parse().unwrap());
    for target in TARGETS {
        let bytes = prop::collection::vec(any::<u8>(), 0..600);
        let known = prop::sample::select(corpus(target));
        let changes = prop::collection::vec(any::<Change>(), 1..8);
        let changed = (known, changes).prop_map(|(mut input, changes)| {
            for change in changes {
                change.apply(&mut input);
            }
            input
        });
        let config = Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        };
        let input = prop_oneof![1 => bytes, 3 => changed];
        let result = TestRunner::new(config).run(&input, |input| {
            (target.run)(&input);
            Ok(())
        });
        result.unwrap_or_else(|failure| panic!("{}: {failure}", target.name));
    }
}

/// A change to an input: what, where, how much.
type Change = (u8, u16, u8);

trait Apply {
    fn apply(self, input: &mut Vec<u8>);
}

impl Apply for Change {
    fn apply(self, input: &mut Vec<u8>) {
        let (what, at, how) = self;
        let at = usize::from(at) % (input.len() + 1);
        let end = input.len().min(at + usize::from(how));
        match what % 6 {
            0 => input.insert(at, how),
            1 => drop(input.drain(at..end)),
            2 => input.extend_from_within(at..end),
            3 => input.truncate(at),
            4 if at < input.len() => input[at] ^= 1 << (how % 8),
            5 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff][usize::from(how % 5)],
            _ => {}
        }
    }
}

#[test]
fn every_target_has_a_corpus_and_a_binary_and_there_are_no_others() {
    let names: BTreeSet<String> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    assert_eq!(names.len(), TARGETS.len());
    let listed = |dir: PathBuf| -> BTreeSet<String> {
        let entries = fs::read_dir(dir).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed(dir("")), names, "fuzz/corpus");
    assert_eq!(listed(dir("../fuzz_targets")), names, "fuzz/fuzz_targets");
    let manifest = fs::read_to_string(dir("../Cargo.toml")).unwrap();
    let bins: BTreeSet<String> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"))
        .map(|line| line.trim_end_matches(".rs\"").to_owned())
        .collect();
    assert_eq!(bins, names, "fuzz/Cargo.toml");
}
