//! A suite of scenarios, one JSON object a line:
//! `cargo run --release -p p2p-gossip-sim --example gossip_sim -- paper|frontier [honest [sybils
//! [part of a scenario's name]]]`.

use p2p_gossip_sim::{Scale, Suite, run_some};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let suite = match args.get(1).map(String::as_str) {
        Some("frontier") => Suite::Frontier,
        Some(_) | None => Suite::Paper,
    };
    let number = |at: usize| args.get(at).and_then(|text| text.parse().ok());
    let mut scale = Scale::paper();
    scale.honest = number(2).unwrap_or(scale.honest);
    scale.sybils = number(3).unwrap_or(scale.sybils);
    let only = args.get(4).map_or("", String::as_str);
    run_some(suite, scale, only, &mut |row| println!("{}", row.to_json()));
}
