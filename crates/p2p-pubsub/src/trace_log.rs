//! Traces as files: the protobuf of go-libp2p-pubsub, and lines of JSON.
//!
//! The protobuf is what go's tools read (`pb/trace.proto`, each event behind its length); what it
//! has no event for is left out. The JSON has everything, causes included; `p2p trace view` reads
//! it.

use std::fmt::Write as _;
use std::time::Duration;

use p2p_core::{Instant, PeerId, uvarint};

use crate::trace::{DropCause, Trace, Traced};
use crate::wire::{put_bytes, put_len, put_uint};
use crate::{MessageId, Topic};

/// Writes the traces of one node.
#[derive(Clone, Debug)]
pub struct TraceLog {
    local: PeerId,
    /// The Unix time at the start of the runtime's clock.
    epoch: Duration,
}

impl TraceLog {
    /// For the node `local`, where it is `unix_time` when the runtime's clock says `now`.
    pub fn new(local: PeerId, unix_time: Duration, now: Instant) -> Self {
        Self {
            local,
            epoch: unix_time.saturating_sub(now.elapsed_since_start()),
        }
    }

    /// An event as a line of JSON, without the end of the line.
    ///
    /// `at` is Unix time in nanoseconds, `node` who tells, ids of messages are hex.
    pub fn json(&self, traced: &Traced) -> String {
        let (at, event) = match traced {
            Traced::Lagged(lost) => return format!("{{\"event\":\"lagged\",\"count\":{lost}}}"),
            Traced::Event { at, event } => (at, event),
        };
        let mut line = Line(format!(
            "{{\"at\":{},\"node\":\"{}\"",
            self.nanos(*at),
            self.local
        ));
        line.event(event);
        line.0.push('}');
        line.0
    }

    /// Appends an event as go-libp2p-pubsub writes it, length in front; false if it has none.
    pub fn protobuf(&self, traced: &Traced, buffer: &mut Vec<u8>) -> bool {
        let Traced::Event { at, event } = traced else {
            return false;
        };
        let Some((kind, field, body)) = go_event(event) else {
            return false;
        };
        let mut bytes = Vec::new();
        put_uint(&mut bytes, 1, kind);
        put_bytes(&mut bytes, 2, &self.local.to_bytes());
        put_uint(&mut bytes, 3, self.nanos(*at));
        put_bytes(&mut bytes, field, &body);
        buffer.extend_from_slice(uvarint::encode(bytes.len() as u64).as_slice());
        buffer.extend_from_slice(&bytes);
        true
    }

    fn nanos(&self, at: Instant) -> u64 {
        let time = self.epoch.saturating_add(at.elapsed_since_start());
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Type, field number and contents of an event in go's schema.
fn go_event(event: &Trace) -> Option<(u64, u32, Vec<u8>)> {
    let mut body = Vec::new();
    let mut put = |fields: &[(u32, &[u8])]| {
        for (number, bytes) in fields {
            put_bytes(&mut body, *number, bytes);
        }
    };
    let (kind, field) = match event {
        Trace::Published { id, topic, .. } => {
            put(&[(1, id.as_bytes()), (2, topic.as_bytes())]);
            (0, 4)
        }
        Trace::Rejected { id, from, why } => {
            let id = id.as_ref().map(MessageId::as_bytes).unwrap_or_default();
            let why = format!("{why:?}");
            put(&[(1, id), (2, &from.to_bytes()), (3, why.as_bytes())]);
            (1, 5)
        }
        Trace::Dropped {
            id: Some(id),
            peer,
            why: DropCause::Duplicate,
        } => {
            put(&[(1, id.as_bytes()), (2, &peer.to_bytes())]);
            (2, 6)
        }
        Trace::Delivered { id, topic, from } => {
            let topic = topic.as_bytes();
            put(&[(1, id.as_bytes()), (2, topic), (3, &from.to_bytes())]);
            (3, 7)
        }
        Trace::Connected { peer, version } => {
            let protocol = version.protocol();
            put(&[(1, &peer.to_bytes()), (2, protocol.as_str().as_bytes())]);
            (4, 8)
        }
        Trace::Disconnected { peer } => {
            put(&[(1, &peer.to_bytes())]);
            (5, 9)
        }
        Trace::Dropped {
            id: Some(id), peer, ..
        } => {
            put(&[(1, &peer.to_bytes())]);
            let mut message = Vec::new();
            put_bytes(&mut message, 1, id.as_bytes());
            put_len(&mut body, 2, message.len() + 2);
            put_bytes(&mut body, 1, &message);
            (8, 12)
        }
        Trace::Joined { topic } => {
            put(&[(1, topic.as_bytes())]);
            (9, 13)
        }
        Trace::Left { topic } => {
            put(&[(2, topic.as_bytes())]);
            (10, 14)
        }
        Trace::Grafted { peer, topic, .. } => {
            put(&[(1, &peer.to_bytes()), (2, topic.as_bytes())]);
            (11, 15)
        }
        Trace::Pruned { peer, topic, .. } => {
            put(&[(1, &peer.to_bytes()), (2, topic.as_bytes())]);
            (12, 16)
        }
        Trace::ControlLost { .. }
        | Trace::Dropped { id: None, .. }
        | Trace::Penalised { .. }
        | Trace::Refused { .. }
        | Trace::Scored { .. } => return None,
    };
    Some((kind, field, body))
}

/// A JSON object under construction.
struct Line(String);

impl Line {
    fn event(&mut self, event: &Trace) {
        match event {
            Trace::Connected { peer, version } => {
                self.name("connected").peer(peer);
                self.text("version", version.protocol().as_str());
            }
            Trace::ControlLost { peer, kind } => {
                let line = self.name("control_lost").peer(peer);
                line.text("kind", &format!("{kind:?}"));
            }
            Trace::Delivered { id, topic, from } => {
                self.name("delivered").id(Some(id)).topic(topic).peer(from);
            }
            Trace::Disconnected { peer } => {
                self.name("disconnected").peer(peer);
            }
            Trace::Dropped { id, peer, why } => {
                let line = self.name("dropped").id(id.as_ref()).peer(peer);
                line.text("why", &format!("{why:?}"));
            }
            Trace::Grafted { peer, topic, why } => {
                let line = self.name("grafted").peer(peer).topic(topic);
                line.text("why", &format!("{why:?}"));
            }
            Trace::Joined { topic } => {
                self.name("joined").topic(topic);
            }
            Trace::Left { topic } => {
                self.name("left").topic(topic);
            }
            Trace::Penalised { peer, count } => {
                self.name("penalised").peer(peer).raw("count", count);
            }
            Trace::Pruned { peer, topic, why } => {
                let line = self.name("pruned").peer(peer).topic(topic);
                line.text("why", &format!("{why:?}"));
            }
            Trace::Published { id, topic, sent } => {
                let line = self.name("published").id(Some(id)).topic(topic);
                line.raw("sent", sent);
            }
            Trace::Refused { peer, why } => {
                self.name("refused")
                    .peer(peer)
                    .text("why", &format!("{why:?}"));
            }
            Trace::Rejected { id, from, why } => {
                let line = self.name("rejected").id(id.as_ref()).peer(from);
                line.text("why", &format!("{why:?}"));
            }
            Trace::Scored { peer, score, why } => {
                let line = self.name("scored").peer(peer);
                line.raw("score", format_args!("{score:.3}"));
                line.text("why", &format!("{why:?}"));
            }
        }
    }

    fn name(&mut self, event: &str) -> &mut Self {
        self.text("event", event)
    }

    fn peer(&mut self, peer: &PeerId) -> &mut Self {
        self.text("peer", &peer.to_string())
    }

    fn topic(&mut self, topic: &Topic) -> &mut Self {
        self.text("topic", topic.as_str())
    }

    fn id(&mut self, id: Option<&MessageId>) -> &mut Self {
        let Some(id) = id else { return self };
        let mut hex = String::new();
        for byte in id.as_bytes() {
            let _never_fails = write!(hex, "{byte:02x}");
        }
        self.text("id", &hex)
    }

    fn raw(&mut self, key: &str, value: impl std::fmt::Display) -> &mut Self {
        let _never_fails = write!(self.0, ",\"{key}\":{value}");
        self
    }

    fn text(&mut self, key: &str, value: &str) -> &mut Self {
        let _never_fails = write!(self.0, ",\"{key}\":\"");
        for char in value.chars() {
            let _never_fails = match char {
                '"' | '\\' => write!(self.0, "\\{char}"),
                // Also `<`: the line may end up inside a page.
                '\0'..='\u{1f}' | '<' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
                    write!(self.0, "\\u{:04x}", u32::from(char))
                }
                _plain => write!(self.0, "{char}"),
            };
        }
        self.0.push('"');
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::GraftCause;
    use p2p_keys::Keypair;

    fn log() -> (TraceLog, PeerId) {
        let peer = Keypair::ed25519_from_seed([1; 32]).to_peer_id();
        let now = Instant::from_nanos(500);
        (TraceLog::new(peer, Duration::from_nanos(2_500), now), peer)
    }

    fn grafted(peer: PeerId, topic: &str) -> Traced {
        let (topic, why) = (topic.into(), GraftCause::Asked);
        Traced::Event {
            at: Instant::from_nanos(1000),
            event: Trace::Grafted { peer, topic, why },
        }
    }

    #[test]
    fn a_line_of_json_says_who_what_and_why() {
        let (log, peer) = log();
        let line = log.json(&grafted(peer, "a \"<b>\n"));
        let expected = format!(
            "{{\"at\":3000,\"node\":\"{peer}\",\"event\":\"grafted\",\"peer\":\"{peer}\",\
             \"topic\":\"a \\\"\\u003cb>\\u000a\",\"why\":\"Asked\"}}"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn an_event_has_the_fields_of_go_in_their_places() {
        let (log, peer) = log();
        let mut bytes = Vec::new();
        assert!(log.protobuf(&grafted(peer, "t"), &mut bytes));
        let id = peer.to_bytes();
        let len = u8::try_from(id.len()).unwrap();
        // type 11, peerID, timestamp 3000, graft { peerID, topic }.
        let mut expected = vec![8, 11, 18, len];
        expected.extend_from_slice(&id);
        expected.extend_from_slice(&[24, 0xb8, 0x17, 0x7a, len + 5, 10, len]);
        expected.extend_from_slice(&id);
        expected.extend_from_slice(&[18, 1, b't']);
        expected.insert(0, u8::try_from(expected.len()).unwrap());
        assert_eq!(bytes, expected);
    }
}
