//! `docs/grafana-dashboard.json` asks for nothing that nodes do not export.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken helper or a missing key is a failed test"
)]
#[path = "support/openmetrics.rs"]
mod openmetrics;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use p2p::core::TcpOptions;
use p2p::{Host, Stream};
use p2p_sim::Sim;
use serde_json::{Value, json};

const DASHBOARD: &str = include_str!("../../../docs/grafana-dashboard.json");

/// What Prometheus itself adds to every sample.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];

/// What our queries may say beside names of metrics and labels.
const PROMQL: [&str; 9] = [
    "avg",
    "by",
    "histogram_quantile",
    "increase",
    "label_values",
    "max",
    "rate",
    "sum",
    "without",
];

#[test]
fn every_query_asks_for_what_is_exported() {
    let exported = exported();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let unknown = unknown(&dashboard, &exported);
    assert!(
        unknown.is_empty(),
        "docs/grafana-dashboard.json:\n  {}",
        unknown.join("\n  ")
    );
    // The other way round: what is counted can be seen. Of a histogram only the buckets are read.
    let families = exported.keys().filter(|name| {
        let part = ["_sum", "_count"].iter().any(|end| name.ends_with(end));
        !part
    });
    let unseen: Vec<&String> = families.filter(|name| !DASHBOARD.contains(*name)).collect();
    assert!(unseen.is_empty(), "on no panel: {unseen:?}");
}

#[test]
fn it_is_a_dashboard_that_grafana_can_import() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert_eq!(flaws(&dashboard), Vec::<String>::new());
}

#[test]
fn what_is_unknown_is_named_with_its_panel() {
    let exported = exported();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    for (change, to, complaint) in [
        (
            "p2p_swarm_used{",
            "p2p_swarm_using{",
            "Connections: no metric p2p_swarm_using",
        ),
        (
            "what=\\\"peers\\\"",
            "who=\\\"peers\\\"",
            "Connections: p2p_swarm_used has no label who",
        ),
        (
            "what=\\\"peers\\\"",
            "what=\\\"friends\\\"",
            "Connections: p2p_swarm_used has no what=\"friends\"",
        ),
        (
            "{{role}}",
            "{{side}}",
            "Connections made and ended: nothing in \"made as {{side}}\" has a label side",
        ),
        (
            "sum by (le)",
            "sum by (ge)",
            "Time to connect a socket: p2p_swarm_transport_seconds_bucket has no label ge",
        ),
        (
            "\"rate(p2p_swarm_traffic",
            "\"rat(p2p_swarm_traffic",
            "Traffic (with count_bytes): unknown word rat",
        ),
    ] {
        let text = DASHBOARD.replacen(change, to, 1);
        assert_ne!(text, DASHBOARD, "{change} is not in it");
        let unknown = unknown(&serde_json::from_str(&text).unwrap(), &exported);
        assert_eq!(unknown, [complaint]);
    }
    let mut twice = dashboard.clone();
    twice["panels"][1]["id"] = json!(1);
    twice["panels"][1]["gridPos"]["x"] = json!(11);
    assert_eq!(
        flaws(&twice),
        [
            "id 1 twice",
            "Memory on behalf of remotes lies over Connections"
        ]
    );
}

// ---- what nodes export ----

/// Labels and their values of every sample that a busy node exports, by name.
type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn exported() -> Exported {
    let text = metrics_of_a_busy_node();
    let families = openmetrics::parse(&text).unwrap();
    let mut exported = Exported::new();
    for (name, family) in families {
        assert!(
            !family.samples.is_empty(),
            "the node has no {name} to tell of"
        );
        for sample in family.samples {
            let labels = exported.entry(sample.name).or_default();
            for (label, value) in sample.labels {
                labels.entry(label).or_default().insert(value);
            }
        }
    }
    exported
}

/// A node that has dialed in vain, refused, served and counted: no family is empty.
fn metrics_of_a_busy_node() -> String {
    let sim = Sim::new(1);
    let (alice, bob) = (sim.host("alice"), sim.host("bob"));
    let mallory = sim.host_at("mallory", [std::net::Ipv4Addr::new(192, 0, 2, 1)]);
    sim.block_on(async {
        let mut config = p2p::Config::default();
        config.count_bytes = true;
        config.limits.max_pending_per_prefix = 1;
        let node = |host: &p2p_sim::Host| Host::builder().runtime(host.rt()).quic(None);
        let a = node(&alice).config(config).build().await.unwrap();
        let b = node(&bob).build().await.unwrap();
        a.handle("/echo/1.0.0", |stream: Stream| async move {
            let (reader, mut writer) = stream.split();
            futures::io::copy(reader, &mut writer).await?;
            writer.close().await
        })
        .unwrap();
        let addr = format!("/ip4/{}/tcp/1", alice.ip());
        let addr = a.listen(addr.as_str()).await.unwrap();
        let mut stream = b.open(&addr, "/echo/1.0.0").await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        let nobody = format!("/ip4/{}/tcp/9", bob.ip());
        a.dial(nobody.as_str()).await.unwrap_err();

        let (rt, to) = (mallory.rt(), alice.socket(1));
        let options = TcpOptions::default();
        let connects = (0..3).map(|_| rt.net().tcp_connect(to, &options));
        let held = futures::future::join_all(connects).await;
        rt.sleep(Duration::from_secs(1)).await;
        let text = p2p::swarm::metrics::render(a.swarm());
        drop((stream, held));
        text
    })
}

// ---- what the dashboard asks for ----

/// Everything that its queries name and that nobody exports.
fn unknown(dashboard: &Value, exported: &Exported) -> Vec<String> {
    let mut unknown = Vec::new();
    for variable in list(&dashboard["templating"]["list"]) {
        if variable["type"] == "query" {
            let query = Query::parse(text(&variable["query"]));
            let name = text(&variable["name"]);
            unknown.extend(
                query
                    .unknown(exported)
                    .into_iter()
                    .map(|what| format!("${name}: {what}")),
            );
        }
    }
    for panel in list(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        for target in list(&panel["targets"]) {
            let query = Query::parse(text(&target["expr"]));
            let mut found = query.unknown(exported);
            let legend = text(&target["legendFormat"]);
            for label in legend
                .split("{{")
                .skip(1)
                .filter_map(|rest| rest.split_once("}}"))
            {
                let label = label.0.trim();
                let known = query
                    .metrics
                    .iter()
                    .filter_map(|(metric, _)| exported.get(metric))
                    .any(|labels| labels.contains_key(label));
                if !known && !TARGET_LABELS.contains(&label) {
                    found.push(format!("nothing in {legend:?} has a label {label}"));
                }
            }
            unknown.extend(found.into_iter().map(|what| format!("{title}: {what}")));
        }
    }
    unknown
}

/// The names in a query.
#[derive(Debug, Default)]
struct Query {
    /// Each with its matchers.
    metrics: Vec<(String, Vec<Matcher>)>,
    /// What is grouped by.
    by: Vec<String>,
    /// What is none of these.
    words: Vec<String>,
}

/// Label, operator, value.
type Matcher = (String, String, String);

impl Query {
    fn parse(expr: &str) -> Self {
        let mut query = Self::default();
        let mut rest = expr;
        while let Some(at) = rest.find(|c: char| c.is_alphanumeric() || "\"[$_".contains(c)) {
            rest = &rest[at..];
            // Strings, and the time that a rate is taken over.
            let skipped = match rest.as_bytes()[0] {
                b'"' => rest[1..].find('"').map(|end| end + 2),
                b'[' => rest.find(']'),
                _ => None,
            };
            if let Some(end) = skipped {
                rest = &rest[end..];
                continue;
            }
            let end = rest[1..].find(|c: char| !c.is_alphanumeric() && !"_:.".contains(c));
            let (word, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            rest = after;
            if word.starts_with("p2p_") {
                let mut matchers = Vec::new();
                if let Some((inside, after)) =
                    rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
                {
                    matchers = inside.split(',').map(matcher).collect();
                    rest = after;
                }
                query.metrics.push((word.to_owned(), matchers));
            } else if matches!(word, "by" | "without") {
                let (inside, after) = rest.trim_start()[1..].split_once(')').unwrap();
                let labels = inside.split(',').map(|label| label.trim().to_owned());
                query.by.extend(labels);
                rest = after;
            } else if word.parse::<f64>().is_err() {
                query.words.push(word.to_owned());
            }
        }
        query
    }

    fn unknown(&self, exported: &Exported) -> Vec<String> {
        let mut unknown = Vec::new();
        for (metric, matchers) in &self.metrics {
            let Some(labels) = exported.get(metric) else {
                unknown.push(format!("no metric {metric}"));
                continue;
            };
            let named = matchers.iter().map(|(label, _, _)| label).chain(&self.by);
            for label in named {
                if !labels.contains_key(label) && !TARGET_LABELS.contains(&label.as_str()) {
                    unknown.push(format!("{metric} has no label {label}"));
                }
            }
            for (label, operator, value) in matchers {
                let values = labels.get(label).filter(|_| operator == "=");
                if values.is_some_and(|values| !values.contains(value)) {
                    unknown.push(format!("{metric} has no {label}={value:?}"));
                }
            }
        }
        let known = |word: &str| PROMQL.contains(&word) || TARGET_LABELS.contains(&word);
        let words = self.words.iter().filter(|word| !known(word));
        unknown.extend(words.map(|word| format!("unknown word {word}")));
        unknown
    }
}

/// `label="value"`, `label=~"value"`
fn matcher(text: &str) -> Matcher {
    let (before, value) = text.split_once('"').unwrap();
    let label = before.trim_end_matches(['=', '~', '!']);
    (
        label.trim().to_owned(),
        before[label.len()..].to_owned(),
        value.trim_end_matches('"').to_owned(),
    )
}

/// What keeps Grafana from importing it, or makes panels hide each other.
fn flaws(dashboard: &Value) -> Vec<String> {
    let mut flaws = Vec::new();
    for key in ["title", "uid", "schemaVersion", "time", "refresh"] {
        if dashboard[key].is_null() {
            flaws.push(format!("no {key}"));
        }
    }
    let variables: Vec<String> = list(&dashboard["templating"]["list"])
        .iter()
        .map(|variable| format!("${{{}}}", text(&variable["name"])))
        .collect();
    let mut ids = BTreeSet::new();
    let mut places: Vec<(&str, [u64; 4])> = Vec::new();
    for panel in list(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        if !ids.insert(panel["id"].as_u64()) {
            flaws.push(format!("id {} twice", panel["id"]));
        }
        let source = text(&panel["datasource"]["uid"]).to_owned();
        if !variables.contains(&source) {
            flaws.push(format!("{title}: no data source {source}"));
        }
        if text(&panel["type"]).is_empty() || list(&panel["targets"]).is_empty() {
            flaws.push(format!("{title}: shows nothing"));
        }
        let refs: Vec<&str> = list(&panel["targets"])
            .iter()
            .map(|target| text(&target["refId"]))
            .collect();
        if refs.iter().collect::<BTreeSet<_>>().len() != refs.len() {
            flaws.push(format!("{title}: refId twice in {refs:?}"));
        }
        let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap_or(0));
        let [x, y, w, h] = place;
        if w == 0 || h == 0 || x + w > 24 {
            flaws.push(format!("{title}: not on the grid of 24 columns"));
        }
        let over = places
            .iter()
            .find(|(_, [ox, oy, ow, oh])| x < ox + ow && *ox < x + w && y < oy + oh && *oy < y + h);
        if let Some((other, _)) = over {
            flaws.push(format!("{title} lies over {other}"));
        }
        places.push((title, place));
    }
    if places.is_empty() {
        flaws.push("no panels".to_owned());
    }
    flaws
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
