//! `p2p explain scores`: what score parameters do to peers.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use p2p::pubsub::{Behaviour, ScoreParams, Thresholds, Topic, TopicParams};
use serde_json::{Map, Value};

use crate::cli::{ExplainScores, Preset};
use crate::failure::Failure;
use crate::output::{Output, Record, Style};

/// Seconds at which the table shows the score.
const SHOWN: [u32; 6] = [10, 60, 300, 900, 1800, 3600];

pub(crate) fn explain(output: Output, args: &ExplainScores) -> Result<(), Failure> {
    let (params, thresholds) = parameters(args)?;
    let wrong = |error: p2p::pubsub::ParamError| {
        Failure::new("these parameters contradict the rules", "check", error)
            .help("docs/gossip.md names the rules; the presets keep to them")
    };
    params.check().map_err(wrong)?;
    thresholds.check().map_err(wrong)?;
    for finding in params.findings_under(&thresholds) {
        let text = format!("{finding:?}");
        output.line(output.styled(Style::Bold, format!("found: {text}")));
        output.record(&Record::new("finding").text("finding", text));
    }
    let length = SHOWN.iter().copied().max().unwrap_or(0);
    let mut plots = Vec::new();
    for topic in params.topics.keys() {
        output.line(format!(
            "{topic}, {} messages a second: score after",
            args.rate
        ));
        let header: String = SHOWN.iter().fold(String::new(), |mut line, second| {
            let _never_fails = write!(line, "{second:>10} s");
            line
        });
        output.line(format!("{:10}{header}", ""));
        for behaviour in Behaviour::ALL {
            let path = params.forecast(topic, behaviour, args.rate, length);
            row(output, topic, behaviour, &path, &thresholds);
            plots.push((format!("{topic}: {behaviour:?}"), path));
        }
    }
    if let Some(file) = &args.svg {
        fs::write(file, plot(&plots, &thresholds)).map_err(|error| {
            let what = format!("cannot write {}", file.display());
            Failure::new(what, "write", error).help("choose another file for --svg")
        })?;
    }
    Ok(())
}

fn row(output: Output, topic: &Topic, behaviour: Behaviour, path: &[f64], thresholds: &Thresholds) {
    let at = |second: u32| {
        let index = usize::try_from(second).unwrap_or(usize::MAX);
        path.get(index.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    let mut line = format!("{:10}", format!("{behaviour:?}").to_lowercase());
    for second in SHOWN {
        let _never_fails = write!(line, "{:>12.1}", at(second));
    }
    let last = path.last().copied().unwrap_or(0.0);
    output.line(format!("{line}  {}", standing(last, thresholds)));
    let record = Record::new("forecast")
        .text("topic", topic)
        .text("behaviour", format!("{behaviour:?}").to_lowercase())
        .with("seconds", SHOWN.to_vec())
        .with("scores", SHOWN.map(at).to_vec())
        .text("standing", standing(last, thresholds));
    output.record(&record);
}

/// What a score means.
fn standing(score: f64, thresholds: &Thresholds) -> &'static str {
    match score {
        it if it < thresholds.graylist => "ignored altogether",
        it if it < thresholds.publish => "gets none of our messages",
        it if it < thresholds.gossip => "gets no gossip",
        it if it < 0.0 => "out of the mesh, still gets gossip",
        _ => "in the mesh",
    }
}

fn parameters(args: &ExplainScores) -> Result<(ScoreParams, Thresholds), Failure> {
    let topic = Topic::new("topic");
    if let Some(preset) = args.preset {
        return Ok(match preset {
            Preset::Chat => ScoreParams::chat(topic),
            Preset::Blockchain => ScoreParams::blockchain(topic, args.rate),
            Preset::Telemetry => ScoreParams::telemetry(topic),
        });
    }
    let Some(file) = &args.file else {
        return Ok((ScoreParams::default(), Thresholds::default()));
    };
    let what = || format!("cannot read {}", file.display());
    let text = fs::read_to_string(file).map_err(|error| Failure::new(what(), "read", error))?;
    let value: Value =
        serde_json::from_str(&text).map_err(|error| Failure::new(what(), "read", error))?;
    read(&value).map_err(|cause| {
        Failure::new(what(), "read", cause)
            .help("the fields are those of ScoreParams, TopicParams and Thresholds, in seconds")
    })
}

/// Parameters from JSON: `{"topics": {"name": {..}}, "thresholds": {..}, ..}`. What is left out has
/// its default.
fn read(value: &Value) -> Result<(ScoreParams, Thresholds), String> {
    let object = value.as_object().ok_or("not an object")?;
    let mut params = ScoreParams::default();
    let mut thresholds = Thresholds::default();
    for (key, value) in object {
        match key.as_str() {
            "topics" => {
                for (name, value) in value.as_object().ok_or("topics is not an object")? {
                    let fields = value.as_object().ok_or("a topic is not an object")?;
                    params
                        .topics
                        .insert(Topic::new(name), topic_params(fields)?);
                }
            }
            "thresholds" => {
                for (key, value) in value.as_object().ok_or("thresholds is not an object")? {
                    *match key.as_str() {
                        "gossip" => &mut thresholds.gossip,
                        "publish" => &mut thresholds.publish,
                        "graylist" => &mut thresholds.graylist,
                        "accept_px" => &mut thresholds.accept_px,
                        "opportunistic_graft" => &mut thresholds.opportunistic_graft,
                        other => return Err(format!("no threshold {other}")),
                    } = number(key, value)?;
                }
            }
            "topic_score_cap" => params.topic_score_cap = number(key, value)?,
            "app_specific_weight" => params.app_specific_weight = number(key, value)?,
            "behaviour_penalty_weight" => params.behaviour_penalty_weight = number(key, value)?,
            "behaviour_penalty_threshold" => {
                params.behaviour_penalty_threshold = number(key, value)?;
            }
            "behaviour_penalty_decay" => params.behaviour_penalty_decay = number(key, value)?,
            "decay_interval" => params.decay_interval = seconds(key, value)?,
            "decay_to_zero" => params.decay_to_zero = number(key, value)?,
            "ip_colocation_factor_weight" => {
                params.ip_colocation_factor_weight = number(key, value)?;
            }
            other => return Err(format!("no parameter {other}")),
        }
    }
    Ok((params, thresholds))
}

fn topic_params(fields: &Map<String, Value>) -> Result<TopicParams, String> {
    let mut params = TopicParams::default();
    for (key, value) in fields {
        match key.as_str() {
            "time_in_mesh_quantum" => params.time_in_mesh_quantum = seconds(key, value)?,
            "mesh_message_deliveries_window" => {
                params.mesh_message_deliveries_window = seconds(key, value)?;
            }
            "mesh_message_deliveries_activation" => {
                params.mesh_message_deliveries_activation = seconds(key, value)?;
            }
            other => *topic_number(&mut params, other)? = number(key, value)?,
        }
    }
    Ok(params)
}

fn topic_number<'a>(params: &'a mut TopicParams, key: &str) -> Result<&'a mut f64, String> {
    Ok(match key {
        "topic_weight" => &mut params.topic_weight,
        "time_in_mesh_weight" => &mut params.time_in_mesh_weight,
        "time_in_mesh_cap" => &mut params.time_in_mesh_cap,
        "first_message_deliveries_weight" => &mut params.first_message_deliveries_weight,
        "first_message_deliveries_decay" => &mut params.first_message_deliveries_decay,
        "first_message_deliveries_cap" => &mut params.first_message_deliveries_cap,
        "mesh_message_deliveries_weight" => &mut params.mesh_message_deliveries_weight,
        "mesh_message_deliveries_decay" => &mut params.mesh_message_deliveries_decay,
        "mesh_message_deliveries_cap" => &mut params.mesh_message_deliveries_cap,
        "mesh_message_deliveries_threshold" => &mut params.mesh_message_deliveries_threshold,
        "mesh_failure_penalty_weight" => &mut params.mesh_failure_penalty_weight,
        "mesh_failure_penalty_decay" => &mut params.mesh_failure_penalty_decay,
        "invalid_message_deliveries_weight" => &mut params.invalid_message_deliveries_weight,
        "invalid_message_deliveries_decay" => &mut params.invalid_message_deliveries_decay,
        other => return Err(format!("no topic parameter {other}")),
    })
}

fn number(key: &str, value: &Value) -> Result<f64, String> {
    value
        .as_f64()
        .ok_or_else(|| format!("{key} is not a number"))
}

fn seconds(key: &str, value: &Value) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(key, value)?).map_err(|error| format!("{key}: {error}"))
}

/// The paths as lines, cut below the graylist threshold.
fn plot(paths: &[(String, Vec<f64>)], thresholds: &Thresholds) -> String {
    let low = 1.2 * thresholds.graylist.min(-1.0);
    let all = paths.iter().flat_map(|(_, path)| path);
    let high = all.copied().fold(1.0, f64::max);
    let y = |score: f64| 20.0 + 280.0 * (high - score.max(low)) / (high - low);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"330\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
    );
    for (name, score) in [
        ("0", 0.0),
        ("gossip", thresholds.gossip),
        ("publish", thresholds.publish),
        ("graylist", thresholds.graylist),
    ] {
        let at = y(score);
        let _never_fails = writeln!(
            svg,
            "<line x1=\"40\" x2=\"640\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ccc\"/>\
             <text x=\"645\" y=\"{:.1}\">{name} {score:.0}</text>",
            at + 4.0
        );
    }
    for (index, (name, path)) in paths.iter().enumerate() {
        let step = (path.len() / 300).max(1);
        let mut points = String::new();
        for (second, score) in path.iter().enumerate().step_by(step) {
            let x = 40.0 + 600.0 * second as f64 / path.len().max(1) as f64;
            let _never_fails = write!(points, "{x:.1},{:.1} ", y(*score));
        }
        let hue = index * 72 % 360;
        let _never_fails = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"hsl({hue} 60% 40%)\" \
             stroke-width=\"1.5\"/><text x=\"730\" y=\"{}\" fill=\"hsl({hue} 60% 40%)\">{name}</text>",
            30 + 16 * index
        );
    }
    let _never_fails = writeln!(
        svg,
        "<text x=\"40\" y=\"322\">0 to {} s</text></svg>",
        paths.first().map_or(0, |(_, path)| path.len())
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_by_name_and_unknown_names_are_refused() {
        let text = r#"{"topics": {"blocks": {"time_in_mesh_quantum": 2, "topic_weight": 0.5}},
                       "thresholds": {"gossip": -1}, "decay_interval": 12}"#;
        let (params, thresholds) = read(&serde_json::from_str(text).unwrap()).unwrap();
        let blocks = params.topics.get("blocks").unwrap();
        assert_eq!(blocks.time_in_mesh_quantum, Duration::from_secs(2));
        assert_eq!((blocks.topic_weight, thresholds.gossip), (0.5, -1.0));
        assert_eq!(params.decay_interval, Duration::from_secs(12));
        let wrong = serde_json::json!({"topics": {"t": {"typo": 1}}});
        assert_eq!(read(&wrong).unwrap_err(), "no topic parameter typo");
    }
}
