//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-quic --lib golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.

use std::sync::Arc;
use std::time::Duration;

use p2p_core::golden::Texts;
use p2p_core::{ConnectionEnd, Exceeded};
use p2p_tls::CertificateError;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ApplicationClose, ConnectionClose, ConnectionError, TransportError, TransportErrorCode, VarInt,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use crate::error::{HandshakeError, SetupError, end};
use crate::{Config, connection, endpoint};

#[test]
fn every_error_and_refusal_reads_as_it_should() {
    let mut texts = Texts::default();
    let tls = p2p_tls::SetupError::from(rustls::Error::FailedToGetRandomBytes);
    let (keep_alive, idle_timeout) = (Duration::from_secs(40), Duration::from_secs(30));
    let idle = SetupError::IdleTimeout {
        idle_timeout: Duration::ZERO,
    };
    let alive = SetupError::KeepAlive {
        keep_alive,
        idle_timeout,
    };
    texts.blamed(
        "SetupError",
        SetupError::blame,
        [idle, alive, no_suite(), tls.into()],
    );
    let mut handshakes = ends().map(HandshakeError::from).to_vec();
    handshakes.push(CertificateError::NoExtension.into());
    handshakes.push(close(TransportErrorCode::crypto(46)).into());
    handshakes.push(close(TransportErrorCode::crypto(120)).into());
    texts.blamed("HandshakeError", HandshakeError::blame, handshakes);
    let config = Config::default();
    let ends = ends().map(|error| end(&error, &config));
    texts.blamed("ConnectionEnd", ConnectionEnd::blame, ends);
    texts.errors("refusals", refusals());
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

/// rustls without the suite that QUIC's first packets need.
fn no_suite() -> SetupError {
    let suites = vec![aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    let provider = CryptoProvider {
        cipher_suites: suites,
        ..aws_lc_rs::default_provider()
    };
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    QuicClientConfig::try_from(tls)
        .map(drop)
        .unwrap_err()
        .into()
}

fn close(error_code: TransportErrorCode) -> ConnectionError {
    ConnectionError::ConnectionClosed(ConnectionClose {
        error_code,
        frame_type: None,
        reason: b"no, thanks"[..].into(),
    })
}

fn ends() -> [ConnectionError; 9] {
    let broken: TransportError = TransportErrorCode::FLOW_CONTROL_ERROR.into();
    [
        ConnectionError::VersionMismatch,
        close(TransportErrorCode::CONNECTION_REFUSED),
        close(TransportErrorCode::NO_ERROR),
        ConnectionError::TimedOut,
        ConnectionError::TransportError(broken),
        ConnectionError::ApplicationClosed(ApplicationClose {
            error_code: VarInt::from_u32(0x1006),
            reason: b"going home"[..].into(),
        }),
        ConnectionError::Reset,
        ConnectionError::LocallyClosed,
        ConnectionError::CidsExhausted,
    ]
}

fn refusals() -> [Exceeded; 2] {
    let mut config = Config::default();
    (config.max_outbound, config.max_handshakes) = (0, 0);
    let handshakes = endpoint::handshakes(&config);
    [
        connection::check_outbound(&config, 0).unwrap_err(),
        handshakes.reserve(1).unwrap_err(),
    ]
}
