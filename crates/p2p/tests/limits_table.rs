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

#[test]
fn every_default_is_the_one_that_the_docs_state() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for setting in settings(&crates) {
        let Some(code) = setting.code.as_deref().and_then(value) else {
            continue;
        };
        compared += 1;
        if value_said(&setting.default) != Some(code) {
            let Setting { package, field, .. } = &setting;
            let (said, code) = (&setting.default, setting.code.as_deref().unwrap_or(""));
            wrong.push(format!(
                "{package} {field}: {said:?}, and {code} in the code"
            ));
        }
    }
    assert!(compared > 150, "found: {compared}");
    let wrong = wrong.join("\n  ");
    assert!(wrong.is_empty(), "docs and code differ:\n  {wrong}");
}

#[test]
fn a_default_means_the_same_in_code_and_in_words() {
    for (code, words) in [
        ("8 * 1024", "8 KiB, as in go"),
        ("64 << 20", "64 MiB"),
        ("1024 * 1023", "1 MiB, less 1 KiB for the rest"),
        ("10_000", "10,000"),
        ("NonZeroU32::new(32).unwrap_or(NonZeroU32::MIN)", "32"),
        ("Duration::from_secs(3600)", "1 hour"),
        ("Duration::from_millis(1500)", "1.5 s"),
        ("0.25", "0.25"),
        ("true", "true"),
        ("None", "none, which means all"),
    ] {
        assert!(value(code).is_some(), "{code}");
        assert_eq!(value(code), value_said(words), "{code}");
    }
    assert_ne!(value("10"), value_said("10 s"), "a number is no time");
    assert_eq!(value("SOME_CONSTANT"), None);
}

struct Setting {
    package: String,
    owner: String,
    field: String,
    default: String,
    /// What `impl Default` sets it to.
    code: Option<String>,
    meaning: String,
}

/// A default, if it is plain.
#[derive(Debug, PartialEq)]
enum Value {
    Bool(bool),
    None,
    Number(f64),
    Seconds(f64),
}

/// What an expression in the code comes to.
fn value(code: &str) -> Option<Value> {
    let inside = |before: &str| Some(code.split_once(before)?.1.split_once(')')?.0);
    if let Some(seconds) = inside("Duration::from_secs(") {
        return number(seconds).map(Value::Seconds);
    }
    if let Some(millis) = inside("Duration::from_millis(") {
        return number(millis).map(|millis| Value::Seconds(millis / 1000.0));
    }
    if code.starts_with("NonZero") {
        return number(inside("::new(")?).map(Value::Number);
    }
    match code {
        "Duration::ZERO" => Some(Value::Seconds(0.0)),
        "None" => Some(Value::None),
        "false" => Some(Value::Bool(false)),
        "true" => Some(Value::Bool(true)),
        _ => number(code).map(Value::Number),
    }
}

/// A number, or a product or a shift of some.
fn number(code: &str) -> Option<f64> {
    if let Some((left, right)) = code.split_once(" << ") {
        return Some(number(left)? * number(right)?.exp2());
    }
    if let Some((left, right)) = code.split_once(" * ") {
        return Some(number(left)? * number(right)?);
    }
    code.replace('_', "").parse().ok()
}

/// What the words behind `Default:` come to.
fn value_said(words: &str) -> Option<Value> {
    if let Some((whole, part)) = words.split_once(", less ")
        && let (Value::Number(whole), Value::Number(part)) = (value_said(whole)?, value_said(part)?)
    {
        return Some(Value::Number(whole - part));
    }
    let mut rest = words.split([' ', ';']);
    let first = rest.next()?.trim_end_matches(',');
    let unit = rest.next().unwrap_or_default().trim_end_matches(',');
    match first {
        "false" => return Some(Value::Bool(false)),
        "none" => return Some(Value::None),
        "true" => return Some(Value::Bool(true)),
        _ => {}
    }
    let number: f64 = first.replace(',', "").parse().ok()?;
    Some(match unit {
        "ms" => Value::Seconds(number / 1000.0),
        "s" => Value::Seconds(number),
        "min" => Value::Seconds(number * 60.0),
        "h" | "hour" | "hours" => Value::Seconds(number * 3600.0),
        "day" | "days" => Value::Seconds(number * 86_400.0),
        "KiB" => Value::Number(number * 1024.0),
        "MiB" => Value::Number(number * 1024.0 * 1024.0),
        "GiB" => Value::Number(number * 1024.0 * 1024.0 * 1024.0),
        _ => Value::Number(number),
    })
}

/// What `impl Default for owner` in `source` sets `field` to, if it is on one line.
fn code_of(source: &str, owner: &str, field: &str) -> Option<String> {
    let (_, rest) = source.split_once(&format!("impl Default for {owner} "))?;
    let (body, _) = rest.split_once("\n}")?;
    let start = format!("            {field}: ");
    let line = body.lines().find_map(|line| line.strip_prefix(&start))?;
    Some(line.strip_suffix(',')?.to_owned())
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
                code: code_of(source, owner, field),
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
