//! The table for people. Pure: rows in, text out.
//!
//! ```text
//! tcp/noise/yamux
//! dialer  listener  ping  iden  echo  xfer
//! p2p     go        ok    ok    ok    FAIL
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

/// One block for each stack.
fn table(rows: &[Row]) -> String {
    let stacks: BTreeSet<_> = rows.iter().map(|row| stack(&row.cell)).collect();
    let blocks: Vec<_> = stacks.iter().map(|stack| block(rows, *stack)).collect();
    blocks.join("\n")
}

type Stack = (Transport, Security, Muxer);

fn stack(cell: &Cell) -> Stack {
    (cell.transport, cell.security, cell.muxer)
}

fn block(rows: &[Row], wanted: Stack) -> String {
    let rows: Vec<&Row> = rows.iter().filter(|it| stack(&it.cell) == wanted).collect();
    let tests: BTreeSet<_> = rows.iter().map(|row| row.cell.test).collect();
    let mut pairs: Vec<(Peer, Peer)> = Vec::new();
    for row in &rows {
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
    let title = rows
        .first()
        .map_or_else(String::new, |row| row.cell.stack());
    let mut lines = vec![
        title,
        format!("{:8}{:10}{}", "dialer", "listener", words(&short_test)),
    ];
    for (dialer, listener) in pairs {
        let word = |test| {
            let is_it = |row: &&&Row| {
                (row.cell.dialer, row.cell.listener, row.cell.test) == (dialer, listener, test)
            };
            let of_it = rows.iter().filter(is_it).map(|row| row.outcome.clone());
            let outcome = of_it.reduce(|one, other| worst(&one, &other));
            outcome.as_ref().map_or("-", short_outcome)
        };
        let (dialer, listener) = (dialer.name(), listener.name());
        lines.push(format!("{dialer:8}{listener:10}{}", words(&word)));
    }
    lines
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// What counts of several runs of one cell.
pub(crate) fn worst(one: &Outcome, other: &Outcome) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Pass => 0,
        Outcome::Unsupported => 1,
        Outcome::Theirs => 2,
        Outcome::Missing => 3,
        Outcome::Fail => 4,
    };
    if rank(one) >= rank(other) { one } else { other }.clone()
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
        Test::Gossip1_0 => "gs10",
        Test::Gossip1_1 => "gs11",
        Test::Gossip1_2 => "gs12",
        Test::Gossip1_3 => "gs13",
        Test::GossipAnonymous => "gano",
        Test::GossipChain => "gchn",
        Test::Flood => "floo",
        Test::FloodAnonymous => "fano",
        Test::FloodLax => "flax",
        Test::Orders => "order",
        Test::Reset => "reset",
        Test::Codes => "codes",
        Test::Streams => "many",
        Test::Slow => "slow",
        Test::Big => "big",
        Test::Close => "close",
        Test::Choose => "chose",
        Test::Late => "late",
        Test::Push => "push",
        Test::Mdns => "mdns",
        Test::Name => "name",
        Test::Private => "priv",
        Test::PrivateOther => "other",
        Test::KeyEd25519 => "ed",
        Test::KeySecp256k1 => "secp",
        Test::KeyEcdsa => "ecdsa",
        Test::KeyRsa => "rsa",
        Test::Minute => "min",
        Test::Idle => "idle",
        Test::Hour => "hour",
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

        let expected = "tcp/plaintext/yamux
dialer  listener  ping
p2p     go        ok
js      p2p       miss

tcp/noise/yamux
dialer  listener  ping  echo
p2p     go        FAIL  their
js      p2p       n/a   -
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
