//! What a swarm does, as [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/)
//! text. Behind the feature `metrics`.
//!
//! Reading costs one look at every connection; not reading costs nothing.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use p2p_core::Protocol;

use crate::Swarm;
use crate::error::Step;
use crate::stats::{Histogram, Stats};

/// The content type to serve [`render`]'s text with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted, as OpenMetrics text that ends with `# EOF`.
///
/// Names begin with `p2p_swarm_`. No label holds anything that a remote chose, except the names of
/// protocols that we answer ourselves.
pub fn render(swarm: &Swarm) -> String {
    let mut text = Text(String::new());
    // Writing to a string does not fail.
    let _ = write_all(&mut text, swarm);
    text.0 + "# EOF\n"
}

fn write_all(text: &mut Text, swarm: &Swarm) -> fmt::Result {
    write_gauges(text, swarm)?;
    let stats = swarm.stats();
    write_connections(text, &stats)?;
    write_failures(text, &stats)?;
    text.counter(
        "streams_opened",
        "Streams that we opened",
        stats.streams_opened,
    )?;
    text.counter(
        "streams_accepted",
        "Streams that others opened",
        stats.streams_accepted,
    )?;
    text.counter(
        "streams_failed",
        "Streams that others opened and that ended before they had a protocol",
        stats.streams_failed,
    )?;
    if swarm.config().count_bytes {
        text.family(
            "traffic_bytes",
            "counter",
            "Bytes on links, security included",
        )?;
        text.labelled("traffic_bytes_total", "direction", "read", stats.bytes_read)?;
        text.labelled(
            "traffic_bytes_total",
            "direction",
            "written",
            stats.bytes_written,
        )?;
    }
    text.histogram(
        "transport_seconds",
        "To connect a socket",
        &stats.transport_time,
    )?;
    text.histogram("security_seconds", "To secure a link", &stats.security_time)?;
    text.histogram(
        "muxer_seconds",
        "To agree on a multiplexer",
        &stats.muxer_time,
    )?;
    text.histogram(
        "lifetime_seconds",
        "How long connections lived",
        &stats.lifetime,
    )
}

fn write_connections(text: &mut Text, stats: &Stats) -> fmt::Result {
    let opened = "connections_opened_total";
    text.family(
        "connections_opened",
        "counter",
        "Connections that became ready, by our role",
    )?;
    text.labelled(opened, "role", "dialer", stats.connections_dialed)?;
    text.labelled(opened, "role", "listener", stats.connections_accepted)?;
    text.family(
        "connections_ended",
        "counter",
        "Connections that ended, by who is to blame",
    )?;
    for (blame, count) in ["us", "remote", "network"]
        .into_iter()
        .zip(stats.connections_ended)
    {
        text.labelled("connections_ended_total", "blame", blame, count)?;
    }
    let (trimmed, supplanted) = (stats.connections_trimmed, stats.connections_supplanted);
    text.counter(
        "connections_trimmed",
        "Closed because there were too many",
        trimmed,
    )?;
    text.counter(
        "connections_supplanted",
        "Closed because there was a better one",
        supplanted,
    )
}

fn write_failures(text: &mut Text, stats: &Stats) -> fmt::Result {
    let dials = stats.dials_failed;
    text.counter(
        "dials_failed",
        "Dials that ended without a connection",
        dials,
    )?;
    let attempts = &stats.attempts_failed;
    text.by_step(
        "attempts_failed",
        "Addresses tried in vain, by step",
        attempts,
    )?;
    let incoming = &stats.incoming_failed;
    text.by_step(
        "incoming_failed",
        "Incoming connections that failed, by step",
        incoming,
    )?;
    text.family(
        "limits_hit",
        "counter",
        "Refusals, by the setting that raises the limit",
    )?;
    for (setting, count) in &stats.limits_hit {
        text.labelled("limits_hit_total", "setting", setting, *count)?;
    }
    Ok(())
}

fn write_gauges(text: &mut Text, swarm: &Swarm) -> fmt::Result {
    let usage = swarm.usage();
    let limits = &swarm.config().limits;
    let held = [
        (
            "connections",
            usage.connections,
            Some(limits.max_connections),
        ),
        (
            "pending_incoming",
            usage.pending_incoming,
            Some(limits.max_pending_incoming),
        ),
        (
            "pending_dials",
            usage.pending_dials,
            Some(limits.max_pending_dials),
        ),
        ("incoming_streams", usage.streams, Some(limits.max_streams)),
        (
            "known_peers",
            usage.known_peers,
            Some(limits.max_known_peers),
        ),
        ("peers", usage.peers, None),
        ("tasks", usage.tasks, None),
    ];
    text.family("used", "gauge", "What is held now")?;
    for (what, used, _) in held {
        text.labelled("used", "what", what, count(used))?;
    }
    text.family("limit", "gauge", "The most that may be held")?;
    for (what, _, limit) in held {
        if let Some(limit) = limit {
            text.labelled("limit", "what", what, count(limit))?;
        }
    }
    // Families of their own: one family has one unit.
    let (held, budget) = (count(usage.memory), count(limits.memory_budget));
    text.gauge("memory_bytes", "Memory held on behalf of remotes", held)?;
    text.gauge("memory_budget_bytes", "The most memory that may be", budget)?;
    write_connected(text, swarm)
}

fn write_connected(text: &mut Text, swarm: &Swarm) -> fmt::Result {
    let snapshot = swarm.snapshot();
    let mut security: BTreeMap<&str, u64> = BTreeMap::new();
    let mut streams = 0;
    let mut serving: BTreeMap<&Protocol, u64> = BTreeMap::new();
    for connection in &snapshot.connections {
        let name = connection.info.security.as_ref();
        *security
            .entry(name.map_or("transport", |name| name.as_str()))
            .or_default() += 1;
        streams += count(connection.streams);
        for (protocol, streams) in &connection.serving {
            *serving.entry(protocol).or_default() += count(*streams);
        }
    }
    text.family("secured_by", "gauge", "Connections, by secure channel")?;
    for (name, count) in security {
        text.labelled("secured_by", "security", name, count)?;
    }
    text.family("serving", "gauge", "Incoming streams being served")?;
    for (protocol, count) in serving {
        text.labelled("serving", "protocol", protocol.as_str(), count)?;
    }
    text.gauge(
        "open_streams",
        "Streams that are open, both directions together",
        streams,
    )
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// A bound as the specification wants numbers in labels: `0.003`, `0.1`, `10.0`.
fn seconds(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    let short = text.trim_end_matches('0');
    match short.ends_with('.') {
        true => format!("{short}0"),
        false => short.to_owned(),
    }
}

/// Text under way. Label values are names of ours: nothing needs to be escaped.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        writeln!(self.0, "# TYPE p2p_swarm_{name} {kind}")?;
        if let Some(unit) = ["seconds", "bytes"]
            .iter()
            .find(|unit| name.ends_with(&format!("_{unit}")))
        {
            writeln!(self.0, "# UNIT p2p_swarm_{name} {unit}")?;
        }
        writeln!(self.0, "# HELP p2p_swarm_{name} {help}.")
    }

    fn sample(&mut self, name: &str, value: u64) -> fmt::Result {
        writeln!(self.0, "p2p_swarm_{name} {value}")
    }

    fn labelled(&mut self, name: &str, label: &str, is: &str, value: u64) -> fmt::Result {
        let is = is
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        writeln!(self.0, "p2p_swarm_{name}{{{label}=\"{is}\"}} {value}")
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, "gauge", help)?;
        self.sample(name, value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, "counter", help)?;
        self.sample(&format!("{name}_total"), value)
    }

    fn by_step(&mut self, name: &str, help: &str, counts: &BTreeMap<Step, u64>) -> fmt::Result {
        self.family(name, "counter", help)?;
        for (step, count) in counts {
            self.labelled(&format!("{name}_total"), "step", &step.to_string(), *count)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        self.family(name, "histogram", help)?;
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in Histogram::BOUNDS.iter().zip(histogram.counts) {
            below += count;
            self.labelled(&bucket, "le", &seconds(*bound), below)?;
        }
        self.labelled(&bucket, "le", "+Inf", histogram.count())?;
        self.sample(&format!("{name}_count"), histogram.count())?;
        let sum = histogram.sum;
        writeln!(
            self.0,
            "p2p_swarm_{name}_sum {}.{:09}",
            sum.as_secs(),
            sum.subsec_nanos()
        )
    }
}
