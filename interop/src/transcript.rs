//! What a peer said, and whether that makes a cell pass. Pure: no processes, no clock.

use serde_json::Value;

use crate::{
    cell::{Cell, Peer, Test},
    check::check,
    pick::makes_sense,
};

/// What we say of whoever has the key of another private network.
const OTHER_KEY: &str = "the keys may differ";
/// What is left to say where the noise that the other end made of our greeting happens to announce
/// more than we send: it waits for the rest, and has said nothing itself.
const NO_ANSWER: &str = "no answer within";

/// One line of a peer's output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event(pub(crate) Value);

impl Event {
    /// `None` for a line that is no JSON object with an `event`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        value.get("event")?.as_str()?;
        Some(Self(value))
    }

    fn name(&self) -> &str {
        self.text("event").unwrap_or_default()
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(crate) fn millis(&self, key: &str) -> String {
        self.0
            .get(key)
            .and_then(Value::as_f64)
            .map_or_else(|| "?".into(), |ms| format!("{ms:.0}"))
    }

    pub(crate) fn list(&self, key: &str) -> &[Value] {
        self.0
            .get(key)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    pub(crate) fn lists(&self, key: &str, wanted: &str) -> bool {
        self.list(key).iter().any(|it| it.as_str() == Some(wanted))
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Exited(i32),
    /// We ended it: its time was up.
    #[default]
    Killed,
    /// Something else ended it.
    Signalled,
}

/// Everything a peer said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Transcript {
    pub(crate) events: Vec<Event>,
    /// The last line that was no event.
    pub(crate) garbage: Option<String>,
    pub(crate) end: End,
}

impl Transcript {
    /// All events of this name, in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |event| event.name() == name)
    }

    /// The first event of this name.
    pub(crate) fn event(&self, name: &str) -> Option<&Event> {
        self.events.iter().find(|event| event.name() == name)
    }

    pub(crate) fn require(&self, name: &str) -> Result<&Event, String> {
        self.event(name).ok_or_else(|| format!("no `{name}`"))
    }
}

/// What two transcripts add up to. The text says why, or what was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fail(String),
    Missing(String),
    Pass(String),
    Unsupported(String),
}

/// Judges a cell. A dialer that was never started has no transcript.
pub(crate) fn judge(cell: &Cell, listener: &Transcript, dialer: Option<&Transcript>) -> Verdict {
    let listening = says("listener", cell.listener, cell, listener);
    let dialing = dialer.map_or(Ok(()), |dialer| says("dialer", cell.dialer, cell, dialer));
    if let (Test::PrivateOther, Some(dialer)) = (cell.test, dialer) {
        return apart(cell, listener, dialer, [dialing, listening]);
    }
    let disagreement = dialer.and_then(|dialer| disagreement(listener, dialer));
    if let (Err(Verdict::Fail(error)), Some(cause)) = (&dialing, disagreement) {
        return Verdict::Fail(format!("{cause}\n{error}"));
    }
    match (dialing, listening) {
        (Ok(()), Ok(())) => {}
        (Err(Verdict::Fail(one)), Err(Verdict::Fail(other))) => {
            return Verdict::Fail(format!("{one}\n{other}"));
        }
        // What is unsupported or missing at one end makes the other fail.
        (Err(Verdict::Fail(_)), Err(verdict)) | (Err(verdict), _) | (Ok(()), Err(verdict)) => {
            return verdict;
        }
    }
    let Some(dialer) = dialer else {
        return Verdict::Fail("listener: no `listening` in time".into());
    };
    match check(cell, listener, dialer) {
        Ok(measured) => Verdict::Pass(measured),
        Err(cause) => Verdict::Fail(cause),
    }
}

/// The dialer has to fail, and the listener to outlive it.
fn apart(
    cell: &Cell,
    listener: &Transcript,
    dialer: &Transcript,
    [dialing, listening]: [Result<(), Verdict>; 2],
) -> Verdict {
    let verdict = match (dialing, listening) {
        (_, Err(verdict)) => return verdict,
        (Err(verdict @ (Verdict::Missing(_) | Verdict::Unsupported(_))), Ok(())) => return verdict,
        (Ok(()) | Err(_), Ok(())) => check_apart(cell, listener, dialer),
    };
    match verdict {
        Ok(measured) => Verdict::Pass(measured),
        Err(cause) => Verdict::Fail(cause),
    }
}

/// The two do not meet, and ours says what may be the reason.
fn check_apart(cell: &Cell, listener: &Transcript, dialer: &Transcript) -> Result<String, String> {
    let ends = [("dialer", dialer), ("listener", listener)];
    if let Some((role, _)) = ends.iter().find(|it| it.1.event("connected").is_some()) {
        return Err(format!("{role}: connected with another key"));
    }
    let error = dialer
        .require("error")
        .map_err(|it| format!("dialer: {it}"))?;
    let told = |event: &Event, key| event.text(key).is_some_and(|it| it.contains(OTHER_KEY));
    let silent = error
        .text("message")
        .is_some_and(|it| it.contains(NO_ANSWER));
    if cell.dialer == Peer::P2p && !told(error, "message") && !silent {
        return Err("dialer: does not say that the keys may differ".into());
    }
    if cell.listener == Peer::P2p && !listener.all("refused").any(|it| told(it, "why")) {
        // The dialer may not have come so far.
        let dialer = error.text("message").unwrap_or_default();
        return Err(format!(
            "listener: does not say that the keys may differ\ndialer: {dialer}"
        ));
    }
    let line = error.text("message").unwrap_or_default().lines().next();
    Ok(format!("the dialer says: {}", line.unwrap_or_default()))
}

/// Where the two do not even agree on what they speak: explains every error after.
fn disagreement(listener: &Transcript, dialer: &Transcript) -> Option<String> {
    let (here, there) = (dialer.event("connected")?, listener.event("connected")?);
    let disagree = |key| {
        let (one, other) = (here.text(key)?, there.text(key)?);
        (one != other).then(|| format!("the dialer speaks {one}, the listener {other}"))
    };
    disagree("security").or_else(|| disagree("muxer"))
}

/// Whether a peer ended well, by its own words.
fn says(role: &str, peer: Peer, cell: &Cell, transcript: &Transcript) -> Result<(), Verdict> {
    // What the stack could carry we have to have.
    let ours = peer == Peer::P2p && makes_sense(cell.test, cell.security, cell.muxer);
    if let Some(error) = transcript.event("error") {
        let text = format!("{role}: {}", error.text("message").unwrap_or("no message"));
        return Err(match error {
            _ if error.flag("missing") => Verdict::Missing(text),
            _ if error.flag("unsupported") && !ours => Verdict::Unsupported(text),
            _ => Verdict::Fail(text),
        });
    }
    let last = transcript.events.last().map_or("nothing", Event::name);
    match (transcript.end, &transcript.garbage) {
        (_, Some(line)) => Err(Verdict::Fail(format!("{role}: printed {line:?}"))),
        (End::Exited(0), None) => Ok(()),
        (End::Exited(code), None) => Err(Verdict::Fail(format!(
            "{role}: left with {code} after `{last}`"
        ))),
        (End::Killed, None) => Err(Verdict::Fail(format!(
            "{role}: not done in time, last said `{last}`"
        ))),
        (End::Signalled, None) => Err(Verdict::Fail(format!("{role}: crashed after `{last}`"))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::slice;

    use serde_json::json;

    use super::*;
    use crate::cell::{Muxer, Security, Transport};
    use crate::check::SERVED;

    #[test]
    fn both_sides_of_a_ping_pass() {
        let verdict = judge(&cell(Test::Ping), &listener(&[]), Some(&dialer(&[ping(5)])));

        assert_eq!(
            verdict,
            Verdict::Pass("round trips 0.1 0.1 0.1 0.1 0.1 ms".into())
        );
    }

    #[test]
    fn four_pings_are_not_five() {
        let verdict = judge(&cell(Test::Ping), &listener(&[]), Some(&dialer(&[ping(4)])));

        assert_eq!(verdict, Verdict::Fail("4 round trips, not 5".into()));
    }

    #[test]
    fn another_muxer_than_asked_for_fails() {
        let cell = Cell {
            muxer: Muxer::Mplex,
            ..cell(Test::Ping)
        };

        let verdict = judge(&cell, &listener(&[]), Some(&dialer(&[ping(5)])));

        assert_eq!(
            verdict,
            Verdict::Fail("dialer: muxer is yamux, not mplex".into())
        );
    }

    #[test]
    fn who_was_found_has_to_be_the_listener_at_its_address() {
        let found = |addr: &str| {
            let found = json!({ "event": "found", "peer": "L", "addrs": [addr] });
            judge(
                &cell(Test::Mdns),
                &listener(&[]),
                Some(&dialer(&[found, ping(5)])),
            )
        };

        let right = found("/ip4/127.0.0.1/tcp/4001/p2p/L");
        let elsewhere = found("/ip4/127.0.0.1/tcp/4002/p2p/L");
        let nobody = judge(&cell(Test::Mdns), &listener(&[]), Some(&dialer(&[ping(5)])));

        assert!(matches!(right, Verdict::Pass(_)), "{right:?}");
        assert!(matches!(elsewhere, Verdict::Fail(text) if text.contains("tcp/4001 is not")));
        assert_eq!(nobody, Verdict::Fail("dialer: no `found`".into()));
    }

    #[test]
    fn identify_has_to_work_both_ways() {
        let told = dialer(&[identify("L", &SERVED, "/ip4/127.0.0.1/tcp/4001")]);
        let cell = cell(Test::Identify);

        let one_way = judge(&cell, &listener(&[]), Some(&told));
        let both = judge(&cell, &listener(&[identify("D", &SERVED, "")]), Some(&told));
        let someone_else = judge(&cell, &listener(&[identify("E", &SERVED, "")]), Some(&told));

        assert_eq!(one_way, Verdict::Fail("listener: no `identify`".into()));
        assert_eq!(both, Verdict::Pass("agent test, signed both ways".into()));
        assert!(matches!(someone_else, Verdict::Fail(text) if text.contains("peer is E, not D")));
    }

    #[test]
    fn identify_that_leaves_out_a_protocol_or_the_address_fails() {
        let judge_it = |event| {
            let served = listener(&[identify("D", &SERVED, "")]);
            judge(&cell(Test::Identify), &served, Some(&dialer(&[event])))
        };

        let fewer = judge_it(identify("L", &SERVED[1..], "/ip4/127.0.0.1/tcp/4001"));
        let elsewhere = judge_it(identify("L", &SERVED, "/ip4/127.0.0.1/tcp/4002"));

        assert!(matches!(fewer, Verdict::Fail(text) if text.contains("/ipfs/id/1.0.0")));
        assert!(matches!(elsewhere, Verdict::Fail(text) if text.contains("tcp/4001 is not")));
    }

    #[test]
    fn a_transfer_counts_at_both_ends() {
        let sent = json!({ "event": "transfer", "sent": 5_000_000, "received": 5_000_000,
            "up_ms": 1.4, "down_ms": 2.6 });
        let judge_it = |received: u64| {
            let served = listener(&[json!({ "event": "transfer", "received": received })]);
            judge(
                &cell(Test::Transfer),
                &served,
                Some(&dialer(slice::from_ref(&sent))),
            )
        };

        assert_eq!(
            judge_it(5_000_000),
            Verdict::Pass("up 1 ms, down 3 ms".into())
        );
        assert!(matches!(judge_it(4_999_999), Verdict::Fail(_)));
    }

    #[test]
    fn an_error_event_decides_and_both_ends_are_heard() {
        let error = |fields: Value| {
            let mut transcript = dialer(&[fields]);
            transcript.end = End::Exited(1);
            transcript
        };
        let cell = cell(Test::Ping);
        let listening = listener(&[]);
        let plain = error(json!({ "event": "error", "message": "refused" }));
        let unsupported =
            error(json!({ "event": "error", "message": "no mplex", "unsupported": true }));
        let missing = error(json!({ "event": "error", "message": "not wired", "missing": true }));

        assert_eq!(
            judge(&cell, &plain, Some(&plain)),
            Verdict::Fail("dialer: refused\nlistener: refused".into())
        );
        assert_eq!(
            judge(&cell, &unsupported, Some(&plain)),
            Verdict::Unsupported("listener: no mplex".into())
        );
        assert_eq!(
            judge(&cell, &unsupported, None),
            Verdict::Unsupported("listener: no mplex".into())
        );
        assert_eq!(
            judge(&cell, &listening, Some(&missing)),
            Verdict::Missing("dialer: not wired".into())
        );
    }

    #[test]
    fn what_we_do_not_have_ourselves_is_a_failure() {
        let mut lacking = listener(&[
            json!({ "event": "error", "message": "no service ping", "unsupported": true }),
        ]);
        lacking.end = End::Exited(1);
        let roles = |dialer, listener, test| Cell {
            dialer,
            listener,
            ..cell(test)
        };
        let verdict = |cell: Cell| judge(&cell, &lacking, None);

        let ours = verdict(roles(Peer::Go, Peer::P2p, Test::Ping));
        assert_eq!(ours, Verdict::Fail("listener: no service ping".into()));
        let theirs = verdict(roles(Peer::P2p, Peer::Go, Test::Ping));
        assert!(matches!(theirs, Verdict::Unsupported(_)), "{theirs:?}");
        // Nothing there that could carry it.
        let impossible = verdict(Cell {
            muxer: Muxer::Mplex,
            ..roles(Peer::Go, Peer::P2p, Test::Codes)
        });
        assert!(
            matches!(impossible, Verdict::Unsupported(_)),
            "{impossible:?}"
        );
    }

    #[test]
    fn a_signed_record_of_ours_that_does_not_arrive_fails() {
        let mut unsigned = identify("D", &SERVED, "");
        unsigned["signed"] = false.into();
        let told = dialer(&[identify("L", &SERVED, "/ip4/127.0.0.1/tcp/4001")]);
        let judge_it = |peer| {
            let cell = Cell {
                listener: peer,
                ..cell(Test::Identify)
            };
            judge(&cell, &listener(slice::from_ref(&unsigned)), Some(&told))
        };

        assert!(matches!(judge_it(Peer::Go), Verdict::Fail(text) if text.contains("record")));
        assert!(matches!(judge_it(Peer::Rust), Verdict::Pass(_)));
    }

    #[test]
    fn two_who_speak_different_muxers_are_told_apart_from_other_errors() {
        let mut told = dialer(&[json!({ "event": "error", "message": "unexpected end" })]);
        told.end = End::Exited(1);
        let mut served = listener(&[]);
        served.events[1] = Event(json!({ "event": "connected", "peer": "D", "muxer": "mplex" }));

        let verdict = judge(&cell(Test::Choose), &served, Some(&told));

        let cause = "the dialer speaks yamux, the listener mplex\ndialer: unexpected end";
        assert_eq!(verdict, Verdict::Fail(cause.into()));
    }

    #[test]
    fn a_peer_that_had_to_be_ended_fails_even_if_it_said_done() {
        let mut slow = dialer(&[ping(5)]);
        slow.end = End::Killed;

        let verdict = judge(&cell(Test::Ping), &listener(&[]), Some(&slow));

        assert_eq!(
            verdict,
            Verdict::Fail("dialer: not done in time, last said `done`".into())
        );
    }

    #[test]
    fn a_dialer_that_never_started_is_not_a_pass() {
        let verdict = judge(&cell(Test::Ping), &listener(&[]), None);

        assert!(matches!(verdict, Verdict::Fail(_)));
    }

    #[test]
    fn only_json_objects_with_a_name_are_events() {
        for line in ["", "hello", "[1]", "{}", r#"{"event":1}"#] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }

    #[test]
    fn whoever_has_another_key_is_not_met_and_we_say_so() {
        let judge_from = |peer, dialer: &[Value], listener: &[Value]| {
            let said = |events: &[Value], code| Transcript {
                events: events.iter().cloned().map(Event).collect(),
                garbage: None,
                end: End::Exited(code),
            };
            let told = said(dialer, 1);
            let listening = json!({ "event": "listening", "addr": "/ip4/127.0.0.1/tcp/1/p2p/L" });
            let served = said(&[&[listening], listener].concat(), 0);
            let cell = Cell {
                dialer: peer,
                listener: Peer::P2p,
                ..cell(Test::PrivateOther)
            };
            judge(&cell, &served, Some(&told))
        };
        let judge_it =
            |dialer: &[Value], listener: &[Value]| judge_from(Peer::P2p, dialer, listener);
        let error = |text: &str| json!({ "event": "error", "message": text });
        let refused = json!({ "event": "refused", "why": "noise: the keys may differ" });
        let connected = json!({ "event": "connected", "peer": "D" });
        let ours = error("cannot dial: the keys may differ");

        let apart = judge_it(slice::from_ref(&ours), slice::from_ref(&refused));
        assert!(matches!(apart, Verdict::Pass(_)), "{apart:?}");
        let refused_once = refused.clone();
        let met = judge_it(&[ours], &[connected, refused]);
        assert_eq!(
            met,
            Verdict::Fail("listener: connected with another key".into())
        );
        let waited = judge_it(
            &[error("no answer within 10s")],
            slice::from_ref(&refused_once),
        );
        assert!(matches!(waited, Verdict::Pass(_)), "{waited:?}");
        let silent = judge_it(&[error("timeout")], &[]);
        assert!(matches!(silent, Verdict::Fail(text) if text.contains("dialer: does not say")));
        // Theirs may fail before it comes to keys: what it said is part of why.
        let elsewhere = judge_from(Peer::Py, &[error("no dialer")], &[]);
        assert!(
            matches!(&elsewhere, Verdict::Fail(text) if text.contains("listener: does not say")
            && text.ends_with("dialer: no dialer"))
        );
        assert_eq!(
            judge_it(&[], &[]),
            Verdict::Fail("dialer: no `error`".into())
        );
    }

    pub(crate) fn cell(test: Test) -> Cell {
        Cell {
            dialer: Peer::P2p,
            listener: Peer::Go,
            transport: Transport::Tcp,
            security: Security::Noise,
            muxer: Muxer::Yamux,
            test,
        }
    }

    fn ping(count: usize) -> Value {
        json!({ "event": "ping", "rtts_ms": vec![0.1; count] })
    }

    pub(crate) fn identify(peer: &str, protocols: &[&str], addr: &str) -> Value {
        json!({ "event": "identify", "peer": peer, "protocols": protocols, "addrs": [addr],
            "agent": "test", "observed": "/ip4/127.0.0.1/tcp/5001", "signed": true })
    }

    /// A dialer `D` that did what it should and said these too.
    pub(crate) fn dialer(events: &[Value]) -> Transcript {
        let mut all = vec![
            json!({ "event": "connected", "peer": "L", "security": "noise",
            "muxer": "yamux" }),
        ];
        all.extend_from_slice(events);
        all.push(json!({ "event": "done" }));
        transcript(all)
    }

    /// A listener `L` that did what it should and said these too.
    pub(crate) fn listener(events: &[Value]) -> Transcript {
        let mut all = vec![
            json!({ "event": "listening", "addr": "/ip4/127.0.0.1/tcp/4001/p2p/L" }),
            json!({ "event": "connected", "peer": "D" }),
        ];
        all.extend_from_slice(events);
        transcript(all)
    }

    fn transcript(events: Vec<Value>) -> Transcript {
        let events = events.into_iter().map(Event).collect();
        Transcript {
            events,
            garbage: None,
            end: End::Exited(0),
        }
    }
}
