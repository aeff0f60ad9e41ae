//! Tables and plots for the book.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::{Row, Spread};
use crate::node::Result;
use crate::node::measure::round;

/// What stands before and after the generated part of the file.
const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Puts the tables between the markers of `file`, and a plot per job beside it.
pub(crate) fn write(file: &Path, rows: &[Row]) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let (head, rest) = text.split_once(BEGIN).ok_or("no place for the tables")?;
    let (_, tail) = rest.split_once(END).ok_or("no end of the tables")?;
    let plots = file.with_file_name("benchmarks.svg");
    fs::write(&plots, plot(rows))?;
    let table = table(rows);
    fs::write(
        file,
        format!("{head}{BEGIN}\n{table}\n![ratios](benchmarks.svg)\n{END}{tail}"),
    )?;
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| job | stack | × | write, B | against | ours | theirs | unit | ratio | CPU ratio | peak MiB, ours / theirs |\n\
         |---|---|--:|--:|---|--:|--:|---|--:|--:|--:|\n",
    );
    for row in rows {
        let case = &row.case;
        let cpu = row.cpu_ratio();
        let cpu = cpu.map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.2}"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {}+{} | {} | {} | {} | {} | {} | {} | **{:.2}** | {cpu} | {:.0} / {:.0} |",
            case.job,
            case.security,
            case.muxer,
            case.streams,
            case.write,
            row.peer,
            spread(row.ours),
            spread(row.theirs),
            case.unit,
            row.ratio(),
            row.peak.0,
            row.peak.1,
        );
    }
    text
}

fn spread(spread: Spread) -> String {
    let Spread {
        median,
        least,
        most,
    } = spread;
    format!("{} ({}–{})", round(median), round(least), round(most))
}

/// Height of a bar with its gap, and where bars begin, in pixels.
const BAR: usize = 22;
const LEFT: usize = 330;
/// What a ratio of one is wide, in pixels.
const ONE: f64 = 60.0;

/// One bar per row: how many times better ours is, with a line at 1.
fn plot(rows: &[Row]) -> String {
    let height = rows.len() * BAR + 40;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"1000\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"16\">times better than the other (line: equal)</text>\n"
    );
    for (at, row) in rows.iter().enumerate() {
        let y = at * BAR + 28;
        let ratio = row.ratio();
        let width = (ratio * ONE).clamp(1.0, 600.0);
        let color = if ratio < 1.0 { "#c0392b" } else { "#2471a3" };
        let _ = writeln!(
            svg,
            "<text x=\"4\" y=\"{}\">{} vs {}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.0}\" \
             height=\"16\" fill=\"{color}\"/><text x=\"{:.0}\" y=\"{}\">{ratio:.2}</text>",
            y + 13,
            row.case.name(),
            row.peer,
            330.0 + width + 4.0,
            y + 13,
        );
    }
    let line = 330.0 + ONE;
    let _ = writeln!(
        svg,
        "<line x1=\"{line}\" x2=\"{line}\" y1=\"20\" y2=\"{height}\" stroke=\"black\"/></svg>"
    );
    svg
}
