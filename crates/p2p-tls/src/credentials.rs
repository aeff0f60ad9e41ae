//! What both ends of TLS and QUIC bring along: a certificate, made once, and the settings.

use std::fmt;
use std::sync::Arc;

use p2p_core::{PeerId, Rt};
use p2p_keys::Keypair;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SupportedCipherSuite};

use crate::certificate::{self, Certified};
use crate::{SetupError, Verifier};

/// Our certificate and the settings of rustls that go with it. Cheap to clone.
///
/// The certificate is made here, so that the first handshake takes no longer than the next.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    peer: PeerId,
    client: ClientConfig,
    server: ServerConfig,
}

impl Credentials {
    /// For the peer with this key; certificates are held against the system's clock.
    ///
    /// # Errors
    /// [`SetupError`] if the system gives no randomness or the key cannot sign.
    pub fn new(identity: &Keypair) -> Result<Self, SetupError> {
        let Certified { certificate, key } = certificate::generate(identity)?;
        let time = Arc::new(DefaultTimeProvider);
        Self::build(identity.to_peer_id(), vec![certificate], key, time)
    }

    /// For the peer with this key; certificates are held against the clock of `rt`. On a
    /// [reproducible](p2p_core::Runtime::is_reproducible) runtime every handshake has the same
    /// length.
    ///
    /// # Errors
    /// [`SetupError`] if the system gives no randomness or the key cannot sign.
    pub fn with_runtime(identity: &Keypair, rt: Rt) -> Result<Self, SetupError> {
        let Certified { certificate, key } = if rt.is_reproducible() {
            certificate::generate_from_seed(identity, rt.random())?
        } else {
            certificate::generate(identity)?
        };
        let time = Arc::new(ClockOf(rt));
        Self::build(identity.to_peer_id(), vec![certificate], key, time)
    }

    /// For `peer`, with certificates that were made elsewhere, the first of which belongs to `key`.
    /// They are shown as they are: remotes refuse what is not in order, which makes this a way to
    /// test them.
    ///
    /// # Errors
    /// [`SetupError`] if the first is no certificate, or that of another key.
    pub fn with_certificates(
        peer: PeerId,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        rt: Rt,
    ) -> Result<Self, SetupError> {
        Self::build(peer, chain, key, Arc::new(ClockOf(rt)))
    }

    fn build(
        peer: PeerId,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        time: Arc<dyn TimeProvider>,
    ) -> Result<Self, SetupError> {
        let provider = Arc::new(provider());
        let mut client = ClientConfig::builder_with_details(provider.clone(), time.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::default()))
            .with_client_auth_cert(chain.clone(), key.clone_key())?;
        client.enable_sni = false;
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(Verifier::default()))
            .with_single_cert(chain, key)?;
        without_tickets(&mut server);
        Ok(Self(Arc::new(Inner {
            peer,
            client,
            server,
        })))
    }

    /// Whose they are.
    pub fn peer(&self) -> PeerId {
        self.0.peer
    }

    /// Settings for dialing `expect`, or anybody, with these application protocols.
    pub fn client(&self, expect: Option<PeerId>, alpn: Vec<Vec<u8>>) -> ClientConfig {
        let mut config = self.0.client.clone();
        config.alpn_protocols = alpn;
        if expect.is_some() {
            let verifier = Arc::new(Verifier {
                expect,
                verdict: None,
            });
            config.dangerous().set_certificate_verifier(verifier);
        }
        config
    }

    /// As [`Self::server`], with another verifier of the certificates that clients show.
    ///
    /// # Errors
    /// [`SetupError`] never, unless rustls does not take the settings that it took before.
    pub fn server_with(
        &self,
        verifier: Arc<dyn ClientCertVerifier>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<ServerConfig, SetupError> {
        let ours = &self.0.server;
        let (provider, time) = (ours.crypto_provider().clone(), ours.time_provider.clone());
        let mut config = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(ours.cert_resolver.clone());
        without_tickets(&mut config);
        config.alpn_protocols = alpn;
        Ok(config)
    }

    /// Settings for listening, with these application protocols.
    pub fn server(&self, alpn: Vec<Vec<u8>>) -> ServerConfig {
        let mut config = self.0.server.clone();
        config.alpn_protocols = alpn;
        config
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.0.peer)
    }
}

/// Nothing is resumed: every connection proves both ends anew.
fn without_tickets(config: &mut ServerConfig) {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
}

/// Whether this processor has instructions for AES: AES-GCM is then several times faster than
/// ChaCha20-Poly1305, and TLS faster than Noise.
pub fn cpu_has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        std::arch::is_x86_feature_detected!("aes")
            && std::arch::is_x86_feature_detected!("pclmulqdq")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("aes")
    }
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

/// aws-lc with the cipher suites of TLS 1.3, the fastest first.
fn provider() -> CryptoProvider {
    let (aes, chacha): ([SupportedCipherSuite; 2], _) = (
        [
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ],
        [aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
    );
    let cipher_suites = if cpu_has_aes() {
        [&aes[..], &chacha].concat()
    } else {
        [&chacha[..], &aes].concat()
    };
    CryptoProvider {
        cipher_suites,
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
            aws_lc_rs::kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// The clock of a runtime, as rustls asks for it.
#[derive(Debug)]
struct ClockOf(Rt);

impl TimeProvider for ClockOf {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.unix_time()))
    }
}
