//! The table for people. Pure: rows in, text out.
//!
//! ```text
//!                   plaintext/yamux         noise/yamux
//! dialer  listener  ping  iden  echo  xfer  ping  iden  echo  xfer
//! p2p     go        ok    ok    ok    ok    ok    ok    ok    FAIL
//! ```

use std::{collections::BTreeSet, fmt::Write as _};

use crate::cell::{Cell, Muxer, Outcome, Peer, Row, Security, Test, Transport};

/// Width of one test in the table.
const COLUMN: usize = 6;
/// Cells named for one cause; the JSON rows have them all.
const NAMED: usize = 8;

/// The table, a count, and every cell that did not pass with its cause.
pub(crate) fn report(rows: &[Row]) -> String {
    let mut text = table(rows);
    text.push('\n');
    text.push_str(&counts(rows));
    for (outcome, title) in [
        (Outcome::Fail, "Failed:"),
        (Outcome::Theirs, "Faults of theirs:"),
        (Outcome::Missing, "Missing, not run:"),
        (Outcome::Unsupported, "Not supported by a peer:"),
    ] {
        text.push_str(&causes(rows, &outcome, title));
    }
    text
}

fn table(rows: &[Row]) -> String {
    let groups: BTreeSet<_> = rows.iter().map(|row| group(&row.cell)).collect();
    let tests: BTreeSet<_> = rows.iter().map(|row| row.cell.test).collect();
    let mut pairs: Vec<(Peer, Peer)> = Vec::new();
    for row in rows {
        let pair = (row.cell.dialer, row.cell.listener);
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    let words = |word: &dyn Fn(Test) -> &'static str| -> String {
        tests
            .iter()
            .map(|test| format!("{:COLUMN$}", word(*test)))
            .collect()
    };
    let mut over = format!("{:18}", "");
    let mut under = format!("{:8}{:10}", "dialer", "listener");
    for group in &groups {
        let (title, width) = (title(*group), width(*group, tests.len()));
        let _fits = write!(over, "{title:width$}");
        let _fits = write!(under, "{:width$}", words(&short_test));
    }
    let mut lines = vec![over, under];
    for (dialer, listener) in pairs {
        let mut line = format!("{:8}{:10}", dialer.name(), listener.name());
        for &wanted in &groups {
            let word = |test| {
                let is_it = |row: &&Row| {
                    (row.cell.dialer, row.cell.listener) == (dialer, listener)
                        && group(&row.cell) == wanted
                        && row.cell.test == test
                };
                rows.iter()
                    .find(is_it)
                    .map_or("-", |row| short_outcome(&row.outcome))
            };
            let _fits = write!(
                line,
                "{:width$}",
                words(&word),
                width = width(wanted, tests.len())
            );
        }
        lines.push(line);
    }
    lines
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn title((transport, security, muxer): Stack) -> String {
    match transport {
        Transport::Tcp => format!("{}/{}", security.name(), muxer.name()),
        other => format!("{}/{}/{}", other.name(), security.name(), muxer.name()),
    }
}

/// Of a group of columns: its tests, or its title if that is longer.
fn width(group: Stack, tests: usize) -> usize {
    (tests * COLUMN).max(title(group).len() + 2)
}

/// What stands above a group of columns.
type Stack = (Transport, Security, Muxer);

fn group(cell: &Cell) -> Stack {
    (cell.transport, cell.security, cell.muxer)
}

fn counts(rows: &[Row]) -> String {
    let count = |wanted: &Outcome| rows.iter().filter(|row| row.outcome == *wanted).count();
    format!(
        "{} cells: {} pass, {} fail, {} theirs, {} unsupported, {} missing\n",
        rows.len(),
        count(&Outcome::Pass),
        count(&Outcome::Fail),
        count(&Outcome::Theirs),
        count(&Outcome::Unsupported),
        count(&Outcome::Missing),
    )
}

/// Every cell with this outcome; cells with the same cause share it.
fn causes(rows: &[Row], outcome: &Outcome, title: &str) -> String {
    let mut causes: Vec<(&str, Vec<Cell>)> = Vec::new();
    for row in rows.iter().filter(|row| row.outcome == *outcome) {
        match causes.iter_mut().find(|(cause, _)| *cause == row.detail) {
            Some((_, cells)) => cells.push(row.cell),
            None => causes.push((&row.detail, vec![row.cell])),
        }
    }
    let mut text = String::new();
    if !causes.is_empty() {
        let _fits = write!(text, "\n{title}\n");
    }
    for (cause, cells) in causes {
        for cell in cells.iter().take(NAMED) {
            let _fits = writeln!(text, "  {cell}");
        }
        if cells.len() > NAMED {
            let _fits = writeln!(text, "  and {} more", cells.len() - NAMED);
        }
        let _fits = writeln!(text, "      {}", cause.replace('\n', "\n      "));
    }
    text
}

fn short_test(test: Test) -> &'static str {
    match test {
        Test::Ping => "ping",
        Test::Identify => "iden",
        Test::Echo => "echo",
        Test::Transfer => "xfer",
        Test::Gossip => "goss",
        Test::GossipAnonymous => "gano",
        Test::GossipChain => "gchn",
        Test::Flood => "floo",
        Test::FloodAnonymous => "fano",
        Test::FloodLax => "flax",
    }
}

fn short_outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Fail => "FAIL",
        Outcome::Missing => "miss",
        Outcome::Pass => "ok",
        Outcome::Theirs => "their",
        Outcome::Unsupported => "n/a",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_pair_and_a_column_for_each_test() {
        let rows = [
            row(
                Peer::P2p,
                Peer::Go,
                Security::Plaintext,
                Test::Ping,
                Outcome::Pass,
                "",
            ),
            row(
                Peer::P2p,
                Peer::Go,
                Security::Noise,
                Test::Ping,
                Outcome::Fail,
                "why",
            ),
            row(
                Peer::P2p,
                Peer::Go,
                Security::Noise,
                Test::Echo,
                Outcome::Theirs,
                "their why",
            ),
            row(
                Peer::Js,
                Peer::P2p,
                Security::Plaintext,
                Test::Ping,
                Outcome::Missing,
                "no npm",
            ),
            row(
                Peer::Js,
                Peer::P2p,
                Security::Noise,
                Test::Ping,
                Outcome::Unsupported,
                "none",
            ),
        ];

        let expected = "                  plaintext/yamux  noise/yamux
dialer  listener  ping  echo       ping  echo
p2p     go        ok    -          FAIL  their
js      p2p       miss  -          n/a   -
";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn what_did_not_pass_is_named_with_its_cause_once() {
        let rows = [
            row(
                Peer::Js,
                Peer::P2p,
                Security::Noise,
                Test::Ping,
                Outcome::Missing,
                "no npm",
            ),
            row(
                Peer::Js,
                Peer::P2p,
                Security::Noise,
                Test::Echo,
                Outcome::Missing,
                "no npm",
            ),
            row(
                Peer::P2p,
                Peer::Go,
                Security::Noise,
                Test::Echo,
                Outcome::Pass,
                "3 ms",
            ),
        ];

        let text = report(&rows);

        assert!(text.contains("3 cells: 1 pass, 0 fail, 0 theirs, 0 unsupported, 2 missing\n"));
        assert!(text.contains(
            "  js -> p2p tcp/noise/yamux ping\n  js -> p2p tcp/noise/yamux echo\n      no npm\n"
        ));
        assert!(!text.contains("3 ms"));
    }

    fn row(
        dialer: Peer,
        listener: Peer,
        security: Security,
        test: Test,
        outcome: Outcome,
        detail: &str,
    ) -> Row {
        let (transport, muxer) = (Transport::Tcp, Muxer::Yamux);
        let cell = Cell {
            dialer,
            listener,
            transport,
            security,
            muxer,
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
