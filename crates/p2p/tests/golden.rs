//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p --all-features --test golden` writes `tests/golden/texts.txt`
//! anew: read the difference as a user would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use p2p::core::golden::Texts;
use p2p::swarm::BuildError;
use p2p::{HandleError, HostError, HostListenError, IntoAddr as _, ListenError, Protocol};

#[test]
fn every_error_reads_as_it_should() {
    let key_type = p2p::KeyType::Ecdsa;
    let sign = p2p::keys::SignError { key_type };
    let bad = rustls_error();
    let hosts = [
        HostError::Bootstrap(p2p::bootstrap::BootstrapError::Nobody),
        HostError::Build(BuildError::NoTransport),
        HostError::Handle(HandleError::Taken(Protocol::from_static("/ipfs/id/1.0.0"))),
        HostError::Identify(p2p::identify::SetupError::Zero {
            setting: "push_interval",
        }),
        HostError::MdnsBehindProxy,
        HostError::Mdns(p2p::mdns::SetupError::Zero {
            setting: "query_interval",
        }),
        HostError::Noise(sign.clone().into()),
        HostError::Quic(p2p::quic::SetupError::Tls(sign.clone().into())),
        HostError::NoPrivateNetwork,
        HostError::NoRuntime,
        HostError::NotPrivate,
        HostError::Tls(sign.into()),
        HostError::WebSocket(bad),
    ];
    let listens = [
        "localhost:4001".into_addr().unwrap_err(),
        HostListenError::Listen(ListenError::Closed),
    ];
    let mut texts = Texts::default();
    texts.errors("HostError", hosts);
    texts.errors("HostListenError", listens);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

/// What comes of a certificate that is none.
fn rustls_error() -> p2p::websocket::SetupError {
    let chain = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let certificate = p2p::websocket::ServerCertificate::from_pem(chain, key);
    let mut config = p2p::websocket::Config::default();
    config.certificate = certificate.ok();
    let rt = p2p_sim::Sim::new(1).host("us").rt();
    let tcp = p2p::tcp::Tcp::new(rt, p2p::tcp::Config::default());
    p2p::websocket::WebSocket::new(tcp, config).err().unwrap()
}
