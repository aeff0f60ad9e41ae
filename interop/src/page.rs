//! The page for people who want to know who works with whom. Pure: rows in, Markdown out.
//!
//! Holds no time and no date, so that it changes only when an outcome does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::{
    cell::{Cell, Outcome, Peer, Row, Test},
    report::worst,
};

const HEAD: &str = "# Who works with whom

Written by `cargo run --release -p p2p-interop -- run --report docs/interop.md` (or by `page` from the
rows of several runs); what a cell is and what each test wants:
[interop/README.md](../interop/README.md). Real libraries, real sockets on
loopback, each cell with two fresh processes. *Theirs* means that it fails for a fault of the other
library that is known and listed below, *n/a* that one of the two does not have it.
";

/// The whole page.
pub(crate) fn page(rows: &[Row]) -> String {
    let cells = summed(rows);
    let mut text = HEAD.to_owned();
    let _fits = write!(text, "\n{}\n{}", glance(&cells), tests(&cells));
    for (outcome, title) in [
        (Outcome::Fail, "Failed"),
        (Outcome::Theirs, "Faults of theirs"),
        (Outcome::Unsupported, "Not there"),
        (Outcome::Missing, "Not run here"),
    ] {
        text.push_str(&causes(rows, &outcome, title));
    }
    text
}

/// Each cell with its worst outcome over all repetitions, and how many runs passed of how many.
type Cells = Vec<(Cell, Outcome, usize, usize)>;

fn summed(rows: &[Row]) -> Cells {
    let mut cells: Cells = Vec::new();
    for row in rows {
        let passed = usize::from(row.outcome == Outcome::Pass);
        match cells.iter_mut().find(|(cell, ..)| *cell == row.cell) {
            Some((_, outcome, passes, runs)) => {
                *outcome = worst(outcome, &row.outcome);
                *passes += passed;
                *runs += 1;
            }
            None => cells.push((row.cell, row.outcome.clone(), passed, 1)),
        }
    }
    cells
}

/// One line for each two who met, one column for each stack, both roles and all tests together.
fn glance(cells: &Cells) -> String {
    let stacks: BTreeSet<_> = cells.iter().map(|(cell, ..)| cell.stack()).collect();
    let mut text = String::from("## At a glance\n\n| |");
    for stack in &stacks {
        let _fits = write!(text, " {stack} |");
    }
    let _fits = write!(text, "\n|---|{}\n", "---|".repeat(stacks.len()));
    let couples: BTreeSet<_> = cells.iter().map(|(cell, ..)| couple(cell)).collect();
    for (one, other) in couples {
        let _fits = write!(text, "| {} and {} |", name(one), name(other));
        for stack in &stacks {
            let met = |cell: &Cell| couple(cell) == (one, other) && cell.stack() == *stack;
            let of_both: Vec<_> = cells.iter().filter(|(cell, ..)| met(cell)).collect();
            let _fits = write!(text, " {} |", sum(&of_both));
        }
        text.push('\n');
    }
    text
}

fn sum(cells: &[&(Cell, Outcome, usize, usize)]) -> String {
    let count = |wanted: &Outcome| cells.iter().filter(|(_, it, ..)| it == wanted).count();
    let applicable = cells.len() - count(&Outcome::Unsupported);
    if applicable == 0 {
        return "–".into();
    }
    let passed = count(&Outcome::Pass);
    let mut text = if passed == applicable {
        format!("**all {passed}**")
    } else {
        format!("{passed} of {applicable}")
    };
    for (outcome, word) in [
        (Outcome::Fail, "**fail**"),
        (Outcome::Theirs, "theirs"),
        (Outcome::Missing, "not run"),
    ] {
        let found = count(&outcome);
        if found > 0 {
            let _fits = write!(text, ", {found} {word}");
        }
    }
    text
}

/// One line for each test, one column for each dialer and listener, all stacks together.
fn tests(cells: &Cells) -> String {
    let pairs: BTreeSet<_> = cells
        .iter()
        .map(|(cell, ..)| {
            let couple = couple(cell);
            let second = cell.dialer != couple.0;
            (couple, second, cell.dialer, cell.listener)
        })
        .collect();
    let mut text = String::from("## Test by test\n\nThe dialer is named first.\n\n| |");
    for (_, _, dialer, listener) in &pairs {
        let _fits = write!(text, " {} → {} |", dialer.name(), listener.name());
    }
    let _fits = write!(text, "\n|---|{}\n", "---|".repeat(pairs.len()));
    let all: BTreeSet<Test> = cells.iter().map(|(cell, ..)| cell.test).collect();
    for test in all {
        let _fits = write!(text, "| `{}` |", test.name());
        for (_, _, dialer, listener) in &pairs {
            let is_it =
                |cell: &Cell| (cell.dialer, cell.listener, cell.test) == (*dialer, *listener, test);
            let of_it: Vec<_> = cells.iter().filter(|(cell, ..)| is_it(cell)).collect();
            let _fits = write!(text, " {} |", mark(&of_it));
        }
        text.push('\n');
    }
    text
}

/// One word for a test; where stacks differ, the stack with each.
fn mark(cells: &[&(Cell, Outcome, usize, usize)]) -> String {
    let mut words: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (cell, outcome, passes, runs) in cells {
        let word = match outcome {
            Outcome::Pass => "ok",
            Outcome::Fail => "**fail**",
            Outcome::Missing => "not run",
            Outcome::Theirs => "theirs",
            Outcome::Unsupported => "n/a",
        };
        let often = match outcome {
            Outcome::Fail | Outcome::Theirs if *passes > 0 => format!(" ({passes} of {runs} ok)"),
            Outcome::Fail
            | Outcome::Missing
            | Outcome::Pass
            | Outcome::Theirs
            | Outcome::Unsupported => String::new(),
        };
        let stack = format!("{}{often}", cell.stack());
        words.entry(word).or_default().push(stack);
    }
    match words.len() {
        0 => String::new(),
        1 => words.keys().map(|word| (*word).to_owned()).collect(),
        _ => {
            // `ok` is what is expected: only the others are worth a place.
            let others = words.iter().filter(|(word, _)| **word != "ok");
            let named: Vec<_> = others
                .map(|(word, stacks)| format!("{word}: {}", stacks.join(", ")))
                .collect();
            named.join("; ")
        }
    }
}

fn causes(rows: &[Row], outcome: &Outcome, title: &str) -> String {
    let mut causes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.outcome == *outcome) {
        let cause = row.detail.lines().next().unwrap_or_default();
        causes
            .entry(cause)
            .or_default()
            .insert(row.cell.to_string());
    }
    let mut text = String::new();
    if !causes.is_empty() {
        let _fits = write!(text, "\n## {title}\n\n");
    }
    for (cause, cells) in causes {
        let _fits = writeln!(text, "- {cause}");
        for cell in cells {
            let _fits = writeln!(text, "  - `{cell}`");
        }
    }
    text
}

/// Two who meet, in whichever role; we come first.
fn couple(cell: &Cell) -> (Peer, Peer) {
    let rank = |peer: Peer| (peer != Peer::P2p, peer);
    match rank(cell.dialer) <= rank(cell.listener) {
        true => (cell.dialer, cell.listener),
        false => (cell.listener, cell.dialer),
    }
}

/// A library with the version that its lock file pins.
fn name(peer: Peer) -> String {
    let (library, file, before) = match peer {
        Peer::Go => (
            "go-libp2p",
            include_str!("../peers/go/go.mod"),
            "libp2p/go-libp2p v",
        ),
        Peer::Js => (
            "js-libp2p",
            include_str!("../peers/js/package.json"),
            "\"libp2p\": \"",
        ),
        Peer::P2p => return "p2p".into(),
        Peer::Py => (
            "py-libp2p",
            include_str!("../peers/py/requirements.in"),
            "libp2p==",
        ),
        Peer::Rust => (
            "rust-libp2p",
            include_str!("../peers/rust/Cargo.toml"),
            "libp2p = { version = \"=",
        ),
    };
    let version = file.split_once(before).map_or("?", |(_, after)| {
        let end = after.find(|it: char| !it.is_ascii_digit() && it != '.');
        after.get(..end.unwrap_or(after.len())).unwrap_or("?")
    });
    format!("{library} {version}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Muxer, Security, Transport};

    #[test]
    fn the_page_says_at_a_glance_who_works_with_whom() {
        let rows = [
            row(Peer::P2p, Peer::Go, Test::Ping, Outcome::Pass, ""),
            row(Peer::Go, Peer::P2p, Test::Ping, Outcome::Pass, ""),
            row(Peer::P2p, Peer::Js, Test::Ping, Outcome::Pass, ""),
            row(
                Peer::Js,
                Peer::P2p,
                Test::Ping,
                Outcome::Theirs,
                "why (where)",
            ),
        ];

        let page = page(&rows);

        assert!(
            page.contains("| | tcp/noise/yamux |\n|---|---|\n"),
            "{page}"
        );
        assert!(page.contains("| p2p and go-libp2p 0."), "{page}");
        assert!(page.contains(" | **all 2** |\n"), "{page}");
        assert!(page.contains(" | 1 of 2, 1 theirs |\n"), "{page}");
        assert!(
            page.contains("| `ping` | ok | ok | ok | theirs |\n"),
            "{page}"
        );
        assert!(page.contains("- why (where)\n  - `js -> p2p tcp/noise/yamux ping`\n"));
    }

    #[test]
    fn a_cell_that_failed_once_in_many_runs_failed() {
        let rows = [
            row(Peer::P2p, Peer::Go, Test::Ping, Outcome::Pass, ""),
            row(Peer::P2p, Peer::Go, Test::Ping, Outcome::Fail, "why"),
            row(Peer::P2p, Peer::Go, Test::Ping, Outcome::Pass, ""),
        ];

        let cells = summed(&rows);

        assert_eq!(cells.len(), 1);
        assert_eq!(cells[0].1, Outcome::Fail);
        assert_eq!((cells[0].2, cells[0].3), (2, 3));
    }

    #[test]
    fn every_library_has_a_version() {
        for peer in Peer::FOREIGN {
            let name = name(peer);
            let version = name.split(' ').nth(1).unwrap();
            assert!(
                version.split('.').all(|it| it.parse::<u32>().is_ok()),
                "{name}"
            );
        }
    }

    fn row(dialer: Peer, listener: Peer, test: Test, outcome: Outcome, detail: &str) -> Row {
        let cell = Cell {
            dialer,
            listener,
            transport: Transport::Tcp,
            security: Security::Noise,
            muxer: Muxer::Yamux,
            test,
        };
        Row {
            cell,
            outcome,
            ms: 1,
            detail: detail.into(),
        }
    }
}
