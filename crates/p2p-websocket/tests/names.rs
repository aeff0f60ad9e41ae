//! Whose certificate is taken, and what a wrong one, no one, or another protocol comes to.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

mod web;

use std::error::Error as _;

use futures::future::join;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use p2p_core::{Blame, BoxIo, Chain, Link, Multiaddr, Rt, Transport, TransportError};
use p2p_sim::Sim;
use p2p_tcp::Tcp;
use p2p_websocket::{Config, HandshakeError, PemError, PemFault, ServerCertificate, WebSocket};

fn over_tcp(rt: &Rt, config: Config) -> WebSocket {
    let rt = rt.clone();
    WebSocket::new(Tcp::new(rt, p2p_tcp::Config::default()), config).unwrap()
}

/// Runs a test on one simulated machine.
fn on_a_host<Test: Future<Output = ()>>(test: impl FnOnce(Rt) -> Test) {
    let sim = Sim::new(1);
    let rt = sim.host("host").rt();
    sim.block_on(test(rt));
}

/// Dials `name` at a server with a certificate for `certified`.
async fn meet(
    rt: &Rt,
    web: &web::Web,
    dialer: &WebSocket,
    certified: &str,
    name: &str,
) -> Result<BoxIo, TransportError> {
    let server = over_tcp(rt, web.config(certified));
    let mut listener = server
        .listen("/ip4/127.0.0.1/tcp/0/tls/ws".parse().unwrap())
        .await
        .unwrap();
    let at = listener.addrs()[0].to_string();
    let to: Multiaddr = at
        .replace("/tls/ws", &format!("/tls/sni/{name}/ws"))
        .parse()
        .unwrap();
    let serve = async { listener.accept().await.unwrap().link.await };
    let (dialed, served) = join(dialer.dial(to, None), serve).await;
    let Link::Raw(mut io) = dialed?.link else {
        panic!("a raw link");
    };
    let Link::Raw(mut far) = served? else {
        panic!("a raw link");
    };
    io.write_all(b"hello").await.unwrap();
    io.flush().await.unwrap();
    let mut hello = [0; 5];
    far.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
    Ok(io)
}

#[test]
fn the_name_behind_sni_must_be_proven_by_a_trusted_authority() {
    on_a_host(|rt| async move {
        let web = web::Web::new();
        let ours = over_tcp(&rt, web.config("ours.example"));
        meet(&rt, &web, &ours, "a.example", "a.example")
            .await
            .unwrap();

        let other = over_tcp(&rt, web::Web::new().config("ours.example"));
        for (dialer, name) in [(&ours, "b.example"), (&other, "a.example")] {
            let error = meet(&rt, &web, dialer, "a.example", name)
                .await
                .err()
                .unwrap();
            assert_eq!(error.blame(), Blame::Remote);
            let step = error.source().unwrap().downcast_ref::<HandshakeError>();
            assert!(matches!(step, Some(HandshakeError::Tls(_))), "{step:?}");
        }
    });
}

#[test]
fn what_is_no_pem_is_named() {
    let error = ServerCertificate::from_pem(b"-----", b"-----").unwrap_err();
    assert!(matches!(error, PemError::Chain(_)), "{error}");
    let chain = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = ServerCertificate::from_pem(chain, chain).unwrap_err();
    assert!(matches!(error, PemError::Key(_)), "{error}");
}

#[test]
fn an_error_of_a_key_file_repeats_nothing_of_the_key() {
    let secret = "c2VjcmV0IG9mIG91cnM";
    let chain = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let start = "-----BEGIN PRIVATE KEY----";
    for (key, fault) in [
        (format!("{start}-{secret}\n"), PemFault::Start),
        (format!("{start}{secret}-----END\n"), PemFault::Start),
        (format!("{start}-\n{secret}\n"), PemFault::Unended),
        (
            format!("{start}-\n{secret}*\n-----END PRIVATE KEY-----\n"),
            PemFault::Base64,
        ),
        (secret.to_owned(), PemFault::Missing),
    ] {
        let error = ServerCertificate::from_pem(chain, key.as_bytes()).unwrap_err();
        let PemError::Key(found) = error else {
            panic!("{error}");
        };
        assert_eq!(found, fault, "{key}");
        let bytes = format!("{:?}", &secret.as_bytes()[..4]);
        let bytes = bytes.trim_matches(['[', ']']);
        let shown = format!("{error:?} {}", Chain(&error));
        assert!(
            !shown.contains(&secret[..4]) && !shown.contains(bytes),
            "{shown}"
        );
    }
}

/// What a dial of a server over TLS comes to that answers the greeting with `said`.
async fn answered(rt: &Rt, said: &'static [u8]) -> HandshakeError {
    let options = p2p_core::TcpOptions::default();
    let at = ([127, 0, 0, 1], 443).into();
    let mut listener = rt.net().tcp_listen(at, &options).unwrap();
    let to = "/ip4/127.0.0.1/tcp/443/tls/sni/a.example/ws";
    let ws = over_tcp(rt, Config::default());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        stream.write_all(said).await.unwrap();
    };
    let (dialed, ()) = join(ws.dial(to.parse().unwrap(), None), serve).await;
    let TransportError::Handshake(step) = dialed.err().unwrap() else {
        panic!("an error of the handshake");
    };
    *step.into_inner().downcast().unwrap()
}

#[test]
fn a_server_without_tls_1_3_is_told_from_one_without_tls() {
    on_a_host(|rt| async move {
        let old = answered(&rt, b"\x15\x03\x03\x00\x02\x02\x46").await;
        assert!(matches!(old, HandshakeError::OldTls(_)), "{old:?}");
        let none = answered(&rt, b"SSH-2.0\r\n").await;
        assert!(matches!(none, HandshakeError::NotTls(_)), "{none:?}");
        let gone = answered(&rt, b"").await;
        assert!(matches!(gone, HandshakeError::Tls(_)), "{gone:?}");
        assert_eq!(gone.blame(), Blame::Network);
    });
}

#[test]
fn a_server_whose_certificate_is_refused_is_told_so() {
    on_a_host(|rt| async move {
        let web = web::Web::new();
        let server = over_tcp(&rt, web.config("a.example"));
        let at = "/ip4/127.0.0.1/tcp/0/tls/ws".parse().unwrap();
        let mut listener = server.listen(at).await.unwrap();
        let to = listener.addrs().remove(0);
        // It trusts the authorities of Mozilla only.
        let dialer = over_tcp(&rt, Config::default());
        let serve = async { listener.accept().await.unwrap().link.await };
        let (_, served) = join(dialer.dial(to, None), serve).await;
        let error = served.err().unwrap();
        let step = error.source().unwrap().downcast_ref::<HandshakeError>();
        assert!(
            matches!(step, Some(HandshakeError::CertificateRefused(_))),
            "{step:?}"
        );
        assert_eq!(step.unwrap().blame(), Blame::Us);
    });
}

#[test]
fn listening_with_tls_needs_a_certificate_and_says_so() {
    on_a_host(|rt| async move {
        let ws = over_tcp(&rt, Config::default());
        let at = "/ip4/127.0.0.1/tcp/0/wss".parse().unwrap();
        let error = ws.listen(at).await.err().unwrap();
        let source = error.source().unwrap().to_string();
        assert!(source.contains("setting: certificate"), "{source}");
    });
}

#[test]
fn a_server_that_speaks_no_websocket_is_an_error_of_the_upgrade() {
    on_a_host(|rt| async move {
        let tcp = Tcp::new(rt.clone(), p2p_tcp::Config::default());
        let mut listener = tcp
            .listen("/ip4/127.0.0.1/tcp/0".parse().unwrap())
            .await
            .unwrap();
        let to = format!("{}/ws", listener.addrs()[0]).parse().unwrap();
        let serve = async {
            let Link::Raw(mut io) = listener.accept().await.unwrap().link.await.unwrap() else {
                panic!("a raw link");
            };
            let mut request = [0; 16];
            io.read_exact(&mut request).await.unwrap();
            io.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
            io
        };
        let ws = over_tcp(&rt, Config::default());
        let (dialed, _io) = join(ws.dial(to, None), serve).await;
        let error = dialed.err().unwrap();
        let step = error.source().unwrap().downcast_ref::<HandshakeError>();
        assert!(matches!(step, Some(HandshakeError::Upgrade(_))), "{step:?}");
    });
}
