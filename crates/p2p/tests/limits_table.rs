//! `docs/LIMITS.md` lists every setting with its default, as the code documents it.
//!
//! `P2P_BLESS=1 cargo test -p p2p --test limits_table` writes the table anew.
#![expect(
    clippy::unwrap_used,
    reason = "an unreadable source file is a failed test"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use p2p::core::golden;

const START: &str = "<!-- settings: written by crates/p2p/tests/limits_table.rs -->\n";
const END: &str = "<!-- end of settings -->\n";

#[test]
fn the_table_of_limits_says_what_the_code_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = root.join("docs/LIMITS.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(START).expect("the start marker");
    let (_, after) = rest.split_once(END).expect("the end marker");
    let table = table_of(&root.join("crates"));
    golden::compare(page, format!("{before}{START}{table}{END}{after}"));
}

#[test]
fn every_setting_states_its_default() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let silent: Vec<String> = settings(&crates)
        .into_iter()
        .filter(|setting| setting.default.is_empty())
        .map(|setting| format!("{}: {}", setting.package, setting.field))
        .collect();
    assert!(
        silent.is_empty(),
        "no \"Default:\" in the docs of {silent:?}"
    );
}

struct Setting {
    package: String,
    owner: String,
    field: String,
    default: String,
    meaning: String,
}

fn table_of(crates: &Path) -> String {
    let mut table = String::from("\n| crate | setting | default | meaning |\n|---|---|---|---|\n");
    for one in settings(crates) {
        let Setting {
            package,
            field,
            default,
            meaning,
            ..
        } = one;
        writeln!(table, "| `{package}` | `{field}` | {default} | {meaning} |").unwrap();
    }
    table.push('\n');
    table
}

fn settings(crates: &Path) -> Vec<Setting> {
    let mut packages: Vec<PathBuf> = fs::read_dir(crates)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    packages.sort();
    let mut all = Vec::new();
    for package in packages {
        let name = package.file_name().unwrap().to_str().unwrap();
        let sources = sources(&package.join("src"));
        let mut own: Vec<Setting> = sources.iter().flat_map(|text| fields(name, text)).collect();
        // By struct, so that moving one to another file changes nothing; fields as they stand.
        own.sort_by(|one, other| one.owner.cmp(&other.owner));
        all.extend(own);
    }
    assert!(all.len() > 20, "the settings were found");
    all
}

/// The texts of all source files below `dir`, in a stable order.
fn sources(dir: &Path) -> Vec<String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        if path.is_dir() {
            texts.extend(sources(&path));
        } else {
            texts.push(fs::read_to_string(&path).unwrap());
        }
    }
    texts
}

/// Whether `source` defines a struct of this name that holds settings: one with defaults.
fn holds_settings(name: &str, source: &str) -> bool {
    let named = ["Config", "Limits", "Options"]
        .iter()
        .any(|end| name.ends_with(end));
    named && source.contains(&format!("impl Default for {name} "))
}

/// The documented public fields of the structs that hold settings.
fn fields(package: &str, source: &str) -> Vec<Setting> {
    let mut docs = String::new();
    let mut found = Vec::new();
    let mut owner = None;
    for line in source.lines() {
        if let Some(rest) = line.strip_prefix("pub struct ") {
            let name = rest.split([' ', '<', '(', ';']).next().unwrap_or_default();
            owner = holds_settings(name, source).then(|| name.to_owned());
        } else if line == "}" {
            owner = None;
        }
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("///") {
            docs.push(' ');
            docs.push_str(doc.trim());
            continue;
        }
        let is_field = line.starts_with("pub ") && line.ends_with(',') && !line.contains('(');
        if let Some((field, _)) = line.trim_start_matches("pub ").split_once(':')
            && let Some(owner) = &owner
            && is_field
        {
            let (meaning, default) = docs.split_once("Default:").unwrap_or((&docs, ""));
            found.push(Setting {
                package: package.to_owned(),
                owner: owner.clone(),
                field: format!("{owner}::{field}"),
                default: first_sentence(default),
                meaning: plain(meaning),
            });
        }
        if !line.starts_with('#') {
            docs.clear();
        }
    }
    found
}

fn first_sentence(text: &str) -> String {
    let end = text
        .find(". ")
        .unwrap_or_else(|| text.trim_end().trim_end_matches('.').len());
    plain(text.get(..end).unwrap_or(text))
}

/// One line of a table: no bars, no links.
fn plain(text: &str) -> String {
    let text = text
        .trim()
        .replace('|', "\\|")
        .replace("[`", "`")
        .replace("`]", "`");
    let mut out = String::new();
    let mut rest = text.as_str();
    // Drops the target of a link, `](…)`, whose text was unwrapped above.
    while let Some((before, after)) = rest.split_once("`(") {
        out.push_str(before);
        out.push('`');
        rest = after.split_once(')').map_or("", |(_, tail)| tail);
    }
    out.push_str(rest);
    out
}
