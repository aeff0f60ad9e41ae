//! Bars as SVG, drawn without help.

use std::fmt::Write as _;

use crate::Row;

/// p99 latency of every row, and what was lost.
pub(crate) fn latencies(rows: &[Row]) -> String {
    bars(
        rows,
        "p99 latency, ms (logarithmic)",
        |row| row.p99_ms,
        true,
    )
}

/// Copies for each delivery.
pub(crate) fn copies(rows: &[Row]) -> String {
    bars(
        rows,
        "copies received for each message delivered",
        |row| row.copies,
        false,
    )
}

fn bars(rows: &[Row], title: &str, value: impl Fn(&Row) -> f64, logarithmic: bool) -> String {
    let scaled = |value: f64| match logarithmic {
        true => (1.0 + value.max(0.0)).ln(),
        false => value.max(0.0),
    };
    let top = rows
        .iter()
        .map(|row| scaled(value(row)))
        .fold(1e-9, f64::max);
    let height = 40 + ROW * rows.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"13\">{title}</text>\n"
    );
    for (index, row) in rows.iter().enumerate() {
        let y = 30 + ROW * index;
        let length = (scaled(value(row)) / top * BAR).max(1.0);
        let lost = match row.delivered {
            all if all >= 1.0 => String::new(),
            part => format!(", {:.2} % lost", 100.0 * (1.0 - part)),
        };
        let _never_fails = writeln!(
            svg,
            "<text x=\"8\" y=\"{}\">{} · {}</text><rect x=\"{LEFT}\" y=\"{y}\" \
             width=\"{length:.1}\" height=\"{}\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{}\">{:.1}{lost}</text>",
            y + 11,
            row.scenario,
            row.router,
            ROW - 4,
            colour(row),
            f64::from(LEFT) + length + 4.0,
            y + 11,
            value(row),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn colour(row: &Row) -> &'static str {
    use crate::RouterKind::{Floodsub, Gossip1_0, Gossip1_1, Gossip1_2, Ours, Staggered};
    match row.router {
        Floodsub => "#b0b0b0",
        Gossip1_0 => "#d8a25c",
        Gossip1_1 => "#6b8fc9",
        Gossip1_2 => "#7fb3a6",
        Staggered => "#8fbf6b",
        Ours => "#3f8f4f",
    }
}

const WIDTH: usize = 900;
const ROW: usize = 18;
const LEFT: u32 = 250;
const BAR: f64 = 470.0;
