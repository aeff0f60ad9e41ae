//! What a run measured.

use std::fmt;
use std::fmt::Write as _;

/// Which router the honest nodes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouterKind {
    /// Floodsub: everything to everybody.
    Floodsub,
    /// Gossipsub 1.0: a mesh and gossip; no scores, no flooding of own messages, no backoff kept
    /// against those who come back too early.
    Gossip1_0,
    /// Gossipsub 1.1: scores, flood publishing, opportunistic grafting.
    Gossip1_1,
    /// 1.1 with IDONTWANT.
    Gossip1_2,
    /// 1.2 with copies held back from those who do not need them.
    Staggered,
    /// The above, and all other techniques: the defaults of `p2p-pubsub`.
    Ours,
}

impl fmt::Display for RouterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Floodsub => "floodsub",
            Self::Gossip1_0 => "gossipsub-1.0",
            Self::Gossip1_1 => "gossipsub-1.1",
            Self::Gossip1_2 => "idontwant",
            Self::Staggered => "staggered",
            Self::Ours => "p2p",
        })
    }
}

/// How large the simulated network is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Honest nodes.
    pub honest: usize,
    /// Sybil nodes in the scenarios that have them.
    pub sybils: usize,
    /// Every run draws its network and choices from it.
    pub seed: u64,
    /// Messages published in a second, all authors together.
    pub rate: u32,
}

impl Scale {
    /// That of the paper: 1,000 honest and 4,000 Sybil nodes.
    pub fn paper() -> Self {
        Self {
            honest: 1000,
            sybils: 4000,
            seed: 1,
            rate: 120,
        }
    }

    /// Small enough for a test: 12 honest and 24 Sybil nodes, a few messages a second.
    pub fn small() -> Self {
        Self {
            honest: 12,
            sybils: 24,
            seed: 1,
            rate: 3,
        }
    }
}

/// What one run measured.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// The scenario.
    pub scenario: String,
    /// What the honest nodes ran.
    pub router: RouterKind,
    /// The part of all deliveries, one for each message and honest subscriber, that happened.
    pub delivered: f64,
    /// Half of the deliveries took at most this long, in ms.
    pub p50_ms: f64,
    /// 99 of 100 deliveries took at most this long, in ms.
    pub p99_ms: f64,
    /// The longest delivery, in ms.
    pub max_ms: f64,
    /// Copies that honest nodes received for each message delivered.
    pub copies: f64,
    /// Copies that honest nodes sent for each message delivered, to Sybils as well.
    pub sent: f64,
    /// From the start of the attack until 99 of 100 honest nodes have enough honest peers in
    /// their mesh, in s; `None` if that is not asked, or never happened.
    pub recovery_s: Option<f64>,
    /// Messages published.
    pub messages: usize,
}

impl Row {
    /// As one JSON object.
    pub fn to_json(&self) -> String {
        let recovery = self
            .recovery_s
            .map_or_else(|| "null".to_owned(), |seconds| format!("{seconds:.1}"));
        format!(
            "{{\"scenario\":\"{}\",\"router\":\"{}\",\"delivered\":{:.6},\"p50_ms\":{:.1},\
             \"p99_ms\":{:.1},\"max_ms\":{:.1},\"copies\":{:.3},\"recovery_s\":{recovery},\
             \"sent\":{:.3},\"messages\":{}}}",
            self.scenario,
            self.router,
            self.delivered,
            self.p50_ms,
            self.p99_ms,
            self.max_ms,
            self.copies,
            self.sent,
            self.messages,
        )
    }
}

/// The rows as a table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| scenario | router | delivered | p50 ms | p99 ms | max ms | copies | sent | recovery s |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let recovery = row
            .recovery_s
            .map_or_else(String::new, |it| format!("{it:.0}"));
        let _never_fails = writeln!(
            text,
            "| {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.2} | {:.1} | {recovery} |",
            row.scenario,
            row.router,
            percent(row.delivered),
            row.p50_ms,
            row.p99_ms,
            row.max_ms,
            row.copies,
            row.sent,
        );
    }
    text
}

/// Never rounds a loss away.
fn percent(part: f64) -> String {
    match part {
        all if all >= 1.0 => "100 %".to_owned(),
        part => format!("{:.3} %", (100_000.0 * part).floor() / 1000.0),
    }
}
