//! `p2p sim`: a whole network in simulated time.

use std::collections::BTreeMap;
use std::time::Duration;

use p2p_gossip_sim::{Row, Scale, Suite};
use serde_json::Value;

use crate::cli;
use crate::failure::Failure;
use crate::output::{Output, Record, Style};
use crate::sim::{self, Plan, Report, Tally};
use crate::units;

/// Hosts of a run that does not say how many.
const HOSTS: u32 = 100;

/// Progress lines of a run.
const LINES: u32 = 10;

pub(crate) fn run(output: Output, args: &cli::Sim) -> Result<(), Failure> {
    if let Some(suite) = args.scenario.gossip() {
        return gossip(output, args, suite);
    }
    let plan = Plan {
        scenario: args.scenario,
        hosts: usize::try_from(args.hosts.unwrap_or(HOSTS)).unwrap_or(usize::MAX),
        length: Duration::from_secs(60) * args.minutes,
        seed: args.seed,
    };
    output.line(output.styled(Style::Bold, heading(&plan)));
    let rt = p2p::runtime::default_runtime();
    let start = rt.now();
    let mut shown = 0;
    let report = sim::run(plan, |done, tally| {
        let due = plan.length.saturating_mul(shown + 1) / LINES;
        if done >= due {
            shown += 1;
            progress(output, done, rt.now() - start, tally);
        }
    });
    let wall = rt.now() - start;
    show(output, &report, wall);
    output.record(&record(&report, wall));
    leftovers(&report)
}

/// Experiments with routers only; see `p2p-gossip-sim`.
fn gossip(output: Output, args: &cli::Sim, suite: Suite) -> Result<(), Failure> {
    let mut scale = Scale::paper();
    scale.seed = args.seed;
    if let Some(honest) = args.hosts.and_then(|hosts| usize::try_from(hosts).ok()) {
        scale.honest = honest;
        scale.sybils = 4 * honest;
    }
    let name = args.scenario.name();
    let heading = format!("{name}: {} honest nodes, seed {}", scale.honest, args.seed);
    output.line(output.styled(Style::Bold, heading));
    let rows = p2p_gossip_sim::run(suite, scale, &mut |row| show_row(output, row));
    let Some(folder) = &args.report else {
        return Ok(());
    };
    let (table, plot) = p2p_gossip_sim::page(suite, &rows);
    for (ending, text) in [("md", table), ("svg", plot)] {
        let path = folder.join(format!("{name}.{ending}"));
        std::fs::write(&path, text).map_err(|error| {
            let what = format!("cannot write {}", path.display());
            Failure::new(what, "report", error).help("check that the folder is there")
        })?;
    }
    Ok(())
}

fn show_row(output: Output, row: &Row) {
    let recovery = row.recovery_s.map(|it| format!(", recovered after {it} s"));
    output.line(format!(
        "{:18} {:14} {:8.3} % delivered, p50/p99/max {:5.0}/{:5.0}/{:5.0} ms, {:6.2} copies{}",
        row.scenario,
        row.router.to_string(),
        100.0 * row.delivered,
        row.p50_ms,
        row.p99_ms,
        row.max_ms,
        row.copies,
        recovery.unwrap_or_default(),
    ));
    let record = Record::new("gossip")
        .text("scenario", &row.scenario)
        .text("router", row.router)
        .with("delivered", row.delivered)
        .with("p50_ms", row.p50_ms)
        .with("p99_ms", row.p99_ms)
        .with("max_ms", row.max_ms)
        .with("copies", row.copies)
        .with("recovery_s", row.recovery_s)
        .with("messages", row.messages);
    output.record(&record);
}

fn heading(plan: &Plan) -> String {
    let Plan {
        scenario,
        hosts,
        length,
        seed,
    } = plan;
    let minutes = length.as_secs() / 60;
    let name = scenario.name();
    format!("{name}: {hosts} hosts for {minutes} simulated minutes, seed {seed}")
}

fn progress(output: Output, done: Duration, wall: Duration, tally: &Tally) {
    let (dialed, pings) = (tally.dialed, tally.pings.answered);
    let failures: u64 = tally.failures.values().sum();
    output.aside(format!(
        "  {:>6} s simulated in {:>6.1} s: {dialed} dialed, {pings} pings, {failures} failures",
        done.as_secs(),
        wall.as_secs_f64(),
    ));
}

fn show(output: Output, report: &Report, wall: Duration) {
    let tally = &report.tally;
    output.field(
        "connections",
        format!(
            "{} dialed, {} accepted, {} ends open at the end",
            tally.dialed, tally.accepted, report.ends_open
        ),
    );
    if let Some(crossing) = report.crossing {
        let (before, during, after) = (crossing.before, crossing.during, crossing.after);
        let text = format!("{before} ends before the cut, {during} at its end, {after} at the end");
        output.field("across", text);
    }
    if tally.left + tally.crashed > 0 {
        let text = format!("{} in order, {} by a crash", tally.left, tally.crashed);
        output.field("hosts left", text);
    }
    output.field("identified", format!("{} times", tally.identified));
    output.field("pings", pings(tally));
    causes(output, "failures", &tally.failures);
    causes(output, "ended", &tally.ended);
    output.field(
        "left over",
        leftover(report).unwrap_or_else(|| "nothing".to_owned()),
    );
    let virtual_time = report.plan.length;
    let speed = virtual_time.as_secs_f64() / wall.as_secs_f64().max(1e-9);
    output.field(
        "time",
        format!(
            "{} s simulated in {}: {speed:.1} times as fast",
            virtual_time.as_secs(),
            units::duration(wall)
        ),
    );
    if let Some(peak) = report.peak_memory {
        output.field("memory", format!("{} at most", units::bytes(peak)));
    }
    output.field("events", report.events);
    output.field("hash", report.hash);
}

fn pings(tally: &Tally) -> String {
    let pings = &tally.pings;
    match (pings.min, pings.average()) {
        (Some(min), Some(average)) => {
            let [min, average, max] = [min, average, pings.max].map(units::millis);
            let count = pings.answered;
            format!("{count} answered, min/avg/max {min:.3}/{average:.3}/{max:.3} ms")
        }
        _ => "none".to_owned(),
    }
}

fn causes(output: Output, name: &str, causes: &BTreeMap<String, u64>) {
    if causes.is_empty() {
        output.field(name, "none");
    }
    let mut name = name;
    for (cause, count) in causes {
        output.field(name, format!("{count} x {cause}"));
        name = "";
    }
}

/// What was not given back, if anything.
fn leftover(report: &Report) -> Option<String> {
    let leaked = report.tally.leaked;
    match (&report.left, leaked) {
        (None, 0) => None,
        (None, leaked) => Some(format!("{leaked} bytes of memory budget")),
        (Some(left), 0) => Some(left.clone()),
        (Some(left), leaked) => Some(format!("{left}\n{leaked} bytes of memory budget")),
    }
}

/// A run that leaves something behind has found a fault.
fn leftovers(report: &Report) -> Result<(), Failure> {
    let Some(left) = leftover(report) else {
        return Ok(());
    };
    let what = "the hosts left something behind when they shut down";
    let help = "this is a fault of the stack: please report it with the command that shows it";
    Err(Failure::new(what, "check", left).help(help))
}

fn record(report: &Report, wall: Duration) -> Record {
    let (plan, tally) = (&report.plan, &report.tally);
    let ms = |time: Option<Duration>| time.map(units::millis);
    let slowest = (tally.pings.answered > 0).then_some(tally.pings.max);
    let crossing = report.crossing.map(|crossing| {
        serde_json::json!({
            "before": crossing.before,
            "during": crossing.during,
            "after": crossing.after,
        })
    });
    Record::new("sim")
        .text("scenario", plan.scenario.name())
        .with("hosts", plan.hosts)
        .with("minutes", plan.length.as_secs() / 60)
        .with("seed", plan.seed)
        .text("hash", report.hash)
        .with("virtual_ms", units::millis(plan.length))
        .with("wall_ms", units::millis(wall))
        .with("peak_memory_bytes", report.peak_memory)
        .with("events", report.events)
        .with("polls", report.polls)
        .with("dialed", tally.dialed)
        .with("accepted", tally.accepted)
        .with("ends_open", report.ends_open)
        .with("crossing", crossing)
        .with("hosts_left", tally.left)
        .with("hosts_crashed", tally.crashed)
        .with("identified", tally.identified)
        .with("pings", tally.pings.answered)
        .with("ping_min_ms", ms(tally.pings.min))
        .with("ping_avg_ms", ms(tally.pings.average()))
        .with("ping_max_ms", ms(slowest))
        .with("failures", counts(&tally.failures))
        .with("ended", counts(&tally.ended))
        .with("events_missed", tally.missed)
        .with("left_over", leftover(report))
}

fn counts(causes: &BTreeMap<String, u64>) -> Value {
    let entries = causes.iter();
    entries
        .map(|(cause, count)| (cause.clone(), Value::from(*count)))
        .collect()
}
