//! What a remote that does not keep to the rules comes to.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::error::Error as _;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::executor::block_on;
use futures::future::join;
use futures::io::AsyncReadExt;
use futures_rustls::TlsConnector;
use p2p_core::{Blame, Protocol, Role, SecurityError};
use p2p_keys::Keypair;
use p2p_tls::{
    Authenticated, CertificateError, Credentials, HandshakeError, Tls, Verifier, certificate,
};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

const YAMUX: Protocol = Protocol::from_static("/yamux/1.0.0");

type Outcome = Result<Authenticated<p2p_memory::Pipe>, SecurityError>;

/// A client of rustls meets our listener.
fn listen_for(client: ClientConfig) -> Outcome {
    let tls = Tls::new(&Keypair::generate_ed25519()).unwrap();
    let (near, far) = p2p_memory::pipe(64 * 1024);
    let name = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST));
    let dial = async {
        if let Ok(mut stream) = TlsConnector::from(Arc::new(client))
            .connect(name, near)
            .await
        {
            // A client is done before the listener looks at its certificate.
            let _ = stream.read(&mut [0]).await;
        }
    };
    let listen = async {
        let outcome = tls.secure(far, Role::Listener, None, &[YAMUX]).await;
        outcome.map(|mut remote| {
            drop(futures::FutureExt::now_or_never(
                futures::AsyncWriteExt::close(&mut remote.channel),
            ));
            remote
        })
    };
    block_on(join(dial, listen)).1
}

fn client(alpn: &[&[u8]]) -> ClientConfig {
    let credentials = Credentials::new(&Keypair::generate_ed25519()).unwrap();
    credentials.client(None, alpn.iter().map(|one| one.to_vec()).collect())
}

/// A client with these certificates, the first of which has the key.
fn client_with(
    chain: Vec<CertificateDer<'static>>,
    keys_of: certificate::Certified,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::default()))
        .with_client_auth_cert(chain, keys_of.key)
        .unwrap();
    config.alpn_protocols = vec![b"libp2p".to_vec()];
    config
}

/// A client that shows these bytes as its certificate.
fn client_showing(bytes: Vec<u8>) -> ClientConfig {
    let own = certificate::generate(&Keypair::generate_ed25519()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(own.key).unwrap();
    let shown = CertifiedKey::new(vec![bytes.into()], key);
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::default()))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![b"libp2p".to_vec()];
    config
}

#[test]
fn bytes_that_are_no_x509_at_all_are_refused_as_such() {
    let whole = certificate::generate(&Keypair::generate_ed25519()).unwrap();
    let mut cut = whole.certificate.to_vec();
    cut.pop();
    for bytes in [cut, b"dear peer".to_vec()] {
        let refused = refusal(listen_for(client_showing(bytes)));
        let text = "the certificate is malformed: it is not in DER";
        assert_eq!(refused.to_string(), text);
    }
}

#[test]
fn a_listener_hears_that_its_certificate_is_refused_and_blames_nobody() {
    let tls = || Tls::new(&Keypair::generate_ed25519()).unwrap();
    let (near, far) = p2p_memory::pipe(64 * 1024);
    let (dialer, listener) = (tls(), tls());
    let other = Keypair::generate_ed25519().to_peer_id();
    let (dialed, listened) = block_on(join(
        dialer.secure(near, Role::Dialer, Some(other), &[YAMUX]),
        listener.secure(far, Role::Listener, None, &[YAMUX]),
    ));
    assert!(matches!(dialed, Err(SecurityError::WrongPeer { .. })));
    let error = listened.unwrap_err();
    let reason = error.source().unwrap().downcast_ref::<HandshakeError>();
    assert!(
        matches!(reason, Some(HandshakeError::CertificateRefused(_))),
        "{error}"
    );
    assert_eq!(reason.unwrap().blame(), Blame::Network);
}

fn refusal(outcome: Outcome) -> HandshakeError {
    let error = outcome.unwrap_err();
    assert_eq!(error.blame(), Blame::Remote);
    let source = error.source().unwrap();
    source.downcast_ref::<HandshakeError>().unwrap().clone()
}

#[test]
fn the_clients_order_of_multiplexers_counts_and_none_is_fine() {
    for (alpn, agreed) in [
        (&[&b"/yamux/1.0.0"[..], b"libp2p"][..], Some(YAMUX)),
        (&[b"libp2p", b"/yamux/1.0.0"], None),
        (&[b"/other/1", b"/yamux/1.0.0"], Some(YAMUX)),
        (&[], None),
    ] {
        assert_eq!(listen_for(client(alpn)).unwrap().muxer, agreed, "{alpn:?}");
    }
}

#[test]
fn without_a_common_application_protocol_there_is_no_connection() {
    let refused = refusal(listen_for(client(&[b"h2", b"http/1.1"])));
    assert!(matches!(refused, HandshakeError::Tls(_)), "{refused}");
}

#[test]
fn two_certificates_are_one_too_many() {
    let identity = Keypair::generate_ed25519();
    let one = certificate::generate(&identity).unwrap();
    let two = certificate::generate(&identity).unwrap();
    let chain = vec![one.certificate.clone(), two.certificate];
    let refused = refusal(listen_for(client_with(chain, one)));
    let count = CertificateError::Count { found: 2 };
    assert_eq!(refused, HandshakeError::Certificate(count));
}

#[test]
fn a_certificate_without_our_extension_is_refused_by_name() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let plain = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let keys_of = certificate::Certified {
        certificate: plain.into(),
        key,
    };
    let chain = vec![keys_of.certificate.clone()];
    let refused = refusal(listen_for(client_with(chain, keys_of)));
    assert_eq!(
        refused,
        HandshakeError::Certificate(CertificateError::NoExtension)
    );
}

#[test]
fn no_certificate_is_no_peer() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::default()))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"libp2p".to_vec()];
    let refused = refusal(listen_for(config));
    assert!(matches!(refused, HandshakeError::Tls(_)), "{refused}");
}
