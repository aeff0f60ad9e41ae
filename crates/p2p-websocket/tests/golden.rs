//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-websocket --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;

use async_tungstenite::{accept_async, client_async, tungstenite};
use p2p_core::TransportError;
use p2p_core::golden::{Remote, Texts, block_on};
use p2p_sim::Sim;
use p2p_tcp::Tcp;
use p2p_websocket::{
    Config, HandshakeError, PemError, PemFault, ServerCertificate, SetupError, WebSocket,
};

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY: &[u8] = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

#[test]
fn every_error_reads_as_it_should() {
    let pem = |chain, key| ServerCertificate::from_pem(chain, key).unwrap_err();
    let pems = [
        pem(b"not PEM", KEY),
        pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n", KEY),
        pem(CERTIFICATE, CERTIFICATE),
        pem(CERTIFICATE, b"-----BEGIN PRIVATE KEY-----AAAA\n"),
        pem(
            CERTIFICATE,
            b"-----BEGIN PRIVATE KEY-----\n*\n-----END PRIVATE KEY-----\n",
        ),
        PemError::Key(PemFault::TooLarge),
    ];
    let mut texts = Texts::default();
    let faults = pems.each_ref().map(|error| match error {
        PemError::Chain(fault) | PemError::Key(fault) => *fault,
        other => panic!("{other}"),
    });
    texts.errors("PemError", pems as [PemError; 6]);
    texts.errors("PemFault", faults);
    texts.blamed("SetupError", SetupError::blame, [unusable()]);
    texts.blamed("HandshakeError", HandshakeError::blame, handshakes());
    texts.blamed(
        "TransportError",
        TransportError::blame,
        [without_certificate()],
    );
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn over_tcp(sim: &Sim, config: Config) -> Result<WebSocket, SetupError> {
    let tcp = Tcp::new(sim.host("us").rt(), p2p_tcp::Config::default());
    WebSocket::new(tcp, config)
}

fn unusable() -> SetupError {
    let mut config = Config::default();
    config.certificate = ServerCertificate::from_pem(CERTIFICATE, KEY).ok();
    over_tcp(&Sim::new(1), config).err().unwrap()
}

fn without_certificate() -> TransportError {
    use p2p_core::Transport as _;
    let sim = Sim::new(1);
    let ws = over_tcp(&sim, Config::default()).unwrap();
    let at = "/ip4/127.0.0.1/tcp/0/wss".parse().unwrap();
    sim.block_on(async move { ws.listen(at).await.err().unwrap() })
}

fn handshakes() -> Vec<HandshakeError> {
    let upgrade = |error| HandshakeError::Upgrade(Box::new(error));
    let dialed = |said: &[u8]| {
        let done = client_async("ws://node.test/", Remote::saying(said));
        upgrade(block_on(done).map(drop).unwrap_err())
    };
    let listened = |said: &[u8]| {
        let done = accept_async(Remote::saying(said));
        upgrade(block_on(done).map(drop).unwrap_err())
    };
    let tls = || io::Error::other(rustls::Error::HandshakeNotComplete);
    let host = tungstenite::Error::Url(tungstenite::error::UrlError::EmptyHostName);
    let link = tungstenite::Error::Io(io::ErrorKind::ConnectionReset.into());
    vec![
        HandshakeError::Malformed(tls()),
        HandshakeError::NotTls(tls()),
        HandshakeError::OldTls(tls()),
        HandshakeError::CertificateRefused(tls()),
        HandshakeError::Tls(tls()),
        HandshakeError::Tls(io::ErrorKind::UnexpectedEof.into()),
        HandshakeError::UnknownAuthority(tls()),
        dialed(b"HTTP/1.1 404 Not Found\r\n\r\n"),
        dialed(b"SSH-2.0\r\n\r\n"),
        dialed(b""),
        listened(b"GET / HTTP/1.1\r\nHost: node.test\r\n\r\n"),
        upgrade(host),
        upgrade(link),
        listened(b"\x13/multistream/1.0.0\n\r\n\r\n"),
    ]
}
