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
use p2p_core::{Blame, BoxIo, Link, Multiaddr, Rt, Transport, TransportError};
use p2p_sim::Sim;
use p2p_tcp::Tcp;
use p2p_websocket::{Config, HandshakeError, PemError, ServerCertificate, WebSocket};

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
