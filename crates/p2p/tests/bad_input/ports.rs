//! Ports at which something else answers, or nothing.

use p2p::Host;

use crate::{World, plain, same};

const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
const SILENT: &str = "transport failed after 10.0s: no answer within 10s (setting: dial_timeout)";
const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.6\r\n";

fn answers(greeting: &'static [u8], to: &str, expected: &str) {
    let world = World::new();
    world.stranger(greeting);
    let text = world.fail(plain(), to);
    same(&text, to, expected);
}

#[test]
fn over_tcp_what_the_other_end_speaks_is_shown() {
    let to = "/ip4/10.0.0.2/tcp/4001";
    let start = "security failed after 40.0ms: no secure channel agreed on: the remote does not speak \
                 multistream-select: it sent ";
    let http = r#""HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n""#;
    answers(HTTP, to, &format!("{start}{http}"));
    answers(SSH, to, &format!(r#"{start}"SSH-2.0-OpenSSH_9.6\r\n""#));
    answers(
        b"",
        to,
        "security failed after 10.0s: no answer within 10s (setting: dial_timeout)",
    );
}

#[test]
fn over_websocket_the_upgrade_is_named() {
    let to = "/ip4/10.0.0.2/tcp/4001/ws";
    let start = "transport failed after 40.0ms: handshake of the transport failed: the HTTP upgrade to \
                 WebSocket failed: ";
    answers(HTTP, to, &format!("{start}HTTP error: 400 Bad Request"));
    let ssh = "WebSocket protocol error: httparse error: invalid HTTP version";
    answers(SSH, to, &format!("{start}{ssh}"));
    answers(b"", to, SILENT);
}

#[test]
fn over_tls_of_the_web_the_handshake_is_named() {
    let to = "/ip4/10.0.0.2/tcp/4001/tls/sni/far.test/ws";
    let expected = "transport failed after 40.0ms: handshake of the transport failed: the remote does \
                    not speak TLS: check the port, or leave /tls out: received corrupt message of \
                    type InvalidContentType";
    answers(HTTP, to, expected);
    answers(b"", to, SILENT);
}

#[test]
fn a_closed_port_is_refused_on_every_road() {
    let world = World::new();
    for to in ["/ip4/10.0.0.2/tcp/4001", "/ip4/10.0.0.2/tcp/4001/ws"] {
        let text = world.fail(plain(), to);
        let expected =
            format!("transport failed after 20.0ms: cannot connect to {to}: nobody listens there");
        same(&text, to, &expected);
    }
    let to = "/ip4/10.0.0.2/udp/4001/quic-v1";
    // Of QUIC only silence tells.
    same(&world.fail(Host::builder(), to), to, SILENT);
}

#[test]
fn over_quic_a_port_that_speaks_something_else_stays_silent() {
    let world = World::new();
    let udp = world.far.rt().net().udp_bind(world.far.socket(4001));
    let udp = udp.unwrap();
    world.far.spawn("echo", async move {
        let mut buffer = [0; 2048];
        loop {
            let received = std::future::poll_fn(|cx| udp.poll_recv(cx, &mut buffer)).await;
            let received = received.unwrap();
            let datagram = p2p::core::Datagram::new(
                received.from,
                b"not a packet of QUIC, whatever it is that was sent here",
            );
            let _ = std::future::poll_fn(|cx| udp.poll_send(cx, &datagram)).await;
        }
    });
    let to = "/ip4/10.0.0.2/udp/4001/quic-v1";
    same(&world.fail(Host::builder(), to), to, SILENT);
}

#[cfg(feature = "pnet")]
#[test]
fn without_the_key_of_a_private_network_nobody_understands_anybody() {
    use p2p::pnet::PreSharedKey;
    let private = |byte| plain().private_network(PreSharedKey::new([byte; 32]));
    let world = World::new();
    let to = "/ip4/10.0.0.2/tcp/4001";
    let _far = world.listen(private(7), to);
    let noise = "link failed during the handshake: what arrives is noise: the other end is not in the \
                 private network, or the keys may differ";
    let expected = format!("security failed after 40.0ms: {noise}");
    same(&world.fail(private(8), to), to, &expected);
    // Who has no key at all sees what the key makes of the greeting.
    let text = world.fail(plain(), to);
    let start = format!(
        "the address did not work:\n  {to}: security failed after 40.0ms: no secure channel agreed \
         on: the remote does not speak multistream-select: it sent \""
    );
    assert!(text.starts_with(&start), "{text}");
}

#[cfg(feature = "pnet")]
#[test]
fn a_file_that_holds_no_key_of_a_private_network_names_its_line() {
    use p2p::pnet::PreSharedKey;
    let header = "/key/swarm/psk/1.0.0/\n";
    for (file, expected) in [
        (
            "-----BEGIN PRIVATE KEY-----\n".to_owned(),
            "line 1 of the key file: not /key/swarm/psk/1.0.0/",
        ),
        (
            format!("{header}/hex/\n00"),
            "line 2 of the key file: \"/hex/\" is not /base16/, /base64/ or /bin/",
        ),
        (
            format!("{header}/base16/\n0011"),
            "line 3 of the key file: not 32 bytes in the encoding of line 2",
        ),
        (
            format!("{header}{}", "00ff".repeat(16)),
            "line 2 of the key file does not name an encoding: /base16/, /base64/ or /bin/",
        ),
    ] {
        let error = file.parse::<PreSharedKey>().unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
