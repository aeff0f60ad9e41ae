//! `p2p top`: a live view of a node that runs with `p2p listen --metrics`.

use std::cmp::Reverse;
use std::io::IsTerminal;
use std::time::Duration;

use futures::future::{Either, select};
use serde_json::Value;

use crate::cli::Top;
use crate::failure::Failure;
use crate::output::{Output, Record, Style, clean};
use crate::screen::{Room, Screen};
use crate::{http, signals, units};

pub(crate) async fn run(output: Output, args: Top) -> Result<(), Failure> {
    let stop = signals::stop(false)?;
    let live = std::io::stdout().is_terminal() && !args.once && !output.is_json();
    let screen = match live {
        true => Some(Screen::enter().map_err(no_terminal)?),
        false => None,
    };
    let watching = Box::pin(watch(output, &args, screen.as_ref()));
    // Whatever is under way ends with the wish to stop.
    match select(stop, watching).await {
        Either::Left(_) => Ok(()),
        Either::Right((result, _)) => result,
    }
}

/// Shows frame after frame; ends with an error when the node does not answer.
async fn watch(output: Output, args: &Top, screen: Option<&Screen>) -> Result<(), Failure> {
    let rt = p2p::runtime::default_runtime();
    let mut last: Option<Value> = None;
    let mut left = match args.once {
        true => Some(1),
        false => args.frames.map(u32::from),
    };
    loop {
        let body = http::get(&rt, args.addr, "/top").await;
        let state = body.and_then(|body| serde_json::from_str::<Value>(&body).map_err(Into::into));
        let state = state.map_err(|error| lost(args, &error, last.is_some()))?;
        let room = screen.map_or(Room::FILE, Screen::room);
        let frame = frame(&state, last.as_ref(), room);
        let lines = frame.into_iter().map(|line| line.shown(output, room));
        let lines: Vec<String> = lines.collect();
        match screen {
            Some(screen) => screen.show(&lines).map_err(no_terminal)?,
            None => output.line(lines.join("\n")),
        }
        output.record(&Record::new("top").with("state", state.clone()));
        last = Some(state);
        if let Some(left) = &mut left {
            *left -= 1;
            if *left == 0 {
                return Ok(());
            }
        }
        rt.sleep(args.interval).await;
    }
}

fn lost(args: &Top, error: &std::io::Error, seen: bool) -> Failure {
    let addr = args.addr;
    let (what, help) = match seen {
        true => (
            format!("lost sight of {addr}"),
            "the node has ended, or no longer answers: see what it said last".to_owned(),
        ),
        false => (
            format!("cannot look at {addr}"),
            format!("start the node with: p2p listen --metrics {addr}"),
        ),
    };
    Failure::new(what, "exchange", error)
        .tried(format!("http://{addr}/top"))
        .help(help)
}

pub(crate) fn no_terminal(error: std::io::Error) -> Failure {
    Failure::new("cannot draw on the terminal", "start", error).help("p2p top --once")
}

/// A line of a frame: what stands out, and the rest.
#[derive(Debug)]
struct Line {
    style: Style,
    head: String,
    rest: String,
}

impl Line {
    fn plain(rest: String) -> Self {
        Self::heading("", rest)
    }

    fn heading(head: impl Into<String>, rest: impl Into<String>) -> Self {
        Self {
            style: Style::Bold,
            head: head.into(),
            rest: rest.into(),
        }
    }

    /// Cut to the width of the terminal, so that it stays one line there.
    fn shown(&self, output: Output, room: Room) -> String {
        let head = clip(&self.head, room.columns);
        let rest = clip(&self.rest, room.columns - head.chars().count());
        match head.is_empty() {
            true => rest,
            false => output.styled(self.style, head) + &rest,
        }
    }
}

/// At most `width` characters; `…` stands for what is missing.
fn clip(text: &str, width: usize) -> String {
    if text.chars().nth(width).is_none() {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    match width {
        0 => kept,
        _ => kept + "…",
    }
}

/// One frame, no longer than there is room. Rates need the state before.
fn frame(state: &Value, last: Option<&Value>, room: Room) -> Vec<Line> {
    let mut lines = vec![Line::heading("node ", shown(state, "/peer"))];
    lines.extend(at_most(ADDRS, addrs(state)));
    lines.push(Line::heading("limits", ""));
    lines.extend(usage(state));
    lines.extend(refusals(state));
    lines.extend(rates(&Rates::between(last, state)));

    let mut connections: Vec<&Value> = list(state, "/connections").iter().collect();
    connections.sort_by_key(|one| Reverse((number(one, "/streams"), moved(one))));
    let protocols = protocols(state);
    // Two headings, and the titles of the columns.
    let free = room.rows.saturating_sub(lines.len() + 3);
    let of_protocols = (free / 3).max(free.saturating_sub(connections.len()));
    let of_protocols = of_protocols.min(protocols.len());

    let peers = number(state, "/peers");
    let title = format!("{} connections with {peers} peers", connections.len());
    lines.push(Line::heading(title, ""));
    lines.push(Line::plain(TITLES.to_owned()));
    let rows = connections.into_iter().map(connection).collect();
    lines.extend(at_most(free - of_protocols, rows));
    lines.push(Line::heading("protocols", ""));
    lines.extend(at_most(of_protocols, protocols));
    lines.truncate(room.rows);
    lines
}

/// Addresses that are shown.
const ADDRS: usize = 3;

/// The first of `lines`, and how many there are beyond.
fn at_most(max: usize, mut lines: Vec<Line>) -> Vec<Line> {
    if lines.len() > max {
        let more = lines.len() - max.saturating_sub(1);
        lines.truncate(max.saturating_sub(1));
        if max > 0 {
            lines.push(Line::plain(format!("  and {more} more")));
        }
    }
    lines
}

fn addrs(state: &Value) -> Vec<Line> {
    let own = format!("/p2p/{}", shown(state, "/peer"));
    let mut lines = Vec::new();
    for (name, key) in [
        ("listens on", "/listen_addrs"),
        ("seen at", "/external_addrs"),
    ] {
        for addr in list(state, key) {
            let addr = clean(addr.as_str().unwrap_or_default());
            // Who it is stands above.
            let addr = addr.strip_suffix(&own).unwrap_or(&addr);
            lines.push(Line::plain(format!("  {name:<11} {addr}")));
        }
    }
    lines
}

/// Two limits a line.
fn usage(state: &Value) -> Vec<Line> {
    let cell = |row: &Value| {
        let name = shown(row, "/0");
        let (used, most) = (number(row, "/1"), number(row, "/2"));
        let show = |n: u64| match name.as_str() {
            "memory" => units::bytes(n),
            _ => n.to_string(),
        };
        let of = format!("{} of {}", show(used), show(most));
        format!("{name:<11} {} {of:<20}", bar(used, most))
    };
    let rows = list(state, "/usage").chunks(2);
    let line = |row: &[Value]| row.iter().map(cell).collect::<Vec<_>>().join(" ");
    rows.map(|row| Line::plain(format!("  {}", line(row).trim_end())))
        .collect()
}

fn refusals(state: &Value) -> Option<Line> {
    let refused = state.pointer("/stats/limits_hit")?.as_object()?;
    let refused: Vec<String> = refused
        .iter()
        .map(|(setting, count)| format!("{setting} {count}"))
        .collect();
    (!refused.is_empty()).then(|| Line {
        style: Style::Bad,
        head: format!("  refused by: {}", clean(refused.join(", "))),
        rest: String::new(),
    })
}

fn rates(rates: &Rates<'_>) -> [Line; 3] {
    let read = units::bytes(rates.of("/stats/read"));
    let written = units::bytes(rates.of("/stats/written"));
    let (opened, accepted) = (
        rates.of("/stats/streams_opened"),
        rates.of("/stats/streams_accepted"),
    );
    let (made, ended) = (rates.of("/stats/connected"), rates.of("/stats/ended"));
    let failed = rates.of("/stats/incoming_failed") + rates.of("/stats/dials_failed");
    [
        Line::heading("rates", format!("  read {read}/s, written {written}/s")),
        Line::plain(format!(
            "  streams opened {opened}/s, accepted {accepted}/s"
        )),
        Line::plain(format!(
            "  connections made {made}/s, ended {ended}/s, failed {failed}/s"
        )),
    ]
}

/// Above the rows of [`connection`].
const TITLES: &str = "     id dir open      held        in       out     age address, peer";

fn connection(one: &Value) -> Line {
    let bytes = |key: &str| match one.pointer(key).and_then(Value::as_u64) {
        Some(n) => units::bytes(n),
        None => "–".to_owned(),
    };
    let direction = match shown(one, "/role").as_str() {
        "dialer" => "out",
        _ => "in",
    };
    Line::plain(format!(
        "  {:>5} {direction:<3} {:>4} {:>9} {:>9} {:>9} {:>6}s {} {}",
        shown(one, "/id"),
        number(one, "/streams"),
        bytes("/memory"),
        bytes("/read"),
        bytes("/written"),
        number(one, "/age_s"),
        shown(one, "/addr"),
        shown(one, "/peer"),
    ))
}

/// Bytes in both directions.
fn moved(one: &Value) -> u64 {
    number(one, "/read").saturating_add(number(one, "/written"))
}

/// Those in use first.
fn protocols(state: &Value) -> Vec<Line> {
    let ids = list(state, "/protocols").iter().filter_map(Value::as_str);
    let mut rows: Vec<(u64, &str)> = ids
        .map(|id| {
            let serving = state.get("serving").and_then(|serving| serving.get(id));
            (serving.and_then(Value::as_u64).unwrap_or(0), id)
        })
        .collect();
    rows.sort_by_key(|(streams, _)| Reverse(*streams));
    rows.into_iter()
        .map(|(streams, id)| Line::plain(format!("  {streams:>5} served  {}", clean(id))))
        .collect()
}

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

/// `[####  ]`
fn bar(used: u64, most: u64) -> String {
    const WIDTH: usize = 6;
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
        assert_eq!(bar(0, 100), "[      ]");
        assert_eq!(bar(1, 1_000_000), "[#     ]");
        assert_eq!(bar(300, 100), "[######]");
        assert_eq!(bar(0, 0), "[      ]");
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
    fn text_is_cut_at_characters_and_says_so() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöü", 2), "ä…");
        assert_eq!(clip("äöü", 0), "");
    }

    #[test]
    fn a_frame_shows_what_is_there_and_survives_what_is_not() {
        let state = json!({
            "peer": "12D3KooW", "peers": 1,
            "listen_addrs": ["/ip4/1.2.3.4/tcp/1/p2p/12D3KooW"],
            "usage": [["memory", 1024, 4096], ["connections", 1, 2]],
            "stats": { "limits_hit": { "max_streams": 3 } },
            "connections": [{ "id": "#1", "role": "dialer", "addr": "/ip4/1.2.3.4/tcp/1\u{1b}[2J" }],
            "protocols": ["/quiet/1.0.0", "/echo/1.0.0"],
            "serving": { "/echo/1.0.0": 12 },
        });
        let text = text(&state, Room::FILE);
        for part in [
            "node 12D3KooW\n",
            "listens on  /ip4/1.2.3.4/tcp/1\n",
            "1 KiB of 4 KiB",
            "refused by: max_streams 3",
            "1 connections",
            "   12 served  /echo/1.0.0\n      0 served  /quiet/1.0.0",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(
            !text.contains("\u{1b}[2J"),
            "what a remote says cannot clear the terminal"
        );
        frame(&json!({}), Some(&json!([])), Room::COMMON);
    }

    #[test]
    fn a_busy_node_fits_into_80_columns_and_24_rows() {
        let peer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        let connection = |n: usize| {
            json!({ "id": format!("#{n}"), "role": "listener", "streams": n % 7, "memory": 14_500,
                "read": 1_234_567_890_u64 * n as u64, "written": 98_765, "age_s": 123_456,
                "addr": "/ip4/203.0.113.77/tcp/40001", "peer": peer })
        };
        let addr = |n: usize| format!("/ip4/198.51.100.{n}/udp/4001/quic-v1/p2p/{peer}");
        let state = json!({
            "peer": peer, "peers": 900, "now_ms": 1000,
            "listen_addrs": (0..5).map(addr).collect::<Vec<_>>(),
            "external_addrs": (5..9).map(addr).collect::<Vec<_>>(),
            "usage": [
                ["memory", 200_000_000, 268_435_456], ["connections", 1000, 1024],
                ["upgrading", 500, 512], ["dialing", 3, 64],
                ["streams in", 16_000, 16_384], ["known peers", 10_000, 10_240],
            ],
            "stats": {
                "read": 123_456_789_012_u64, "written": 123_456_789_012_u64,
                "connected": 1_000_000, "ended": 1_000_000, "incoming_failed": 1_000_000,
                "streams_opened": 1_000_000, "streams_accepted": 1_000_000,
                "limits_hit": { "max_pending_per_prefix": 1_000_000, "max_streams_per_peer": 7,
                    "max_connections_per_prefix": 3_000, "max_streams_per_connection": 123 },
            },
            "connections": (0..1000).map(connection).collect::<Vec<_>>(),
            "protocols": (0..40).map(|n| format!("/protocol-{n}/1.0.0")).collect::<Vec<_>>(),
            "serving": { "/protocol-33/1.0.0": 16_000 },
        });
        let text = text(&state, Room::COMMON);
        assert_eq!(text.lines().count(), 24, "all of it is used:\n{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        // Nothing that matters is cut.
        for part in [
            peer,
            "190.7 MiB of 256 MiB",
            " 1000 of 1024",
            "16000 of 16384",
            "10000 of 10240",
            "refused by: max_",
            "failed 1000000/s",
            "1000 connections with 900 peers",
            "203.0.113.77",
            "16000 served  /protocol-33/1.0.0",
            "and 7 more",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let tiny = Room {
            columns: 20,
            rows: 5,
        };
        assert_eq!(frame(&state, None, tiny).len(), 5);
    }

    fn text(state: &Value, room: Room) -> String {
        let lines = frame(state, None, room).into_iter();
        let lines: Vec<String> = lines
            .map(|line| line.shown(Output::new(false), room))
            .collect();
        lines.join("\n")
    }
}
