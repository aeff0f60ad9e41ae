//! What has to be in the two transcripts of each test. Pure.

use std::fmt::Display;

use serde_json::Value;

use crate::{
    cell::{Cell, Peer, Security, Test, Transport},
    transcript::{Event, Transcript},
    versions,
};

/// What every peer serves, and so what identify must list.
pub(crate) const SERVED: [&str; 5] = [
    "/ipfs/id/1.0.0",
    "/ipfs/ping/1.0.0",
    "/p2p-interop/echo/1.0.0",
    "/p2p-interop/play/1.0.0",
    "/perf/1.0.0",
];
/// What the `push` test adds.
const ADDED: &str = "/p2p-interop/added/1.0.0";
const PINGS: usize = 5;
const ECHO_BYTES: u64 = 100_000;
const ECHO_ROUNDS: u64 = 2;
const TRANSFER_BYTES: u64 = 5_000_000;
const SAID: u64 = 1000;
const CODE: u64 = 0x2a17;
const STREAMS: u64 = 200;
const FAST: u64 = 8;
const SLOW_BYTES: u64 = 2_000_000;
const BIG_BYTES: u64 = 50_000_000;
const ENDS: u64 = 3;
const MINUTE: u64 = 60;
const IDLE_SECONDS: u64 = 120;
const HOUR_SECONDS: u64 = 3600;
/// Of each kind of traffic in an hour.
const HOUR_LEAST: u64 = 300;
/// A ping on loopback that takes longer was not answered at once, however busy the machine.
const SLOWEST_PING_MS: f64 = 5000.0;

/// What the tests have in common, then the test's own; the text is what was measured.
pub(crate) fn check(
    cell: &Cell,
    listener: &Transcript,
    dialer: &Transcript,
) -> Result<String, String> {
    let listening = listener.require("listening")?;
    let address = listening.text("addr").unwrap_or_default();
    let (address, listener_id) = address.rsplit_once("/p2p/").ok_or("listener: no peer id")?;
    let both = Both {
        cell,
        connected: of("dialer", dialer, "connected")?,
        accepted: of("listener", listener, "connected")?,
        address,
        listener_id,
        dialer,
        listener,
    };
    same("dialer: peer", both.connected.text("peer"), listener_id)?;
    for (role, peer, connected) in [
        ("dialer", cell.dialer, both.connected),
        ("listener", cell.listener, both.accepted),
    ] {
        // Libraries have words of their own for what QUIC brings itself.
        if cell.transport == Transport::Quic {
            break;
        }
        for (key, asked) in [
            ("security", cell.security.name()),
            ("muxer", cell.muxer.name()),
        ] {
            let told = connected.text(key);
            // Not every library tells what was negotiated; ours does.
            let silent = told.is_none() && peer != Peer::P2p;
            same(
                &format!("{role}: {key}"),
                silent.then_some(asked).or(told),
                asked,
            )?;
        }
    }
    of("dialer", dialer, "done")?;
    if let Some(messages) = cell.test.messages() {
        return both.check_messages(messages);
    }
    let event = of("dialer", dialer, cell.test.reported())?;
    match cell.test {
        Test::Big => both.check_big(event),
        Test::Choose | Test::Echo | Test::Name | Test::Private => both.check_echo(event),
        Test::Close => both.check_close(event),
        Test::Codes => both.check_codes(event),
        Test::Idle => check_idle(event),
        Test::Hour => check_hour(cell, event),
        Test::Identify => both.check_identify(event),
        Test::KeyEcdsa | Test::KeyEd25519 | Test::KeyRsa | Test::KeySecp256k1 => {
            both.check_key(cell.test, event)
        }
        Test::Late => both.check_late(event),
        Test::Mdns => both.check_mdns(event),
        Test::Minute => check_minute(event),
        Test::Orders => both.check_orders(event),
        Test::Ping => check_ping(event),
        Test::Push => both.check_push(event),
        Test::Reset => both.check_reset(event),
        Test::Slow => check_slow(cell, event),
        Test::Streams => check_streams(event),
        Test::Transfer => both.check_transfer(event),
        Test::Flood
        | Test::FloodAnonymous
        | Test::FloodLax
        | Test::Gossip
        | Test::Gossip1_0
        | Test::Gossip1_1
        | Test::Gossip1_2
        | Test::Gossip1_3
        | Test::GossipAnonymous
        | Test::GossipChain
        | Test::PrivateOther => Err("a test that is checked in another way".into()),
    }
}

/// The two transcripts, and what every test needs of them.
struct Both<'a> {
    cell: &'a Cell,
    connected: &'a Event,
    accepted: &'a Event,
    /// Where the listener listens, without its id.
    address: &'a str,
    listener_id: &'a str,
    dialer: &'a Transcript,
    listener: &'a Transcript,
}

impl Both<'_> {
    /// Both ways: what the dialer learnt, and that the listener learnt as much.
    fn check_identify(&self, event: &Event) -> Result<String, String> {
        let (address, listener_id) = (self.address, self.listener_id);
        same("dialer: identify: peer", event.text("peer"), listener_id)?;
        lists_served("dialer", event)?;
        let suffixed = format!("{address}/p2p/{listener_id}");
        if !event.lists("addrs", address) && !event.lists("addrs", &suffixed) {
            return Err(format!(
                "dialer: identify: {address} is not among the addresses"
            ));
        }
        let observed = event.text("observed").unwrap_or_default();
        let here = ["/ip4/127.0.0.1/tcp/", "/ip4/127.0.0.1/udp/"];
        if !here.iter().any(|start| observed.starts_with(start)) {
            return Err(format!("dialer: identify: observed as {observed:?}"));
        }
        let agent = event.text("agent").filter(|agent| !agent.is_empty());
        let agent = agent.ok_or("dialer: identify: no agent")?;
        let back = of("listener", self.listener, "identify")?;
        let dialer_id = self.accepted.text("peer").unwrap_or_default();
        same("listener: identify: peer", back.text("peer"), dialer_id)?;
        if !heard_of_served(self.listener) {
            lists_served("listener", back)?;
        }
        let Cell {
            dialer, listener, ..
        } = *self.cell;
        for (role, learns, of, said) in [
            ("dialer", dialer, listener, event),
            ("listener", listener, dialer, back),
        ] {
            // rust reads records in a form of its own only (libp2p-identify 0.48.0 src/protocol.rs
            // from_signed_envelope).
            if of == Peer::P2p && learns != Peer::Rust && !said.flag("signed") {
                return Err(format!(
                    "{role}: identify: our signed record did not arrive"
                ));
            }
        }
        let signed = match (event.flag("signed"), back.flag("signed")) {
            (true, true) => "signed both ways",
            (true, false) => "signed by the listener",
            (false, true) => "signed by the dialer",
            (false, false) => "not signed",
        };
        Ok(format!("agent {agent}, {signed}"))
    }

    /// A peer id shows its kind of key: small keys are in it, the others are hashed.
    fn check_key(&self, test: Test, event: &Event) -> Result<String, String> {
        let start = match test.key() {
            Some("ed25519") => "12D3KooW",
            Some("secp256k1") => "16Uiu2HA",
            _ => "Qm",
        };
        let dialer_id = self.accepted.text("peer").unwrap_or_default();
        for (role, id) in [("dialer", dialer_id), ("listener", self.listener_id)] {
            if !id.starts_with(start) {
                return Err(format!("{role}: {id} does not start with {start}"));
            }
        }
        self.check_identify(event)
    }

    /// Both ends have checked every message.
    fn check_messages(&self, messages: u64) -> Result<String, String> {
        for (role, transcript) in [("dialer", self.dialer), ("listener", self.listener)] {
            let event = of(role, transcript, "pubsub")?;
            equal(
                &format!("{role}: messages"),
                event.number("received"),
                messages,
            )?;
        }
        versions::check(self.cell, self.dialer, self.listener)?;
        Ok(format!("{messages} messages each way"))
    }

    fn check_echo(&self, event: &Event) -> Result<String, String> {
        equal("rounds", event.number("rounds"), ECHO_ROUNDS)?;
        equal("bytes", event.number("bytes"), ECHO_BYTES)?;
        let early = [self.connected, self.accepted];
        let early = early.iter().any(|it| it.flag("early"));
        let Cell {
            dialer, listener, ..
        } = *self.cell;
        let able = matches!(self.cell.security, Security::Noise | Security::Tls);
        let pair = [dialer, listener];
        // Only go tells; with us it has to be early.
        let told = pair.contains(&Peer::Go) && pair.contains(&Peer::P2p);
        if self.cell.test == Test::Echo && able && told && !early {
            return Err("the muxer was not agreed early".into());
        }
        let muxer = if early { ", muxer agreed early" } else { "" };
        Ok(format!("{} ms{muxer}", event.millis("ms")))
    }

    /// Found where it is, then reached there.
    fn check_mdns(&self, pings: &Event) -> Result<String, String> {
        let (address, listener_id) = (self.address, self.listener_id);
        let found = of("dialer", self.dialer, "found")?;
        same("dialer: found: peer", found.text("peer"), listener_id)?;
        let suffixed = format!("{address}/p2p/{listener_id}");
        if !found.lists("addrs", address) && !found.lists("addrs", &suffixed) {
            return Err(format!(
                "dialer: found: {address} is not among the addresses"
            ));
        }
        check_ping(pings)
    }

    fn check_late(&self, event: &Event) -> Result<String, String> {
        for connected in [self.connected, self.accepted] {
            if connected.flag("early") {
                return Err("the muxer was agreed early all the same".into());
            }
        }
        self.check_echo(event)
    }

    fn check_transfer(&self, event: &Event) -> Result<String, String> {
        let served = of("listener", self.listener, "transfer")?;
        for (what, count) in [
            ("dialer: sent", event.number("sent")),
            ("dialer: received", event.number("received")),
            ("listener: received", served.number("received")),
        ] {
            equal(what, count, TRANSFER_BYTES)?;
        }
        let (up, down) = (event.millis("up_ms"), event.millis("down_ms"));
        Ok(format!("up {up} ms, down {down} ms"))
    }

    fn check_big(&self, event: &Event) -> Result<String, String> {
        for (what, bytes) in [("up", 1), ("down", 1), ("both", 2)] {
            equal(what, event.number(what), bytes * BIG_BYTES)?;
        }
        let served = self.listener.all("transfer");
        let received: u64 = served.filter_map(|it| it.number("received")).sum();
        equal("listener: received", Some(received), 2 * BIG_BYTES)?;
        let ms = ["up_ms", "down_ms", "both_ms"].map(|key| event.millis(key));
        let [up, down, both] = ms;
        Ok(format!("up {up} ms, down {down} ms, both {both} ms"))
    }

    fn check_orders(&self, event: &Event) -> Result<String, String> {
        for (order, bytes) in [
            ("after", SAID),
            ("both", SAID),
            ("first", SAID),
            ("nothing", 0),
            ("empty", 0),
        ] {
            equal(&format!("dialer: {order}"), event.number(order), bytes)?;
        }
        for (order, times) in [("a", 1), ("f", 2), ("n", 1)] {
            let ended = self.listener.all("ended");
            let whole = ended
                .filter(|it| it.text("order") == Some(order) && it.number("received") == Some(SAID))
                .count();
            equal(&format!("listener: ends of {order:?}"), Some(whole), times)?;
        }
        Ok(format!("{} ms", event.millis("ms")))
    }

    fn check_reset(&self, event: &Event) -> Result<String, String> {
        let served = of("listener", self.listener, "reset")?;
        if self.cell.dialer == Peer::P2p && !event.flag("after") {
            return Err("dialer: no echo after the resets".into());
        }
        same("dialer: saw", event.text("saw"), "reset")?;
        same("listener: saw", served.text("saw"), "reset")?;
        Ok("both saw a reset".into())
    }

    fn check_codes(&self, event: &Event) -> Result<String, String> {
        self.check_reset(event)?;
        let served = of("listener", self.listener, "reset")?;
        equal("dialer: code", event.number("code"), CODE)?;
        equal("listener: code", served.number("code"), CODE)?;
        Ok(format!("both saw {CODE:#x}"))
    }

    fn check_close(&self, event: &Event) -> Result<String, String> {
        equal("dialer: ends", event.number("ends"), ENDS)?;
        let ends = self.listener.all("disconnected").count();
        if ends < 2 {
            return Err(format!(
                "listener: noticed {ends} ends of connections, not 2"
            ));
        }
        Ok("all noticed".into())
    }

    fn check_push(&self, event: &Event) -> Result<String, String> {
        let added = |role: &str, transcript: &Transcript| match heard_of_added(transcript) {
            true => Ok(()),
            false => Err(format!("{role}: {ADDED} was never pushed to it")),
        };
        same("dialer: push: peer", event.text("peer"), self.listener_id)?;
        added("dialer", self.dialer)?;
        added("listener", self.listener)?;
        Ok("both ways".into())
    }
}

/// Whether all that is served was told, by identify or by a push behind it: the answer of a go
/// that has just started may be older than its last protocol.
pub(crate) fn heard_of_served(transcript: &Transcript) -> bool {
    let mut told = transcript.all("identify").chain(transcript.all("push"));
    told.any(|it| lists_served("", it).is_ok())
}

/// Whether the protocol that the `push` test adds was told: by a push, or by an answer to identify
/// that came after it was added. Behind that there is nothing left to push.
pub(crate) fn heard_of_added(transcript: &Transcript) -> bool {
    let mut told = transcript.all("push").chain(transcript.all("identify"));
    told.any(|it| it.lists("protocols", ADDED))
}

fn check_ping(event: &Event) -> Result<String, String> {
    let rtts: Vec<f64> = event
        .list("rtts_ms")
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    if rtts.len() != PINGS {
        return Err(format!("{} round trips, not {PINGS}", rtts.len()));
    }
    if let Some(slow) = rtts.iter().find(|rtt| **rtt > SLOWEST_PING_MS) {
        return Err(format!("a round trip took {slow:.0} ms"));
    }
    let rtts: Vec<String> = rtts.iter().map(|rtt| format!("{rtt:.1}")).collect();
    Ok(format!("round trips {} ms", rtts.join(" ")))
}

fn check_minute(event: &Event) -> Result<String, String> {
    equal("pings", event.number("pings"), MINUTE)?;
    let worst = event.0.get("worst_ms").and_then(Value::as_f64);
    if worst.is_none_or(|worst| worst > SLOWEST_PING_MS) {
        return Err(format!("a round trip took {} ms", event.millis("worst_ms")));
    }
    Ok(format!("worst round trip {} ms", event.millis("worst_ms")))
}

fn check_idle(event: &Event) -> Result<String, String> {
    equal("seconds of nothing", event.number("idle_s"), IDLE_SECONDS)?;
    equal("bytes", event.number("bytes"), ECHO_BYTES)?;
    Ok(format!("echo after in {} ms", event.millis("ms")))
}

/// One connection all the time, and everything on it went well.
fn check_hour(cell: &Cell, event: &Event) -> Result<String, String> {
    equal("seconds", event.number("seconds"), HOUR_SECONDS)?;
    // Rust throws away streams that come at once: its fault in the test of many streams. Here it
    // counts whether its limits end anything.
    if cell.listener != Peer::Rust {
        equal("again", event.number("again"), 0)?;
    }
    let counts = ["pings", "echoes", "bursts", "transfers"].map(|key| (key, event.number(key)));
    let mut told = Vec::new();
    for (key, count) in counts {
        match count {
            Some(count) if count >= HOUR_LEAST => told.push(format!("{count} {key}")),
            Some(_) | None => return Err(format!("{key}: {count:?}, not {HOUR_LEAST} at least")),
        }
    }
    Ok(format!(
        "{}, worst round trip {} ms",
        told.join(", "),
        event.millis("worst_ms")
    ))
}

fn check_streams(event: &Event) -> Result<String, String> {
    equal("streams", event.number("streams"), STREAMS)?;
    Ok(format!("{} ms", event.millis("ms")))
}

/// With flow control the slow reader gets everything. Without, it may lose its own stream.
fn check_slow(cell: &Cell, event: &Event) -> Result<String, String> {
    equal("fast streams", event.number("fast"), FAST)?;
    let fast = event.millis("fast_ms");
    match event.text("saw") {
        Some("reset") if !cell.muxer.has_flow_control() => {
            Ok(format!("fast ones {fast} ms, the slow one was reset"))
        }
        _ => {
            same("slow stream: saw", event.text("saw"), "end")?;
            equal("slow stream", event.number("slow"), SLOW_BYTES)?;
            Ok(format!("fast ones {fast} ms, the slow one got everything"))
        }
    }
}

fn lists_served(role: &str, event: &Event) -> Result<(), String> {
    match SERVED.iter().find(|id| !event.lists("protocols", id)) {
        None => Ok(()),
        Some(absent) => Err(format!(
            "{role}: identify: {absent} is not among the protocols"
        )),
    }
}

fn of<'a>(role: &str, transcript: &'a Transcript, event: &str) -> Result<&'a Event, String> {
    transcript
        .require(event)
        .map_err(|it| format!("{role}: {it}"))
}

fn same(what: &str, got: Option<&str>, wanted: &str) -> Result<(), String> {
    match got {
        Some(got) if got == wanted => Ok(()),
        got => Err(format!(
            "{what} is {}, not {wanted}",
            got.unwrap_or("not told")
        )),
    }
}

fn equal<T: PartialEq + Display>(what: &str, got: Option<T>, wanted: T) -> Result<(), String> {
    match got {
        Some(got) if got == wanted => Ok(()),
        Some(got) => Err(format!("{what}: {got}, not {wanted}")),
        None => Err(format!("{what}: not told, should be {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cell::Muxer;
    use crate::transcript::{
        Verdict, judge,
        tests::{cell, dialer, identify, listener},
    };

    #[test]
    fn every_order_has_to_end_at_both_ends() {
        let orders = |first: u64| {
            json!({ "event": "orders", "after": 1000, "both": 1000, "first": first,
                "nothing": 0, "empty": 0, "ms": 3.2 })
        };
        let ended = |order: &str| json!({ "event": "ended", "order": order, "received": 1000 });
        let all = [ended("a"), ended("f"), ended("f"), ended("n")];
        let judge_it = |first, ended: &[Value]| {
            judge(
                &cell(Test::Orders),
                &listener(ended),
                Some(&dialer(&[orders(first)])),
            )
        };

        assert_eq!(judge_it(1000, &all), Verdict::Pass("3 ms".into()));
        assert!(fails(&judge_it(999, &all), "dialer: first: 999, not 1000"));
        assert!(fails(&judge_it(1000, &all[1..]), "ends of \"a\": 0, not 1"));
    }

    #[test]
    fn an_end_instead_of_a_reset_fails() {
        let saw = |event: &str, saw: &str| json!({ "event": event, "saw": saw, "after": true });
        let judge_it = |ours: &str, theirs: &str| {
            let served = listener(&[saw("reset", theirs)]);
            judge(
                &cell(Test::Reset),
                &served,
                Some(&dialer(&[saw("reset", ours)])),
            )
        };

        assert_eq!(
            judge_it("reset", "reset"),
            Verdict::Pass("both saw a reset".into())
        );
        assert!(fails(&judge_it("end", "reset"), "dialer: saw is end"));
        assert!(fails(&judge_it("reset", "end"), "listener: saw is end"));
    }

    #[test]
    fn another_code_than_was_sent_fails() {
        let judge_it = |code: u64| {
            let served = listener(&[json!({ "event": "reset", "saw": "reset", "code": code })]);
            let told = json!({ "event": "codes", "saw": "reset", "code": 0x2a17, "after": true });
            judge(&cell(Test::Codes), &served, Some(&dialer(&[told])))
        };

        assert_eq!(judge_it(0x2a17), Verdict::Pass("both saw 0x2a17".into()));
        assert!(fails(&judge_it(0), "listener: code: 0, not 10775"));
    }

    #[test]
    fn only_without_flow_control_may_a_slow_reader_lose_its_stream() {
        let slow = |saw: &str, bytes: u64| json!({ "event": "slow", "fast": 8, "fast_ms": 1.0, "slow": bytes, "saw": saw });
        let judge_it = |muxer, event| {
            let cell = Cell {
                muxer,
                ..cell(Test::Slow)
            };
            let mut told = dialer(&[event]);
            for event in &mut told.events {
                if event.text("muxer").is_some() {
                    event.0["muxer"] = muxer.name().into();
                }
            }
            judge(&cell, &listener(&[]), Some(&told))
        };

        assert!(passes(&judge_it(Muxer::Yamux, slow("end", 2_000_000))));
        assert!(!passes(&judge_it(Muxer::Yamux, slow("reset", 0))));
        assert!(!passes(&judge_it(Muxer::Yamux, slow("end", 1_999_999))));
        assert!(passes(&judge_it(Muxer::Mplex, slow("reset", 0))));
        assert!(!passes(&judge_it(Muxer::Mplex, slow("end", 0))));
    }

    #[test]
    fn both_have_to_hear_of_the_added_protocol() {
        let push = |peer: &str, protocol: &str| json!({ "event": "push", "peer": peer, "protocols": [protocol] });
        let judge_it = |to_dialer: &str, to_listener: &str| {
            let served = listener(&[push("D", to_listener)]);
            judge(
                &cell(Test::Push),
                &served,
                Some(&dialer(&[push("L", to_dialer)])),
            )
        };

        assert_eq!(judge_it(ADDED, ADDED), Verdict::Pass("both ways".into()));
        assert!(fails(&judge_it("/x", ADDED), "dialer: "));
        assert!(fails(&judge_it(ADDED, "/x"), "listener: "));
        // Asked so late that there was nothing left to push.
        let late = listener(&[identify("D", &[ADDED], "")]);
        let told = dialer(&[push("L", ADDED)]);
        assert!(passes(&judge(&cell(Test::Push), &late, Some(&told))));
    }

    #[test]
    fn a_key_of_another_kind_fails() {
        let told = dialer(&[identify("L", &SERVED, "/ip4/127.0.0.1/tcp/4001")]);
        let served = listener(&[identify("D", &SERVED, "")]);

        let verdict = judge(&cell(Test::KeyRsa), &served, Some(&told));

        assert!(fails(&verdict, "dialer: D does not start with Qm"));
    }

    #[test]
    fn a_listener_that_misses_the_end_of_a_connection_fails() {
        let told = dialer(&[json!({ "event": "close", "ends": 3 })]);
        let gone = json!({ "event": "disconnected", "peer": "D" });
        let judge_it = |ends: &[Value]| judge(&cell(Test::Close), &listener(ends), Some(&told));

        assert!(passes(&judge_it(&[gone.clone(), gone.clone()])));
        assert!(fails(&judge_it(&[gone]), "noticed 1 ends"));
    }

    #[test]
    fn what_identify_did_not_know_yet_a_push_may_tell() {
        let told = dialer(&[identify("L", &SERVED, "/ip4/127.0.0.1/tcp/4001")]);
        let early = identify("D", &SERVED[..1], "");
        let mut late = identify("D", &SERVED, "");
        late["event"] = "push".into();
        let judge_it = |said: &[Value]| judge(&cell(Test::Identify), &listener(said), Some(&told));

        assert!(fails(
            &judge_it(std::slice::from_ref(&early)),
            "not among the protocols"
        ));
        assert!(passes(&judge_it(&[early, late])));
    }

    #[test]
    fn in_an_hour_only_rust_may_throw_streams_away() {
        let judge_it = |peer: Peer| {
            let told = json!({ "event": "hour", "seconds": 3600, "pings": 900, "echoes": 900,
                "bursts": 900, "transfers": 900, "again": 1, "worst_ms": 2.0 });
            let cell = Cell {
                listener: peer,
                ..cell(Test::Hour)
            };
            judge(&cell, &listener(&[]), Some(&dialer(&[told])))
        };

        assert!(passes(&judge_it(Peer::Rust)));
        assert!(fails(&judge_it(Peer::Go), "again"));
    }

    fn passes(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Pass(_))
    }

    fn fails(verdict: &Verdict, with: &str) -> bool {
        matches!(verdict, Verdict::Fail(text) if text.contains(with))
    }
}
