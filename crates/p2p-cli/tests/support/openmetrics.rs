//! A strict reader of [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) text.

use std::collections::{BTreeMap, BTreeSet};

/// A family of metrics.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) unit: Option<String>,
    pub(crate) help: String,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// All families by name; the error says what breaks the specification, or our own rules: every
/// family has a type and a help text, and whatever is measured in seconds or bytes says so.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        let complaint = |what: &str| format!("{what}: {line:?}");
        if let Some(declared) = line.strip_prefix("# ") {
            let mut words = declared.splitn(3, ' ');
            let (Some(what), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
            else {
                return Err(complaint("not a declaration"));
            };
            if name != current {
                if families.contains_key(name) {
                    return Err(complaint("a family that was declared before"));
                }
                name.clone_into(&mut current);
            }
            let family = families.entry(current.clone()).or_default();
            if !family.samples.is_empty() {
                return Err(complaint("declared after a sample"));
            }
            match what {
                "TYPE" if family.kind.is_empty() => rest.clone_into(&mut family.kind),
                "HELP" if family.help.is_empty() => rest.clone_into(&mut family.help),
                "UNIT" if family.unit.is_none() => family.unit = Some(rest.to_owned()),
                _ => return Err(complaint("unknown or twice")),
            }
        } else {
            let sample = sample(line).ok_or_else(|| complaint("not a sample"))?;
            let family = families.get_mut(&current);
            let family = family.ok_or_else(|| complaint("of no family"))?;
            family.samples.push(sample);
        }
    }
    for (name, family) in &families {
        check(name, family).map_err(|what| format!("{name}: {what}"))?;
    }
    Ok(families)
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find([' ', '{'])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            if let Some(after) = after.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = after.strip_prefix(',')?;
        }
    }
    let number = rest.strip_prefix(' ')?;
    is_name(name).then_some(Sample {
        name: name.to_owned(),
        labels,
        value: number.parse().ok()?,
    })
}

/// Up to the closing quotation mark, unescaped; and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                same @ ('\\' | '"') => same,
                _ => return None,
            }),
            _ => value.push(c),
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn check(name: &str, family: &Family) -> Result<(), String> {
    if family.help.is_empty() {
        return Err("no HELP".to_owned());
    }
    let unit = ["seconds", "bytes"]
        .into_iter()
        .find(|unit| name.ends_with(&format!("_{unit}")));
    if family.unit.as_deref() != unit {
        return Err(format!("UNIT is {:?}, not {unit:?}", family.unit));
    }
    let suffixes: &[&str] = match family.kind.as_str() {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_count", "_sum"],
        other => return Err(format!("TYPE is {other:?}")),
    };
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        let suffix = sample.name.strip_prefix(name);
        if !suffix.is_some_and(|suffix| suffixes.contains(&suffix)) {
            return Err(format!("a {} cannot have {sample:?}", family.kind));
        }
        if !seen.insert((&sample.name, &sample.labels)) {
            return Err(format!("twice: {sample:?}"));
        }
        if !sample.value.is_finite() || sample.value < 0.0 {
            return Err(format!("out of range: {sample:?}"));
        }
        let labels_unit = sample.labels.values().find(|value| {
            let ends = |unit: &str| value.ends_with(&format!("_{unit}"));
            ends("bytes") || ends("seconds")
        });
        if let Some(value) = labels_unit {
            return Err(format!("{value:?} hides a unit in a label"));
        }
    }
    match family.kind.as_str() {
        "histogram" => check_histogram(family),
        _ => Ok(()),
    }
}

/// Buckets grow, the last one holds all, and their bounds are written in the one canonical way.
fn check_histogram(family: &Family) -> Result<(), String> {
    let (mut bound, mut below) = (f64::NEG_INFINITY, 0.0);
    let ends_with = |suffix| {
        let samples = family.samples.iter();
        samples.filter(move |sample| sample.name.ends_with(suffix))
    };
    for bucket in ends_with("_bucket") {
        let le = bucket.labels.get("le").ok_or("a bucket without le")?;
        let this: f64 = le.parse().map_err(|_| format!("le is {le:?}"))?;
        let canonical = match this.is_infinite() {
            true => "+Inf".to_owned(),
            false => format!("{this:?}"),
        };
        if *le != canonical || this <= bound || bucket.value < below {
            return Err(format!("le {le:?} after {bound}, {bucket:?}"));
        }
        (bound, below) = (this, bucket.value);
    }
    let counts: Vec<f64> = ends_with("_count").map(|sample| sample.value).collect();
    if !bound.is_infinite() || counts != [below] || ends_with("_sum").count() != 1 {
        return Err("no bucket for +Inf that holds all, or no sum".to_owned());
    }
    Ok(())
}
