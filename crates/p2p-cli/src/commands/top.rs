//! `p2p top`: a live view of a node that runs with `p2p listen --metrics`.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use futures::future::{Either, select};
use serde_json::Value;

use crate::cli::Top;
use crate::failure::Failure;
use crate::output::{Output, Record, Style, clean};
use crate::{http, signals, units};

/// Clears the terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub(crate) async fn run(output: Output, args: Top) -> Result<(), Failure> {
    let rt = p2p::runtime::default_runtime();
    let mut stop = signals::stop(false)?;
    let live = std::io::stdout().is_terminal() && !args.once && !output.is_json();
    let mut last: Option<Value> = None;
    loop {
        let body = http::get(&rt, args.addr, "/top").await;
        let state = body.and_then(|body| serde_json::from_str::<Value>(&body).map_err(Into::into));
        let state = state.map_err(|error| {
            Failure::new(format!("cannot look at {}", args.addr), "exchange", error)
                .tried(format!("http://{}/top", args.addr))
                .help(format!(
                    "start the node with: p2p listen --metrics {}",
                    args.addr
                ))
        })?;
        let frame = view(output, &state, last.as_ref());
        output.line(if live {
            format!("{CLEAR}{frame}")
        } else {
            frame
        });
        output.record(&Record::new("top").with("state", state.clone()));
        if args.once {
            return Ok(());
        }
        last = Some(state);
        let pause = Box::pin(rt.sleep(args.interval));
        if let Either::Left(_) = select(&mut stop, pause).await {
            return Ok(());
        }
    }
}

/// One frame. Rates need the frame before.
fn view(output: Output, state: &Value, last: Option<&Value>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_view(&mut text, output, state, last);
    text
}

fn write_view(
    text: &mut String,
    output: Output,
    state: &Value,
    last: Option<&Value>,
) -> std::fmt::Result {
    let heading = |name: &str| output.styled(Style::Bold, name);
    writeln!(text, "{} {}", heading("node"), shown(state, "/peer"))?;
    for (name, key) in [
        ("listens on", "/listen_addrs"),
        ("seen at", "/external_addrs"),
    ] {
        for addr in list(state, key) {
            writeln!(
                text,
                "  {name:<11} {}",
                clean(addr.as_str().unwrap_or_default())
            )?;
        }
    }
    let rates = Rates::between(last, state);
    writeln!(text, "{}", heading("limits"))?;
    for row in list(state, "/usage") {
        let name = row.get(0).and_then(Value::as_str).unwrap_or_default();
        let (used, most) = (number(row, "/1"), number(row, "/2"));
        let show = |n: u64| {
            if name == "memory" {
                units::bytes(n)
            } else {
                n.to_string()
            }
        };
        writeln!(
            text,
            "  {name:<12} {} {:>12} of {}",
            bar(used, most),
            show(used),
            show(most)
        )?;
    }
    let refused = state
        .pointer("/stats/limits_hit")
        .and_then(Value::as_object);
    for (setting, count) in refused.into_iter().flatten() {
        writeln!(
            text,
            "  {}",
            output.styled(Style::Bad, format!("refused by {setting}: {count}"))
        )?;
    }
    writeln!(text, "{}", heading("rates"))?;
    writeln!(
        text,
        "  read {}/s, written {}/s",
        units::bytes(rates.of("/stats/read")),
        units::bytes(rates.of("/stats/written"))
    )?;
    writeln!(
        text,
        "  streams opened {}/s, accepted {}/s; connections made {}/s, ended {}/s, failed {}/s",
        rates.of("/stats/streams_opened"),
        rates.of("/stats/streams_accepted"),
        rates.of("/stats/connected"),
        rates.of("/stats/ended"),
        rates.of("/stats/incoming_failed") + rates.of("/stats/dials_failed"),
    )?;
    let connections = list(state, "/connections");
    let title = format!(
        "{} connections with {} peers",
        connections.len(),
        number(state, "/peers")
    );
    writeln!(text, "{}", heading(&title))?;
    for one in connections.iter().take(MAX_ROWS) {
        write_connection(text, one)?;
    }
    if connections.len() > MAX_ROWS {
        writeln!(text, "  and {} more", connections.len() - MAX_ROWS)?;
    }
    write!(text, "{}", heading("protocols"))?;
    for id in list(state, "/protocols").iter().filter_map(Value::as_str) {
        let serving = state.get("serving").and_then(|serving| serving.get(id));
        let streams = serving.and_then(Value::as_u64).unwrap_or(0);
        write!(text, "\n  {streams:>5} served  {}", clean(id))?;
    }
    Ok(())
}

fn write_connection(text: &mut String, one: &Value) -> std::fmt::Result {
    let bytes = |key: &str| match one.pointer(key).and_then(Value::as_u64) {
        Some(n) => units::bytes(n),
        None => "–".to_owned(),
    };
    writeln!(
        text,
        "  {:>5} {:<8} {:>3} streams {:>10} held  in {:>10}  out {:>10}  {:>6} s  {} {}",
        shown(one, "/id"),
        shown(one, "/role"),
        number(one, "/streams"),
        bytes("/memory"),
        bytes("/read"),
        bytes("/written"),
        number(one, "/age_s"),
        shown(one, "/addr"),
        shown(one, "/peer"),
    )
}

/// Connections that are shown.
const MAX_ROWS: usize = 30;

/// What grew, a second.
struct Rates<'a> {
    before: Option<&'a Value>,
    now: &'a Value,
    took: Duration,
}

impl<'a> Rates<'a> {
    fn between(before: Option<&'a Value>, now: &'a Value) -> Self {
        let earlier = before.map_or(0, |before| number(before, "/now_ms"));
        let took = number(now, "/now_ms").saturating_sub(earlier);
        Self {
            before,
            now,
            took: Duration::from_millis(took),
        }
    }

    fn of(&self, key: &str) -> u64 {
        let earlier = self.before.map_or(0, |before| number(before, key));
        units::per_second(number(self.now, key).saturating_sub(earlier), self.took)
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value.pointer(key).and_then(Value::as_u64).unwrap_or(0)
}

fn shown(value: &Value, key: &str) -> String {
    let text = value.pointer(key).and_then(Value::as_str);
    clean(text.unwrap_or_default()).to_string()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value.pointer(key).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// `[####      ]`
fn bar(used: u64, most: u64) -> String {
    const WIDTH: usize = 20;
    let part = used as f64 / most.max(1) as f64;
    let full = ((part * WIDTH as f64).ceil() as usize).min(WIDTH);
    format!("[{}{}]", "#".repeat(full), " ".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bar_shows_the_least_use_and_never_more_than_all() {
        assert_eq!(bar(0, 100), format!("[{}]", " ".repeat(20)));
        assert!(bar(1, 1_000_000).starts_with("[# "));
        assert_eq!(bar(300, 100), format!("[{}]", "#".repeat(20)));
        assert_eq!(bar(0, 0), format!("[{}]", " ".repeat(20)));
    }

    #[test]
    fn rates_are_what_grew_between_two_frames() {
        let before = json!({ "now_ms": 1000, "stats": { "read": 500 } });
        let now = json!({ "now_ms": 3000, "stats": { "read": 2500 } });
        assert_eq!(Rates::between(Some(&before), &now).of("/stats/read"), 1000);
        // A node that was restarted meanwhile counts from zero again.
        assert_eq!(Rates::between(Some(&now), &before).of("/stats/read"), 0);
    }

    #[test]
    fn a_frame_shows_what_is_there_and_survives_what_is_not() {
        let output = Output::new(false);
        let state = json!({
            "peer": "12D3KooW", "peers": 1,
            "usage": [["memory", 1024, 4096], ["connections", 1, 2]],
            "stats": { "limits_hit": { "max_streams": 3 } },
            "connections": [{ "id": "#1", "role": "dialer", "addr": "/ip4/1.2.3.4/tcp/1\u{1b}[2J" }],
            "protocols": ["/echo/1.0.0", "/quiet/1.0.0"],
            "serving": { "/echo/1.0.0": 12 },
        });
        let text = view(output, &state, None);
        for part in [
            "12D3KooW",
            "1 KiB of 4 KiB",
            "refused by max_streams: 3",
            "1 connections",
            "   12 served  /echo/1.0.0",
            "    0 served  /quiet/1.0.0",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(
            !text.contains("\u{1b}[2J"),
            "what a remote says cannot clear the terminal"
        );
        view(output, &json!({}), Some(&json!([])));
    }
}
