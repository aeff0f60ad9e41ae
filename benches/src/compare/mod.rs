//! Ours beside the others: the same job, turn by turn, in one run.
//!
//! ```text
//!   for each case:  ours, peer, ours, peer, …   (a fresh listener and dialer for each turn)
//!     medians ──► ratio (above 1: ours is better) ──► table, --json, docs/benchmarks.md
//! ```

mod cases;
mod docs;
mod peers;
mod run;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::node::Result;
use crate::node::measure::round;
pub(crate) use cases::Case;

/// The flags of the runner.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Only rows whose name begins so, such as `bulk` or `bulk tls,conn noise+yamux`. Jobs: bulk,
    /// small-writes, conn, rpc, pingpong, memory, rtt, link, muxer, runtime, floor, gossip.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Turns of each.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Write a JSON object per job and peer, as an array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write tables and plots to this file of Markdown, and plots beside it.
    #[arg(long, value_name = "FILE")]
    docs: Option<PathBuf>,
    /// Whom to measure against.
    #[arg(long, value_delimiter = ',', default_value = "rust,go,js")]
    peer: Vec<String>,
}

/// A case measured against one peer.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) peer: String,
    pub(crate) ours: Spread,
    pub(crate) theirs: Spread,
    /// CPU of both ends for the same work; none where it says nothing.
    pub(crate) cpu: Option<(Spread, Spread)>,
    /// Peak memory of the two ends together, in MiB.
    pub(crate) peak: (f64, f64),
    pub(crate) runs: usize,
}

/// Median, least and most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        Some(Self {
            median: *samples.get(samples.len() / 2)?,
            least: *samples.first()?,
            most: *samples.last()?,
        })
    }
}

impl Row {
    /// How many times better ours is.
    pub(crate) fn ratio(&self) -> f64 {
        let (ours, theirs) = (self.ours.median, self.theirs.median);
        if self.case.more_is_better {
            ours / theirs
        } else {
            theirs / ours
        }
    }

    /// How many times less CPU ours takes.
    pub(crate) fn cpu_ratio(&self) -> Option<f64> {
        let (ours, theirs) = self.cpu?;
        (ours.median > 0.0).then(|| theirs.median / ours.median)
    }

    fn json(&self) -> Value {
        json!({
            "job": self.case.job,
            "security": self.case.security,
            "muxer": self.case.muxer,
            "streams": self.case.streams,
            "write": self.case.write,
            "ours": round(self.ours.median),
            "peer": round(self.theirs.median),
            "peer_name": self.peer,
            "unit": self.case.unit,
            "ratio": round(self.ratio()),
            "cpu_ratio": self.cpu_ratio().map(round),
            "runs": self.runs,
        })
    }

    fn line(&self) -> String {
        let Spread {
            median,
            least,
            most,
        } = self.ours;
        let theirs = self.theirs;
        let cpu = self.cpu_ratio();
        format!(
            "{:44} {:>9.4} ({least:.4}–{most:.4})  {:8} {:>9.4} ({:.4}–{:.4}) {:8} {:>6.2}×  CPU {}  peak {:.0}/{:.0} MiB",
            self.case.name(),
            median,
            self.peer,
            theirs.median,
            theirs.least,
            theirs.most,
            self.case.unit,
            self.ratio(),
            cpu.map_or_else(|| "–".to_owned(), |cpu| format!("{cpu:.2}×")),
            self.peak.0,
            self.peak.1,
        )
    }
}

/// Runs all cases that `args` select.
pub(crate) fn compare(args: &Args) -> Result<()> {
    let programs = peers::install(&args.peer);
    let mut rows = Vec::new();
    for case in cases::all() {
        let name = case.name();
        if !args.only.is_empty() && !args.only.iter().any(|only| name.starts_with(only)) {
            continue;
        }
        for row in run::rows(&case, &programs, args.runs) {
            println!("{}", row.line());
            rows.push(row);
        }
        // After each case: what was measured stays if the rest is given up.
        if let Some(file) = &args.json {
            let rows: Vec<Value> = rows.iter().map(Row::json).collect();
            fs::write(file, format!("{:#}\n", Value::Array(rows)))?;
        }
        if let Some(file) = &args.docs {
            docs::write(file, &rows)?;
        }
    }
    if rows.is_empty() {
        return Err("nothing was measured".into());
    }
    Ok(())
}
