//! Every text of an error is in the golden file of its crate, as a user reads it.
//!
//! ```text
//!   src/: #[error("no echo within {after:?}")]  ──>  tests/golden/texts.txt: no echo within 10s
//!         in `enum PingError`                         in the section `== PingError`
//! ```
//!
//! A variant whose text is another error's, or has no words of its own, needs a line that none of
//! the other variants explains. A refusal needs a line with its name and its setting.
#![expect(
    clippy::unwrap_used,
    reason = "an unreadable source file is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates whose errors nobody is shown: they test the others.
const TESTS: &[&str] = &["p2p-fuzz", "p2p-gossip-sim"];

#[test]
fn every_text_of_an_error_is_in_the_golden_file_of_its_crate() {
    let mut missing = Vec::new();
    let (mut texts, mut others) = (0, 0);
    for krate in crates() {
        let golden = Golden::of(&krate);
        let errors = krate.sources.iter().flat_map(Source::errors);
        let mut types: BTreeMap<String, Vec<(&Path, Text)>> = BTreeMap::new();
        for (file, owner, text) in errors {
            types.entry(owner).or_default().push((file, text));
        }
        for (owner, wanted) in types {
            texts += wanted.len();
            missing.extend(golden.lacks(&owner, &wanted));
        }
        for source in &krate.sources {
            for (name, setting) in source.refusals() {
                others += 1;
                let file = source.path.display();
                if !golden.refuses(&name, &setting) {
                    missing.push(format!("{file}: the refusal {name:?} (setting: {setting})"));
                }
            }
            for owner in source.written_by_hand() {
                others += 1;
                if golden.section(&owner).is_empty() {
                    missing.push(format!("{}: {owner}", source.path.display()));
                }
            }
        }
    }
    assert!(texts > 200 && others > 20, "found: {texts} and {others}");
    let missing = missing.join("\n  ");
    assert!(
        missing.is_empty(),
        "not in tests/golden/texts.txt:\n  {missing}"
    );
}

#[test]
fn a_text_fits_what_it_is_made_from_and_nothing_else() {
    let fits = |template: &str, line: &str| Text::new(template).fits(line);
    assert!(fits("no echo within {after:?}", "no echo within 10s"));
    assert!(fits("no echo within {after:?}", "no echo within 10s: why"));
    assert!(fits("{len} bytes, at most {max}", "10 bytes, at most 9"));
    assert!(fits("stream failed", "stream failed: broken pipe"));
    assert!(fits("a {{brace}} and {0}", "a {brace} and more"));
    assert!(!fits("stream failed", "stream failed before the answer"));
    assert!(!fits("no echo in time", "no echo within 10s"));
    assert!(!fits("{len} bytes, at most {max}", "10 bytes of 9"));
    assert!(!Text::new("{0}").has_words() && !Text::new("{a} {b:?}").has_words());
}

#[test]
fn what_is_an_error_is_found_in_a_source() {
    let text = r#"
        /// In words, `#[error("this is none")]`.
        #[derive(Debug, thiserror::Error)]
        pub enum Failed {
            /// A variant.
            #[error("too {0}, \"very\" \
                     so")]
            Too(u8),
            #[error(transparent)]
            Io(io::Error),
        }

        #[derive(Debug, thiserror::Error)]
        #[error("alone")]
        #[non_exhaustive]
        pub struct Alone;
    "#;
    let source = Source {
        path: "error.rs".into(),
        text: text.to_owned(),
    };
    let found: Vec<(String, Text)> = source
        .errors()
        .into_iter()
        .map(|(_, owner, text)| (owner, text))
        .collect();
    let expected = [
        ("Failed", Text::new(r#"too {0}, "very" so"#)),
        ("Failed", Text::default()),
        ("Alone", Text::new("alone")),
    ];
    assert_eq!(
        found,
        expected.map(|(owner, text)| (owner.to_owned(), text))
    );
}

struct Crate {
    dir: PathBuf,
    sources: Vec<Source>,
}

struct Source {
    path: PathBuf,
    /// Without the tests at its end.
    text: String,
}

fn crates() -> Vec<Crate> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let is_ours = |dir: &PathBuf| !TESTS.iter().any(|name| dir.ends_with(name));
    entries(all)
        .into_iter()
        .filter(is_ours)
        .map(|dir| {
            let mut sources = Vec::new();
            read(&dir.join("src"), all, &mut sources);
            Crate { dir, sources }
        })
        .collect()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn read(dir: &Path, root: &Path, sources: &mut Vec<Source>) {
    for path in entries(dir) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["conformance", "tests"].contains(&name) {
            read(&path, root, sources);
        } else if name.ends_with(".rs") && !["golden.rs", "texts.rs", "tests.rs"].contains(&name) {
            let text = fs::read_to_string(&path).unwrap();
            let (code, _) = text
                .split_once("#[cfg(test)]\nmod tests {")
                .unwrap_or((&text, ""));
            sources.push(Source {
                path: path.strip_prefix(root).unwrap().to_owned(),
                text: code.to_owned(),
            });
        }
    }
}

/// What `format!` makes a text from: words, and holes between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Words(String),
    Hole,
}

impl Text {
    fn new(template: &str) -> Self {
        let (mut parts, mut words) = (Vec::new(), String::new());
        let mut rest = template.chars().peekable();
        while let Some(next) = rest.next() {
            match next {
                '{' | '}' if rest.peek() == Some(&next) => words.extend(rest.next()),
                '{' => {
                    rest.by_ref().find(|next| *next == '}');
                    parts.extend([Part::Words(std::mem::take(&mut words)), Part::Hole]);
                }
                _ => words.push(next),
            }
        }
        parts.push(Part::Words(words));
        parts.retain(|part| !matches!(part, Part::Words(words) if words.is_empty()));
        Self(parts)
    }

    fn has_words(&self) -> bool {
        let is_word = |part: &Part| match part {
            Part::Words(words) => words.chars().any(char::is_alphabetic),
            Part::Hole => false,
        };
        self.0.iter().any(is_word)
    }

    /// Whether `line` is made from it, perhaps with its sources behind it.
    fn fits(&self, line: &str) -> bool {
        fits(&self.0, line)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Words(words) => write!(f, "{}", words.escape_debug()),
            Part::Hole => f.write_str("{}"),
        })
    }
}

fn fits(parts: &[Part], line: &str) -> bool {
    match parts.split_first() {
        None => line.is_empty() || line.starts_with(": "),
        Some((Part::Words(words), rest)) => line
            .strip_prefix(words.as_str())
            .is_some_and(|line| fits(rest, line)),
        Some((Part::Hole, rest)) => {
            let mut ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
            ends.any(|at| fits(rest, line.split_at(at).1))
        }
    }
}

impl Source {
    /// Every `#[error(..)]` with its type; no text if it is transparent.
    fn errors(&self) -> Vec<(&Path, String, Text)> {
        const START: &str = "#[error(";
        let mut found = Vec::new();
        for (at, _) in self.text.match_indices(START) {
            let (before, after) = self.text.split_at(at);
            if before
                .rsplit('\n')
                .next()
                .is_some_and(|line| line.contains("//"))
            {
                continue;
            }
            let inside = after.split_at(START.len()).1.trim_start();
            let text = literal(inside).map_or_else(Text::default, |text| Text::new(&text));
            let owner = behind(after).or_else(|| enum_above(before));
            let owner = owner.unwrap_or_else(|| panic!("whose is {after:.80}"));
            found.push((self.path.as_path(), self.qualified(&owner), text));
        }
        found
    }

    /// Errors that print themselves.
    fn written_by_hand(&self) -> Vec<String> {
        let marks = ["impl std::error::Error for ", "impl Error for "];
        let all = marks.iter().flat_map(|mark| self.text.split(mark).skip(1));
        all.map(|rest| self.qualified(&name(rest))).collect()
    }

    /// Name and setting of every limit that is written here.
    fn refusals(&self) -> BTreeSet<(String, String)> {
        let marks = [
            "Budget::new(",
            "child(",
            "check_one_more(",
            "(Exceeded {",
            "    Exceeded {",
        ];
        let mut found = BTreeSet::new();
        for mark in marks {
            for (at, _) in self.text.match_indices(mark) {
                let (before, after) = self.text.split_at(at);
                let inside = after.split_at(mark.len()).1;
                let inside = inside.split([';', '}']).next().unwrap_or_default();
                let mut values = inside.split(',').map(|part| {
                    let part = part.trim();
                    let part = part.strip_prefix("name: ").unwrap_or(part);
                    value(part.strip_prefix("setting: ").unwrap_or(part), before)
                });
                if let (Some(Some(name)), Some(Some(setting))) = (values.next(), values.next()) {
                    found.insert((name, setting));
                }
            }
        }
        found
    }

    /// `frame::Error` for what is called as its crate calls everything.
    fn qualified(&self, owner: &str) -> String {
        let module = self.path.file_stem().unwrap().to_str().unwrap();
        match owner {
            "Error" if module != "error" => format!("{module}::Error"),
            _ => owner.to_owned(),
        }
    }
}

/// The string that `part` is: a literal, or a variable that the same function sets above.
fn value(part: &str, before: &str) -> Option<String> {
    literal(part).or_else(|| {
        let function = before.rsplit("fn ").next()?;
        let (_, set) = function.rsplit_once(&format!("let {part} = "))?;
        literal(set)
    })
}

/// The string literal at the start of `code`.
fn literal(code: &str) -> Option<String> {
    let mut chars = code.strip_prefix('"')?.chars();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                '\n' => chars = chars.as_str().trim_start().chars(),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

/// The type that begins behind an attribute, past other attributes.
fn behind(attribute: &str) -> Option<String> {
    let mut lines = attribute.lines().map(str::trim);
    lines.find(|line| line.ends_with(")]"))?;
    let line = lines.find(|line| !line.starts_with("#[") && !line.starts_with("//"))?;
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let kinds = ["struct ", "enum "];
    kinds
        .iter()
        .find_map(|kind| line.strip_prefix(kind))
        .map(name)
}

fn enum_above(before: &str) -> Option<String> {
    let mut lines = before.lines().rev();
    lines.find_map(|line| Some(name(line.split_once("enum ")?.1)))
}

/// The name at the start of `code`.
fn name(code: &str) -> String {
    let is_name = |next: &char| next.is_alphanumeric() || *next == '_';
    code.chars().take_while(is_name).collect()
}

/// What a crate's golden file holds, by section.
struct Golden(BTreeMap<String, Vec<String>>);

impl Golden {
    fn of(krate: &Crate) -> Self {
        let file = krate.dir.join("tests/golden/texts.txt");
        let mut sections = BTreeMap::<String, Vec<String>>::new();
        let mut heading = String::new();
        for line in fs::read_to_string(file).unwrap_or_default().lines() {
            if let Some(next) = line.strip_prefix("== ") {
                heading = next.to_owned();
                continue;
            }
            let lines = sections.entry(heading.clone()).or_default();
            match (line.strip_prefix("  "), lines.last_mut()) {
                (Some(more), Some(last)) => *last += &format!("\n{more}"),
                _ => lines.push(without_blame(line).to_owned()),
            }
        }
        Self(sections)
    }

    fn section(&self, owner: &str) -> &[String] {
        self.0.get(owner).map_or(&[], Vec::as_slice)
    }

    fn refuses(&self, name: &str, setting: &str) -> bool {
        let (start, end) = (
            format!("limit reached for {name}: "),
            format!("(setting: {setting})"),
        );
        let mut lines = self.0.values().flatten();
        lines.any(|line| line.starts_with(&start) && line.ends_with(&end))
    }

    /// What has no line in the section of its type.
    fn lacks(&self, owner: &str, wanted: &[(&Path, Text)]) -> Vec<String> {
        let lines = self.section(owner);
        let (named, nameless): (Vec<_>, Vec<_>) =
            wanted.iter().partition(|(_, text)| text.has_words());
        let mut missing = Vec::new();
        for (file, text) in &named {
            let same = named.iter().filter(|(_, other)| other == text).count();
            if lines.iter().filter(|line| text.fits(line)).count() < same {
                missing.push(format!("{}: {owner}: {text}", file.display()));
            }
        }
        let is_explained = |line: &&String| named.iter().any(|(_, text)| text.fits(line));
        let others = lines.len() - lines.iter().filter(is_explained).count();
        if let Some((file, _)) = nameless.first()
            && others < nameless.len()
        {
            let (file, wanted) = (file.display(), nameless.len());
            missing.push(format!(
                "{file}: {owner}: {wanted} variants without words of their own, {others} lines"
            ));
        }
        missing
    }
}

fn without_blame(line: &str) -> &str {
    match line
        .strip_prefix('[')
        .and_then(|line| line.split_once("] "))
    {
        Some((_, text)) => text,
        None => line,
    }
}
