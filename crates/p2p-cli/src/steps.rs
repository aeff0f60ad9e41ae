//! Shows what the stack logs: the steps of a connection, one line each, with the time.
//!
//! ```text
//!   +0.4 ms  dialing /ip4/127.0.0.1/tcp/4001
//!   +0.6 ms  connected to /ip4/127.0.0.1/tcp/4001 in 182 µs
//!   +1.9 ms  secured by /noise in 1.3 ms, the other end is 12D3KooW…
//! ```
//!
//! A subscriber of our own: what a terminal needs is a handful of sentences, not a logging
//! framework. Without `-v` it lets warnings through, with `-v` the steps of the swarm as
//! sentences, with `-vv` everything of the stack as it was logged.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use p2p::core::{Instant, Rt};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::output::{self, Output, Style};
use crate::units;

/// Installs the view for the whole process.
pub(crate) fn install(output: Output, verbose: u8, rt: Rt) {
    let view = View {
        output,
        verbose,
        start: rt.now(),
        rt,
        spans: AtomicU64::new(0),
    };
    // The only one in this program; a second could not be reported anywhere.
    let _ = tracing::subscriber::set_global_default(view);
}

struct View {
    output: Output,
    verbose: u8,
    rt: Rt,
    start: Instant,
    spans: AtomicU64,
}

impl Subscriber for View {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if !metadata.target().starts_with("p2p") {
            return false;
        }
        let most = match self.verbose {
            0 => Level::WARN,
            1 => Level::DEBUG,
            _ => Level::TRACE,
        };
        metadata.is_event() && *metadata.level() <= most
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let warning = *metadata.level() <= Level::WARN;
        let sentence = sentence(&fields);
        let text = match (self.verbose, sentence) {
            (_, _) if warning => format!("{}: {fields}", metadata.level()),
            (1, Some(sentence)) => sentence,
            (1, None) => return,
            (_, Some(sentence)) => format!("{sentence}  [{} {fields}]", metadata.target()),
            (_, None) => format!("{} {fields}", metadata.target()),
        };
        let time = format!(
            "{:>9}",
            format!("+{}", units::duration(self.rt.now() - self.start))
        );
        let time = self.output.styled_aside(Style::Dim, time);
        self.output
            .aside(format!("{time}  {}", output::clean(text)));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        // Spans are not enabled; an id must not be zero.
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The step that was logged, as a sentence; `None` if it is not one.
fn sentence(fields: &Fields) -> Option<String> {
    let get = |name| fields.get(name);
    let who = || {
        get("role").map_or("", |role| {
            if role == "listener" {
                " (as listener)"
            } else {
                ""
            }
        })
    };
    Some(match fields.message.as_str() {
        "listening" => format!("listening on {}", get("addr")?),
        "dialing" => format!("dialing {}", get("addr")?),
        "transport connected" => {
            format!("connected to {} in {}", get("addr")?, took(get("took")?))
        }
        "incoming" => format!("incoming connection from {}", get("remote")?),
        "secured" => format!(
            "secured by {} in {}{}, the other end is {}",
            get("security")?,
            took(get("took")?),
            who(),
            get("peer")?
        ),
        "multiplexed" => {
            let early = get("early") == Some("true");
            let how = if early {
                "agreed inside the handshake".to_owned()
            } else {
                format!("in {}", took(get("took")?))
            };
            format!("multiplexed by {} {how}{}", get("muxer")?, who())
        }
        "connected" => format!("connection {} is ready{}", get("connection")?, who()),
        "dial failed" => format!(
            "{} failed after {} in step {}: {}",
            get("addr")?,
            took(get("took")?),
            get("step")?,
            get("error")?
        ),
        "incoming failed" => format!(
            "connection from {} failed in step {}: {}",
            get("remote")?,
            get("step")?,
            get("error")?
        ),
        "stream opened" => format!("stream opened, {} proposed", get("protocol")?),
        "protocol agreed" => format!("{} agreed by the other end", get("protocol")?),
        "protocol refused" => format!("{} refused: {}", get("protocol")?, get("error")?),
        "stream accepted" => format!("stream accepted for {}", get("protocol")?),
        "handler ended with an error" => {
            format!("serving {} failed: {}", get("protocol")?, get("error")?)
        }
        "incoming stream refused" => {
            format!(
                "stream for {} refused: {}",
                get("protocol")?,
                get("exceeded")?
            )
        }
        "no protocol agreed on for an incoming stream" => {
            format!(
                "incoming stream without a protocol in common: {}",
                get("error")?
            )
        }
        "disconnected" => format!("connection {} ended: {}", get("connection")?, get("why")?),
        _ => return None,
    })
}

/// A duration as `Debug` writes it, in our units.
fn took(debug: &str) -> String {
    let split = debug
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(debug.len());
    let (number, unit) = debug.split_at(split);
    let factor = match unit {
        "ns" => 1e-9,
        "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return debug.to_owned(),
    };
    match number.parse::<f64>() {
        Ok(value) => units::duration(std::time::Duration::from_secs_f64(value * factor)),
        Err(_) => debug.to_owned(),
    }
}

/// The fields of an event as text.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.others.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.others.push((field.name(), format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.others
            .iter()
            .try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str, others: &[(&'static str, &str)]) -> Fields {
        Fields {
            message: message.to_owned(),
            others: others
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn steps_become_sentences_and_other_events_do_not() {
        let secured = event(
            "secured",
            &[
                ("security", "/noise"),
                ("took", "1.1234ms"),
                ("peer", "12D3"),
                ("role", "dialer"),
            ],
        );
        assert_eq!(
            sentence(&secured).unwrap(),
            "secured by /noise in 1.1 ms, the other end is 12D3"
        );
        assert_eq!(sentence(&event("something else", &[])), None);
        assert_eq!(sentence(&event("dialing", &[])), None);
    }

    #[test]
    fn times_of_every_size_are_read_back() {
        for (debug, text) in [
            ("512ns", "1 µs"),
            ("870.5µs", "870 µs"),
            ("12.34ms", "12.3 ms"),
            ("2.5s", "2.5 s"),
            ("soon", "soon"),
        ] {
            assert_eq!(took(debug), text);
        }
    }
}
