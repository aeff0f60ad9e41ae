//! A suite of scenarios, one JSON object a line; with a folder, a report in it as well:
//! `cargo run --release -p p2p-gossip-sim --example gossip_sim -- paper|frontier [honest [sybils
//! [part of scenario/router [folder]]]]`.

use std::path::Path;

use p2p_gossip_sim::{Scale, Suite, page, run_some};

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let (suite, name) = match args.get(1).map(String::as_str) {
        Some("frontier") => (Suite::Frontier, "gossip-frontier"),
        Some(_) | None => (Suite::Paper, "gossip-paper"),
    };
    let number = |at: usize| args.get(at).and_then(|text| text.parse().ok());
    let mut scale = Scale::paper();
    scale.honest = number(2).unwrap_or(scale.honest);
    scale.sybils = number(3).unwrap_or(scale.sybils);
    let only = args.get(4).map_or("", String::as_str);
    let rows = run_some(suite, scale, only, &mut |row| println!("{}", row.to_json()));
    if let Some(folder) = args.get(5) {
        let (table, plot) = page(suite, &rows);
        std::fs::write(Path::new(folder).join(format!("{name}.md")), table)?;
        std::fs::write(Path::new(folder).join(format!("{name}.svg")), plot)?;
    }
    Ok(())
}
