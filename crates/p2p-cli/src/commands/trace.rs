//! `p2p trace view`: a trace as a page.

use std::fs;

use serde_json::Value;

use crate::cli::TraceView;
use crate::failure::Failure;
use crate::output::{Output, Record};

/// The page, with a place for the events. Needs nothing from elsewhere.
const PAGE: &str = include_str!("replay.html");
const PLACE: &str = "/*EVENTS*/";

pub(crate) fn view(output: Output, args: &TraceView) -> Result<(), Failure> {
    let mut events = Vec::new();
    for file in &args.files {
        let what = || format!("cannot read {}", file.display());
        let text = fs::read_to_string(file).map_err(|error| Failure::new(what(), "read", error))?;
        for (number, line) in text.lines().enumerate() {
            let event: Value = serde_json::from_str(line).map_err(|error| {
                Failure::new(what(), "read", format!("line {}: {error}", number + 1))
                    .help("traces are written by `p2p sub TOPIC --trace FILE`")
            })?;
            events.push(event);
        }
    }
    let count = events.len();
    // A `<` could end the script that holds the events.
    let json = Value::Array(events).to_string().replace('<', "\\u003c");
    let page = args.out.clone().unwrap_or_else(|| {
        let first = args.files.first().cloned().unwrap_or_default();
        first.with_extension("html")
    });
    fs::write(&page, PAGE.replace(PLACE, &json)).map_err(|error| {
        let what = format!("cannot write {}", page.display());
        Failure::new(what, "write", error).help("choose another file with --out")
    })?;
    output.line(format!("{count} events in {}", page.display()));
    let record = Record::new("trace")
        .with("events", count)
        .text("page", page.display());
    output.record(&record);
    Ok(())
}
