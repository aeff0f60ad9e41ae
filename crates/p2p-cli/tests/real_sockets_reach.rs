//! The ways of the built binary to other nodes: private networks, proxies, several networks at
//! once, authorities of one's own.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken helper or a missing key is a failed test"
)]
#![expect(dead_code, reason = "each test file uses a part of the helpers")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/peers.rs"]
mod peers;
mod support;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use authority::Authority;
use peers::Listener;
use support::{Outcome, TempDir, p2p};

/// Two pings, quickly.
fn ping(more: &[&str]) -> Outcome {
    p2p(&[&["ping", "-c", "2", "-i", "0.01"], more].concat())
}

// ---- private networks ----

const HEADER: &str = "/key/swarm/psk/1.0.0/\n";

/// The file of a key.
fn swarm_key(dir: &TempDir, name: &str, digit: &str) -> String {
    let file = dir.path(name);
    let text = format!("{HEADER}/base16/\n{}\n", digit.repeat(64));
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn members_of_a_private_network_reach_each_other_and_nobody_else_reaches_them() {
    let dir = TempDir::new("swarm-keys");
    let (ours, other) = (swarm_key(&dir, "ours", "7"), swarm_key(&dir, "other", "8"));
    let listener = Listener::start(&["--swarm-key", &ours]);
    let addr = &listener.addr;
    ping(&["--swarm-key", &ours, addr]).assert_exit(0);
    let stranger = ping(&["--swarm-key", &other, addr]);
    stranger.assert_exit(1);
    for part in [
        "step   security",
        "or the keys may differ",
        "help   both ends need the same --swarm-key",
    ] {
        assert!(stranger.stderr.contains(part), "{part}: {stranger:?}");
    }
    let outsider = ping(&[addr]);
    outsider.assert_exit(1);
    assert!(outsider.stderr.contains("step   security"), "{outsider:?}");
    let outcome = listener.end();
    let listening = outcome.records();
    let listening = listening.iter().filter(|one| one["event"] == "listening");
    assert_eq!(listening.count(), 1, "TCP alone, without being asked");
}

#[test]
fn a_file_that_holds_no_key_of_a_private_network_is_named_and_not_shown() {
    let dir = TempDir::new("no-swarm-key");
    let file = dir.path("swarm.key");
    let key = "8f3a".repeat(16);
    for (text, line) in [
        (
            "dear peer\n".to_owned(),
            "line 1 of the key file: not /key/",
        ),
        (
            format!("{HEADER}{key}\n"),
            "line 2 of the key file does not name",
        ),
        (
            format!("{HEADER}/hex/\n{key}\n"),
            "line 2 of the key file: \"/hex/\"",
        ),
        (
            format!("{HEADER}/base16/\n{}\n", &key[1..]),
            "line 3 of the key file",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let outcome = p2p(&["listen", "--swarm-key", &file]);
        outcome.assert_exit(1);
        let start = format!("error: {file} is not the key of a private network\n  step   key file");
        assert!(outcome.stderr.starts_with(&start), "{outcome:?}");
        assert!(outcome.stderr.contains(line), "{line}: {outcome:?}");
        assert!(!outcome.stderr.contains("8f3a"), "the key: {outcome:?}");
    }
    let missing = p2p(&["listen", "--swarm-key", &dir.path("missing")]);
    missing.assert_exit(1);
    assert!(missing.stderr.contains("cannot read"), "{missing:?}");
}

#[test]
fn no_node_starts_without_a_key_where_private_networks_are_forced() {
    let dir = TempDir::new("forced");
    let key = swarm_key(&dir, "swarm.key", "7");
    let forced = |more: &[&str]| {
        let args = [&["ping", "/ip4/127.0.0.1/tcp/1"], more].concat();
        let mut ping = support::command(&args);
        let outcome = ping.env("LIBP2P_FORCE_PNET", "1").output().unwrap();
        assert_eq!(outcome.status.code(), Some(1));
        String::from_utf8(outcome.stderr).unwrap()
    };
    let without = forced(&[]);
    for part in ["LIBP2P_FORCE_PNET is set", "step   start", "--swarm-key"] {
        assert!(without.contains(part), "{part}: {without}");
    }
    let with = forced(&["--swarm-key", &key]);
    assert!(with.contains("step   transport"), "it started: {with}");
}

// ---- proxies ----

/// A SOCKS5 proxy that connects everybody to one place; what it was asked for.
fn proxy(to: &str) -> (String, Arc<Mutex<Vec<Vec<u8>>>>) {
    let port: u16 = to.split('/').nth(4).unwrap().parse().unwrap();
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asks = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, asks) = (client.unwrap(), Arc::clone(&asks));
            thread::spawn(move || serve(client, to, &asks));
        }
    });
    (at, asked)
}

fn serve(mut client: TcpStream, to: SocketAddr, asks: &Mutex<Vec<Vec<u8>>>) -> io::Result<()> {
    client.read_exact(&mut [0; 3])?;
    client.write_all(&[5, 0])?;
    let mut asked = vec![0; 256];
    let count = client.read(&mut asked)?;
    asked.truncate(count);
    asks.lock().unwrap().push(asked);
    let mut there = TcpStream::connect(to)?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let (mut from, mut back) = (there.try_clone()?, client.try_clone()?);
    thread::spawn(move || io::copy(&mut from, &mut back));
    io::copy(&mut client, &mut there)?;
    Ok(())
}

#[test]
fn a_node_behind_a_proxy_sends_names_there_and_looks_nothing_up() {
    let listener = Listener::start(&[]);
    let (at, asked) = proxy(&listener.addr);
    // A name that no name server knows.
    let addr = format!("/dns4/node.invalid/tcp/4001/p2p/{}", listener.peer());
    ping(&["--proxy", &at, &addr]).assert_exit(0);
    let name = [
        &[5, 1, 0, 3, 12][..],
        b"node.invalid",
        &4001_u16.to_be_bytes(),
    ]
    .concat();
    assert_eq!(*asked.lock().unwrap(), [name]);

    let quic = ping(&["--proxy", &at, "/ip4/127.0.0.1/udp/4001/quic-v1"]);
    quic.assert_exit(1);
    assert!(quic.stderr.contains("no transport for"), "{quic:?}");
    assert!(quic.stderr.contains("--proxy"), "{quic:?}");
}

#[test]
fn a_node_behind_a_proxy_tells_neither_where_nor_what_it_is() {
    let listener = Listener::start(&["--proxy", "127.0.0.1:1"]);
    let outcome = p2p(&["identify", "--json", &listener.addr]);
    outcome.assert_exit(0);
    let told = &outcome.records()[1];
    assert_eq!(told["listen_addrs"], serde_json::json!([]), "{told}");
    assert_eq!(told["agent_version"], "p2p", "{told}");
    p2p(&["listen", "--mdns", "--proxy", "127.0.0.1:1"]).assert_exit(2);
}

#[test]
fn a_proxy_that_is_wrong_is_named() {
    let nobody = ping(&["--proxy", "127.0.0.1:1", "/ip4/127.0.0.1/tcp/4001"]);
    nobody.assert_exit(1);
    for part in ["the proxy cannot be reached", "help   check --proxy"] {
        assert!(nobody.stderr.contains(part), "{part}: {nobody:?}");
    }
    let usage = ping(&["--proxy", "nowhere", "/ip4/127.0.0.1/tcp/4001"]);
    usage.assert_exit(2);
    assert!(usage.stderr.contains("write it like 127.0.0.1:9050"));
}

// ---- authorities, several networks ----

#[test]
fn a_certificate_of_an_authority_of_ones_own_is_trusted_if_it_is_given() {
    let dir = TempDir::new("authority");
    let Authority { root, cert, key } = Authority::new(&dir);
    let listener = Listener::start(&[
        "/ip4/127.0.0.1/tcp/0/tls/ws",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ]);
    ping(&["--tls-root", &root, &listener.addr]).assert_exit(0);
    let stranger = ping(&[&listener.addr]);
    stranger.assert_exit(1);
    for part in ["not of an authority that we trust", "with --tls-root"] {
        assert!(stranger.stderr.contains(part), "{part}: {stranger:?}");
    }
    let wrong = ping(&["--tls-root", &key, &listener.addr]);
    wrong.assert_exit(1);
    assert!(
        wrong.stderr.contains("cannot use the authorities in"),
        "{wrong:?}"
    );
}

#[test]
fn nodes_that_use_several_networks_at_once_reach_each_other_and_others() {
    let listener = Listener::start(&["--mptcp"]);
    ping(&["--mptcp", &listener.addr]).assert_exit(0);
    ping(&[&listener.addr]).assert_exit(0);
    ping(&["--mptcp", "--proxy", "127.0.0.1:1", &listener.addr]).assert_exit(2);
}
