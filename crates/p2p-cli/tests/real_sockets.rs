//! The built binary against real sockets on the loopback interface: what it prints, and how it
//! exits.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken helper or a missing key is a failed test"
)]

#[path = "support/peers.rs"]
mod peers;
mod support;

use peers::{Listener, Peer};
use support::{p2p, scrub};

// ---- the main job ----

#[test]
fn the_demo_does_everything_and_says_so() {
    let outcome = p2p(&["demo", "--size", "1MiB"]);
    outcome.assert_exit(0);
    for part in [
        "listening    /ip4/127.0.0.1/tcp/",
        "negotiated   /noise, /yamux/1.0.0",
        "identified   p2p-cli/",
        "pinged       10 times",
        "asked        3 + 1 + 4 + 1 + 5 = 14",
        "sent         1 MiB in ",
        "every byte compared",
        "everything happened, and was checked",
    ] {
        assert!(outcome.stdout.contains(part), "{part}: {outcome:?}");
    }
    assert_eq!(outcome.stderr, "");
}

#[test]
fn without_a_terminal_progress_is_plain_lines() {
    let outcome = p2p(&["demo", "--size", "8MiB"]);
    outcome.assert_exit(0);
    assert_eq!(
        outcome.stderr,
        "  2 MiB of 8 MiB\n  4 MiB of 8 MiB\n  6 MiB of 8 MiB\n  8 MiB of 8 MiB\n"
    );
}

#[test]
fn the_demo_in_json_has_one_record_for_each_step() {
    let outcome = p2p(&["demo", "--size", "1MiB", "--json"]);
    outcome.assert_exit(0);
    let events: Vec<String> = outcome
        .records()
        .iter()
        .map(|record| record["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        events,
        [
            "listening",
            "connected",
            "identify",
            "summary",
            "request",
            "transfer",
            "done"
        ]
    );
    let transfer = &outcome.records()[5];
    assert_eq!(transfer["bytes"], 1 << 20);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn verbose_shows_every_step_in_order() {
    let outcome = p2p(&["-v", "demo", "--size", "1KiB"]);
    outcome.assert_exit(0);
    let mut rest = outcome.stderr.as_str();
    for step in [
        "listening on /ip4/127.0.0.1/tcp/",
        "dialing /ip4/127.0.0.1/tcp/",
        "connected to /ip4/127.0.0.1/tcp/",
        "secured by /noise in ",
        "multiplexed by /yamux/1.0.0 agreed inside the handshake",
        "stream opened, /p2p-demo/transfer/1.0.0 proposed",
        "/p2p-demo/transfer/1.0.0 agreed by the other end",
    ] {
        let at = rest.find(step);
        rest = &rest[at.unwrap_or_else(|| panic!("{step} is missing: {outcome:?}"))..];
    }
    for line in outcome.stderr.lines() {
        assert!(
            line.trim_start().starts_with('+'),
            "without its time: {line}"
        );
    }
}

// ---- the commands against `listen` ----

#[test]
fn ping_prints_each_round_trip_and_a_summary() {
    let listener = Listener::start(&[]);
    let outcome = p2p(&["ping", "-c", "3", "-i", "0.01", &listener.addr]);
    outcome.assert_exit(0);
    let peer = listener.peer();
    assert_eq!(
        scrub(&outcome.stdout),
        format!(
            "ping {peer}: 32 bytes over {}, /yamux/1.0.0\n\
             32 bytes back: seq=1 time=T\n\
             32 bytes back: seq=2 time=T\n\
             32 bytes back: seq=3 time=T\n\
             --- {peer}\n\
             3 sent, 3 answered, 0 % lost, T\n\
             rtt min/avg/max/mdev = T\n",
            preferred()
        )
    );
}

/// The secure channel that two nodes agree on by default, which depends on the processor.
fn preferred() -> &'static str {
    if p2p::tls::cpu_has_aes() {
        "/tls/1.0.0"
    } else {
        "/noise"
    }
}

#[test]
fn ping_and_echo_over_quic() {
    let listener = Listener::start(&["/ip4/127.0.0.1/udp/0/quic-v1"]);
    assert!(listener.addr.contains("/quic-v1/p2p/"), "{}", listener.addr);
    let outcome = p2p(&["ping", "-c", "2", "-i", "0.01", &listener.addr]);
    outcome.assert_exit(0);
    let stdout = scrub(&outcome.stdout);
    assert!(
        stdout.contains("32 bytes over QUIC\n") && stdout.contains("2 sent, 2 answered"),
        "{outcome:?}"
    );
    p2p(&["echo", &listener.addr, "--bytes", "300KiB"]).assert_exit(0);
}

#[cfg(unix)]
#[test]
fn ping_and_echo_over_a_unix_socket() {
    let file = std::env::temp_dir().join(format!("p2p-cli-{}.sock", std::process::id()));
    let addr = format!("/unix{}", file.display());
    let listener = Listener::start(&[&addr]);
    p2p(&["ping", "-c", "2", "-i", "0.01", &listener.addr]).assert_exit(0);
    p2p(&["echo", &addr, "--bytes", "300KiB"]).assert_exit(0);
    p2p(&["listen", &addr]).assert_exit(1);
    listener.end().assert_exit(0);
    assert!(!file.exists());
}

#[test]
fn a_bootstrap_peer_is_dialed_and_kept_in_the_address_book() {
    let book = std::env::temp_dir().join(format!("p2p-cli-{}.redb", std::process::id()));
    let book = book.display().to_string();
    let known = Listener::start(&[]);
    let start = || Listener::start(&["--bootstrap", &known.addr, "--book", &book]);
    let mut first = start();
    first.wait_for("\"connected\"");
    p2p(&["listen", "--book", &book]).assert_exit(1);
    let outcome = first.end();
    outcome.assert_exit(0);
    assert!(outcome.stdout.contains(known.peer()), "{outcome:?}");
    let mut second = start();
    second.wait_for("\"connected\"");
    second.end().assert_exit(0);
    std::fs::remove_file(book).unwrap();
    let nobody = p2p(&["listen", "--bootstrap", "/ip4/127.0.0.1/tcp/1"]);
    nobody.assert_exit(1);
    assert!(
        nobody.stderr.contains("does not end in /p2p/"),
        "{nobody:?}"
    );
}

#[test]
fn a_bootstrap_peer_that_is_not_there_is_told_of() {
    let peer = Listener::start(&[]).peer().to_owned();
    let nowhere = format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}");
    let mut listener = Listener::start(&["--bootstrap", &nowhere]);
    listener.wait_for("\"dial_failed\"");
    let outcome = listener.end();
    outcome.assert_exit(0);
    let records = outcome.records();
    let failed = records.iter().find(|one| one["event"] == "dial_failed");
    let failed = failed.unwrap();
    assert_eq!(failed["peer"], peer);
    assert!(failed["cause"].as_str().unwrap().contains(&nowhere[..20]));
}

#[test]
fn a_wrong_certificate_is_named() {
    let not_pem = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let listen = |cert, key| p2p(&["listen", "--tls-cert", cert, "--tls-key", key]);
    let missing = listen("/no/such/file.pem", not_pem);
    missing.assert_exit(1);
    assert!(missing.stderr.contains("/no/such/file.pem"), "{missing:?}");
    let wrong = listen(not_pem, not_pem);
    wrong.assert_exit(1);
    assert!(
        wrong.stderr.contains("not a chain of certificates"),
        "{wrong:?}"
    );
    p2p(&["listen", "--tls-cert", not_pem]).assert_exit(2);
}

#[test]
fn ping_in_json_ends_with_a_summary() {
    let listener = Listener::start(&[]);
    let outcome = p2p(&["ping", "-c", "2", "-i", "0.01", "--json", &listener.addr]);
    outcome.assert_exit(0);
    let records = outcome.records();
    assert_eq!(records.len(), 4, "{outcome:?}");
    assert_eq!(records[0]["event"], "connected");
    assert_eq!(records[0]["security"], preferred());
    assert_eq!(
        (&records[2]["event"], &records[2]["seq"]),
        (&"ping".into(), &2.into())
    );
    assert_eq!(
        (&records[3]["sent"], &records[3]["answered"]),
        (&2.into(), &2.into())
    );
    assert!(records[3]["avg_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn identify_shows_what_the_node_tells() {
    let listener = Listener::start(&[]);
    let outcome = p2p(&["identify", "--json", &listener.addr]);
    outcome.assert_exit(0);
    let told = &outcome.records()[1];
    assert_eq!(told["event"], "identify");
    assert_eq!(told["peer"], listener.peer());
    assert_eq!(told["key_type"], "Ed25519");
    assert_eq!(
        told["agent_version"],
        concat!("p2p-cli/", env!("CARGO_PKG_VERSION"))
    );
    for protocol in [
        "/echo/1.0.0",
        "/ipfs/id/1.0.0",
        "/ipfs/ping/1.0.0",
        "/p2p-interop/echo/1.0.0",
    ] {
        assert!(
            told["protocols"]
                .as_array()
                .unwrap()
                .contains(&protocol.into()),
            "{told}"
        );
    }
    let bare = listener.addr.split("/p2p/").next().unwrap();
    let addrs = told["listen_addrs"].as_array().unwrap();
    assert_eq!(addrs.len(), 2, "TCP and QUIC: {addrs:?}");
    assert_eq!(addrs[0], bare);
    assert!(
        told["observed_addr"]
            .as_str()
            .unwrap()
            .starts_with("/ip4/127.0.0.1/tcp/")
    );

    let outcome = p2p(&["identify", &listener.addr]);
    outcome.assert_exit(0);
    for part in [
        listener.peer(),
        "agent        p2p-cli/",
        "listens on   /ip4/127.0.0.1/tcp/",
        "answers      /echo/1.0.0",
    ] {
        assert!(outcome.stdout.contains(part), "{part}: {outcome:?}");
    }
}

#[test]
fn echo_gives_back_text_and_generated_bytes() {
    let listener = Listener::start(&[]);
    let outcome = p2p(&["echo", &listener.addr, "hello there"]);
    outcome.assert_exit(0);
    assert_eq!(outcome.stdout, "hello there\n");

    let outcome = p2p(&["echo", &listener.addr, "--bytes", "3MiB", "--json"]);
    outcome.assert_exit(0);
    assert_eq!(outcome.records()[1]["bytes"], 3 << 20);

    let outcome = p2p(&["echo", &listener.addr, "--bytes", "0"]);
    outcome.assert_exit(0);
    assert!(
        outcome.stdout.starts_with("0 bytes came back unchanged"),
        "{outcome:?}"
    );
}

#[test]
fn every_security_and_muxer_carries_an_echo() {
    for security in ["noise", "plaintext", "tls"] {
        for muxer in ["yamux", "mplex"] {
            let listener = Listener::start(&["--security", security]);
            let outcome = p2p(&[
                "echo",
                "--json",
                &listener.addr,
                "--bytes",
                "1MiB",
                "--security",
                security,
                "--muxer",
                muxer,
            ]);
            outcome.assert_exit(0);
            let muxer = outcome.records()[0]["muxer"]
                .as_str()
                .unwrap()
                .contains(muxer);
            assert!(muxer, "{outcome:?}");
        }
    }
}

#[test]
fn listen_tells_who_comes_and_goes_and_ends_with_stdin() {
    let listener = Listener::start(&[]);
    p2p(&["echo", &listener.addr]).assert_exit(0);
    let outcome = listener.end();
    outcome.assert_exit(0);
    let events: Vec<_> = outcome
        .records()
        .into_iter()
        .map(|record| record["event"].clone())
        .collect();
    assert_eq!(
        events,
        [
            "listening",
            "listening",
            "ready",
            "connected",
            "disconnected",
            "closed"
        ],
        "{outcome:?}"
    );
    let records = outcome.records();
    assert_eq!(records[4]["peer"], records[3]["peer"]);
    assert!(
        records[4]["why"]
            .as_str()
            .unwrap()
            .contains("closed by the remote"),
        "{outcome:?}"
    );
    assert_eq!(records[5]["why"], "end of stdin");
}

#[cfg(unix)]
#[test]
fn listen_ends_in_order_on_sigterm() {
    let listener = Listener::start(&[]);
    let outcome = listener.terminate();
    outcome.assert_exit(0);
    assert_eq!(
        outcome.records().last().unwrap()["why"],
        "signal",
        "{outcome:?}"
    );
}

#[test]
fn a_node_keeps_the_identity_of_its_key_file() {
    let dir = support::TempDir::new("identity");
    let key = dir.path("node.key");
    let made = p2p(&["key", "make", &key, "--json"]);
    made.assert_exit(0);
    let listener = Listener::start(&["--key", &key]);
    assert_eq!(made.records()[0]["peer_id"], listener.peer());
}

// ---- bad input: step, what was tried, cause, what to do ----

#[test]
fn a_malformed_address_is_a_usage_error() {
    let outcome = p2p(&["ping", "127.0.0.1:4001"]);
    outcome.assert_exit(2);
    assert_eq!(
        outcome.stderr,
        "error: invalid value '127.0.0.1:4001' for '<ADDR>': not an address of libp2p; write \
         /ip4/127.0.0.1/tcp/4001\n\nFor more information, try '--help'.\n"
    );
    let outcome = p2p(&["ping", "/ip4/300.0.0.1/tcp/1", "--json"]);
    outcome.assert_exit(2);
    let record = &outcome.records()[0];
    assert_eq!(
        (&record["event"], &record["step"]),
        (&"error".into(), &"usage".into())
    );
}

#[test]
fn an_unreachable_address() {
    let addr = peers::closed_port();
    let outcome = p2p(&["ping", &addr]);
    outcome.assert_failed(&format!(
        "error: cannot ping {addr}\n  \
           step   transport: opening the socket\n  \
           tried  {addr}, for T\n  \
           cause  cannot connect to {addr}: Connection refused (os error N)\n  \
           help   nothing listens there: check the port, and that the other end is running\n"
    ));
}

#[test]
fn a_wrong_peer_id() {
    let listener = Listener::start(&[]);
    let wrong = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let bare = listener.addr.split("/p2p/").next().unwrap();
    let addr = format!("{bare}/p2p/{wrong}");
    let found = listener.peer();
    p2p(&["identify", &addr]).assert_failed(&format!(
        "error: cannot identify {addr}\n  \
           step   security: finding out who is there\n  \
           tried  {addr}, for T\n  \
           cause  wrong peer: expected {wrong}, found {found}\n  \
           help   somebody else answers at this address: if that is who you want, dial {bare}/p2p/{found}; \
         if not, ask for the new address\n"
    ));
}

#[test]
fn a_peer_that_speaks_http() {
    let peer = Peer::that_sends(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let addr = &peer.addr;
    p2p(&["echo", addr]).assert_failed(&format!(
        "error: cannot echo through {addr}\n  \
           step   security: finding out who is there\n  \
           tried  {addr}, for T\n  \
           cause  no secure channel agreed on: the remote does not speak multistream-select: it sent \
         \"HTTP/1.1 400 Bad Request\\r\\nContent-Length: 0\\r\\n\\r\\n\"\n  \
           help   this is a web server, not a libp2p node: check the port\n"
    ));
}

#[test]
fn a_peer_that_says_nothing() {
    let peer = Peer::that_is_silent();
    let addr = &peer.addr;
    p2p(&["ping", addr, "--timeout", "0.3"]).assert_failed(&format!(
        "error: cannot ping {addr}\n  \
           step   security: finding out who is there\n  \
           tried  {addr}, for T\n  \
           cause  the other end took the connection, and then did not answer within T\n  \
           help   check that the port is that of a libp2p node: something else may be waiting for us to speak; \
         if it is slow, give it more time with --timeout\n"
    ));
}

#[test]
fn a_peer_that_hangs_up() {
    let peer = Peer::that_sends(b"");
    let outcome = p2p(&["ping", &peer.addr]);
    outcome.assert_exit(1);
    assert!(
        outcome.stderr.contains("  step   security: "),
        "{outcome:?}"
    );
    assert!(
        outcome.stderr.contains("  help   the other end hung up"),
        "{outcome:?}"
    );
}

#[test]
fn a_peer_with_another_secure_channel() {
    let listener = Listener::start(&["--security", "plaintext"]);
    let outcome = p2p(&["ping", "--security", "noise", &listener.addr]);
    outcome.assert_exit(1);
    assert!(
        outcome
            .stderr
            .contains("the remote supports none of [/noise]"),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("try --security"), "{outcome:?}");
}

#[test]
fn a_protocol_that_the_node_does_not_answer() {
    let listener = Listener::start(&[]);
    let addr = &listener.addr;
    p2p(&["echo", addr, "--protocol", "/other/1.0.0"]).assert_failed(&format!(
        "error: cannot echo through {addr}\n  \
           step   protocol: agreeing on a protocol for the stream\n  \
           tried  a stream for /other/1.0.0\n  \
           cause  the remote supports none of [/other/1.0.0]\n  \
           help   `p2p identify ADDR` shows which protocols the other end answers\n"
    ));
}

#[test]
fn an_error_is_also_a_record() {
    let addr = peers::closed_port();
    let outcome = p2p(&["ping", "--json", &addr]);
    outcome.assert_exit(1);
    let record = &outcome.records()[0];
    assert_eq!(record["event"], "error");
    assert_eq!(record["step"], "transport");
    assert_eq!(record["what"], format!("cannot ping {addr}"));
    for key in ["tried", "cause", "help"] {
        assert!(!record[key].is_null(), "{key}: {record}");
    }
}

#[test]
fn an_address_that_cannot_be_listened_on() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let outcome = p2p(&["listen", &addr]);
    outcome.assert_exit(1);
    assert!(
        outcome.stderr.starts_with(&format!(
            "error: cannot listen on {addr}\n  step   listen: "
        )),
        "{outcome:?}"
    );
}

#[test]
fn plaintext_beside_noise_is_refused() {
    let outcome = p2p(&["listen", "--security", "noise,plaintext"]);
    outcome.assert_exit(1);
    assert!(
        outcome.stderr.contains(
            "/plaintext/2.0.0 gives no security and cannot be offered beside a secure channel"
        ),
        "{outcome:?}"
    );
}

#[test]
fn a_key_file_that_is_not_one() {
    let dir = support::TempDir::new("not-a-key");
    let file = dir.path("letter.txt");
    std::fs::write(&file, "dear peer").unwrap();
    let expected = format!(
        "error: {file} is not a key file\n  \
           step   key file: reading or writing a key\n  \
           tried  the protobuf form, and base64 and hex of it\n  \
           cause  not a key in the protobuf form of libp2p\n  \
           help   give a file that `p2p key make FILE` or another node made\n"
    );
    p2p(&["key", "show", &file]).assert_failed(&expected);
    p2p(&["listen", "--key", &file]).assert_failed(&expected);
    let missing = dir.path("missing.key");
    p2p(&["ping", "--key", &missing, "/ip4/127.0.0.1/tcp/1"]).assert_failed(&format!(
        "error: cannot read {missing}\n  \
           step   key file: reading or writing a key\n  \
           cause  No such file or directory (os error N)\n  \
           help   check the name; `p2p key make FILE` makes a key file\n"
    ));
}

#[test]
fn no_colours_without_a_terminal() {
    let outcome = p2p(&["ping", &peers::closed_port()]);
    assert!(!outcome.stderr.contains('\x1b'), "{outcome:?}");
}

#[test]
fn perf_moves_what_was_asked_for_if_the_node_answers_it() {
    let listener = Listener::start(&["--perf"]);
    let sizes = ["--upload", "1MiB", "--download", "2MiB"];
    let outcome = p2p(&[&["perf", &listener.addr, "--json"], &sizes[..]].concat());
    outcome.assert_exit(0);
    let record = &outcome.records()[1];
    assert_eq!(record["event"], "perf");
    assert_eq!(record["upload_bytes"], 1 << 20);
    assert_eq!(record["download_bytes"], 2 << 20);

    let other = Listener::start(&[]);
    let outcome = p2p(&["perf", &other.addr]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("/perf/1.0.0"), "{outcome:?}");
}

// ---- limits, metrics, top ----

#[test]
fn the_limits_are_shown_with_what_one_peer_can_cost() {
    let outcome = p2p(&["limits"]);
    outcome.assert_exit(0);
    for part in [
        "memory_budget                      256 MiB",
        "max_pending_per_prefix             32",
        "incoming_rate_per_prefix           64 a second",
        "What one peer can cost at most",
        "memory on its connections          64 MiB",
    ] {
        assert!(outcome.stdout.contains(part), "{part}: {outcome:?}");
    }
    let outcome = p2p(&["limits", "--memory", "16MiB", "--json"]);
    let records = outcome.records();
    assert_eq!(records[0]["setting"], "memory_budget");
    assert_eq!(records[0]["value"], 16 << 20);
    assert_eq!(records.last().unwrap()["memory"], 4 << 20);
}

#[test]
fn a_node_shows_what_it_does_and_top_looks_at_it() {
    let listener = Listener::start(&["--metrics", "127.0.0.1:0"]);
    let at = listener.metrics();
    p2p(&["echo", &listener.addr, "hello"]).assert_exit(0);

    let outcome = p2p(&["top", "--once", &at]);
    outcome.assert_exit(0);
    for part in [
        "limits",
        "of 256 MiB",
        "connections with",
        "served  /echo/1.0.0",
    ] {
        assert!(outcome.stdout.contains(part), "{part}: {outcome:?}");
    }
    let outcome = p2p(&["top", "--once", "--json", &at]);
    // That of the echo; whether the client also got to ask who the node is, is its own affair.
    let accepted = outcome.records()[0]["state"]["stats"]["streams_accepted"].as_u64();
    assert!(accepted >= Some(1), "{accepted:?}");

    let outcome = p2p(&["top", "--once", "127.0.0.1:1"]);
    outcome.assert_exit(1);
    assert!(
        outcome.stderr.contains("p2p listen --metrics 127.0.0.1:1"),
        "{outcome:?}"
    );
}
