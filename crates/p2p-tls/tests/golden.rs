//! Every text that a user of this crate can be shown for something that went wrong.
//!
//! `P2P_BLESS=1 cargo test -p p2p-tls --test golden` writes `tests/golden/texts.txt` anew: read
//! the difference as a user would.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use p2p_core::golden::{Remote, Texts, block_on};
use p2p_core::{PeerId, Role, SecurityError};
use p2p_keys::{DecodeKeyError, KeyType, Keypair, SignError};
use p2p_tls::certificate::{generate_from_seed, verify};
use p2p_tls::{CertificateError, ChannelError, HandshakeError, SetupError, Tls};
use rustls::AlertDescription;

#[test]
fn every_error_reads_as_it_should() {
    let key_type = KeyType::Ecdsa;
    let setups = [
        SetupError::Certificate(rcgen::Error::CouldNotParseCertificate),
        SetupError::Rustls(rustls::Error::FailedToGetRandomBytes),
        SetupError::Sign(SignError { key_type }),
    ];
    let handshakes = [
        HandshakeError::Certificate(CertificateError::NoExtension),
        rustls::Error::AlertReceived(AlertDescription::CertificateUnknown).into(),
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure).into(),
        HandshakeError::TooLong { max: 16_384 },
        HandshakeError::Tls(rustls::Error::DecryptError),
        HandshakeError::Tls(rustls::Error::FailedToGetRandomBytes),
    ];
    let channels = [
        ChannelError::Alert(AlertDescription::BadCertificate),
        ChannelError::Alert(AlertDescription::InternalError),
        ChannelError::Exhausted,
        ChannelError::Forged,
        ChannelError::Malformed("a key update"),
        ChannelError::TooLong {
            len: 20_000,
            max: 16_640,
        },
        ChannelError::Truncated,
        ChannelError::Unexpected("a record that is not encrypted"),
    ];
    let whole = [
        secure(Role::Dialer, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        secure(Role::Listener, b"GET / HTTP/1.1\r\n\r\n"),
        secure(Role::Dialer, b"\x15\x03\x03\x00\x02\x02\x28"),
        secure(Role::Dialer, b"\x17\x03\x03\x00\x00"),
        secure(Role::Listener, b""),
    ];
    let mut texts = Texts::default();
    texts.blamed("SetupError", SetupError::blame, setups);
    texts.blamed("CertificateError", CertificateError::blame, certificates());
    texts.blamed("HandshakeError", HandshakeError::blame, handshakes);
    texts.blamed(
        "ChannelError",
        |error: &ChannelError| error.blame(),
        channels,
    );
    texts.blamed("SecurityError", SecurityError::blame, whole);
    texts.compare(env!("CARGO_MANIFEST_DIR"));
}

fn pair(n: u8) -> Keypair {
    Keypair::ed25519_from_seed([n; 32])
}

/// What a handshake with a remote that says `bytes` comes to.
fn secure(role: Role, bytes: &[u8]) -> SecurityError {
    let tls = Tls::new(&pair(1)).unwrap();
    let expect: Option<PeerId> = None;
    block_on(tls.secure(Remote::saying(bytes), role, expect, &[])).unwrap_err()
}

fn certificates() -> Vec<CertificateError> {
    let made = generate_from_seed(&pair(1), [7; 32]).unwrap().certificate;
    let late = Duration::from_secs(1 << 40);
    let (own, other) = (pair(1).to_peer_id(), pair(2).to_peer_id());
    vec![
        CertificateError::Count { found: 2 },
        CertificateError::CriticalExtension,
        CertificateError::HostKey(DecodeKeyError::NotAKey),
        CertificateError::HostSignature,
        verify(&[], Duration::ZERO).unwrap_err(),
        verify(&[0x30, 0], Duration::ZERO).unwrap_err(),
        CertificateError::NoExtension,
        verify(&made, late).unwrap_err(),
        CertificateError::OutOfDate {
            not_before: 1_767_225_600,
            not_after: 4_102_444_800,
            now: 86_399,
        },
        CertificateError::SelfSignature,
        CertificateError::SeveralExtensions,
        CertificateError::SignatureAlgorithm,
        CertificateError::WrongPeer {
            expected: own,
            found: other,
        },
    ]
}
